//! Certificate signing requests: who asks is written down, and approving, denying and signing are kept apart.

use std::collections::HashMap;

use api::Object;
use api::time;
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;

/// The request itself.
pub(super) struct Request;

/// Its `approval` subresource.
pub(super) struct Approval;

/// Its `status` subresource.
pub(super) struct Signature;

const DECISIONS: [&str; 2] = ["Approved", "Denied"];

impl Strategy for Request {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        let user = &ctx.user;
        new.set(&["spec", "username"], user.username.as_str());
        for (field, value) in [("uid", json!(user.uid)), ("groups", json!(user.groups)), ("extra", json!(user.extra))] {
            let empty = value == json!("") || value == json!([]) || value == json!({});
            if empty {
                new.remove(&["spec", field]);
            } else {
                new.set(&["spec", field], value);
            }
        }
        new.set(&["status"], json!({}));
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        keep_spec(new, old);
    }
}

impl Strategy for Approval {
    fn prepare_for_update(&self, ctx: &Context, new: &mut Object, old: &Object) {
        keep_spec(new, old);
        match old.at(&["status", "certificate"]) {
            Some(certificate) => new.set(&["status", "certificate"], certificate.clone()),
            None => {
                new.remove(&["status", "certificate"]);
            }
        }
        stamp(ctx, new, old);
    }
}

impl Strategy for Signature {
    fn prepare_for_update(&self, ctx: &Context, new: &mut Object, old: &Object) {
        keep_spec(new, old);
        let is_decision = |condition: &Value| {
            condition.get("type").and_then(Value::as_str).is_some_and(|kind| DECISIONS.contains(&kind))
        };
        let mut conditions: Vec<Value> = list(old).iter().filter(|c| is_decision(c)).cloned().collect();
        conditions.extend(list(new).iter().filter(|c| !is_decision(c)).cloned());
        if !conditions.is_empty() {
            new.set(&["status", "conditions"], conditions);
        }
        stamp(ctx, new, old);
    }
}

fn keep_spec(new: &mut Object, old: &Object) {
    if let Some(spec) = old.at(&["spec"]) {
        new.set(&["spec"], spec.clone());
    }
}

fn list(request: &Object) -> &[Value] {
    request.at(&["status", "conditions"]).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Conditions that are new or changed get the time.
fn stamp(ctx: &Context, new: &mut Object, old: &Object) {
    let now = time::format(ctx.now);
    let mut before: HashMap<Option<Value>, &Value> = HashMap::new();
    list(old).iter().for_each(|condition| _ = before.entry(condition.get("type").cloned()).or_insert(condition));
    let mut conditions = list(new).to_vec();
    for condition in &mut conditions {
        let known = before.get(&condition.get("type").cloned()).copied();
        if condition.get("lastUpdateTime").is_none_or(Value::is_null) {
            condition["lastUpdateTime"] = now.as_str().into();
        }
        if condition.get("lastTransitionTime").is_none_or(Value::is_null) {
            let unchanged = known.filter(|known| known.get("status") == condition.get("status"));
            let since = unchanged.and_then(|known| known.get("lastTransitionTime").cloned());
            condition["lastTransitionTime"] = since.unwrap_or_else(|| now.as_str().into());
        }
    }
    if !conditions.is_empty() {
        new.set(&["status", "conditions"], conditions);
    }
}
