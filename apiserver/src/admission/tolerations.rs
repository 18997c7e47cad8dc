//! Which taints pods tolerate beyond what they say: `DefaultTolerationSeconds`, `ExtendedResourceToleration` and
//! `PodTolerationRestriction`.

use std::collections::BTreeSet;

use api::field::aggregate;
use api::pods::{QosClass, quality};
use api::{Object, Status, kinds, names};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::files::{Kind, PluginFiles};
use super::{Attributes, OfPods, Operation, is, namespace};
use crate::registry::create::plain_failure;

/// The writes that those plugins are about that see to every one of a pod.
const WRITES: &[Operation] = &[Operation::Create, Operation::Update];

/// `DefaultTolerationSeconds`: how long pods stay on a node that is not ready, and on one that is not reachable.
pub(super) struct DefaultSeconds(pub(super) [(&'static str, i64); 2]);

impl OfPods for DefaultSeconds {
    const NAME: &'static str = "DefaultTolerationSeconds";
    const OPERATIONS: &'static [Operation] = WRITES;

    fn admit(&self, _: &Attributes<'_>, pod: &mut Object) -> Result<(), Status> {
        let given = tolerations(pod);
        let missing = self.0.into_iter().filter(|(key, _)| {
            !given.iter().any(|toleration| {
                let (of, effect) = (text(toleration, "key"), text(toleration, "effect"));
                (of == *key || of.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            })
        });
        let more: Vec<Value> = missing
            .map(|(key, seconds)| {
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
            })
            .collect();
        if !more.is_empty() {
            pod.set(&["spec", "tolerations"], [given, &more].concat());
        }
        Ok(())
    }
}

/// `ExtendedResourceToleration`: who asks for a device may run on nodes that are kept for it.
pub(super) fn of_extended_resources(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(pod) = object.filter(|_| is_meant(attributes)) else { return Ok(()) };
    let lists = ["containers", "initContainers"].map(|list| pod.at(&["spec", list]).and_then(Value::as_array));
    let containers = lists.into_iter().flatten().flatten();
    let asked = containers.filter_map(|container| container["resources"]["requests"].as_object());
    let names: BTreeSet<String> =
        asked.flat_map(|requests| requests.keys()).filter(|name| is_extended(name)).cloned().collect();
    for name in names {
        let wanted = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
        let mut all = tolerations(pod).to_vec();
        let same = |toleration: &&mut Value| {
            ["key", "operator", "effect", "value"].iter().all(|field| text(toleration, field) == text(&wanted, field))
        };
        let known: Vec<&mut Value> = all.iter_mut().filter(same).collect();
        if known.iter().any(|toleration| **toleration == wanted) {
            continue;
        }
        if known.is_empty() {
            all.push(wanted);
        } else {
            known.into_iter().for_each(|toleration| toleration.clone_from(&wanted));
        }
        pod.set(&["spec", "tolerations"], all);
    }
    Ok(())
}

/// `IsExtendedResourceName`
fn is_extended(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    !native && !name.starts_with("requests.") && names::label_key(&format!("requests.{name}")).is_empty()
}

const RESTRICTION: &str = "PodTolerationRestriction";
/// What `PodTolerationRestriction` is told.
const CONFIGURATION: Kind =
    Kind { name: "Configuration", groups: &["podtolerationrestriction.admission.k8s.io"], strict: false };
const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/// `PodTolerationRestriction`: what pods tolerate where their namespace or the cluster says so, and at most.
pub(super) struct Restriction {
    defaults: Vec<Value>,
    allowed: Vec<Value>,
}

impl Restriction {
    /// As the files of a cluster tell it.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn new(files: &PluginFiles) -> Result<Self, String> {
        let object = files.decoded(RESTRICTION, &CONFIGURATION)?.unwrap_or_default();
        let list = |field: &str| object.at(&[field]).and_then(Value::as_array).cloned().unwrap_or_default();
        let faults: Vec<String> =
            ["default", "whitelist"].into_iter().flat_map(|field| faults(field, list(field))).collect();
        if !faults.is_empty() {
            return Err(format!("invalid config: {}", aggregate(faults)));
        }
        Ok(Self { defaults: list("default"), allowed: list("whitelist") })
    }
}

impl OfPods for Restriction {
    const NAME: &'static str = RESTRICTION;
    const OPERATIONS: &'static [Operation] = WRITES;

    fn admit(&self, attributes: &Attributes<'_>, pod: &mut Object) -> Result<(), Status> {
        let mut more = Vec::new();
        if attributes.operation == Operation::Create {
            more = of_namespace(attributes, DEFAULTS)?.unwrap_or_else(|| self.defaults.clone());
        }
        if pod.at(&["spec"]).is_some_and(|spec| quality(spec) != QosClass::BestEffort) {
            more.push(
                json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}),
            );
        }
        if !more.is_empty() {
            let all = [tolerations(pod), &more].concat();
            pod.set(&["spec", "tolerations"], merged(&all));
        }
        self.check(attributes, pod)
    }

    fn check(&self, attributes: &Attributes<'_>, pod: &Object) -> Result<(), Status> {
        let given = tolerations(pod);
        if given.is_empty() {
            return Ok(());
        }
        let own = of_namespace(attributes, ALLOWED)?;
        let scope = if own.is_some() { "namespace" } else { "cluster" };
        let allowed = own.as_ref().unwrap_or(&self.allowed);
        let fits = |toleration: &Value| allowed.iter().any(|wide| covers(wide, toleration));
        if allowed.is_empty() || given.iter().all(fits) {
            return Ok(());
        }
        Err(plain_failure(format!(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its {scope} whitelist"
        )))
    }
}

fn is_meant(attributes: &Attributes<'_>) -> bool {
    is(attributes, "", "pods", "") && WRITES.contains(&attributes.operation)
}

fn text<'a>(toleration: &'a Value, field: &str) -> &'a str {
    toleration.get(field).and_then(Value::as_str).unwrap_or("")
}

