//! Rules against a schema: what the reference says when a definition with them is created.

use serde_json::{Value, json};

use crate::crd::schema;
use crate::field::Path;

/// One case a line: where in the schema, the rules, and the errors of the reference.
const CASES: &str = include_str!("compile.jsonl");
const ROOT: &str = "spec.validation.openAPIV3Schema";
const PROPERTIES: &str = include_str!("properties.json");

/// What is said of a schema, as path and message.
fn said(schema: &Value) -> Vec<(String, String)> {
    let mut errors = crate::field::ErrorList::new();
    schema::validate(schema, false, false, &Path::new(ROOT), &mut errors);
    errors.iter().map(|error| (error.path.as_str()[ROOT.len()..].to_string(), error.body())).collect()
}

#[test]
fn rules_compile_as_on_the_reference() {
    let properties: Value = serde_json::from_str(PROPERTIES).unwrap();
    let mut wrong = Vec::new();
    let (mut all, mut known) = (0, 0);
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mut of_spec = json!({"type": "object", "properties": properties});
        let mut place = &mut of_spec;
        for name in case["at"].as_str().unwrap().split('/').filter(|name| !name.is_empty()) {
            place = &mut place[name];
        }
        place["x-kubernetes-validations"] = case["rules"].clone();
        let actual = said(&json!({"type": "object", "properties": {"spec": of_spec}}));
        let expected: Vec<(String, String)> = serde_json::from_value(case["errors"].clone()).unwrap();
        all += 1;
        if actual == expected {
            continue;
        }
        match case["differs"].as_str() {
            Some(why) => {
                assert!(!why.is_empty());
                known += 1;
            }
            None => wrong.push(format!("{}\n  expected {expected:?}\n  actual   {actual:?}", case["rules"])),
        }
    }
    assert!(wrong.is_empty(), "{} of {all} differ ({known} known):\n{}", wrong.len(), wrong.join("\n"));
}
