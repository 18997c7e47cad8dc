//! Templates that the reference's own code has hashed: three by hand, others filled at random, one for each sort of quantity.

use super::*;

const CASES: &str = include_str!("template-hashes.json");

fn cases() -> Vec<Value> {
    serde_json::from_str(CASES).unwrap()
}

#[test]
fn templates_hash_as_the_reference_hashes_them() {
    for case in cases() {
        let template = &case["template"];
        assert_eq!(of_template_json(template, None), case["hash"], "{template}");
        assert_eq!(of_template_json(template, Some(3)), case["hashAfterThreeCollisions"], "{template}");
    }
}

#[test]
fn a_typed_template_is_the_same() {
    // A reference that is required and null is no template that the server lets through.
    let lets_through = |case: &Value| !case["template"].to_string().contains("\"secretRef\":null");
    for case in cases().into_iter().filter(lets_through) {
        let template: PodTemplateSpec = serde_json::from_value(case["template"].clone()).unwrap();
        assert_eq!(of_template(&template, None).unwrap(), case["hash"], "{}", case["template"]);
    }
}

#[test]
fn revisions_hold_and_hash_what_the_references_do() {
    for case in cases() {
        let data = revision_data_json(&case["template"]);
        if let Some(patch) = case["patch"].as_str() {
            assert_eq!(go::json_text(&data), patch);
        }
        assert_eq!(of_revision(&data, 0), case["revisionHash"], "{}", case["template"]);
    }
}
