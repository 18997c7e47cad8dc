//! `OwnerReferencesPermissionEnforcement`: nobody makes an object go with another that they could not delete, or keeps one
//! from going that they could not finalize.

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;

use super::{Admission, Attributes, Operation, forbidden, is};
use crate::authorization::{self, Decision, decide};

/// The plugin.
pub(super) struct OwnerPermission;

impl Admission for OwnerPermission {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
            match object {
                // A node's old agents write these, and the strategy keeps the owners.
                Some(object) if is_write && !is(attributes, "", "pods", "status") => check(attributes, object).await,
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

async fn check(attributes: &Attributes<'_>, object: &Object) -> Result<(), Status> {
    let (new, old) = (owners(object), attributes.old.map_or(&[][..], owners));
    if new == old {
        return Ok(());
    }
    let refuse = |why: String| Err(forbidden(attributes, Some(object), &why));
    if attributes.operation != Operation::Create {
        let resource = attributes.resource;
        let asked = Asked {
            verb: "delete",
            namespace: attributes.namespace,
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource: attributes.subresource,
            name: attributes.name,
        };
        if let Some(reason) = asked.refusal(attributes).await {
            return refuse(format!("cannot set an ownerRef on a resource you can't delete: {reason}, <nil>"));
        }
    }
    let blocks = |owner: &Value| owner["blockOwnerDeletion"] == true;
    let was = |owner: &Value| old.iter().any(|old| old["uid"] == owner["uid"] && blocks(old));
    let blocking: Vec<&Value> = new.iter().filter(|owner| blocks(owner) && !was(owner)).collect();
    let anything = Asked {
        verb: "update",
        namespace: "",
        group: "*",
        version: "*",
        resource: "*",
        subresource: "finalizers",
        name: "*",
    };
    if blocking.is_empty() || anything.refusal(attributes).await.is_none() {
        return Ok(());
    }
    for owner in blocking {
        let text = |field: &str| owner[field].as_str().unwrap_or("");
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resources: Vec<(String, bool)> = {
            let catalogue = attributes.ctx.registry.catalogue();
            let of_kind = |row: &&std::sync::Arc<api::catalogue::Resource>| {
                row.group == group && row.version == version && row.kind == kind
            };
            catalogue.iter().filter(of_kind).map(|row| (row.plural.clone(), row.namespaced)).collect()
        };
        if resources.is_empty() {
            return refuse(format!(
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} \
                 Kind {kind}: no matches for kind {kind:?} in version {api_version:?}"
            ));
        }
        for (resource, namespaced) in &resources {
            let namespace = if *namespaced { attributes.namespace } else { "" };
            let name = text("name");
            let asked = Asked { verb: "update", namespace, group, version, resource, subresource: "finalizers", name };
            if let Some(reason) = asked.refusal(attributes).await {
                return refuse(format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: \
                     {reason}, <nil>"
                ));
            }
        }
    }
    Ok(())
}

/// What the user must be allowed to do.
struct Asked<'a> {
    verb: &'a str,
    namespace: &'a str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    name: &'a str,
}

impl Asked<'_> {
    /// Why not; none if they may.
    async fn refusal(&self, attributes: &Attributes<'_>) -> Option<String> {
        let asked = authorization::Attributes {
            verb: self.verb,
            namespace: self.namespace,
            group: self.group,
            version: self.version,
            resource: self.resource,
            subresource: self.subresource,
            name: self.name,
            ..authorization::Attributes::of_resource(&attributes.ctx.user)
        };
        match decide(asked, &attributes.ctx.registry).await {
            Decision::Allow => None,
            Decision::Deny(why) | Decision::NoOpinion(why) | Decision::Failed { why, .. } => Some(why),
        }
    }
}

fn owners(object: &Object) -> &[Value] {
    object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
