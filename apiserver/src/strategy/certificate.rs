//! Certificate signing requests: who asks is written down, and approving, denying and signing are kept apart.

use std::collections::HashMap;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metrics::Counter;
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;
use crate::certificates::signing;

/// The request itself.
pub(super) struct Request;

/// Its `approval` subresource.
pub(super) struct Approval;

/// Its `status` subresource.
pub(super) struct Signature;

/// By so much signers may date a certificate back.
const BACKDATED_SECONDS: u64 = 300;
/// The signers that the metrics tell apart.
const SIGNERS: [&str; 5] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kube-apiserver-client-pod",
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
];
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

    /// That it is one, and signed; that it is PEM at all is asked elsewhere. It never changes.
    fn validate(&self, _: &Context, new: &Object, old: Option<&Object>) -> ErrorList {
        let text = new.str_at(&["spec", "request"]);
        let pem = STANDARD.decode(text).unwrap_or_default();
        let is_pem = x509_parser::pem::parse_x509_pem(&pem).is_ok_and(|(_, pem)| pem.label == "CERTIFICATE REQUEST");
        let path = Path::new("spec").child("request");
        match signing::check(&pem) {
            Err(why) if old.is_none() && is_pem => FieldError::invalid(&path, text, why).into(),
            _ => ErrorList::new(),
        }
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
        if !ctx.options.dry_run {
            count_lifetime(ctx, new, old);
        }
    }
}

/// Counts a certificate that is issued after somebody asked for its lifetime (`countCSRDurationMetric`).
fn count_lifetime(ctx: &Context, new: &Object, old: &Object) {
    let certificate = new.str_at(&["status", "certificate"]);
    let asked = old.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
    let Some(asked) = asked.filter(|_| !certificate.is_empty() && old.str_at(&["status", "certificate"]).is_empty())
    else {
        return;
    };
    let signer = old.str_at(&["spec", "signerName"]);
    let signer = SIGNERS.into_iter().find(|known| *known == signer).unwrap_or("other");
    let various = &ctx.registry.metrics().various;
    various.lifetimes_asked.with([signer], Counter::add_one);
    if lifetime(certificate).is_some_and(|given| is_honored(asked, given)) {
        various.lifetimes_given.with([signer], Counter::add_one);
    }
}

/// How many seconds a certificate is good for, which is PEM in base64.
fn lifetime(certificate: &str) -> Option<i64> {
    let pem = STANDARD.decode(certificate).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let parsed = pem.parse_x509().ok()?;
    let validity = parsed.validity();
    Some(validity.not_after.timestamp() - validity.not_before.timestamp())
}

/// Whether a lifetime is near enough to what was asked for (`isDurationHonored`), both in seconds.
fn is_honored(asked: i64, given: i64) -> bool {
    asked.abs_diff(given) < BACKDATED_SECONDS + asked.unsigned_abs() / 20
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
