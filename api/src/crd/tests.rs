//! Tests of custom resources: the recorded cases' definition and objects among them.

use serde_json::json;

use super::*;
use crate::catalogue::custom::rows;

fn widget_definition() -> Object {
    let spec = json!({
        "group": "cases.example",
        "names": {"categories": ["all"], "kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "shortNames": ["wi"], "singular": "widget"},
        "scope": "Namespaced",
        "versions": [{
            "name": "v1", "served": true, "storage": true,
            "additionalPrinterColumns": [{"jsonPath": ".spec.size", "name": "Size", "type": "integer"}],
            "selectableFields": [{"jsonPath": ".spec.mode"}],
            "subresources": {"scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.ready"}, "status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "required": ["size"],
                    "x-kubernetes-validations": [
                        {"message": "big needs b", "rule": "self.size < 9 || self.mode == 'b'"},
                        {"message": "may not shrink", "rule": "!has(oldSelf.size) || self.size >= oldSelf.size"}],
                    "properties": {
                        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "io": {"x-kubernetes-int-or-string": true},
                        "list": {"items": {"type": "string"}, "maxItems": 2, "type": "array", "x-kubernetes-list-type": "set"},
                        "mode": {"default": "a", "enum": ["a", "b"], "type": "string"},
                        "name": {"maxLength": 5, "pattern": "^[a-z]+$", "type": "string"},
                        "size": {"maximum": 10, "minimum": 1, "type": "integer"},
                        "when": {"format": "date-time", "type": "string"}}},
                "status": {"type": "object", "properties": {"ready": {"type": "integer"}}}}}}
        }]
    });
    Object::from_value(json!({"metadata": {"name": "widgets.cases.example"}, "spec": spec})).unwrap()
}

