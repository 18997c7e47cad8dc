//! What is stored here and has no effect yet, though it has one in the reference. Whoever writes it is told so.

use api::catalogue::Resource;

/// Group, plural, and what does not happen.
const UNENFORCED: &[(&str, &str, &str)] = &[
    ("autoscaling", "horizontalpodautoscalers", "nothing is scaled"),
    ("networking.k8s.io", "networkpolicies", "no traffic is restricted"),
    ("storage.k8s.io", "csidrivers", "the node mounts no volumes of CSI drivers"),
];

/// What the client is told of an object of this kind, which is stored but has no effect, or not all of it.
pub(super) fn warning(resource: &Resource) -> Option<String> {
    if resource.custom {
        return None;
    }
    let (.., consequence) =
        UNENFORCED.iter().find(|row| row.0 == resource.storage_group && row.1 == resource.plural)?;
    Some(format!("{} is stored but not enforced yet: {consequence}", resource.kind))
}

#[cfg(test)]
mod tests {
    use api::catalogue::Catalogue;

    use super::*;

    fn told(group: &str, version: &str, plural: &str) -> String {
        let catalogue = Catalogue::builtin();
        let resource = catalogue.get(group, version, plural).unwrap();
        warning(resource).unwrap_or_default()
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
        assert_eq!(told("resource.k8s.io", "v1", "resourceclaims"), "");
        let policy = told("networking.k8s.io", "v1", "networkpolicies");
        assert_eq!(policy, "NetworkPolicy is stored but not enforced yet: no traffic is restricted");
    }
}
