//! `PodNodeSelector`: pods of a namespace run where the namespace says, and nowhere that the cluster does not allow it.

use std::collections::BTreeMap;

use api::field::{FieldError, Path};
use api::{Object, Status, names};
use serde_json::Value;

use super::files::PluginFiles;
use super::{Attributes, OfPods, Operation, namespace};
use crate::registry::create::plain_failure;

const NAME: &str = "PodNodeSelector";
const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";
/// The entry that holds for namespaces that say nothing.
const DEFAULT: &str = "clusterDefaultNodeSelector";

type Labels = BTreeMap<String, String>;

/// The plugin: selectors by namespace, and the default.
pub(super) struct PodNodeSelector(Labels);

impl PodNodeSelector {
    /// As the files of a cluster tell it.
    ///
    /// # Errors
    /// If they hold anything but texts.
    pub(super) fn new(files: &PluginFiles) -> Result<Self, String> {
        let told = files.plain(NAME)?.and_then(|mut file| file.get_mut("podNodeSelectorPluginConfig").map(Value::take));
        match told {
            None | Some(Value::Null) => Ok(Self(Labels::new())),
            Some(told) => serde_json::from_value(told).map(Self).map_err(|error| error.to_string()),
        }
    }

    /// What the namespace asks for (`getNodeSelectorMap`).
    fn of_namespace(&self, attributes: &Attributes<'_>) -> Result<Labels, Status> {
        let namespace = namespace::of(attributes)?;
        let own = namespace.at(&["metadata", "annotations", ANNOTATION]).and_then(Value::as_str);
        parse(own.or_else(|| self.0.get(DEFAULT).map(String::as_str)).unwrap_or(""))
    }
}

impl OfPods for PodNodeSelector {
    const NAME: &'static str = NAME;
    const OPERATIONS: &'static [Operation] = &[Operation::Create];

    fn admit(&self, attributes: &Attributes<'_>, pod: &mut Object) -> Result<(), Status> {
        let mut selector = self.of_namespace(attributes)?;
        refuse_conflict(pod, &selector)?;
        selector.extend(selector_of(pod));
        if !selector.is_empty() {
            let selector: serde_json::Map<String, Value> = selector.into_iter().map(|(k, v)| (k, v.into())).collect();
            pod.set(&["spec", "nodeSelector"], selector);
        }
        self.check(attributes, pod)
    }

    fn check(&self, attributes: &Attributes<'_>, pod: &Object) -> Result<(), Status> {
        refuse_conflict(pod, &self.of_namespace(attributes)?)?;
        let allowed = parse(self.0.get(attributes.namespace).map_or("", String::as_str))?;
        let within = selector_of(pod).iter().all(|(key, value)| allowed.get(key) == Some(value));
        if allowed.is_empty() || within {
            return Ok(());
        }
        Err(refused(pod, "pod node label selector labels conflict with its namespace whitelist"))
    }
}

fn refused(pod: &Object, why: &str) -> Status {
    Status::forbidden("", "pods", pod.name(), why)
}

fn refuse_conflict(pod: &Object, selector: &Labels) -> Result<(), Status> {
    let of_pod = selector_of(pod);
    let conflicts = selector.iter().any(|(key, value)| of_pod.get(key).is_some_and(|other| other != value));
    if conflicts {
        return Err(refused(pod, "pod node label selector conflicts with its namespace node label selector"));
    }
    Ok(())
}

fn selector_of(pod: &Object) -> Labels {
    let selector = pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object);
    selector.into_iter().flatten().map(|(key, value)| (key.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

/// `a=b,c=d` (`ConvertSelectorToLabelsMap`).
fn parse(text: &str) -> Result<Labels, Status> {
    let mut labels = Labels::new();
    for label in text.split(',').filter(|_| !text.is_empty()) {
        let parts: Vec<&str> = label.split('=').collect();
        let [key, value] = parts[..] else {
            return Err(plain_failure(format!("invalid selector: [{}]", parts.join(" "))));
        };
        let (key, value) = (key.trim(), value.trim());
        let invalid = |path: &Path, text: &str, faults: Vec<String>| {
            plain_failure(FieldError::invalid(path, text, faults.join("; ")).to_string())
        };
        let faults = names::label_key(key);
        if !faults.is_empty() {
            return Err(invalid(&Path::root(), key, faults));
        }
        let faults = names::label_value(value);
        if !faults.is_empty() {
            return Err(invalid(&Path::root().child(key), value, faults));
        }
        labels.insert(key.into(), value.into());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_strictly() {
        let parsed = |text: &str| parse(text).map_err(|status| status.message);
        assert_eq!(parsed("").unwrap(), Labels::new());
        assert_eq!(parsed("a = b , c=").unwrap(), Labels::from([("a".into(), "b".into()), ("c".into(), "".into())]));
        assert_eq!(parsed("a=b=c").unwrap_err(), "invalid selector: [a b c]");
        assert_eq!(parsed("a").unwrap_err(), "invalid selector: [a]");
        assert!(parsed("a b=c").unwrap_err().starts_with("<nil>: Invalid value: \"a b\": name part must consist"));
        assert!(parsed("a=b c").unwrap_err().contains("Invalid value: \"b c\": a valid label must be"));
    }
}
