//! Each rule finds what breaks it, and the project's own files break none.

use super::*;

const TINY: &str = "=io.k8s.api.a.v1.Item\nkey\ts\t1\tr\n=io.k8s.api.a.v1.Kind\n!a\tv1\tKind\nitems\t[@a.v1.Item\t1\toMP\t\tkey\tkey\n\
                    mode\ts\t2\to\tv1.Mode\n=io.k8s.api.a.v1.KindList\n!a\tv1\tKindList\nitems\t[@a.v1.Kind\t2\tr\n";
const ROWS: &str = "=a\tv1\nkinds\tKind\tkind\tN\t*\t\t\t\tmode\n/status\tKind\t\t+\n";

fn overlay() -> Overlay {
    Overlay { selectable: "a/v1/kinds\tmode\tpkg/a.F\n".to_string(), ..Overlay::default() }
}

#[track_caller]
fn told(check: impl FnOnce(&mut Problems), expect: &str) {
    let mut problems = Problems::default();
    check(&mut problems);
    let found = if expect.is_empty() { problems.0.is_empty() } else { problems.0.iter().any(|p| p.contains(expect)) };
    assert!(found, "{expect}: {:?}", problems.0);
}

fn facts(text: &str, expect: &str) {
    told(|problems| Facts::read(text, problems).check(problems), expect);
}

#[test]
fn a_schema_that_is_closed_passes_and_each_break_is_told() {
    facts(TINY, "");
    facts(&TINY.replace("[@a.v1.Item", "[@a.v1.Other"), "there is no a.v1.Other");
    facts(&TINY.replace("\tkey\tkey\n", "\tkind\tkey\n"), "its items have no kind");
    facts(&TINY.replace("oMP\t\tkey\tkey", "oP\t\t\twho"), "its items have no who");
    facts(&TINY.replace("oMP\t\tkey", "oP\t\tkey"), "a list map and keys");
    facts(&TINY.replace("mode\ts\t2", "mode\ts\t1"), "two fields have the number 1");
    facts(&TINY.replace("mode\ts\t2", "items\ts\t2"), "two fields are called items");
    facts(&TINY.replace("mode\ts\t2", "mode\ts\t300"), "300 is no number");
    facts(&TINY.replace("mode\ts", "mode\tw"), "w is no type");
    facts(&TINY.replace("\to\tv1.Mode", "\tw\tv1.Mode"), "w are no flags");
    facts(&TINY.replace("\tv1.Mode", "\tv1.Mode\t\t\t{"), "{ is no JSON");
    facts(&TINY.replace("v1.Item\n", "v1.Item\tx\n"), "x is no mark");
    facts(&TINY.replace("=io.k8s.api.a.v1.Item", "=io.k8s.api.a.v1.Last"), "not sorted");
    facts(&TINY.replace("!a\tv1\tKindList", "!a\tv1\tKind"), "stands twice");
    facts("=io.k8s.api.a.v1.A\n+\t@a.v1.B\t1\n=io.k8s.api.a.v1.B\n+\t@a.v1.A\t1\n", "embeds itself");
    facts("=io.k8s.api.a.A\n=io.k8s.apimachinery.pkg.apis.a.A\n", "has the short name a.A too");
}

fn rows(text: &str, expect: &str) {
    let check = |problems: &mut Problems| {
        let facts = Facts::read(TINY, problems);
        let resources = tables::Resources::read(text, problems);
        resources.check(&facts, problems);
        tables::selectable(&overlay(), &resources, problems);
    };
    told(check, expect);
}

#[test]
fn resources_name_kinds_and_verbs_that_exist() {
    rows(ROWS, "");
    rows(&ROWS.replace("kinds\tKind", "kinds\tOther"), "the schema has no kind a v1 Other");
    rows(&ROWS.replace("/status\tKind", "/status\tOther"), "the schema has no kind a v1 Other");
    rows(&ROWS.replace("\t*\t", "\tjump\t"), "jump are no verbs");
    rows(&ROWS.replace("\tN\t", "\tX\t"), "no scope");
    rows(&ROWS.replace("\tmode\n", "\tkey\n"), "selects by other fields");
    rows(&ROWS.replace("kinds\t", "others\t"), "there is no a/v1/kinds");
    rows(&format!("{ROWS}{}", ROWS.lines().nth(1).expect("two lines")), "stands twice");
    rows("=a\tv1\n/status\tKind\t\t+\n", "comes before any resource");
}

fn columns(text: &str, expect: &str) {
    told(|problems| tables::columns(text, &tables::Resources::read(ROWS, problems), problems), expect);
}

#[test]
fn listed_resources_have_columns() {
    const GOOD: &str = "=a/v1/kinds\tpkg/printers.printKind\nName\tstring\tname\nAge\tstring\t\t1\n";
    columns(GOOD, "");
    columns("", "a/v1/kinds has no columns");
    columns("=a/v1/kinds\tpkg/printers.printKind\n", "a/v1/kinds has no columns");
    columns(&GOOD.replace("kinds", "others"), "there is no a/v1/others");
    columns(&GOOD.replace("\tpkg/printers.printKind", ""), "has no source");
    columns(&GOOD.replace("Name\tstring", "Name\tword"), "is no column");
    columns(&format!("{GOOD}{GOOD}"), "stands twice");
}

