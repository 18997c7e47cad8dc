//! Who serves what, and in which order it is told.

use serde_json::json;

use super::*;

fn stored(name: &str, priorities: (i64, i64), more: Value) -> ApiService {
    let (version, group) = name.split_once('.').unwrap();
    let mut object = json!({"metadata": {"name": name}, "spec": {"group": group, "version": version,
        "groupPriorityMinimum": priorities.0, "versionPriority": priorities.1}});
    for (path, value) in more.as_object().unwrap() {
        *object.pointer_mut(path).unwrap() = value.clone();
    }
    ApiService::of(&Object::from_value(object).unwrap())
}

fn remote(name: &str, priorities: (i64, i64)) -> ApiService {
    let (version, group) = name.split_once('.').unwrap();
    let spec = json!({"group": group, "version": version, "groupPriorityMinimum": priorities.0,
        "versionPriority": priorities.1, "service": {"namespace": "n", "name": "s"}, "caBundle": "UEVN"});
    stored(name, priorities, json!({"/spec": spec}))
}

fn labelled(name: &str, value: &str) -> ApiService {
    stored(name, (1000, 100), json!({"/metadata": {"name": name, "labels": {MANAGED: value}}}))
}

#[test]
fn what_an_api_service_says() {
    let found = remote("v1.ex.com", (1, 2));
    let service = found.remote.unwrap();
    assert_eq!((service.service.port, service.ca_bundle.as_slice(), service.insecure), (443, &b"PEM"[..], false));
    assert_eq!((service.path(), service.service.host()), ("/apis/ex.com/v1".into(), "s.n.svc".into()));
    assert!(!service.available);
    assert_eq!((found.managed, found.priorities), (Managed::No, Priorities { group: 1, version: 2 }));
    assert_eq!(labelled("v1.a", "onstart").managed, Managed::OnStart);
    assert_eq!(labelled("v1.a", "true").managed, Managed::Always);
    assert_eq!(labelled("v1.a", "false").managed, Managed::No);
    assert!(labelled("v1.a", "true").remote.is_none());
    for (conditions, expected) in [
        (json!([]), false),
        (json!([{"type": "Other", "status": "True"}, {"type": "Available", "status": "True"}]), true),
        (json!([{"type": "Available", "status": "Unknown"}]), false),
    ] {
        let object = Object::from_value(json!({"status": {"conditions": conditions}})).unwrap();
        assert_eq!(is_available(&object), expected);
    }
}

#[test]
fn paths_are_those_of_a_version_and_no_other() {
    let table = GroupVersions::new(vec![remote("v1.ex.com", (1, 1)), labelled("v2.ex.com", "true")]);
    for (path, expected) in [
        ("/apis/ex.com/v1", true),
        ("/apis/ex.com/v1/", true),
        ("/apis/ex.com/v1/namespaces/a/things/b", true),
        ("/apis/ex.com/v10/things", false),
        ("/apis/ex.com/v2/things", false),
        ("/apis/ex.com", false),
        ("/apis", false),
        ("/api/v1/pods", false),
        ("//apis/ex.com/v1", false),
        ("/openapi/v3/apis/ex.com/v1", false),
        ("", false),
    ] {
        assert_eq!(table.remote_at(path).is_some(), expected, "{path}");
    }
    let old = GroupVersions::new(vec![remote("v1.", (1, 1))]);
    assert!(old.remote_at("/api/v1/pods").is_some() && old.remote_at("/api").is_some());
    assert_eq!(old.remotes()[0].path(), "/api/v1");
}

#[test]
fn the_reference_has_the_order_of_its_own_groups() {
    let catalogue = Catalogue::builtin();
    let groups = catalogue.groups().into_iter().filter(|group| !group.is_empty());
    let versions = |group| catalogue.versions(group).into_iter().map(str::to_string).collect::<Vec<_>>();
    let expected: Vec<_> = groups.map(|group| (group.to_string(), versions(group))).collect();
    // Whether there are APIServices of them yet or not.
    assert_eq!(GroupVersions::default().ordered(&catalogue), expected);
    let stored = bootstrap::of_group(GROUP).iter().map(|(_, object)| ApiService::of(object)).collect();
    assert_eq!(GroupVersions::new(stored).ordered(&catalogue), expected);
}

#[test]
fn groups_and_versions_are_in_order_of_their_priorities() {
    let table = GroupVersions::new(vec![
        remote("v1beta1.ex.com", (100, 50)),
        remote("v2.ex.com", (3000, 10)),
        remote("v1.ex.com", (100, 50)),
        stored("v1.manual.com", (3000, 1), json!({})),
        labelled("v1.gone.com", "true"),
        labelled("v1.old.com", "onstart"),
    ]);
    let found = table.ordered(&Catalogue::default());
    let found: Vec<String> =
        found.into_iter().map(|(group, versions)| format!("{group} {}", versions.join(" "))).collect();
    assert_eq!(found, ["manual.com v1", "ex.com v1 v1beta1 v2", "old.com v1"]);
}