fn tolerations(pod: &Object) -> &[Value] {
    pod.at(&["spec", "tolerations"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What is wrong with a list of tolerations, as it would be in a pod.
fn faults(field: &str, list: Vec<Value>) -> Vec<String> {
    let pod = Object::from_value(json!({"spec": {"tolerations": list}})).unwrap_or_default();
    let errors = kinds::of("", "pods").errors("", &pod, None);
    let of_list = errors.iter().filter(|error| error.path.as_str().starts_with("spec.tolerations"));
    let place = format!("podtolerationrestriction.{field}");
    of_list.map(|error| error.to_string().replace("spec.tolerations", &place)).collect()
}

/// What an annotation of the namespace says; none if it is not there (`extractNSTolerations`).
fn of_namespace(attributes: &Attributes<'_>, annotation: &str) -> Result<Option<Vec<Value>>, Status> {
    let namespace = namespace::of(attributes)?;
    match namespace.at(&["metadata", "annotations", annotation]).and_then(Value::as_str) {
        None => Ok(None),
        Some("") => Ok(Some(Vec::new())),
        Some(given) => {
            let parsed: Result<Vec<Toleration>, _> = serde_json::from_str(given);
            let parsed = parsed.map_err(|error| plain_failure(error.to_string()))?;
            Ok(Some(parsed.into_iter().filter_map(|toleration| serde_json::to_value(toleration).ok()).collect()))
        }
    }
}

/// A toleration as an annotation has it.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Toleration {
    #[serde(skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    operator: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    toleration_seconds: Option<i64>,
}

/// Without those that another covers (`MergeTolerations`).
fn merged(all: &[Value]) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for (at, toleration) in all.iter().enumerate() {
        let is_covered = kept.iter().any(|wide| covers(wide, toleration));
        let comes = all[at + 1..].iter().any(|wide| wide != toleration && covers(wide, toleration));
        if !is_covered && !comes {
            kept.push(toleration.clone());
        }
    }
    kept
}

/// Whether one tolerates all that another does (`isSuperset`).
fn covers(wide: &Value, narrow: &Value) -> bool {
    if wide == narrow {
        return true;
    }
    let (key, operator, effect) = (text(wide, "key"), text(wide, "operator"), text(wide, "effect"));
    if text(narrow, "key") != key && !(key.is_empty() && operator == "Exists") {
        return false;
    }
    if text(narrow, "effect") != effect && !effect.is_empty() {
        return false;
    }
    let seconds = |toleration: &Value| toleration["tolerationSeconds"].as_i64();
    if effect == "NoExecute"
        && let Some(longest) = seconds(wide)
        && seconds(narrow).is_none_or(|seconds| seconds > longest)
    {
        return false;
    }
    match operator {
        "Equal" | "" => text(narrow, "operator") == "Equal" && text(narrow, "value") == text(wide, "value"),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_toleration_covers_another() {
        let equal = |key: &str, value: &str, effect: &str| json!({"key": key, "operator": "Equal", "value": value, "effect": effect});
        let exists = |key: &str, effect: &str| json!({"key": key, "operator": "Exists", "effect": effect});
        let cases = [
            (exists("", ""), equal("a", "b", "NoSchedule"), true),
            (exists("a", ""), equal("a", "b", "NoSchedule"), true),
            (exists("a", "NoExecute"), equal("a", "b", "NoSchedule"), false),
            (exists("b", ""), equal("a", "b", "NoSchedule"), false),
            (equal("a", "b", ""), equal("a", "b", "NoSchedule"), true),
            (equal("a", "c", ""), equal("a", "b", "NoSchedule"), false),
            (equal("a", "b", ""), exists("a", "NoSchedule"), false),
            (
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute"}),
                false,
            ),
            (
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}),
                json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5, "value": ""}),
                true,
            ),
        ];
        for (wide, narrow, expected) in &cases {
            assert_eq!(covers(wide, narrow), *expected, "{wide} {narrow}");
        }
        let all = [
            equal("a", "b", "NoSchedule"),
            exists("c", ""),
            exists("a", ""),
            equal("c", "d", "NoExecute"),
            exists("a", ""),
        ];
        assert_eq!(merged(&all), [exists("c", ""), exists("a", "")]);
    }

    #[test]
    fn devices_are_told_from_what_every_node_has() {
        for (name, expected) in [
            ("example.com/gpu", true),
            ("cpu", false),
            ("memory", false),
            ("hugepages-2Mi", false),
            ("kubernetes.io/batch-cpu", false),
            ("x.kubernetes.io/y", false),
            ("requests.example.com/gpu", false),
            ("example.com/a b", false),
        ] {
            assert_eq!(is_extended(name), expected, "{name}");
        }
    }

    #[test]
    fn a_bad_configuration_is_refused() {
        let new = |lists: &str| {
            let kind = "apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1\nkind: Configuration\n";
            Restriction::new(&PluginFiles::default().with(RESTRICTION, format!("{kind}{lists}"))).err()
        };
        assert_eq!(new("default: [{key: a, operator: Exists}]\nwhitelist: []\n"), None);
        let error = new("whitelist: [{key: a, operator: Is}]\n").unwrap();
        assert!(error.starts_with("invalid config: podtolerationrestriction.whitelist[0].operator: "), "{error}");
    }
}