#[test]
fn defaults_fit_their_fields() {
    let check = |text: &str, expect: &str| {
        told(|problems| tables::defaults(text, &Facts::read(TINY, problems), problems), expect);
    };
    check("a.v1.Item.key=\"x\"\tpkg/a.F\na.v1.Kind.items=[]\tpkg/a.F\n", "");
    check("a.v1.Item.key=1\tpkg/a.F\n", "1 does not fit s");
    check("a.v1.Item.key=x\tpkg/a.F\n", "x does not fit s");
    check("a.v1.Item.other=1\tpkg/a.F\n", "there is no a.v1.Item.other");
    check("a.v1.Item.key=\"x\"\n", "has no source");
    check("a.v1.Kind.mode=\"x\"\tpkg/a.F\na.v1.Item.key=\"x\"\tpkg/a.F\n", "stands after");
}

#[test]
fn disabled_fields_exist() {
    let check = |text: &str, expect: &str| {
        told(|problems| tables::disabled(text, &Facts::read(TINY, problems), problems), expect);
    };
    check("a.v1.Item.key\tFeature\tpkg/a.F\n", "");
    check("a.v1.Item.key\tFeature\n", "has 2 columns");
    check("a.v1.Item.other\tFeature\tpkg/a.F\n", "there is no a.v1.Item.other");
}

#[test]
fn enums_unions_and_internal_types_name_what_exists() {
    let enums = |text: &str, expect: &str| {
        told(|problems| tables::enums(text, &Facts::read(TINY, problems), problems), expect);
    };
    enums("io.k8s.api.a.v1.Kind.mode\tA,B\n", "");
    enums("io.k8s.api.a.v1.Kind.mode\tB,A\n", "values are not sorted");
    enums("io.k8s.api.a.v1.Kind.mode[]\tA\n", "is no field of this sort");
    enums("io.k8s.api.a.v1.Kind.other\tA\n", "is no field of this sort");
    let unions = |text: &str, expect: &str| {
        told(|problems| tables::unions(text, &Facts::read(TINY, problems), problems), expect);
    };
    unions("io.k8s.api.a.v1.Kind mode items=Items\n", "");
    unions("io.k8s.api.a.v1.Kind - other=Other\n", "has no other");
    unions("io.k8s.api.a.v1.Other -\n", "there is no io.k8s.api.a.v1.Other");
    let internal = |text: &str, expect: &str| told(|problems| tables::internal(text, problems), expect);
    internal("a.A X:\"\" Y=y:*a.B Z?:[]a.B +a.B metadata+a.B\na.B N:0 S:false\n", "");
    internal("a.A Y:*a.B\n", "there is no a.B");
    internal("a.B\na.A\n", "stands after");
}

#[test]
fn families_have_a_type_and_bounds_that_rise() {
    let check = |text: &str, expect: &str| told(|problems| tables::families(text, problems), expect);
    const GOOD: &str = "a\tcounter\tx\t-\thelp\nb\thistogram\t-\t1,2\thelp\n";
    check(GOOD, "");
    check(&GOOD.replace("1,2", "2,1"), "bounds that are none");
    check(&GOOD.replace("1,2", "-"), "bounds that are none");
    check(&GOOD.replace("counter", "number"), "number is no type");
    check(&GOOD.replace("\tx", ""), "a has 4 columns");
}

#[test]
fn objects_are_of_resources_and_bindings_of_roles() {
    let resources = || tables::Resources::read(ROWS, &mut Problems::default());
    let check = |text: &str, expect: &str| {
        told(|problems| objects::check("f", text, &resources(), problems), expect);
    };
    const GOOD: &str = r#"[{"group":"a","version":"v1","resource":"kinds","kind":"Kind","items":[{"metadata":{"name":"x"}},{"metadata":{"name":"y"}}]}]"#;
    check(GOOD, "");
    check(&GOOD.replace("\"x\"", "\"z\""), "objects are not sorted");
    check(&GOOD.replace("kinds", "others"), "a/v1/others is no resource");
    check("{", "no list");
    let roles = |text: &str, expect: &str| told(|problems| objects::roles(text, problems), expect);
    const BOUND: &str = r#"[{"kind":"Role","items":[{"metadata":{"name":"r","namespace":"n"}}]},
        {"kind":"RoleBinding","items":[{"metadata":{"name":"b","namespace":"n"},"roleRef":{"kind":"Role","name":"r"}}]}]"#;
    roles(BOUND, "");
    roles(&BOUND.replace("\"name\":\"r\"}}", "\"name\":\"s\"}}"), "refers to Role s");
    const SERVICES: &str = r#"[{"resource":"apiservices","items":[{"metadata":{"name":"v1.a"}}]}]"#;
    told(|problems| objects::api_services(SERVICES, &resources(), problems), "");
    told(
        |problems| objects::api_services(&SERVICES.replace("v1.a", "v2.a"), &resources(), problems),
        "v2.a is an APIService",
    );
}

#[test]
fn the_files_of_the_project_agree() {
    run(&crate::codegen::root()).expect("what it printed");
}
