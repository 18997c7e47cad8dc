//! Tests of the reader of Go declarations.

use super::*;

fn read(text: &str) -> Package {
    let mut package = Package::default();
    package.add("a.go", text).expect("it is understood");
    package
}

fn named(name: &str) -> Type {
    Type::Named(String::new(), name.to_string())
}

#[test]
fn structs_have_fields_tags_and_markers() {
    let package = read(
        "// +groupName=x\npackage a\nimport (\n\tm \"b/c\"\n\t\"d/e\"\n)\n\n// far\n\n// +near=1\n// more\ntype A struct {\n\t// +optional\n\
         \tB, C *string `json:\"b\"` // +not\n\tm.Meta `json:\",inline\"`\n\t*Inner\n\tD map[string][]e.T\n\tF func(a int) (b, c string)\n}\n",
    );
    assert_eq!(package.markers, ["groupName=x"]);
    assert_eq!(package.imports[0]["m"], "b/c");
    assert_eq!(package.imports[0]["e"], "d/e");
    let declared = &package.types["A"];
    assert_eq!((declared.markers.as_slice(), declared.place.as_str()), (&["near=1".to_string()][..], "a.go:12"));
    let Type::Struct(fields) = &declared.of else { panic!("{declared:?}") };
    let names: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.embedded)).collect();
    assert_eq!(names, [("B", false), ("C", false), ("Meta", true), ("Inner", true), ("D", false), ("F", false)]);
    assert_eq!(fields[1].of, Type::Pointer(Box::new(named("string"))));
    assert_eq!((fields[0].tag.as_str(), fields[0].markers.as_slice()), ("json:\"b\"", &["optional".to_string()][..]));
    assert!(fields[2].markers.is_empty(), "a comment behind a field is not above the next");
    let items = Type::List(Box::new(Type::Named("e".into(), "T".into())));
    assert_eq!(fields[4].of, Type::Map(Box::new(named("string")), Box::new(items)));
}

#[test]
fn constants_that_are_texts_are_kept_and_functions_left_out() {
    let package = read(
        "package a\nfunc f() { if x { return \"a\" } }\nconst A B = \"a\"\nconst (\n\tC = \"c\"\n\tD = B(\"d\")\n\tE = iota\n\tF\n\tG = A + \"x\"\n\tH = B(m.X)\n\tI = A\n)\n\
         var v = map[string]int{\"a\": 1}\ntype B string\n",
    );
    let shown = |c: &Constant| match &c.value {
        Stated::Text(text) => format!("{} {} {text:?}", c.name, c.of),
        Stated::Constant(qualifier, name) => format!("{} {} {qualifier}.{name}", c.name, c.of),
    };
    let shown: Vec<_> = package.constants.iter().map(shown).collect();
    assert_eq!(shown, ["A B \"a\"", "C  \"c\"", "D B \"d\"", "E  .iota", "H B m.X", "I  .A"]);
    assert_eq!(package.types["B"].of, named("string"));
}

#[test]
fn what_is_not_understood_is_told_with_file_and_line() {
    for (text, expect) in [
        ("package a\ntype A struct {\n\t1 string\n}", "a.go:3: Literal(\"1\")"),
        ("package a\nstray", "a.go:2: stray"),
        ("package a\ntype A struct {\n", "a.go:2: "),
        ("package a\nimport 1\n", "a.go:2: "),
    ] {
        let error = Package::default().add("a.go", text).expect_err(text).to_string();
        assert!(error.starts_with(expect), "{text}: {error}");
    }
}
