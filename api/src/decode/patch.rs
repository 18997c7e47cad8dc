//! Patches as they are written, with what strict decoding finds in them, and what they make of an object.

use std::collections::HashSet;

use serde_json::Value;

use super::tree::Tree;
use super::typed::{self, Wording};
use super::{Decoded, FieldValidation, Target, json, states_no_managers, yaml};
use crate::Object;
use crate::field::beginning;
use crate::patch::PatchError;

/// The fields of one operation of a JSON patch.
const OPERATION_FIELDS: [&str; 4] = ["op", "path", "from", "value"];
/// No more findings than this are told of one patch.
const FINDINGS_MAX: usize = 100;
/// How much of the path of a finding is told, in bytes.
pub(super) const FINDING_BYTES_MAX: usize = 8 * 1024;

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
    let mut findings = Vec::new();
    find(&tree, &mut String::new(), 0, true, &mut findings);
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
            let mut findings = Vec::new();
            if validation != FieldValidation::Ignore {
                find(&tree, &mut String::new(), 0, false, &mut findings);
            }
            Ok((tree.into_value()?, findings))
        }
        Tree::Null => Ok((Value::Null, Vec::new())),
        other => {
            Err(format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", other.kind_name()))
        }
    }
}

/// The keys that are given twice anywhere in a tree.
pub(super) fn duplicates(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    find(tree, &mut String::new(), 0, false, &mut findings);
    findings
}

/// Gathers keys given twice, and with `operations` fields that no operation has.
fn find(tree: &Tree, path: &mut String, depth: usize, operations: bool, findings: &mut Vec<String>) {
    let back = path.len();
    match tree {
        Tree::Array(items) => {
            for (place, item) in items.iter().enumerate().filter(|(_, item)| item.is_nested()) {
                path.push_str(&format!("[{place}]"));
                find(item, path, depth + 1, operations, findings);
                path.truncate(back);
            }
        }
        Tree::Object(entries) => {
            let mut seen = HashSet::with_capacity(entries.len());
            for (key, value) in entries {
                if back > 0 {
                    path.push('.');
                }
                path.push_str(key);
                if operations && depth == 1 && !OPERATION_FIELDS.contains(&&**key) {
                    note(findings, "unknown field", path);
                } else {
                    if !seen.insert(&**key) {
                        note(findings, "duplicate field", path);
                    }
                    find(value, path, depth + 1, operations, findings);
                }
                path.truncate(back);
            }
        }
        _ => {}
    }
}

fn note(findings: &mut Vec<String>, what: &str, path: &str) {
    if findings.len() < FINDINGS_MAX {
        let finding = format!("{what} {:?}", beginning(path, FINDING_BYTES_MAX));
        if !findings.contains(&finding) {
            findings.push(finding);
        }
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
        let decoded = super::decode_value(object.into_value(), target, lenient).map_err(|e| invalid(e.why()))?;
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
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type \
             map[string]interface {{}}",
            other.kind_name()
        )),
    }
}

/// The warnings of a configuration that is applied.
pub fn configuration_warnings(findings: Vec<String>) -> Vec<String> {
    super::as_warnings(findings)
}
