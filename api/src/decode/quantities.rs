//! Quantities whose text decoding left as it came, because validation goes by it.

use serde_json::{Map, Value};

use crate::Object;
use crate::quantity::Quantity;
use crate::schema::{Kind, Schema, Type};

/// A number that is shorter does not overflow.
const LONG_DIGITS: usize = 10;

/// Brings the quantities of an object into their canonical form, if there may be one that is not. `encoded` is the object
/// as it stands, which is quickly looked through. Whether something changed.
pub fn canonical_quantities(schema: &Schema, object: &mut Object, encoded: &[u8]) -> bool {
    has_long_number(encoded) && in_struct(schema.root(), &mut object.0)
}

/// Whether there are enough digits in a row, with at most one point among them.
fn has_long_number(encoded: &[u8]) -> bool {
    let (mut digits, mut points) = (0, 0);
    encoded.iter().any(|byte| {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' => points += 1,
            _ => (digits, points) = (0, 0),
        }
        digits >= LONG_DIGITS && points <= 1
    })
}

fn in_struct(ty: Type<'_>, map: &mut Map<String, Value>) -> bool {
    let mut changed = false;
    for (name, value) in map.iter_mut() {
        if let Some(field) = ty.field(name) {
            changed |= below(field.ty(), value);
        }
    }
    changed
}

fn each<'v>(elem: Type<'_>, values: impl Iterator<Item = &'v mut Value>) -> bool {
    let mut changed = false;
    for value in values {
        changed |= below(elem, value);
    }
    changed
}

fn below(ty: Type<'_>, value: &mut Value) -> bool {
    match (ty.kind(), value) {
        (Kind::Struct, Value::Object(map)) => in_struct(ty, map),
        (Kind::List, Value::Array(items)) => ty.elem().is_some_and(|elem| each(elem, items.iter_mut())),
        (Kind::Map, Value::Object(map)) => ty.elem().is_some_and(|elem| each(elem, map.values_mut())),
        (Kind::Quantity, Value::String(text)) => match Quantity::parse(text).map(|quantity| quantity.to_string()) {
            Ok(canonical) if canonical != *text => {
                *text = canonical;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_long_numbers_are_looked_at() {
        for (text, expected) in [
            ("10000000000000000", true),
            ("9300000.000G", true),
            ("999999999", false),
            ("10.244.120.101", false),
            ("7e0b2f4a-1234-4321-9876-0123456789ab", true),
        ] {
            assert_eq!(has_long_number(format!("{{\"a\":\"{text}\"}}").as_bytes()), expected, "{text}");
        }
        let schema = Schema::of("", "v1", "Pod").unwrap();
        let pod = |amount: &str| {
            let resources = json!({"limits": {"memory": amount}});
            let pod =
                json!({"spec": {"containers": [{"name": "c", "resources": resources}], "overhead": {"cpu": "1"}}});
            Object::from_value(pod).unwrap()
        };
        let mut object = pod("10000000000000000");
        let encoded = object.encode();
        assert!(canonical_quantities(&schema, &mut object, &encoded));
        assert_eq!(object, pod("10P"));
        assert!(!canonical_quantities(&schema, &mut object, &encoded));
    }
}
