//! Objects as they are written down: JSON, whatever they came or went as.

use std::io::Read;

use api::Object;
use api::decode::{Format, decode_untyped};
use flate2::read::GzDecoder;
use serde_json::Value;
use serde_json::value::RawValue;

/// How long an answer may be that is written down, unpacked; a longer one is left out, and the event says so.
pub(super) const ANSWER_BYTES_MAX: usize = 32 << 20;

/// An object as it was decoded.
pub(super) fn of_object(object: &Object, omit_managed_fields: bool) -> Option<Box<RawValue>> {
    if !omit_managed_fields {
        return raw(serde_json::to_string(&object.0).ok()?);
    }
    let mut value = Value::Object(object.0.clone());
    without_managed_fields(&mut value);
    raw(value.to_string())
}

/// JSON or YAML as it came.
pub(super) fn of_text(text: &[u8]) -> Option<Box<RawValue>> {
    if let Some(json) = std::str::from_utf8(text).ok().and_then(on_one_line) {
        return Some(json);
    }
    raw(decode_untyped(text, Format::Yaml).ok()?.to_string())
}

/// An answer in its media type.
pub(super) fn of_answer(media_type: &str, body: &[u8], omit_managed_fields: bool) -> Option<Box<RawValue>> {
    let format = Format::of_content_type(media_type)?;
    let mut value = match format {
        Format::Json if !omit_managed_fields => {
            return on_one_line(std::str::from_utf8(body).ok()?);
        }
        Format::Json => serde_json::from_slice(body).ok()?,
        Format::Yaml => decode_untyped(body, Format::Yaml).ok()?,
        Format::Protobuf => api::protobuf::decode_any(body)?.into_value(),
    };
    if omit_managed_fields {
        without_managed_fields(&mut value);
    }
    raw(value.to_string())
}

/// What a packed answer is; none if it is too long.
pub(super) fn unpacked(body: &[u8]) -> Option<Vec<u8>> {
    let (mut out, limit) = (Vec::new(), ANSWER_BYTES_MAX as u64 + 1);
    GzDecoder::new(body).take(limit).read_to_end(&mut out).ok()?;
    (out.len() <= ANSWER_BYTES_MAX).then_some(out)
}

/// JSON as it came, without what stands between its parts: a line break there would end the event's line, and what follows would
/// be read as an event of its own.
fn on_one_line(json: &str) -> Option<Box<RawValue>> {
    let json = serde_json::from_str::<&RawValue>(json).ok()?.get();
    let (mut is_text, mut is_escaped) = (false, false);
    let kept = json.chars().filter(|letter| {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_text,
            '"' => is_text = !is_text,
            _ => {}
        }
        is_text || !letter.is_ascii_whitespace()
    });
    raw(kept.collect())
}

fn raw(json: String) -> Option<Box<RawValue>> {
    RawValue::from_string(json).ok()
}

/// Of an object, of a list's items and of a table's rows.
fn without_managed_fields(value: &mut Value) {
    let mut forget = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    forget(value);
    for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        forget(item);
    }
    for row in value.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        row.get_mut("object").into_iter().for_each(&mut forget);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(recorded: Option<Box<RawValue>>) -> String {
        recorded.map_or("none".into(), |raw| raw.get().to_owned())
    }

    #[test]
    fn objects_are_json_whatever_they_were() {
        assert_eq!(shown(of_text(b" {\"a\": 1}\n")), "{\"a\":1}");
        assert_eq!(shown(of_text(b"a:\n- 1\n")), "{\"a\":[1]}");
        assert_eq!(shown(of_answer("application/json", b"{\"b\":2}\n", false)), "{\"b\":2}");
        assert_eq!(shown(of_answer("application/yaml", b"b: 2\n", false)), "{\"b\":2}");
        assert_eq!(shown(of_answer("text/plain", b"ok", false)), "none");
        assert_eq!(shown(of_answer("application/json", b"{\"b\"", false)), "none");
    }

    #[test]
    fn nobody_writes_lines_of_their_own() {
        let forged = b"{\"a\":\n{\"kind\":\"Event\",\r\n\t\"user\": \" \\\" x\\\\\" }\n,\"b\":[1, 2]}";
        let expected = "{\"a\":{\"kind\":\"Event\",\"user\":\" \\\" x\\\\\"},\"b\":[1,2]}";
        assert_eq!(shown(of_text(forged)), expected);
        assert_eq!(shown(of_answer("application/json", forged, false)), expected);
        // White space must not make something of what is nothing.
        assert_eq!(shown(of_text(b"1 2")), "\"1 2\"");
        assert_eq!(shown(of_answer("application/json", b"1 2", false)), "none");
        assert_eq!(shown(of_answer("application/json", b"\"a\nb\"", false)), "none");
    }

    #[test]
    fn managed_fields_are_left_out_everywhere() {
        let one = json!({"metadata": {"name": "x", "managedFields": [{}]}});
        let expected = json!({"metadata": {"name": "x"}});
        let object = Object::from_value(one.clone()).unwrap();
        assert_eq!(shown(of_object(&object, true)), expected.to_string());
        assert_eq!(
            shown(of_object(&object, false)),
            json!({"metadata": {"managedFields": [{}], "name": "x"}}).to_string()
        );
        let list = json!({"items": [one], "rows": [{"object": one}]});
        let expected = json!({"items": [expected], "rows": [{"object": expected}]});
        assert_eq!(shown(of_answer("application/json", list.to_string().as_bytes(), true)), expected.to_string());
    }
}
