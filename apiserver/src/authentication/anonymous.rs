//! Who asks without credentials, and whether one may.

use std::collections::HashSet;
use std::sync::Arc;

use api::UserInfo;
use api::identity::AnonymousAuth;

/// Who asks without credentials.
pub fn anonymous() -> Arc<UserInfo> {
    Arc::new(UserInfo {
        username: "system:anonymous".into(),
        groups: vec!["system:unauthenticated".into()],
        ..UserInfo::default()
    })
}

/// Whether one may ask without credentials, and for what (`request/anonymous` in apiserver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody may.
    Nobody,
    /// For everything, as far as that user may do it.
    Everything,
    /// For these paths alone.
    Paths(Arc<HashSet<String>>),
}

impl Anonymous {
    /// As a configuration says.
    pub fn new(config: &AnonymousAuth) -> Self {
        match (config.enabled, config.conditions.is_empty()) {
            (false, _) => Self::Nobody,
            (true, true) => Self::Everything,
            (true, false) => {
                Self::Paths(Arc::new(config.conditions.iter().map(|condition| condition.path.clone()).collect()))
            }
        }
    }

    /// Whether this path may be asked for. It is compared as a whole, as the client wrote it: escapes are others.
    pub fn allows(&self, path: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everything => true,
            Self::Paths(paths) => paths.contains(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use api::identity::authentication::AnonymousCondition;

    use super::*;

    #[test]
    fn paths_are_compared_as_a_whole() {
        let config = |enabled: bool, paths: &[&str]| AnonymousAuth {
            enabled,
            conditions: paths.iter().map(|path| AnonymousCondition { path: path.to_string() }).collect(),
        };
        let check = |config: AnonymousAuth, path: &str, expected: bool| {
            assert_eq!(Anonymous::new(&config).allows(path), expected, "{config:?} {path}");
        };
        check(config(true, &[]), "/anything", true);
        check(config(false, &[]), "/livez", false);
        check(config(true, &["/livez", "/readyz"]), "/livez", true);
        for other in ["/livez/", "/livez/etcd", "/healthz", "/LIVEZ", "//livez", "/%6Civez", ""] {
            check(config(true, &["/livez", "/readyz"]), other, false);
        }
    }
}
