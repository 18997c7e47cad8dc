//! AppArmor profiles in annotations become fields when a pod is created (`applyAppArmorVersionSkew`).

use api::Object;
use serde_json::{Value, json};

use super::{CONTAINER_LISTS, text};

const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Sets the fields; returns what the client is warned of.
pub(super) fn adopt(pod: &mut Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let annotations = pod.at(&["metadata", "annotations"]).and_then(Value::as_object).cloned().unwrap_or_default();
    if pod.str_at(&["spec", "os", "name"]) == "windows" || !annotations.keys().any(|key| key.starts_with(PREFIX)) {
        return warnings;
    }
    let of_pod = pod.at(&["spec", "securityContext", "appArmorProfile"]).cloned().unwrap_or_default();
    let Some(spec) = pod.0.get_mut("spec") else { return warnings };
    for list in CONTAINER_LISTS {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let key = format!("{PREFIX}{}", text(container, "name"));
            let Some(annotation) = annotations.get(&key).and_then(Value::as_str) else { continue };
            if container.pointer("/securityContext/appArmorProfile").is_some_and(|profile| !profile.is_null()) {
                continue;
            }
            let field = field_of(annotation);
            let differs = field.as_ref().is_some_and(|field| *field != of_pod);
            if field.is_none() || differs {
                let what = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
                warnings.push(format!("metadata.annotations[{key}]: {what}"));
            }
            if let Some(field) = field.filter(|_| differs) {
                if !container.get("securityContext").is_some_and(Value::is_object) {
                    container["securityContext"] = json!({});
                }
                container["securityContext"]["appArmorProfile"] = field;
            }
        }
    }
    warnings
}

/// `ApparmorFieldForAnnotation`
fn field_of(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        other => {
            let file = other.strip_prefix("localhost/").filter(|file| !file.is_empty() && file.trim() == *file)?;
            Some(json!({"type": "Localhost", "localhostProfile": file}))
        }
    }
}
