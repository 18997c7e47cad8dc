//! Secrets, which also take their data as text.

use api::Object;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Strategy;
use crate::Context;

/// Secrets.
pub(super) struct Secret;

/// `stringData` is written into `data` and never stored.
fn fold_string_data(secret: &mut Object) {
    let Some(Value::Object(texts)) = secret.0.remove("stringData") else { return };
    for (key, text) in texts {
        if let Some(text) = text.as_str() {
            secret.set(&["data", &key], STANDARD.encode(text));
        }
    }
}

impl Strategy for Secret {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        fold_string_data(new);
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        fold_string_data(new);
        // An update that leaves the type out means the same type (it is defaulted before it comes here).
        if new.str_at(&["type"]).is_empty()
            && let Some(kind) = old.at(&["type"])
        {
            new.set(&["type"], kind.clone());
        }
    }
}
