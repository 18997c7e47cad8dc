//! What the labels of a namespace ask for.

use serde_json::{Map, Value};

use super::{Level, LevelVersion, Version};
use crate::field::{ErrorList, FieldError, Path};

/// What the names of labels and of audit annotations begin with.
pub const LABEL_PREFIX: &str = "pod-security.kubernetes.io/";

/// What becomes of a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The pod is refused.
    Enforce,
    /// It is noted in the audit log.
    Audit,
    /// The client is told.
    Warn,
}

impl Mode {
    /// In the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Audit, Self::Warn];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
            Self::Warn => "warn",
        }
    }

    /// The label that says its level.
    fn level_label(self) -> &'static str {
        match self {
            Self::Enforce => "pod-security.kubernetes.io/enforce",
            Self::Audit => "pod-security.kubernetes.io/audit",
            Self::Warn => "pod-security.kubernetes.io/warn",
        }
    }

    /// The label that says its version.
    fn version_label(self) -> &'static str {
        match self {
            Self::Enforce => "pod-security.kubernetes.io/enforce-version",
            Self::Audit => "pod-security.kubernetes.io/audit-version",
            Self::Warn => "pod-security.kubernetes.io/warn-version",
        }
    }
}

/// What holds in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What pods are refused for.
    pub enforce: LevelVersion,
    /// What is noted.
    pub audit: LevelVersion,
    /// What clients are told of.
    pub warn: LevelVersion,
}

impl Default for Policy {
    fn default() -> Self {
        let privileged = LevelVersion::PRIVILEGED;
        Self { enforce: privileged, audit: privileged, warn: privileged }
    }
}

impl Policy {
    /// What labels ask for, and what is wrong with them; `self` holds where they say nothing (`PolicyToEvaluate`). A level
    /// that is none enforces the strictest, and neither notes nor warns.
    pub fn with_labels(self, labels: Option<&Map<String, Value>>) -> (Self, ErrorList) {
        let (mut policy, mut errors) = (self, ErrorList::new());
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else { return (policy, errors) };
        let text = |label: &str| labels.get(label).map(|value| value.as_str().unwrap_or(""));
        let mut enforces = false;
        for mode in Mode::ALL {
            let (label, of_mode) = (mode.level_label(), policy.of_mut(mode));
            if let Some(value) = text(label) {
                let level = Level::parse(value);
                errors.extend(level.err().map(|why| invalid(label, value, why)));
                let otherwise = if mode == Mode::Enforce { Level::Restricted } else { Level::Privileged };
                of_mode.level = level.unwrap_or(otherwise);
                enforces |= mode == Mode::Enforce && level.is_ok();
            }
            let label = mode.version_label();
            if let Some(value) = text(label) {
                let version = Version::parse(value);
                errors.extend(version.err().map(|why| invalid(label, value, why)));
                of_mode.version = version.unwrap_or(Version::Latest);
            }
        }
        let warns = text(Mode::Warn.level_label()).is_some();
        if !warns && enforces && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if text(Mode::Warn.version_label()).is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }

    /// What holds in a mode.
    pub fn of(&self, mode: Mode) -> LevelVersion {
        match mode {
            Mode::Enforce => self.enforce,
            Mode::Audit => self.audit,
            Mode::Warn => self.warn,
        }
    }

    fn of_mut(&mut self, mode: Mode) -> &mut LevelVersion {
        match mode {
            Mode::Enforce => &mut self.enforce,
            Mode::Audit => &mut self.audit,
            Mode::Warn => &mut self.warn,
        }
    }

    /// Whether nothing is asked of pods (`FullyPrivileged`).
    pub fn is_privileged(&self) -> bool {
        Mode::ALL.into_iter().all(|mode| self.of(mode).level == Level::Privileged)
    }

    /// Whether both come to the same (`Equivalent`).
    pub fn is_equivalent(&self, other: &Self) -> bool {
        Mode::ALL.into_iter().all(|mode| self.of(mode).is_equivalent(other.of(mode)))
    }

    /// What labels ask for beyond what every pod may do, such as `enforce=baseline:latest, warn=restricted:latest`; `self`
    /// is what they came to.
    pub fn labelled(&self, labels: Option<&Map<String, Value>>) -> String {
        let has = |label: &str| labels.is_some_and(|labels| labels.contains_key(label));
        let said = |mode: &Mode| has(mode.level_label()) || has(mode.version_label());
        let asks = |mode: &Mode| self.of(*mode).level != Level::Privileged && said(mode);
        let asked = Mode::ALL.into_iter().filter(asks).map(|mode| format!("{}={}", mode.as_str(), self.of(mode)));
        asked.collect::<Vec<_>>().join(", ")
    }
}

fn invalid(label: &str, value: &str, why: &str) -> FieldError {
    FieldError::invalid(&Path::new("metadata").child("labels").key(label), value, why)
}
