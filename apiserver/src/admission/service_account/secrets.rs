//! The secrets that a pod may use if its account lists them all (`limitSecretReferences`).

use api::Object;
use serde_json::Value;

use super::{items, text};

/// Only secrets that the account lists may be used by a new pod.
pub(super) fn of_pod(account: &Object, pod: &Object) -> Result<(), String> {
    let of = account.name();
    for volume in items(pod, &["spec", "volumes"]) {
        let Some(secret) = volume.get("secret").map(|secret| text(secret, "secretName")) else { continue };
        if !is_listed(account, "secrets", secret) {
            return Err(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {of} does not reference that secret"
            ));
        }
    }
    of_containers(account, pod, "initContainers", "init container")?;
    of_containers(account, pod, "containers", "container")?;
    for (index, secret) in items(pod, &["spec", "imagePullSecrets"]).enumerate() {
        let name = text(secret, "name");
        if !is_listed(account, "imagePullSecrets", name) {
            return Err(format!(
                "imagePullSecrets[{index}].name=\"{name}\" is not allowed because service account {of} \
                 does not reference that imagePullSecret"
            ));
        }
    }
    Ok(())
}

/// Nor by containers that are added to one later.
pub(super) fn of_ephemeral(account: &Object, pod: &Object) -> Result<(), String> {
    of_containers(account, pod, "ephemeralContainers", "ephemeral container")
}

fn is_listed(account: &Object, field: &str, name: &str) -> bool {
    items(account, &[field]).any(|secret| text(secret, "name") == name)
}

fn of_containers(account: &Object, pod: &Object, list: &str, what: &str) -> Result<(), String> {
    let of = account.name();
    for container in items(pod, &["spec", list]) {
        let name = text(container, "name");
        let values = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
        for variable in values("env") {
            let secret = variable.get("valueFrom").and_then(|from| from.get("secretKeyRef"));
            let Some(secret) = secret.map(|secret| text(secret, "name")) else { continue };
            if !is_listed(account, "secrets", secret) {
                let variable = text(variable, "name");
                return Err(format!(
                    "{what} {name} with envVar {variable} referencing secret.secretName=\"{secret}\" \
                     is not allowed because service account {of} does not reference that secret"
                ));
            }
        }
        for from in values("envFrom") {
            let Some(secret) = from.get("secretRef").map(|secret| text(secret, "name")) else { continue };
            if !is_listed(account, "secrets", secret) {
                return Err(format!(
                    "{what} {name} with envFrom referencing secret.secretName=\"{secret}\" \
                     is not allowed because service account {of} does not reference that secret"
                ));
            }
        }
    }
    Ok(())
}
