//! What a value comes to whether it is written out or left out.

use serde_json::json;

use super::layout::Type;
use super::*;

#[test]
fn what_go_leaves_out_or_empties_makes_no_difference() {
    let given =
        json!({"metadata": {"creationTimestamp": null, "labels": {}}, "spec": {"containers": [], "hostIPC": false}});
    let bare = json!({"spec": {"containers": null}});
    assert_eq!(dump_for_hash(POD_TEMPLATE, &given), dump_for_hash(POD_TEMPLATE, &bare));
    assert_eq!(marshal(POD_TEMPLATE, &given), Some(json!({"metadata": {}, "spec": {"containers": null}})));
    assert_eq!(dump_for_hash("core.v1.Secret", &bare), None, "no type of a pod template");
}

/// Two readers take the same lines apart; one that left out a field or what is embedded would change hashes in silence.
fn compare(of: &Type, schema: crate::schema::Type<'_>, path: &str, seen: &mut Vec<String>) {
    match of {
        Type::Pointer(of) => compare(of, schema, path, seen),
        Type::List(of) => compare(of, schema.elem().expect(path), path, seen),
        Type::Map { values, .. } => compare(values, schema.elem().or(schema.additional()).expect(path), path, seen),
        Type::Struct(name) if !layout::fields(name).unwrap().is_empty() && name != "v1.FieldsV1" => {
            if seen.contains(name) {
                return;
            }
            seen.push(name.clone());
            let mut known: Vec<_> = schema.fields().map(|f| (f.name().to_owned(), f.omit_empty())).collect();
            let mut here = Vec::new();
            flatten(name, &mut here);
            for field in &here {
                compare(
                    &field.of,
                    schema.child(field.json).expect(field.json),
                    &format!("{path}.{}", field.json),
                    seen,
                );
            }
            let mut here: Vec<_> = here.iter().map(|f| (f.json.to_owned(), f.omits_empty)).collect();
            known.sort();
            here.sort();
            assert_eq!(known, here, "{path}: {name}");
        }
        Type::Struct(_) | Type::Scalar { .. } => {}
    }
}

fn flatten(name: &str, to: &mut Vec<&'static layout::Field>) {
    for field in layout::fields(name).unwrap() {
        match &field.of {
            Type::Struct(inner) if field.json.is_empty() => flatten(inner, to),
            _ => to.push(field),
        }
    }
}

#[test]
fn the_layout_has_the_fields_of_the_schema() {
    let schema = crate::schema::Schema::definition("io.k8s.api.core.v1.PodTemplateSpec").unwrap();
    let mut seen = Vec::new();
    compare(&Type::Struct(POD_TEMPLATE.into()), schema.root(), "", &mut seen);
    assert!(seen.len() > 90, "{}", seen.len());
}
