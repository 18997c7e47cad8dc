//! Policies whose variables name each other.

use serde_json::{Value, json};

use super::tests::verdict;

/// What a policy says whose variables are each made of the one before.
fn said(count: usize, first: &str, next: &str, last: &str) -> String {
    let name = |number: usize| format!("variables.v{number}");
    let variable = |number: usize| {
        let expression: String = if number == 0 { first.into() } else { next.replace('_', &name(number - 1)) };
        json!({"name": format!("v{number}"), "expression": expression})
    };
    let variables: Vec<Value> = (0..count).map(variable).collect();
    let validations = json!([{"expression": last.replace('_', &name(count - 1))}]);
    format!("{:?}", verdict(json!({"variables": variables, "validations": validations}), None))
}

#[test]
fn no_stack_is_overrun() {
    let long = said(400, "object.spec.replicas", "_ + 1", "_ == 402");
    assert_eq!(long, said(3, "object.spec.replicas", "_ + 1", "_ == 5"), "both are fine");
    let longer = said(2_000, "object.spec.replicas", "_ + 1", "_ == 2002");
    assert!(longer.contains("too many variables each name the one before"), "{longer}");
}

#[test]
fn no_memory_is_overrun() {
    let small = said(8, "[0, 1]", "[_, _]", "_.size() == 2");
    assert!(!small.contains("too large"), "{small}");
    let large = said(22, "[0, 1]", "[_, _]", "_.size() == 2");
    assert!(large.contains("too large"), "{large}");
}
