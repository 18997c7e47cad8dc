//! The documents equal those that the reference serves.

use serde_json::Value;

use crate::catalogue::Catalogue;

#[track_caller]
fn check(name: &str, document: Value) {
    let expected: Value = serde_json::from_str(&crate::reference::text(&format!("discovery/{name}.json"))).unwrap();
    let lines = |value: &Value| format!("{value:#}").lines().map(str::to_string).collect::<Vec<_>>();
    let (got, wanted) = (lines(&document), lines(&expected));
    let first = got.iter().zip(&wanted).position(|(a, b)| a != b).unwrap_or(0);
    assert!(document == expected, "{name} from line {first}: {:#?} is not {:#?}", &got[first..], &wanted[first..]);
}

/// Every group but the core with its versions, in the order of the catalogue.
fn groups(catalogue: &Catalogue) -> Vec<(String, Vec<String>)> {
    let versions = |group| catalogue.versions(group).into_iter().map(str::to_string).collect();
    let groups = catalogue.groups().into_iter().filter(|group| !group.is_empty());
    groups.map(|group| (group.to_string(), versions(group))).collect()
}

#[test]
fn documents_are_those_of_the_reference() {
    let catalogue = Catalogue::builtin();
    check("api", super::core_versions(&catalogue, "192.0.2.2:16443"));
    check("apis", super::group_list(&groups(&catalogue)));
    check("api-aggregated", super::aggregated(&catalogue, true, "v2"));
    check("apis-aggregated", super::aggregated(&catalogue, false, "v2"));
    for group in catalogue.groups() {
        for version in catalogue.versions(group) {
            let name = if group.is_empty() { version.to_string() } else { format!("{group}__{version}") };
            check(&name, super::resources(&catalogue, group, version).unwrap());
        }
    }
}

#[test]
fn what_is_not_served_has_no_document() {
    let catalogue = Catalogue::builtin();
    assert!(super::resources(&catalogue, "apps", "v2").is_none());
    let document = super::group_of("apps", &["v1".into(), "v1beta1".into()]);
    assert_eq!(document["preferredVersion"]["groupVersion"], "apps/v1");
}
