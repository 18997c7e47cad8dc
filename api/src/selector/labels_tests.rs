//! Tests of label selectors.

use serde_json::json;

use super::*;

const LABELS: &[(&str, &str)] = &[("app", "web"), ("tier", ""), ("n", "5")];

fn check(text: &str, canonical: &str, matches: bool) {
    let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(selector.to_string(), canonical, "{text}");
    assert_eq!(selector.matches(LABELS), matches, "{text}");
}

#[test]
fn text_form() {
    check("", "", true);
    check("app=web", "app=web", true);
    check("app==web", "app==web", true);
    check("app!=web", "app!=web", false);
    check("app", "app", true);
    check("!app", "!app", false);
    check("!x", "!x", true);
    check("app in (web, db)", "app in (db,web)", true);
    check("app notin (web)", "app notin (web)", false);
    check("x notin (a)", "x notin (a)", true);
    check("x in (a)", "x in (a)", false);
    check("tier in (,a)", "tier in (,a)", true);
    check("tier in ()", "tier in ()", true);
    check("tier=", "tier=", true);
    check("tier=,app=web", "app=web,tier=", true);
    check("n>4,n<6", "n>4,n<6", true);
    check("n>5", "n>5", false);
    check("app>5", "app>5", false);
    check("in in (in)", "in in (in)", false);
    check(" app = web , tier ", "app=web,tier", true);
}

fn check_error(text: &str, expect: &str) {
    assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), expect, "{text}");
}

#[test]
fn errors() {
    check_error(",", "found ',', expected: !, identifier, or 'end of string'");
    check_error("a,", "found '', expected: identifier after ','");
    check_error("a in", "unable to parse requirement: found '' expected: '('");
    check_error("a in (b", "unable to parse requirement: found '', expected: ',' or ')'");
    check_error("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check_error("a=b c", "found 'c', expected: ',' or 'end of string'");
    check_error("a=(", "unable to parse requirement: found '(', expected: identifier");
    check_error("!", "unable to parse requirement: found '', expected: identifier");
    check_error(
        "a>b",
        "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
    );
    check_error(
        "-a",
        "unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of alphanumeric characters, \
         '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or \
         '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
    check_error(
        "a=-",
        "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string or \
         consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character \
         (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
}

/// What a selector that is an object says of labels, as JSON, typed, and asked once.
fn check_object(selector: Value, matches: bool) {
    assert_eq!(LabelSelector::from_object(Some(&selector)).unwrap().matches(LABELS), matches, "{selector}");
    let typed: Option<meta::LabelSelector> = serde_json::from_value(selector.clone()).unwrap();
    assert_eq!(LabelSelector::from_typed(typed.as_ref()).unwrap().matches(LABELS), matches, "{selector}");
    assert_eq!(typed.is_some_and(|typed| selects(&typed, LABELS)), matches, "{selector}");
}

fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": key, "operator": operator, "values": values}]})
}

#[test]
fn object_form() {
    check_object(Value::Null, false);
    check_object(json!({}), true);
    check_object(json!({"matchLabels": {"app": "web"}}), true);
    check_object(json!({"matchLabels": {"app": "db"}}), false);
    check_object(json!({"matchLabels": {"app": "web", "x": "y"}}), false);
    check_object(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]}), false);
    check_object(expression("app", "In", &["a", "web"]), true);
    check_object(expression("x", "In", &["a"]), false);
    check_object(expression("app", "NotIn", &["a"]), true);
    check_object(expression("app", "NotIn", &["a", "web"]), false);
    check_object(expression("x", "NotIn", &["a"]), true);
    check_object(expression("tier", "Exists", &[]), true);
    check_object(expression("x", "Exists", &[]), false);
    check_object(expression("app", "DoesNotExist", &[]), false);
    check_object(expression("x", "DoesNotExist", &[]), true);
}

#[test]
fn what_is_no_selector_selects_nothing() {
    let check = |selector: Value, expect: &str| {
        let error = LabelSelector::from_object(Some(&selector)).unwrap_err().to_string();
        assert!(error.contains(expect), "{selector}: {error}");
        let typed: meta::LabelSelector = serde_json::from_value(selector.clone()).unwrap();
        assert_eq!(LabelSelector::from_typed(Some(&typed)).unwrap_err().to_string(), error, "{selector}");
        assert!(!selects(&typed, LABELS), "{selector}");
    };
    check(expression("app", "Is", &[]), "\"Is\" is not a valid label selector operator");
    check(expression("app", "Gt", &["1"]), "\"Gt\" is not a valid label selector operator");
    check(expression("x", "NotIn", &[]), "values set can't be empty");
    check(expression("app", "Exists", &["web"]), "values set must be empty");
    check(expression("-x", "DoesNotExist", &[]), "key: Invalid value: \"-x\": name part must consist of");
    check(expression("x", "NotIn", &["a", "-"]), "values[1][x]: Invalid value: \"-\": a valid label must be");
}

#[test]
fn operators_of_nodes() {
    let check = |operator: &str, found: Option<&str>, values: &[&str], expected: bool| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        let holds = Operator::of_node_selector(operator).is_some_and(|operator| operator.holds(found, &values));
        assert_eq!(holds, expected, "{found:?} {operator} {values:?}");
    };
    check("Gt", Some("5"), &["4"], true);
    check("Gt", Some("5"), &["5"], false);
    check("Lt", Some("5"), &["6"], true);
    check("Lt", Some("a"), &["6"], false);
    check("Lt", None, &["6"], false);
    check("Lt", Some("5"), &[], false);
    check("NotIn", None, &["6"], true);
    check("=", Some("5"), &["5"], false);
}
