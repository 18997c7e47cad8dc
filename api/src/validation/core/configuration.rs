//! Config maps and secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::field::{ErrorList, FieldError, Path};
use crate::go::json::{ANY_MAP, UNEXPECTED_END, cannot_unmarshal, invalid_character};
use crate::names;
use crate::validation::at::{At, Name};
use crate::validation::rules;

/// How many bytes the data of a config map or a secret may have (`MaxSecretSize`).
const DATA_BYTES_MAX: usize = 1024 * 1024;
const SEALED: &str = "field is immutable when `immutable` is set";
const REDACTED: &str = "<secret contents redacted>";
const ACCOUNT: &str = "kubernetes.io/service-account.name";

/// `ValidateConfigMap` and `ValidateConfigMapUpdate`
pub(crate) fn config_map(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    if let Some(old) = old {
        sealed(new, old, new.known(["data", "binaryData"]), errors);
    }
    let (data, binary) = (new.field("data"), new.field("binaryData"));
    let mut size = 0;
    for (key, value) in data.entries() {
        config_key(key, &value.path, errors);
        if binary.value.get(key).is_some() {
            errors.push(FieldError::invalid(&value.path, key, "duplicate of key present in binaryData"));
        }
        size += value.text().len();
    }
    for (key, value) in binary.entries() {
        config_key(key, &value.path, errors);
        size += decoded_len(value.text());
    }
    if size > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(&Path::unnamed(), DATA_BYTES_MAX));
    }
}

/// `ValidateSecret` and `ValidateSecretUpdate`
pub(crate) fn secret(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    if let Some(old) = old {
        let type_ = new.field("type");
        if type_.text() != old.field("type").text() {
            errors.push(FieldError::invalid(&type_.path, type_.text(), rules::IMMUTABLE));
        }
        sealed(new, old, new.known(["data"]), errors);
    }
    let data = new.field("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        config_key(key, &value.path, errors);
        size += decoded_len(value.text());
    }
    if size > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(&data.path, DATA_BYTES_MAX));
    }
    of_type(new, &data, errors);
}

/// What a secret of a known type must hold.
fn of_type(new: &At<'_>, data: &At<'_>, errors: &mut ErrorList) {
    let has = |key: &str| data.value.get(key).is_some();
    let mut need = |key: &str| errors.push(FieldError::required(&data.path.key(key), ""));
    match new.field("type").text() {
        "kubernetes.io/service-account-token" => {
            let account = new.at(&["metadata", "annotations"]).key(ACCOUNT);
            rules::required(&account, errors);
        }
        "kubernetes.io/dockercfg" => document(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => document(data, ".dockerconfigjson", errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" if data.key("ssh-privatekey").is_empty() => need("ssh-privatekey"),
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).for_each(need),
        _ => {}
    }
}

/// A key that holds a JSON object.
fn document(data: &At<'_>, key: &str, errors: &mut ErrorList) {
    let at = data.key(key);
    if at.is_absent() {
        errors.push(FieldError::required(&at.path, ""));
        return;
    }
    let bytes = STANDARD.decode(at.text()).unwrap_or_default();
    if let Err(why) = is_object(&bytes) {
        errors.push(FieldError::invalid(&at.path, REDACTED, why));
    }
}

/// Why bytes are no JSON object, in the words of Go's `encoding/json`.
fn is_object(bytes: &[u8]) -> Result<(), String> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_) | Value::Null) => Ok(()),
        Ok(other) => {
            let kind = match other {
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Bool(_) => "bool",
                _ => "number",
            };
            Err(cannot_unmarshal(kind, ANY_MAP))
        }
        Err(error) if error.is_eof() => Err(UNEXPECTED_END.into()),
        Err(_) => {
            // The place is where a prefix stops being one of a document.
            let wrong = (0..bytes.len()).find(|end| {
                let prefix = serde_json::from_slice::<Map<String, Value>>(&bytes[..=*end]);
                prefix.is_err_and(|error| !error.is_eof())
            });
            let found = wrong.and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
            let place = if wrong == Some(0) { "looking for beginning of value" } else { "in JSON" };
            Err(invalid_character(found, place))
        }
    }
}

/// What was made immutable stays so, and stays as it is.
fn sealed<const N: usize>(new: &At<'_>, old: &At<'_>, fields: [Name; N], errors: &mut ErrorList) {
    if !old.field("immutable").is_true() {
        return;
    }
    if !new.field("immutable").is_true() {
        errors.push(FieldError::forbidden(&new.field("immutable").path, SEALED));
    }
    for (now, before) in fields.map(|name| (new.get(name), old.get(name))) {
        if now.value != before.value && !(now.is_empty() && before.is_empty()) {
            errors.push(FieldError::forbidden(&now.path, SEALED));
        }
    }
}

fn decoded_len(base64: &str) -> usize {
    base64.len() / 4 * 3 - base64.bytes().rev().take_while(|byte| *byte == b'=').count().min(base64.len() / 4 * 3)
}

fn config_key(key: &str, path: &Path, errors: &mut ErrorList) {
    for message in names::config_map_key(key) {
        errors.push(FieldError::invalid(path, key, message));
    }
}
