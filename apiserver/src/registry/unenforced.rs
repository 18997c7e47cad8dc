//! What is stored here and has no effect yet, though it has one in the reference. Whoever writes it is told so.

use api::Object;
use api::catalogue::Resource;

/// Which objects of a kind a row is about.
enum When {
    /// All of them.
    Always,
    /// Those whose text at this path begins so.
    Begins(&'static [&'static str], &'static str),
}

/// Group, plural, which objects, and what does not happen.
const UNENFORCED: &[(&str, &str, When, &str)] = &[
    ("autoscaling", "horizontalpodautoscalers", When::Always, "nothing is scaled"),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        When::Begins(&["spec", "signerName"], "kubernetes.io/"),
        "no controller approves or signs it",
    ),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", When::Always, "requests are classified by it but not queued"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", When::Always, "its limits do not hold"),
    ("networking.k8s.io", "networkpolicies", When::Always, "no traffic is restricted"),
    ("storage.k8s.io", "csidrivers", When::Always, "the node mounts no volumes of CSI drivers"),
];

/// What the client is told of an object, in its storage version, that is stored but has no effect, or not all of it.
pub fn warning(resource: &Resource, new: &Object) -> Option<String> {
    if resource.custom {
        return None;
    }
    let of_kind = |row: &&(&str, &str, When, &str)| row.0 == resource.storage_group && row.1 == resource.plural;
    let (.., when, consequence) = UNENFORCED.iter().find(of_kind)?;
    let kind = &resource.kind;
    match when {
        When::Always => Some(format!("{kind} is stored but not enforced yet: {consequence}")),
        When::Begins(path, start) => {
            let begins = new.str_at(path).starts_with(start);
            begins.then(|| format!("{} is stored but not enforced yet: {consequence}", path.join(".")))
        }
    }
}

#[cfg(test)]
mod tests {
    use api::catalogue::Catalogue;

    use super::*;
    use serde_json::{Value, json};

    fn told(group: &str, version: &str, plural: &str, new: Value) -> String {
        let catalogue = Catalogue::builtin();
        let resource = catalogue.get(group, version, plural).unwrap();
        warning(resource, &Object::from_value(new).unwrap()).unwrap_or_default()
    }

    #[test]
    fn every_row_is_of_a_kind_that_is_served() {
        let catalogue = Catalogue::builtin();
        for (group, plural, ..) in UNENFORCED {
            assert!(catalogue.iter().any(|r| r.storage_group == *group && r.plural == *plural), "{group} {plural}");
        }
    }

    #[test]
    fn only_what_has_an_effect_elsewhere_is_told() {
        assert_eq!(told("resource.k8s.io", "v1", "resourceclaims", json!({})), "");
        let policy = told("networking.k8s.io", "v1", "networkpolicies", json!({}));
        assert_eq!(policy, "NetworkPolicy is stored but not enforced yet: no traffic is restricted");
    }
}
