//! Objects with what a reference server of this version said of them: `tests/*.json` hold what was sent and, sorted, every
//! cause that was answered. The order within one object is not compared, because Go visits maps in any order.

use serde_json::Value;

use crate::Object;
use crate::decode::{FieldValidation, Target, decode_value};
use crate::{defaults, kinds};

/// A kind's plural.
fn plural(kind: &str) -> String {
    match kind {
        "Endpoints" => "endpoints".to_string(),
        other => format!("{}s", other.to_lowercase()),
    }
}

/// What is wrong with an object as it is sent, decoded and defaulted.
fn errors(sent: &Value, old: Option<&Object>) -> Vec<String> {
    let kind = sent["kind"].as_str().expect("a case has a kind");
    let target = Target::builtin("", "v1", kind).expect("the kind is known");
    let mut object = decode_value(sent.clone(), &target, FieldValidation::Ignore).expect("the case decodes").object;
    defaults::apply(&target.schema, &mut object);
    object.set(&["metadata", "namespace"], "core-diff");
    if kind == "Pod" {
        object.set(&["spec", "serviceAccountName"], "default");
    }
    // What the strategy and the allocator of services do before.
    let address = object.at(&["spec", "clusterIP"]).cloned();
    if let Some(address) = address.filter(|_| kind == "Service") {
        object.set(&["spec", "clusterIPs"], vec![address]);
    }
    let found = kinds::of("", &plural(kind)).errors("", &object, old);
    found.iter().map(|error| format!("{}: {}", error.path.as_str(), error.body())).collect()
}

fn check(cases: &str) {
    let cases: Vec<Value> = serde_json::from_str(cases).expect("the cases are JSON");
    let mut wrong = Vec::new();
    for case in &cases {
        let expected: Vec<&str> = case["errors"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let mut found = errors(&case["send"], None);
        found.sort_unstable();
        if found != expected {
            let missing: Vec<&&str> = expected.iter().filter(|text| !found.iter().any(|own| own == *text)).collect();
            let extra: Vec<&String> = found.iter().filter(|text| !expected.contains(&text.as_str())).collect();
            wrong.push(format!("{}\n  missing {missing:#?}\n  extra {extra:#?}", case["send"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Every case, for the test of names.
pub(super) fn all() {
    [pods, services, volumes, nodes, others].iter().for_each(|cases| cases());
}

#[test]
fn pods() {
    check(include_str!("pods.json"));
}

#[test]
fn services() {
    check(include_str!("services.json"));
}

#[test]
fn volumes() {
    check(include_str!("volumes.json"));
}

#[test]
fn nodes() {
    check(include_str!("nodes.json"));
}

#[test]
fn others() {
    check(include_str!("others.json"));
}