fn widget(spec: Value) -> Object {
    Object::from_value(
        json!({"apiVersion": "cases.example/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}),
    )
    .unwrap()
}

const SKIPPED: &str = "<nil>: Invalid value: null: some validation rules were not checked because the object was \
                       invalid; correct the existing errors to complete validation";

fn check(spec: Value, old: Option<Value>, expect: &[&str]) {
    let rows = rows(&widget_definition()).unwrap();
    let version = rows[0].definition.as_ref().unwrap();
    let old = old.map(widget);
    let mut actual: Vec<String> = version
        .validate(&widget(spec.clone()), old.as_ref(), &mut Vec::new(), &mut |run| run())
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut expect: Vec<String> = expect.iter().map(ToString::to_string).collect();
    actual.sort();
    expect.sort();
    assert_eq!(actual, expect, "{spec}");
}

#[test]
fn a_definition_makes_a_row() {
    let rows = rows(&widget_definition()).unwrap();
    let row = &rows[0];
    assert_eq!((row.plural.as_str(), row.kind.as_str(), row.namespaced, row.custom), ("widgets", "Widget", true, true));
    assert_eq!(row.storage_version_hash, "Fpt1ux8uf9o=");
    assert_eq!(row.subresources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["status", "scale"]);
    assert_eq!(row.selectable[0].label, "spec.mode");
}

#[test]
fn values_are_validated_in_the_references_words() {
    check(json!({"size": 2, "mode": "a"}), None, &[]);
    check(json!({}), None, &["spec.size: Required value", SKIPPED]);
    check(
        json!({"size": "x"}),
        None,
        &[
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
            ".spec.size: Invalid value: 0: .spec.size accessor error: x is of the type string, expected int64",
            SKIPPED,
        ],
    );
    check(
        json!({"list": ["a", "b", "c"], "mode": "z", "name": "UPPER", "size": 2, "when": "nope"}),
        None,
        &[
            "spec.name: Invalid value: \"UPPER\": spec.name in body should match '^[a-z]+$'",
            "spec.when: Invalid value: \"nope\": spec.when in body must be of type date-time: \"nope\"",
            "spec.list: Too many: 3: must have at most 2 items",
            "spec.mode: Unsupported value: \"z\": supported values: \"a\", \"b\"",
            SKIPPED,
        ],
    );
    check(json!({"list": ["a", "a"], "size": 2}), None, &["spec.list[1]: Duplicate value: \"a\""]);
    check(json!({"size": 2, "name": "toolong"}), None, &["spec.name: Too long: may not be more than 5 bytes", SKIPPED]);
    check(
        json!({"size": 2, "io": true}),
        None,
        &["spec.io: Invalid value: \"boolean\": spec.io in body must be of type integer,string: \"boolean\"", SKIPPED],
    );
    check(json!({"size": 2, "name": "UPPER"}), Some(json!({"size": 1, "name": "UPPER"})), &[]);
}

fn check_schema(schema: Value, value: Value, expect: &[&str]) {
    let errors = values::validate(&Node::new(&schema), &value, &Path::root());
    assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expect, "{schema} {value}");
}

#[test]
fn keywords() {
    let of = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    let a = |value: Value| json!({"a": value});
    check_schema(
        of(json!({"type": "number", "multipleOf": 2})),
        a(json!(3)),
        &["a: Invalid value: 3: a in body should be a multiple of 2"],
    );
    check_schema(
        of(json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true})),
        a(json!(1)),
        &["a: Invalid value: 1: a in body should be greater than 1"],
    );
    check_schema(of(json!({"type": "integer"})), a(json!(1.0)), &[]);
    let large = [
        "a: Invalid value: \"number\": a in body must be of type integer: \"number\"",
        "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in a",
    ];
    check_schema(of(json!({"type": "integer"})), a(json!(1e19)), &large);
    check_schema(of(json!({"type": "integer"})), a(json!(1_u64 << 63)), &large);
    let sized = [
        "a: Invalid value: \"float64\": a in body must be of type int64: \"float64\"",
        "<nil>: Invalid value: \"\": Checked value must be of type integer with format int64 in a",
    ];
    check_schema(of(json!({"type": "integer", "format": "int64"})), a(json!(1.5)), &sized);
    let narrow = json!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 4_294_967_295_u32});
    let room = "<nil>: Invalid value: \"\": Maximum boundary value must be of type integer with format int32 in a";
    check_schema(of(narrow.clone()), a(json!(5)), &[room]);
    let small = "a: Invalid value: 0: a in body should be greater than or equal to 1";
    check_schema(of(narrow), a(json!(0)), &[small, room]);
    check_schema(of(json!({"type": "integer", "format": "uint32", "maximum": 4_294_967_295_u32})), a(json!(5)), &[]);
    let most = ["a: Invalid value: 1e+30: a in body should be less than or equal to 2.5e+06"];
    check_schema(of(json!({"type": "number", "maximum": 2_500_000})), a(json!(1e30)), &most);
    let text = json!({"type": "string", "maxLength": 2, "minLength": 1, "pattern": "^a"});
    let other = |value: Value, kind: &str| {
        let why = format!("a: Invalid value: {kind:?}: a in body must be of type string: {kind:?}");
        check_schema(of(text.clone()), a(value), &[&why]);
    };
    other(json!(1), "integer");
    other(json!(1_u64 << 63), "number");
    let first = |value: &str, why: &str| check_schema(of(text.clone()), a(json!(value)), &[why]);
    first("", "a: Invalid value: \"\": a in body should be at least 1 chars long");
    first("bbb", "a: Too long: may not be more than 2 bytes");
    first("b", "a: Invalid value: \"b\": a in body should match '^a'");
    check_schema(of(json!({"type": "number"})), a(json!(1)), &[]);
    check_schema(of(json!({"type": "string", "nullable": true})), a(Value::Null), &[]);
    check_schema(
        of(json!({"type": "string"})),
        a(Value::Null),
        &["a: Invalid value: \"null\": a in body must be of type string: \"null\""],
    );
    check_schema(
        of(json!({"type": "array", "minItems": 1})),
        a(json!([])),
        &["a: Invalid value: 0: a in body should have at least 1 items"],
    );
    check_schema(
        of(json!({"type": "object", "additionalProperties": {"type": "integer"}})),
        a(json!({"k": "v"})),
        &["a.k: Invalid value: \"string\": a.k in body must be of type integer: \"string\""],
    );
    check_schema(
        of(json!({"type": "string", "minLength": 2})),
        a(json!("x")),
        &["a: Invalid value: \"x\": a in body should be at least 2 chars long"],
    );
    check_schema(
        of(json!({"not": {"required": ["x"]}, "type": "object"})),
        a(json!({"x": 1})),
        &["<nil>: Invalid value: \"\": \"a\" must not validate the schema (not)"],
    );
    check_schema(
        of(json!({"type": "object", "oneOf": [{"required": ["x"]}, {"required": ["y"]}]})),
        a(json!({})),
        &[
            "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid",
            "a.x: Required value",
        ],
    );
}

