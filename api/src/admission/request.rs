//! The variable `request` (`CreateAdmissionRequest` in apiserver).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::UserInfo;

/// A kind in a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
}

/// A resource in a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The resource, plural.
    pub resource: String,
}

/// A request, as far as it is no object.
#[derive(Debug, Clone, Default)]
pub struct Request<'a> {
    /// The kind that the rules matched.
    pub kind: Kind,
    /// The resource that the rules matched.
    pub resource: Resource,
    /// The kind that was asked for.
    pub request_kind: Kind,
    /// The resource that was asked for.
    pub request_resource: Resource,
    /// The subresource, or empty.
    pub subresource: Cow<'a, str>,
    /// The name; empty while it is to be generated.
    pub name: Cow<'a, str>,
    /// The namespace, or empty.
    pub namespace: Cow<'a, str>,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: &'static str,
    /// Who asks.
    pub user: Option<Cow<'a, UserInfo>>,
    /// Whether nothing is stored.
    pub dry_run: bool,
    /// The options, with kind and version; null if there are none.
    pub options: Value,
}

impl Kind {
    fn shown(&self) -> Value {
        json!({"group": self.group, "version": self.version, "kind": self.kind})
    }
}

impl Resource {
    fn shown(&self) -> Value {
        json!({"group": self.group, "version": self.version, "resource": self.resource})
    }
}

impl Request<'_> {
    /// A copy that borrows nothing.
    pub fn to_owned(&self) -> Request<'static> {
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.to_string());
        Request {
            kind: self.kind.clone(),
            resource: self.resource.clone(),
            request_kind: self.request_kind.clone(),
            request_resource: self.request_resource.clone(),
            subresource: owned(&self.subresource),
            name: owned(&self.name),
            namespace: owned(&self.namespace),
            operation: self.operation,
            user: self.user.as_deref().map(|user| Cow::Owned(user.clone())),
            dry_run: self.dry_run,
            options: self.options.clone(),
        }
    }

    /// The request as it is shown, with one of the two resources.
    pub(super) fn shown(&self, resource: &Resource) -> Value {
        let mut shown = Map::new();
        let mut add = |name: &str, value: Value| {
            shown.insert(name.into(), value);
        };
        add("uid", "".into());
        add("kind", self.kind.shown());
        add("resource", resource.shown());
        add("requestKind", self.request_kind.shown());
        add("requestResource", self.request_resource.shown());
        add("operation", self.operation.into());
        add(
            "userInfo",
            self.user.as_deref().map_or_else(|| json!({}), |user| serde_json::to_value(user).unwrap_or_default()),
        );
        add("object", Value::Null);
        add("oldObject", Value::Null);
        add("dryRun", self.dry_run.into());
        add("options", self.options.clone());
        let texts = [
            ("subResource", &*self.subresource),
            ("requestSubResource", &*self.subresource),
            ("name", &*self.name),
            ("namespace", &*self.namespace),
        ];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            add(name, text.into());
        }
        Value::Object(shown)
    }
}
