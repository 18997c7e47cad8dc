//! What the checks of a pod's parts must know of the pod as a whole.

use std::collections::BTreeSet;

use crate::validation::at::At;

/// The pod around a part.
pub(super) struct Scope<'a> {
    /// The name of the pod; empty in a template.
    pub name: &'a str,
    /// Whether this is a pod, not a template.
    pub is_pod: bool,
    /// Whether a file on a node describes the pod.
    pub is_mirror: bool,
    /// How long it may take to stop.
    pub grace: Option<i64>,
    /// `spec.restartPolicy`
    pub restart_policy: &'a str,
    /// Whether it runs as users of the host.
    pub host_users: bool,
    /// The names in `spec.resourceClaims`.
    pub claims: BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    /// That of a pod.
    pub(super) fn of_pod(spec: &At<'a>, metadata: &At<'a>) -> Self {
        let is_mirror = metadata.field("annotations").key(super::MIRROR).is_set();
        Self { name: metadata.field("name").text(), is_pod: true, is_mirror, ..Self::of_template(spec) }
    }

    /// That of a template.
    pub(super) fn of_template(spec: &At<'a>) -> Self {
        let claims = spec.field("resourceClaims").items().map(|claim| claim.field("name").text());
        Self {
            name: "",
            is_pod: false,
            is_mirror: false,
            grace: spec.field("terminationGracePeriodSeconds").number(),
            restart_policy: spec.field("restartPolicy").text(),
            host_users: spec.field("hostUsers").value != &serde_json::Value::Bool(false),
            claims: claims.filter(|name| !name.is_empty()).collect(),
        }
    }
}
