//! What is written reads back as it was, and looks as go-yaml writes it.

use serde_json::{Value, json};

use super::object;
use crate::decode::{Format, decode_untyped};

#[track_caller]
fn written(value: Value, expected: &str) {
    let text = String::from_utf8(object(value.as_object().unwrap())).unwrap();
    assert_eq!(text, expected);
    assert_eq!(decode_untyped(text.as_bytes(), Format::Yaml).unwrap(), value, "{text}");
}

#[test]
fn objects_are_written_as_by_go_yaml() {
    written(json!({}), "{}\n");
    let value = json!({
        "a": {"b": [1, {"c": true, "d": null}, [2, []], {}, "x"], "e": {}},
        "f": [], "g": "text", "h": "", "i": -1, "j": i64::MAX,
    });
    let expected = "a:\n  b:\n  - 1\n  - c: true\n    d: null\n  - - 2\n    - []\n  - {}\n  - x\n  e: {}\n\
                    f: []\ng: text\nh: \"\"\ni: -1\nj: 9223372036854775807\n";
    written(value, expected);
}

#[test]
fn texts_of_several_lines_are_written_line_by_line() {
    written(json!({"a": {"b": "one\ntwo\n"}}), "a:\n  b: |\n    one\n    two\n");
    written(json!({"a": "one\ntwo"}), "a: |-\n  one\n  two\n");
    written(json!({"a": "one\n\n"}), "a: |+\n  one\n\n");
    written(json!({"a": "\n"}), "a: |2+\n\n");
    written(json!({"a": "  one\ntwo\n"}), "a: |2\n    one\n  two\n");
    written(json!({"a": ["x\ny\n"]}), "a:\n- |\n  x\n  y\n");
    written(json!({"a": "one \ntwo"}), "a: \"one \\ntwo\"\n");
    written(json!({"a": "one\ttwo\n"}), "a: \"one\\ttwo\\n\"\n");
}

#[test]
fn whatever_would_be_something_else_has_quotes() {
    for text in [
        "y",
        "Yes",
        "ON",
        "off",
        "n",
        "true",
        "null",
        "~",
        "1",
        "-1",
        "0x1f",
        "0o17",
        "017",
        "0b1",
        "1_000",
        "1e3",
        "1.5",
        ".5",
        ".inf",
        "-.INF",
        ".nan",
        "<<",
        "2001-01-01",
        "2001-01-01T00:00:00Z",
        "1:30",
        "190:20:30.15",
        "tab\there",
        "\u{7f}",
        "\u{feff}x",
        "\u{2028}",
        "\u{1f600}",
        "a\rb",
    ] {
        let quoted = String::from_utf8(object(json!({"k": text}).as_object().unwrap())).unwrap();
        assert!(quoted.starts_with("k: \""), "{quoted}");
        // And as a key, where a reader would make true of it.
        let key = String::from_utf8(object(json!({text: 1}).as_object().unwrap())).unwrap();
        assert!(key.starts_with('"'), "{key}");
    }
    for text in [
        "- a", "? a", ": a", "a: b", "a #b", "#a", "[a", "{a", "a:", "*a", "&a", "!a", "|", ">", "'a", "%a", "@a",
        "`a", "--- a", "... a", " a", "a ", "-", "?", ":", ",a", "\"a",
    ] {
        let quoted = String::from_utf8(object(json!({"k": text}).as_object().unwrap())).unwrap();
        assert!(quoted.starts_with("k: '"), "{quoted}");
    }
    for text in [
        "a:b",
        "a#b",
        "-a",
        "?a",
        ":a",
        "http://x",
        "a, b",
        "ä",
        "10.0.0.1",
        "1.2.3",
        "12h",
        "v1.36.0",
        "=",
        "a'b",
        "10.0.0.0/8",
        "1Gi",
        "app=web",
        "2001-01-x",
    ] {
        let plain = String::from_utf8(object(json!({"k": text}).as_object().unwrap())).unwrap();
        assert_eq!(plain, format!("k: {text}\n"));
    }
}

#[test]
fn floats_are_written_as_by_gos_shortest_format() {
    for (number, expected) in [
        (0.5, "0.5"),
        (1.5e-5, "1.5e-05"),
        (0.00015, "0.00015"),
        (123456.5, "123456.5"),
        (1234567.5, "1.2345675e+06"),
        (-2.5, "-2.5"),
        (1e21, "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (2.0, "2"),
        (1e15, "1000000000000000"),
        (1e20, "1e+20"),
        (-0.0, "0"),
    ] {
        assert_eq!(super::scalar::float(number), expected);
    }
}

/// Every pair of characters that mean something, in every place where a text can stand.
#[test]
fn all_odd_texts_come_back() {
    const ODD: &str = "a1 \n\t:#-?,[]{}&*!|>'\"%@`=<.~+_\\\u{0}\u{85}\u{a0}\u{e9}\u{2028}\u{feff}\u{1f600}";
    let chars: Vec<char> = ODD.chars().collect();
    let mut texts: Vec<String> = chars.iter().map(|c| c.to_string()).collect();
    for one in &chars {
        for other in &chars {
            texts.extend([
                format!("{one}{other}"),
                format!("{one}{other}x"),
                format!("x{one}{other}"),
                format!("{one}x{other}"),
            ]);
        }
    }
    for text in texts {
        let value = json!({"k": text, "m": {"n": [text, [text], {"o": text}]}, "z": {text.clone(): {text.clone(): 1}}});
        let yaml = object(value.as_object().unwrap());
        let shown = String::from_utf8_lossy(&yaml).into_owned();
        assert_eq!(decode_untyped(&yaml, Format::Yaml).as_ref(), Ok(&value), "{text:?}\n{shown}");
    }
}

#[test]
fn long_keys_are_marked() {
    let long = "k".repeat(2_000);
    for value in [json!(1), json!({"a": 1}), json!([1, {"b": 2}]), json!("x\ny")] {
        let value = json!({"a": {long.clone(): value, "b": 1}});
        assert_eq!(decode_untyped(&object(value.as_object().unwrap()), Format::Yaml).unwrap(), value);
    }
}