#[test]
fn names_and_conditions() {
    let definition = widget_definition();
    let first = conditions(&definition, [], "T");
    assert_eq!(first.accepted_names["plural"], "widgets");
    let shown: Vec<String> =
        first.conditions.iter().map(|c| format!("{}={} {}", c["type"], c["status"], c["reason"])).collect();
    assert_eq!(
        shown,
        ["\"NamesAccepted\"=\"True\" \"NoConflicts\"", "\"Established\"=\"True\" \"InitialNamesAccepted\""]
    );
    let mut settled = definition.clone();
    settled.set(&["status", "acceptedNames"], first.accepted_names);
    settled.set(&["status", "conditions"], first.conditions);
    assert!(is_established(&settled));
    assert!(!conditions(&settled, [], "U").changed);
    let mut other = definition;
    other.set(&["metadata", "name"], "others.cases.example");
    other.set(&["spec", "names", "plural"], "others");
    let second = conditions(&other, [&settled], "T");
    assert_eq!(second.conditions[0]["status"], "False");
    assert_eq!(second.conditions[0]["reason"], "ListKindConflict");
    assert_eq!(second.conditions[0]["message"], "\"WidgetList\" is already in use");
    assert_eq!(second.conditions[1]["reason"], "NotAccepted");
}

#[test]
fn community_groups_need_an_approval() {
    for (annotation, status, reason) in [
        ("", "False", "MissingAnnotation"),
        ("unapproved, an experiment", "False", "UnapprovedAnnotation"),
        ("https://github.com/kubernetes/kubernetes/pull/1", "True", "ApprovedAnnotation"),
        ("because", "False", "InvalidAnnotation"),
    ] {
        let mut definition = widget_definition();
        definition.set(&["spec", "group"], "x.k8s.io");
        definition.set(&["metadata", "annotations"], json!({"api-approved.kubernetes.io": annotation}));
        let told = conditions(&definition, [], "T").conditions.pop().unwrap();
        assert_eq!(told["type"], "KubernetesAPIApprovalPolicyConformant");
        assert_eq!((told["status"].as_str(), told["reason"].as_str()), (Some(status), Some(reason)), "{annotation:?}");
    }
}

#[test]
fn the_names_in_a_status_are_checked() {
    let mut definition = widget_definition();
    assert_eq!(validate_status(&definition).len(), 0);
    definition.set(&["status", "acceptedNames"], json!({"kind": "x y", "plural": "", "shortNames": ["A"]}));
    let errors: Vec<String> = validate_status(&definition).iter().map(|error| error.path.to_string()).collect();
    assert_eq!(errors, ["status.acceptedNames.kind", "status.acceptedNames.shortNames[0]"]);
}

#[test]
fn what_did_not_change_is_not_held_against_an_update() {
    // A value, what it becomes, the errors and the warnings.
    let check = |old: Value, new: Value, errors: &[&str], warnings: &[&str]| {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1},
            "names": {"type": "array", "items": {"type": "string", "maxLength": 2}},
            "even": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self % 2 == 0", "message": "odd"}]}},
            "pair": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.a < self.b", "message": "a is not less"}]}}}}});
        let version = Version { schema: Some(Node::new(&schema)), ..Version::default() };
        let object = |spec: Value| Object::from_value(json!({"metadata": {"name": "x"}, "spec": spec})).unwrap();
        let mut told = Vec::new();
        let found = version.validate(&object(new.clone()), Some(&object(old)), &mut told, &mut |run| run());
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, errors, "{new}");
        assert_eq!(told, warnings, "{new}");
    };
    check(json!({"n": 0}), json!({"n": 0, "names": []}), &[], &[]);
    check(json!({"names": ["long"]}), json!({"names": ["long"], "n": 1}), &[], &[]);
    check(
        json!({"names": ["long"]}),
        json!({"names": ["long", "x"]}),
        &[
            "spec.names[0]: Too long: may not be more than 2 bytes",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct \
             the existing errors to complete validation",
        ],
        &[],
    );
    let odd = "spec.even[0]: Invalid value: 1: odd";
    check(json!({"even": [1]}), json!({"even": [1], "n": 1}), &[], &[odd]);
    check(json!({"even": [1]}), json!({"even": [1, 2]}), &[odd], &[]);
    let pair = "spec.pair: Invalid value: a is not less";
    check(json!({"pair": {"a": 2, "b": 1}}), json!({"pair": {"a": 2, "b": 1}, "n": 1}), &[], &[pair]);
    check(json!({"pair": {"a": 2, "b": 1}}), json!({"pair": {"a": 3, "b": 1}}), &[pair], &[]);
}

