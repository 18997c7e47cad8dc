//! Patches as they are written, with what strict decoding finds in them, and what they make of an object.

use serde_json::Value;

use super::PatchError;
use crate::Object;
use crate::decode::typed::{self, Wording};
use crate::decode::{self, Decoded, FieldValidation, Target, Tree, findings, json, states_no_managers, yaml};
use crate::go::json::{ANY_MAP, cannot_unmarshal};

/// The fields of one operation of a JSON patch.
const OPERATION_FIELDS: [&str; 4] = ["op", "path", "from", "value"];

/// A patched object that is not yet decoded.
pub struct Patched {
    /// The object.
    pub object: Object,
    /// What strict decoding found in the patch itself.
    pub findings: Vec<String>,
    /// What is shown when the object does not decode.
    pub shown: String,
    /// Whether it comes from a strategic merge, whose errors have other words.
    pub strategic: bool,
}

/// Reads a JSON patch.
///
/// # Errors
/// If it is no JSON, or no list of operations.
pub fn json_patch(body: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), PatchError> {
    if validation == FieldValidation::Ignore {
        let tree = json::parse(body).map_err(PatchError::Malformed)?;
        return Ok((tree.into_value().map_err(PatchError::Malformed)?, Vec::new()));
    }
    let wrong = |why: String| PatchError::Malformed(format!("error decoding patch: {why}"));
    let tree = json::parse(body).map_err(wrong)?;
    let go_type = |what: &Tree, ty: &str| format!("json: cannot unmarshal {} into Go {ty}", what.kind_name());
    let items = match &tree {
        Tree::Array(items) => items.as_slice(),
        Tree::Null => &[],
        other => return Err(wrong(go_type(other, "value of type []handlers.jsonPatchOp"))),
    };
    for item in items {
        let Tree::Object(fields) = item else {
            if *item == Tree::Null {
                continue;
            }
            return Err(wrong(go_type(item, "value of type handlers.jsonPatchOp")));
        };
        for (name, value) in fields.iter().filter(|(name, _)| OPERATION_FIELDS[..3].contains(&&**name)) {
            if !matches!(value, Tree::String(_) | Tree::Null) {
                return Err(wrong(go_type(value, &format!("struct field jsonPatchOp.{name} of type string"))));
            }
        }
    }
    let findings = findings(&tree, &OPERATION_FIELDS);
    let findings = findings.into_iter().map(|finding| format!("json patch {finding}")).collect();
    Ok((tree.into_value().map_err(PatchError::Malformed)?, findings))
}

/// Reads a merge patch or a strategic merge patch; a null is an empty one.
///
/// # Errors
/// If it is no JSON object.
pub fn merge_patch(body: &[u8], validation: FieldValidation) -> Result<(Value, Vec<String>), String> {
    let tree = json::parse(body)?;
    match tree {
        Tree::Object(_) => {
            let strict = validation != FieldValidation::Ignore;
            let findings = if strict { findings(&tree, &[]) } else { Vec::new() };
            Ok((tree.into_value()?, findings))
        }
        Tree::Null => Ok((Value::Null, Vec::new())),
        other => Err(cannot_unmarshal(other.kind_name(), ANY_MAP)),
    }
}

/// Decodes what a patch has made.
///
/// # Errors
/// `Invalid`, with the object or the patch.
pub fn patched(patched: Patched, target: &Target, validation: FieldValidation) -> Result<Decoded, PatchError> {
    let Patched { object, findings, shown, strategic } = patched;
    let invalid = |why: String| PatchError::Invalid { shown: shown.clone(), why };
    let mut strict = findings;
    let mut object = if strategic {
        let tree = Tree::from(object.into_value());
        let is_strict = validation != FieldValidation::Ignore;
        let resets = states_no_managers(&tree);
        let root = target.schema.root();
        let value = typed::convert_in(Wording::Converter, tree, root, target.custom, is_strict, &mut strict);
        let mut object = Object::from_value(value.map_err(&invalid)?).expect("a struct converts to an object");
        if resets {
            object.set(&["metadata", "managedFields"], Value::Array(Vec::new()));
        }
        object
    } else {
        // Strict findings are gathered as warnings, so that those of the patch come before them.
        let lenient = if validation == FieldValidation::Ignore { validation } else { FieldValidation::Warn };
        let decoded = decode::decode_value(object.into_value(), target, lenient).map_err(|e| invalid(e.why()))?;
        strict.extend(decoded.warnings);
        decoded.object
    };
    if validation == FieldValidation::Strict && !strict.is_empty() {
        return Err(invalid(format!("strict decoding error: {}", strict.join(", "))));
    }
    if strategic {
        object.set(&["apiVersion"], target.api_version());
        object.set(&["kind"], target.kind.as_str());
    }
    Ok(Decoded { object, warnings: strict })
}

/// Decodes what an applied configuration has made.
///
/// # Errors
/// What the converter says of a value that is not of its type.
pub fn applied(object: Object, target: &Target) -> Result<Object, String> {
    let resets = object.at(&["metadata", "managedFields"]).and_then(Value::as_array).is_some_and(Vec::is_empty);
    let tree = Tree::from(object.into_value());
    let root = target.schema.root();
    let value = typed::convert_in(Wording::Converter, tree, root, target.custom, false, &mut Vec::new())?;
    let mut object = Object::from_value(value).expect("a struct converts to an object");
    if resets {
        object.set(&["metadata", "managedFields"], Value::Array(Vec::new()));
    }
    object.set(&["apiVersion"], target.api_version());
    object.set(&["kind"], target.kind.as_str());
    Ok(object)
}

/// Reads a configuration to be applied, and what strict decoding finds in it.
///
/// # Errors
/// The reference's text for what is no YAML, or no map.
pub fn configuration(body: &[u8]) -> Result<(Object, Vec<String>), String> {
    let mut strict = Vec::new();
    let tree = yaml::parse(body, &mut strict).map_err(|why| format!("error converting YAML to JSON: {why}"))?;
    match tree {
        Tree::Object(_) => Ok((Object::from_value(tree.into_value()?).unwrap_or_default(), strict)),
        Tree::Null => Ok((Object::default(), strict)),
        other => Err(format!(
            "error unmarshaling JSON: while decoding JSON: {}",
            cannot_unmarshal(other.kind_name(), ANY_MAP)
        )),
    }
}

/// The warnings of a configuration that is applied.
pub fn configuration_warnings(findings: Vec<String>) -> Vec<String> {
    decode::as_warnings(findings)
}
