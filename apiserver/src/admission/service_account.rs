//! Every pod runs as a service account, whose token it finds in a volume.

mod secrets;

use std::sync::Arc;
use std::time::Duration;

use api::go::strconv;
use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::{Admission, Attributes, Operation, forbidden, is, references};
use crate::Registry;
use crate::clock::{NAME_SUFFIX_LENGTH, name_suffix};
use crate::registry::{key, prefix};

const VOLUME: &str = "kube-api-access";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";
/// A controller makes the account `default` of a new namespace; a pod that comes first waits for it this long.
const DEFAULT_ACCOUNT_WAIT: Duration = Duration::from_secs(1);
/// Clients that know nothing of reloading get a token that is meant to last an hour and a little.
const TOKEN_SECONDS: u64 = 3607;

/// The plugin `ServiceAccount`.
pub(super) struct ServiceAccount;

impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            match object {
                Some(pod) if attributes.operation == Operation::Create && is(attributes, "", "pods", "") => {
                    admit(attributes, pod).await
                }
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            match (attributes.operation, object) {
                (Operation::Create, Some(pod)) if is(attributes, "", "pods", "") => validate(attributes, pod).await,
                (Operation::Update, Some(pod)) if is(attributes, "", "pods", "ephemeralcontainers") => {
                    check_secrets(attributes, pod, secrets::of_ephemeral).await
                }
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

fn is_mirror(pod: &Object) -> bool {
    pod.at(&["metadata", "annotations", MIRROR]).is_some()
}

async fn admit(attributes: &Attributes<'_>, pod: &mut Object) -> Result<(), Status> {
    if is_mirror(pod) {
        return validate(attributes, pod).await;
    }
    if pod.str_at(&["spec", "serviceAccountName"]).is_empty() {
        let given = match pod.str_at(&["spec", "serviceAccount"]) {
            "" => "default".to_string(),
            deprecated => deprecated.to_string(),
        };
        pod.set(&["spec", "serviceAccountName"], given);
    }
    let name = pod.str_at(&["spec", "serviceAccountName"]).to_string();
    // The deprecated field always says the same, as in the reference's conversion.
    pod.set(&["spec", "serviceAccount"], name.as_str());
    let account = account(attributes, pod, &name).await?;
    let wants = |object: &Object, path: &[&str]| object.at(path).and_then(Value::as_bool);
    let mounts = wants(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| wants(&account, &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if mounts {
        mount_token(attributes, pod);
    }
    let has_pull_secrets =
        pod.at(&["spec", "imagePullSecrets"]).and_then(Value::as_array).is_some_and(|s| !s.is_empty());
    if !has_pull_secrets
        && let Some(Value::Array(secrets)) = account.at(&["imagePullSecrets"])
        && !secrets.is_empty()
    {
        pod.set(&["spec", "imagePullSecrets"], secrets.clone());
    }
    Ok(())
}

async fn validate(attributes: &Attributes<'_>, pod: &Object) -> Result<(), Status> {
    let refuse = |why: &str| forbidden(attributes, Some(pod), why);
    if is_mirror(pod) {
        let named = |field: &str| !pod.str_at(&["spec", field]).is_empty();
        if named("serviceAccountName") || named("serviceAccount") {
            return Err(refuse("a mirror pod may not reference service accounts"));
        }
        if references::has_secret(pod) {
            return Err(refuse("a mirror pod may not reference secrets"));
        }
        if has_token_projection(pod) {
            return Err(refuse("a mirror pod may not use ServiceAccountToken volume projections"));
        }
        return Ok(());
    }
    check_secrets(attributes, pod, secrets::of_pod).await
}

/// Checks with `limit` that a pod uses the secrets only that its account lists, if the account says that this matters.
async fn check_secrets(
    attributes: &Attributes<'_>,
    pod: &Object,
    limit: fn(&Object, &Object) -> Result<(), String>,
) -> Result<(), Status> {
    let refuse = |why: &str| forbidden(attributes, Some(pod), why);
    let name = pod.str_at(&["spec", "serviceAccountName"]);
    if name.is_empty() {
        let why = format!("no service account specified for pod {}/{}", attributes.namespace, pod.name());
        return Err(refuse(&why));
    }
    let account = account(attributes, pod, name).await?;
    if strconv::parse_bool(account.str_at(&["metadata", "annotations", ENFORCE_MOUNTABLE])) == Some(true) {
        return limit(&account, pod).map_err(|why| refuse(&why));
    }
    Ok(())
}

async fn account(attributes: &Attributes<'_>, pod: &Object, name: &str) -> Result<Arc<Object>, Status> {
    let (registry, namespace) = (&attributes.ctx.registry, attributes.namespace);
    let found = match registry.get_shared("", "serviceaccounts", namespace, name) {
        None if name == "default" => wait_for(registry, namespace, name).await,
        found => found,
    };
    found.ok_or_else(|| {
        let missing = || format!("serviceaccount {name:?} not found");
        let why = super::pod::no_path_segment(name).unwrap_or_else(missing);
        let why = format!("error looking up service account {namespace}/{name}: {why}");
        forbidden(attributes, Some(pod), &why)
    })
}

/// Waits for the account to be made.
async fn wait_for(registry: &Registry, namespace: &str, name: &str) -> Option<Arc<Object>> {
    let key = key("", "serviceaccounts", namespace, name);
    let mut accounts = registry.follow(prefix("", "serviceaccounts", namespace));
    let made = async {
        while accounts.changed(|event| event.key() == key).await?.get(&key).is_none() {}
        registry.get_shared("", "serviceaccounts", namespace, name)
    };
    tokio::time::timeout(DEFAULT_ACCOUNT_WAIT, made).await.ok().flatten()
}

fn items<'a>(object: &'a Object, path: &[&str]) -> impl Iterator<Item = &'a Value> {
    object.at(path).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or("")
}

fn has_token_projection(pod: &Object) -> bool {
    items(pod, &["spec", "volumes"])
        .filter_map(|volume| volume.get("projected")?.get("sources")?.as_array())
        .flatten()
        .any(|source| source.get("serviceAccountToken").is_some())
}

fn mount_token(attributes: &Attributes<'_>, pod: &mut Object) {
    let prefix = format!("{VOLUME}-");
    let existing = items(pod, &["spec", "volumes"]).map(|v| text(v, "name")).find(|n| n.starts_with(&prefix));
    let existing = existing.map(String::from);
    let name = existing
        .clone()
        .unwrap_or_else(|| format!("{prefix}{}", name_suffix(attributes.ctx.registry.clock(), NAME_SUFFIX_LENGTH)));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        let Some(containers) = pod.0.get_mut("spec").and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut)
        else {
            continue;
        };
        for container in containers.iter_mut().filter_map(Value::as_object_mut) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            if mounts.is_null() {
                *mounts = json!([]);
            }
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if mounts.iter().any(|mount| text(mount, "mountPath") == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            needed = true;
        }
    }
    if existing.is_some() || !needed {
        return;
    }
    let mut volumes: Vec<Value> = items(pod, &["spec", "volumes"]).cloned().collect();
    volumes.push(token_volume(&name));
    pod.set(&["spec", "volumes"], volumes);
}

/// The token, the certificate that the API server's is verified against, and the namespace.
fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}
