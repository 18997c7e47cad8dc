//! Levels and their versions.

use std::cmp::Ordering;
use std::fmt;

/// How strict a policy is; a later one is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything is allowed.
    Privileged,
    /// Nothing that is known to lead out of a container.
    Baseline,
    /// Only what was hardened.
    Restricted,
}

impl Level {
    const ALL: [Self; 3] = [Self::Privileged, Self::Baseline, Self::Restricted];

    /// The level of this name (`ParseLevel`).
    ///
    /// # Errors
    /// With what it may be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or("must be one of privileged, baseline, restricted")
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Of which release of Kubernetes the rules are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `v1.N`
    Minor(u64),
    /// Of the newest.
    Latest,
}

impl Version {
    /// The version of this name (`ParseVersion`).
    ///
    /// # Errors
    /// With what it may be.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let digits = text.strip_prefix("v1.").unwrap_or("");
        let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let number = digits.parse::<u64>().ok().filter(|number| canonical && i64::try_from(*number).is_ok());
        number.map(Self::Minor).ok_or("must be \"latest\" or \"v1.x\"")
    }
}

impl Ord for Version {
    /// The newest is newer than any that has a number.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Minor(one), Self::Minor(two)) => one.cmp(two),
            (Self::Minor(_), Self::Latest) => Ordering::Less,
            (Self::Latest, Self::Minor(_)) => Ordering::Greater,
            (Self::Latest, Self::Latest) => Ordering::Equal,
        }
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Minor(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

/// A level of one version, such as `baseline:v1.24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    /// How strict.
    pub level: Level,
    /// By whose rules.
    pub version: Version,
}

impl LevelVersion {
    /// What holds where nobody says anything.
    pub const PRIVILEGED: Self = Self { level: Level::Privileged, version: Version::Latest };

    /// Whether both come to the same (`Equivalent`).
    pub fn is_equivalent(self, other: Self) -> bool {
        self == other || self.level == Level::Privileged && other.level == Level::Privileged
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level.as_str(), self.version)
    }
}
