//! Every recorded object becomes its recorded bytes and comes back from them.

use serde_json::{Value, json};

use super::{ProtobufError, decode, encode, watch_frame};
use crate::Object;
use crate::decode::{FieldValidation, Format, Target, decode as decode_bytes, normalise};
use crate::schema::Schema;

/// What differs for one recorded pair; nothing if it round-trips.
fn check(json: &str, bytes: &[u8]) -> Result<(), String> {
    let mut object = Object::parse(json.as_bytes()).map_err(|e| e.to_string())?;
    let (api_version, kind) = (object.api_version().to_string(), object.kind().to_string());
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    // A watch event is the one message whose JSON does not state its kind.
    let (version, kind) = if kind.is_empty() { ("v1", "WatchEvent".to_string()) } else { (version, kind) };
    let schema = Schema::of(group, version, &kind)
        .or_else(|| Schema::of("meta.k8s.io", version, &kind))
        .ok_or_else(|| format!("{api_version} {kind} is unknown"))?;
    let mut read = decode(bytes, &schema).map_err(|e| e.to_string())?;
    normalise(&schema, &mut object);
    normalise(&schema, &mut read);
    if read != object {
        return Err(format!("read {}\n wanted {}", read.into_value(), object.into_value()));
    }
    let target = Target { group: group.into(), version: version.into(), kind, schema: schema.clone(), custom: false };
    let decoded = decode_bytes(json.as_bytes(), Format::Json, &target, FieldValidation::Strict);
    let mut decoded = decoded.map_err(|e| e.to_string())?.object;
    decoded.0.retain(|name, _| object.0.contains_key(name));
    if decoded != object {
        return Err(format!("decoded {}\n wanted {}", decoded.into_value(), object.into_value()));
    }
    let written = encode(&object, &schema);
    if written != bytes {
        let at = written.iter().zip(bytes).position(|(a, b)| a != b).unwrap_or(written.len().min(bytes.len()));
        let near =
            |all: &[u8]| String::from_utf8_lossy(&all[at.saturating_sub(30)..all.len().min(at + 20)]).into_owned();
        return Err(format!(
            "written {} bytes for {}: {:?} for {:?}",
            written.len(),
            bytes.len(),
            near(&written),
            near(bytes)
        ));
    }
    Ok(())
}

#[test]
fn recorded_objects_round_trip() {
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(crate::reference::path("roundtrip")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            count += 1;
            let json = std::fs::read_to_string(&path).unwrap();
            let bytes = std::fs::read(path.with_extension("pb")).unwrap();
            if let Err(why) = check(&json, &bytes) {
                failures.push(format!("{}: {why}", path.file_stem().unwrap().display()));
            }
        }
    }
    assert!(count > 50 && failures.is_empty(), "{} of {count}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn bodies_are_decoded_or_refused() {
    let schema = Schema::of("", "v1", "ConfigMap").unwrap();
    let target = Target::builtin("", "v1", "ConfigMap").unwrap();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let object = Object::from_value(body.clone()).unwrap();
    let bytes = encode(&object, &schema);
    let decoded = decode_bytes(&bytes, Format::Protobuf, &target, FieldValidation::Strict).unwrap();
    assert_eq!(decoded.object.into_value(), body);
    let wrong = Target::builtin("", "v1", "Secret").unwrap();
    assert!(decode_bytes(&bytes, Format::Protobuf, &wrong, FieldValidation::Strict).is_err());
    assert_eq!(decode(b"{}", &schema), Err(ProtobufError::NoPrefix));
    for end in 4..bytes.len() {
        let _ = decode(&bytes[..end], &schema);
        let mut flipped = bytes.clone();
        flipped[end] ^= 0xff;
        let _ = decode(&flipped, &schema);
    }
    let frame = watch_frame("ADDED", &bytes);
    assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
    let event = super::read::message(Schema::of("", "v1", "WatchEvent").unwrap().root(), &frame[4..], 0).unwrap();
    assert_eq!(Value::Object(event), json!({"type": "ADDED", "object": body}));
}

/// `Verbs` is a list in JSON and a message of its own in protobuf.
#[test]
fn verbs_are_a_message() {
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1",
        "resources": [{"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]}],
    });
    let schema = Schema::of("", "v1", "APIResourceList").unwrap();
    let written = encode(&Object::parse(list.to_string().as_bytes()).unwrap(), &schema);
    let wrapped = b"\x22\x0b\x0a\x03get\x0a\x04list";
    assert!(written.windows(wrapped.len()).any(|window| window == wrapped), "{written:?}");
    assert_eq!(decode(&written, &schema).unwrap().into_value(), list);
}

/// In a map of bytes.
#[test]
fn an_entry_without_a_value_is_empty() {
    let schema = Schema::of("", "v1", "Secret").unwrap();
    let read = super::read::message(schema.root(), b"\x12\x03\x0a\x01a", 0).unwrap();
    assert_eq!(read["data"], json!({"a": ""}));
}
