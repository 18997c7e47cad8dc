//! What is to be done about APIServices.

use std::sync::Arc;

use api::Object;
use api::catalogue::Resource;
use serde_json::Value;

use super::*;

fn stored(name: &str, label: &str, priority: i64) -> ApiService {
    let (version, group) = name.split_once('.').unwrap();
    let spec = json!({"group": group, "version": version, "groupPriorityMinimum": priority, "versionPriority": 100});
    let labels = if label.is_empty() { Value::Null } else { json!({MANAGED: label}) };
    let object = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
    ApiService::of(&Object::from_value(object).unwrap())
}

fn catalogue(custom: &[(&str, &str)]) -> Catalogue {
    let builtin = Catalogue::builtin();
    let model = builtin.get("apps", "v1", "deployments").unwrap();
    let rows = custom.iter().map(|(group, version)| {
        Arc::new(Resource {
            group: (*group).into(),
            version: (*version).into(),
            custom: true,
            ..Resource::clone(model)
        })
    });
    builtin.with(rows)
}

#[test]
fn each_version_of_custom_resources_has_one() {
    let version = |group: &str, version: &str| (group.to_string(), version.to_string());
    let table = GroupVersions::new(vec![
        stored("v1.kept.com", "true", 1000),
        stored("v1.bent.com", "true", 7),
        stored("v1.taken.com", "", 7),
        stored("v1.gone.com", "true", 1000),
        stored("v1.manual.com", "", 1000),
        stored("v1.removed.k8s.io", "onstart", 1000),
        stored("v1.apps", "onstart", 17_800),
        stored("v1.apiregistration.k8s.io", "true", 1000),
    ]);
    let custom = [("kept.com", "v1"), ("bent.com", "v1"), ("taken.com", "v1"), ("new.com", "v1"), ("new.com", "v2")];
    let found = changes(&table, &catalogue(&custom), false);
    let expected = [
        Change::Mend { name: "v1.bent.com".into(), version: version("bent.com", "v1") },
        Change::Make(version("new.com", "v1")),
        Change::Make(version("new.com", "v2")),
        Change::Remove { name: "v1.gone.com".into() },
    ];
    assert_eq!(found, expected);
    let first = changes(&table, &catalogue(&custom), true);
    assert_eq!(first.last(), Some(&Change::Remove { name: "v1.removed.k8s.io".into() }));
    assert_eq!(first.len(), expected.len() + 1);
}