#[test]
fn rules_run_on_sound_objects_only() {
    let big = [
        "spec.size: Invalid value: 99: spec.size in body should be less than or equal to 10",
        "spec: Invalid value: big needs b",
    ];
    check(json!({"size": 99, "mode": "a"}), None, &big);
    check(
        json!({"size": 2, "mode": "a"}),
        Some(json!({"size": 3, "mode": "a"})),
        &["spec: Invalid value: may not shrink"],
    );
}

fn check_definition(change: impl FnOnce(&mut Object), expect: &[&str]) {
    let mut definition = widget_definition();
    definition.set(&["status", "storedVersions"], json!(["v1"]));
    change(&mut definition);
    let errors = validate(&definition, None);
    assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
}

fn set_schema(definition: &mut Object, schema: Value) {
    let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]);
    definition.set(&["spec", "versions"], versions);
}

fn check_definition_schema(schema: Value, expect: &[&str]) {
    let expect: Vec<String> = expect.iter().map(|e| format!("spec.validation.openAPIV3Schema{e}")).collect();
    let expect: Vec<&str> = expect.iter().map(String::as_str).collect();
    check_definition(|d| set_schema(d, schema), &expect);
}

#[test]
fn definitions_are_validated() {
    check_definition(|_| {}, &[]);
    check_definition(
        |d| d.set(&["metadata", "name"], "wrong"),
        &["metadata.name: Invalid value: \"wrong\": must be spec.names.plural+\".\"+spec.group"],
    );
    check_definition(
        |d| d.set(&["spec", "versions"], json!([{"name": "v1", "served": true, "storage": true}])),
        &["spec.versions[0].schema.openAPIV3Schema: Required value"],
    );
    check_definition(
        |d| d.set(&["spec", "scope"], "Galactic"),
        &["spec.scope: Unsupported value: \"Galactic\": supported values: \"Cluster\", \"Namespaced\""],
    );
    check_definition(
        |d| d.set(&["spec", "names", "listKind"], "Widget"),
        &["spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same"],
    );
}

#[test]
fn schemas_of_definitions_are_structural() {
    let of = |field: Value| json!({"type": "object", "properties": {"a": field}});
    check_definition_schema(
        json!({"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}}),
        &[".properties[spec].type: Required value: must not be empty for specified object fields"],
    );
    check_definition_schema(of(json!({"type": "array"})), &[".properties[a].items: Required value: must be specified"]);
    check_definition_schema(
        of(json!({"type": "string", "anyOf": [{"type": "string"}]})),
        &[".properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
    );
    check_definition_schema(
        json!({"type": "object", "anyOf": [{"properties": {"x": {"minimum": 1}}}]}),
        &[
            ".properties[x]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[x]",
        ],
    );
    check_definition_schema(
        of(json!({"type": "integer", "default": "x"})),
        &[".properties[a].default: Invalid value: \"string\":  in body must be of type integer: \"string\""],
    );
    check_definition_schema(
        of(json!({"type": "string", "uniqueItems": true})),
        &[
            ".properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ],
    );
    check_definition_schema(
        of(
            json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
        ),
        &[
            ".properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ],
    );
    check_definition_schema(
        of(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})),
        &[],
    );
}

#[test]
fn defaults_of_definitions_are_looked_at_where_the_reference_does() {
    let of = |field: Value| json!({"type": "object", "properties": {"a": field}});
    let map = |below: Value| of(json!({"type": "object", "additionalProperties": below}));
    check_definition_schema(map(json!({"type": "string", "default": 5})), &[]);
    check_definition_schema(of(json!({"x-kubernetes-int-or-string": true, "default": 1.5})), &[]);
    check_definition_schema(json!({"type": "object", "default": {"apiVersion": "a", "kind": "b"}}), &[]);
    check_definition_schema(
        json!({"type": "object", "default": {"kind": 1}}),
        &[".default.apiVersion: Required value", ".default.kind: Invalid value: 1: must be a string"],
    );
}
