//! What needs nobody, and what fails as long as nobody is asked.

use api::catalogue::Catalogue;
use serde_json::{Value, json};
use store::Memory;

use super::*;
use crate::Config;

/// The rows of a definition of two versions, of which the first is stored.
fn rows(strategy: &str) -> Vec<Resource> {
    let version = |name: &str, own: &str| {
        json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"shared": {"type": "string"}, own: {"type": "string"}}}}})
    };
    let names = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"});
    let definition = json!({"metadata": {"name": "gadgets.ex.com"},
        "spec": {"group": "ex.com", "scope": "Namespaced", "names": names.clone(), "conversion": {"strategy": strategy},
            "versions": [version("v1", "one"), version("v2", "two")]},
        "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]}});
    api::catalogue::custom::rows(&Object::from_value(definition).unwrap()).unwrap()
}

fn row<'r>(rows: &'r [Resource], version: &str) -> &'r Resource {
    rows.iter().find(|row| row.version == version).unwrap()
}

fn gadget(version: &str, name: &str, fields: Value) -> Object {
    let mut object = json!({"apiVersion": format!("ex.com/{version}"), "kind": "Gadget", "metadata": {"name": name}});
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Object::from_value(object).unwrap()
}

fn entry(object: &Object) -> Entry {
    Entry::new(format!("/registry/ex.com/gadgets/a/{}", object.name()).into(), object.encode(), 1, 2)
}

fn registry() -> Registry {
    Registry::new(Config::new(Memory::new()), Catalogue::default())
}

#[tokio::test]
async fn many_are_converted_in_their_order() {
    let (registry, rows) = (registry(), rows("None"));
    let fields = json!({"shared": "s", "one": "1", "two": "2"});
    let objects: Vec<Object> =
        ["v2", "v1", "v2"].iter().map(|version| gadget(version, version, fields.clone())).collect();
    let converted = registry.convert(row(&rows, "v2"), objects.clone(), "ex.com/v2").await.unwrap();
    assert_eq!(converted[0], objects[0], "what is in the version already stays as it is");
    assert_eq!(converted[1], gadget("v2", "v1", json!({"shared": "s", "two": "2"})));
    assert_eq!(converted[2], objects[2]);
    // What was stored under another version is put right, and so is what no schema knows.
    let stored = [gadget("v1", "a", json!({"one": "1"})), gadget("v2", "b", json!({"two": "2"}))];
    let unknown = gadget("v1", "c", json!({"old": true}));
    let entries = stored.iter().chain([&unknown]).map(entry).collect();
    let right = registry.entries(row(&rows, "v1"), entries).await.unwrap();
    let right: Vec<Object> = right.iter().map(|entry| Object::parse(&entry.value()).unwrap()).collect();
    assert_eq!(right, [stored[0].clone(), gadget("v1", "b", json!({})), gadget("v1", "c", json!({}))]);
}

#[tokio::test]
async fn who_has_to_be_asked_is_asked_for_another_version_only() {
    let (registry, rows) = (registry(), rows("Webhook"));
    let (one, two) = (row(&rows, "v1"), row(&rows, "v2"));
    let object = gadget("v1", "a", json!({"one": "1"}));
    let stored = entry(&object);
    assert!(matches!(registry.entry(one, &stored).await, Ok(Cow::Borrowed(_))));
    let failed = |status: Status| assert!(status.message.starts_with("conversion webhook for ex.com/v1"), "{status:?}");
    failed(registry.entry(two, &stored).await.unwrap_err());
    failed(registry.entries(two, vec![stored.clone()]).await.unwrap_err());
    failed(registry.read(two, &stored).await.unwrap_err());
    // A write that needs its object in another version finds out so, and fails with it.
    let mut rounds = 0;
    let made = registry.with_conversions(one, |conversions| {
        rounds += 1;
        assert_eq!(conversions.get(one, &object, "ex.com/v1").as_ref(), Some(&object));
        conversions.get(one, &object, "ex.com/v2")
    });
    failed(made.await.unwrap_err());
    assert_eq!(rounds, 1);
    assert_eq!(
        registry.with_conversions(one, |conversions| conversions.get(one, &object, "ex.com/v1")).await.unwrap(),
        Some(object)
    );
}
