//! Which keys of the store a name of the file means.

use crate::registry::{self, history_group};

/// A resource and its group, as `deployments.apps`; `*` stands for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GroupResource {
    /// The group; empty for the core.
    pub group: String,
    /// The resource in plural.
    pub resource: String,
}

impl GroupResource {
    /// `schema.ParseGroupResource`
    pub(super) fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }

    /// Whether it means every resource of every group.
    pub(super) fn is_everything(&self) -> bool {
        self.group == "*" && self.resource == "*"
    }

    /// As the file has it (`grYAMLString`).
    pub(super) fn shown(&self) -> String {
        match (self.resource.as_str(), self.group.as_str()) {
            ("*", "") => "*.".to_owned(),
            (resource, "") => resource.to_owned(),
            (resource, group) => format!("{resource}.{group}"),
        }
    }

    /// The group and resource of a key; none for what is no resource of the API.
    pub(super) fn of_key(key: &str) -> Option<(&str, &str)> {
        let whole = history_group(key).strip_prefix("/registry/")?.strip_suffix('/')?;
        let (group, resource) = whole.split_once('/').unwrap_or(("", whole));
        // What allocators note, of which the reference keeps none as objects.
        (!resource.is_empty() && resource != "ranges").then_some((group, resource))
    }

    /// What the keys of the resource begin with, if it is one.
    pub(super) fn prefix(&self) -> Option<String> {
        (self.resource != "*").then(|| registry::prefix(&self.group, &self.resource, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_names_are_told_apart() {
        let of = |group: &str, resource: &str| GroupResource { group: group.into(), resource: resource.into() };
        for (text, expected) in [
            ("secrets", of("", "secrets")),
            ("deployments.apps", of("apps", "deployments")),
            ("pandas.awesome.bears.example", of("awesome.bears.example", "pandas")),
            ("*.", of("", "*")),
            ("*.*", of("*", "*")),
        ] {
            assert_eq!(GroupResource::parse(text), expected);
            assert_eq!(expected.shown(), text);
        }
        for (key, expected) in [
            ("/registry/secrets/a/b", Some(("", "secrets"))),
            ("/registry/apps/deployments/a/b", Some(("apps", "deployments"))),
            ("/registry/awesome.bears.example/pandas/x", Some(("awesome.bears.example", "pandas"))),
            ("/registry/ranges/servicenodeports/30000", None),
            ("/other", None),
        ] {
            assert_eq!(GroupResource::of_key(key), expected, "{key}");
        }
    }
}
