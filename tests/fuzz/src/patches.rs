//! The four patches: they end, nest no deeper than may be kept, and where they mean a state, twice is once.

use api::apply::{Request, Reset};
use api::decode::{FieldValidation, Format, Target, decode_untyped, decode_value};
use api::object::NESTING_MAX;
use api::{Object, patch};
use jiff::Timestamp;
use serde_json::Value;

use crate::kinds;

/// An object and a patch, which stand on two lines.
fn two(data: &[u8]) -> Option<(Value, Value)> {
    let at = data.iter().position(|&byte| byte == b'\n')?;
    let object = decode_untyped(&data[..at], Format::Json).ok()?;
    let patch = decode_untyped(&data[at + 1..], Format::Json).ok()?;
    Some((object, patch))
}

/// JSON patches.
pub fn json_patch(data: &[u8]) {
    let Some((mut object, patch)) = two(data) else { return };
    if patch::json::apply(&mut object, &patch).is_err() {
        return;
    }
    let text = object.to_string();
    let again = decode_untyped(text.as_bytes(), Format::Json);
    assert_eq!(again.as_ref(), Ok(&object), "nested deeper than {NESTING_MAX}");
    let before = object.clone();
    patch::json::apply(&mut object, &Value::Array(Vec::new())).expect("no operations apply");
    assert_eq!(object, before);
}

/// Merge patches.
pub fn merge_patch(data: &[u8]) {
    let Some((Value::Object(mut object), patch)) = two(data) else { return };
    if patch::merge::apply(&mut object, patch.clone()).is_err() {
        assert!(!patch.is_object());
        return;
    }
    // A list that takes the place of a map keeps its nulls, one that takes that of a list does not, so it takes two.
    patch::merge::apply(&mut object, patch.clone()).expect("it applied before");
    let twice = object.clone();
    patch::merge::apply(&mut object, patch).expect("it applied before");
    assert_eq!(object, twice, "thrice is not twice");
}

/// Strategic merge patches of a kind.
pub fn strategic_patch(data: &[u8]) {
    let Some((target, data)) = kinds::split(data) else { return };
    let Some((object, patch)) = two(data) else { return };
    let Ok(decoded) = decode_value(object, &target, FieldValidation::Ignore) else { return };
    let mut object = decoded.object;
    let before = object.clone();
    patch::strategic::apply(&mut object.0, Value::Object(Default::default()), target.schema.root()).expect("nothing");
    assert_eq!(object, before, "an empty patch changes something");
    if patch::strategic::apply(&mut object.0, patch, target.schema.root()).is_ok() {
        let _ = decode_value(object.into_value(), &target, FieldValidation::Ignore);
    }
}

/// Server-side apply of a kind.
pub fn apply(data: &[u8]) {
    let Some((target, data)) = kinds::split(data) else { return };
    let Some((object, configuration)) = two(data) else { return };
    let Ok(live) = decode_value(object, &target, FieldValidation::Ignore) else { return };
    let Some(mut configuration) = Object::from_value(configuration) else { return };
    configuration.set(&["apiVersion"], target.api_version());
    configuration.set(&["kind"], target.kind.as_str());
    let Some(once) = applied(&target, Some(&live.object), configuration.clone(), 1) else { return };
    // What nobody manages any more is taken for the work of one from before the next time.
    if once.at(&["metadata", "managedFields"]).is_none() {
        return;
    }
    let twice = applied(&target, Some(&once), configuration, 2).expect("it applied before");
    assert_eq!(twice, once, "twice is not once");
}

/// What applying makes of an object, brought into the shape in which it would be stored.
fn applied(target: &Target, live: Option<&Object>, configuration: Object, second: i64) -> Option<Object> {
    let api_version = target.api_version();
    let request = Request {
        schema: &target.schema,
        api_version: &api_version,
        kind: &target.kind,
        subresource: "",
        reset: Reset::of(&api::catalogue::Flags::default(), "", true),
        manager: "fuzz",
        now: Timestamp::new(second, 0).expect("a time"),
        convert: None,
    };
    let merged = api::apply::apply(&request, live, configuration, true).ok()?;
    let mut object = decode_value(merged.into_value(), target, FieldValidation::Ignore).ok()?.object;
    if let Some(live) = live {
        api::apply::keep_times(live, &mut object);
    }
    Some(object)
}
