//! Who asks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An authenticated identity, as `authentication.k8s.io/v1 UserInfo`.
///
/// In-process components hand theirs over as a request extension of this type, which cannot come over the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The user name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// A unique id, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// More, by key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with groups; `system:authenticated` is added, unless the name or a group says that the user is not
    /// (`AuthenticatedGroupAdder`).
    pub fn new(username: impl Into<String>, groups: &[&str]) -> Self {
        let groups: Vec<String> = groups.iter().map(|g| g.to_string()).collect();
        Self { username: username.into(), groups, ..Self::default() }.authenticated()
    }

    /// The user with `system:authenticated`, unless the name or a group says otherwise.
    pub fn authenticated(mut self) -> Self {
        let said = |group: &String| matches!(group.as_str(), "system:authenticated" | "system:unauthenticated");
        if !self.groups.iter().any(said) && self.username != "system:anonymous" {
            self.groups.push("system:authenticated".into());
        }
        self
    }

    /// A service account, with the groups it is in.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), &["system:serviceaccounts", &of_namespace])
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}
