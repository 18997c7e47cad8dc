//! Whether the expressions of ValidatingAdmissionPolicies fit the types of what they are about: the status tells what does not
//! (`validatingadmissionpolicystatus` of the reference).

use std::collections::HashMap;

use api::Object;
use api::admission::typecheck::{self, Kinds};
use api::admission::{Kind, Resource};
use api::catalogue::Catalogue;
use client::{Action, ObjectKey};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};

/// Its name, and that of its fields.
const NAME: &str = "validatingadmissionpolicy-status";
/// Keys worked on at a time.
const WORKERS: usize = 5;

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let policies = context.informers.of::<ValidatingAdmissionPolicy>();
    let to = queue.clone();
    policies.on_change(move |change| to.add(ObjectKey::of(&**change.object())));
    policies.wait_synced().await;
    let of = context.clone();
    context
        .run(NAME, queue, WORKERS, move |key| {
            let (context, policies) = (of.clone(), policies.clone());
            async move {
                if let Some(policy) = policies.get_key(&key).filter(|policy| is_new(policy)) {
                    sync(&context, &policy).await?;
                }
                Ok::<_, Error>(Action::Done)
            }
        })
        .await;
}

/// Whether its specification was not looked at yet.
fn is_new(policy: &ValidatingAdmissionPolicy) -> bool {
    let observed = policy.status.as_ref().and_then(|status| status.observed_generation);
    policy.metadata.generation > Some(observed.unwrap_or(0))
}

async fn sync(context: &Context, policy: &ValidatingAdmissionPolicy) -> Result<()> {
    let name = policy.metadata.name.clone().unwrap_or_default();
    let object = serde_json::to_value(policy).ok().and_then(Object::from_value);
    let Some(object) = object else { return Ok(()) };
    let known = Known::of(&context.client, &object).await?;
    // It takes a while, and holds nothing up elsewhere.
    let checked = tokio::task::spawn_blocking(move || typecheck::status(&object, &known)).await;
    let Ok(status) = checked else { return Ok(()) };
    let apply = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name}, "status": status});
    let api = context.api_all::<ValidatingAdmissionPolicy>();
    let params = PatchParams::apply(NAME).force();
    ignore_not_found(api.patch_status(&name, &params, &Patch::Apply(apply)).await)?;
    Ok(())
}

/// The kinds that one policy is about and that are not built in, as the API server describes them.
#[derive(Default)]
struct Known {
    kinds: HashMap<Resource, Kind>,
    versions: HashMap<Kind, Value>,
}

impl Known {
    async fn of(client: &Client, policy: &Object) -> Result<Self> {
        let mut known = Self::default();
        let builtin = Catalogue::builtin();
        for resource in typecheck::resources(policy).into_iter().flatten() {
            let Resource { group, version, resource: plural } = &resource;
            if builtin.get(group, version, plural).is_none() {
                let find = |served: &Value| served["name"] == plural.as_str();
                if let Some(kind) = served(client, group, version, find).await? {
                    known.describe(client, &kind).await?;
                    known.kinds.insert(resource, kind);
                }
            }
        }
        if let Some(kind) = typecheck::param_kind(policy)
            && builtin.by_kind(&kind.group, &kind.version, &kind.kind).is_none()
        {
            known.describe(client, &kind).await?;
        }
        Ok(known)
    }

    async fn describe(&mut self, client: &Client, kind: &Kind) -> Result<()> {
        if self.versions.contains_key(kind) {
            return Ok(());
        }
        let path = format!("/openapi/v3/apis/{}/{}", kind.group, kind.version);
        let document = get(client, &path).await?.unwrap_or(Value::Null);
        let schemas = document["components"]["schemas"].as_object();
        let is_it = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
            let mut named = kinds
                .filter(|known| known["group"] == kind.group.as_str() && known["version"] == kind.version.as_str());
            named.any(|known| known["kind"] == kind.kind.as_str())
        };
        if let Some(schema) = schemas.into_iter().flat_map(|schemas| schemas.values()).find(is_it) {
            self.versions.insert(kind.clone(), json!({"schema": {"openAPIV3Schema": schema}}));
        }
        Ok(())
    }
}

impl Kinds for Known {
    fn kind_of(&self, resource: &Resource) -> Option<Kind> {
        let Resource { group, version, resource: plural } = resource;
        let of_row = |kind: &str| Kind { group: group.clone(), version: version.clone(), kind: kind.into() };
        let builtin = Catalogue::builtin();
        let row = builtin.get(group, version, plural).map(|row| of_row(&row.kind));
        row.or_else(|| self.kinds.get(resource).cloned())
    }

    fn version_of(&self, kind: &Kind) -> Option<Value> {
        self.versions.get(kind).cloned()
    }
}

/// The kind of a resource that is served.
async fn served(client: &Client, group: &str, version: &str, find: impl Fn(&Value) -> bool) -> Result<Option<Kind>> {
    let Some(list) = get(client, &format!("/apis/{group}/{version}")).await? else { return Ok(None) };
    let found = list["resources"].as_array().into_iter().flatten().find(|one| find(one));
    let kind = found.and_then(|one| one["kind"].as_str());
    Ok(kind.map(|kind| Kind { group: group.into(), version: version.into(), kind: kind.into() }))
}

/// A document of the API server; none if there is no such.
async fn get(client: &Client, path: &str) -> Result<Option<Value>> {
    // Names come from a policy, which may hold anything.
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.-".contains(&b));
    if !is_plain {
        return Ok(None);
    }
    let Ok(request) = http::Request::get(path).header("accept", "application/json").body(Vec::new()) else {
        return Ok(None);
    };
    ignore_not_found(client.request::<Value>(request).await).map_err(Error::from)
}
