//! Tests of YAML: a document and its JSON, or go-yaml's error.

use serde_json::{Value, json};

use super::parse;

#[track_caller]
fn check(yaml: &str, expected: Result<Value, &str>) {
    let got = parse(yaml.as_bytes(), &mut Vec::new()).and_then(|tree| tree.into_value());
    assert_eq!(got, expected.map_err(str::to_string), "{yaml:.200}");
}

#[test]
fn scalars_are_those_of_yaml_1_1() {
    check(
        "{a: yes, b: off, c: 0x10, d: 010, e: 1_000, f: 08, g: 1e3, h: .5, i: ~, j: '1', k: 2001-01-01, l: +5, m: 0b11}",
        Ok(json!({"a": true, "b": false, "c": 16, "d": 8, "e": 1000, "f": 8, "g": 1000, "h": 0.5, "i": null,
            "j": "1", "k": "2001-01-01", "l": 5, "m": 3})),
    );
    check(
        "{a: 1e999, b: 18446744073709551615, c: -0x8, d: 1e21, e: !!str 5, f: !!float 1, g: !foo x, h: !!binary aGk=}",
        Ok(
            json!({"a": "1e999", "b": 1.8446744073709552e19, "c": -8, "d": 1e21, "e": "5", "f": 1, "g": "x", "h": "hi"}),
        ),
    );
    check("a: !!int x", Err("yaml: cannot decode !!str `x` as a !!int"));
    check("a: .nan", Err("json: unsupported value: NaN"));
    check("a: -.inf", Err("json: unsupported value: -Inf"));
    check("a: !!binary '*'", Err("yaml: !!binary value contains invalid base64 data"));
}

#[test]
fn structure() {
    check("", Ok(Value::Null));
    check("# nothing\n", Ok(Value::Null));
    check("a: b\n---\n{{{", Ok(json!({"a": "b"})));
    check("1: a\ntrue: b\n1.5: c\n", Ok(json!({"1": "a", "true": "b", "1.5": "c"})));
    check("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n", Ok(json!({"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}})));
    check("u: &a {k: 1}\nv: &b {k: 2}\nw: {<<: [*a, *b]}\n", Ok(json!({"u": {"k": 1}, "v": {"k": 2}, "w": {"k": 1}})));
    check("a: |\n  x\n  y\n", Ok(json!({"a": "x\ny\n"})));
    check("a: |\n  x", Ok(json!({"a": "x"})));
    check("a: |+\n  x\n\n", Ok(json!({"a": "x\n\n"})));
    check("a: >-\n  x\n  y", Ok(json!({"a": "x y"})));
    check("a: {<<: 1}", Err("yaml: map merge requires map or sequence of maps as the value"));
    let mut strict = Vec::new();
    parse(b"a: 1\nb: 2\na: 3\n", &mut strict).unwrap();
    assert_eq!(strict, ["yaml: unmarshal errors:\n  line 3: key \"a\" already set in map"]);
}

/// Each as the reference answered it.
#[test]
fn errors_are_those_of_go_yaml() {
    check("a: *nope\n", Err("yaml: unknown anchor 'nope' referenced"));
    check("[!a,b]\n", Err("yaml: did not find expected whitespace or line break"));
    check("x: &x [*x]\n", Err("yaml: anchor 'x' value contains itself"));
    check("a:\n\tb: 1\n", Err("yaml: line 2: found character that cannot start any token"));
    check("a: b\n c: d\n", Err("yaml: line 2: mapping values are not allowed in this context"));
    check("a: [1, 2", Err("yaml: line 1: did not find expected ',' or ']'"));
    check("? [a, b]\n: c\n", Err("yaml: invalid map key: []interface {}{\"a\", \"b\"}"));
    let bytes = parse(b"a: \"\xff\"", &mut Vec::new());
    assert_eq!(bytes.unwrap_err(), "yaml: invalid leading UTF-8 octet");
}

/// The error of a document made by repeating.
#[track_caller]
fn check_hostile(yaml: &str, expected: &str) {
    let error = parse(yaml.as_bytes(), &mut Vec::new()).and_then(|tree| tree.into_value());
    assert_eq!(error.unwrap_err(), expected, "{yaml:.60}");
}

#[test]
fn bombs_are_refused_at_once() {
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_string();
    for (name, before) in ('b'..='l').zip('a'..) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(",")));
    }
    check_hostile(&bomb, "yaml: document contains excessive aliasing");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 90].join(","));
    check_hostile(&long, "yaml: document contains excessive aliasing");
    check_hostile(&format!("a:\n  b: {}", "[".repeat(100_000)), "yaml: line 2: exceeded max depth of 10000");
    check_hostile(&format!("a:\n{}x", "- ".repeat(100_000)), "yaml: line 2: exceeded max depth of 10000");
    check_hostile(&"{<<: ".repeat(5_000), "yaml: line 1: did not find expected node content");
    let merges = format!("{}{{}}{}", "{<<: ".repeat(5_000), "}".repeat(5_000));
    check_hostile(&merges, "yaml: exceeded max depth");
    check_hostile(&"%TAG !a! b\n".repeat(100_000), "yaml: too many directives");
    let kept = format!("a: {}1{}", "[".repeat(900), "]".repeat(900));
    check_hostile(&kept, "exceeded max depth of objects that can be kept");
}
