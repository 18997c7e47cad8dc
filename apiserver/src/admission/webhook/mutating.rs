//! Mutating webhooks: one after the other, each sees what the ones before it made of the object (`mutating/dispatcher`).

use std::collections::BTreeSet;
use std::sync::Arc;

use api::decode::{self, FieldValidation};
use api::patch::{self, PatchError};
use api::{Object, Status, defaults};
use serde::Serialize;
use serde_json::Value;

use super::call::{self, Failure};
use super::hooks::Hook;
use super::review::Response;
use super::shown::{self, Shown};
use crate::matching::Matched;
use crate::outgoing::Identities;
use crate::plug::admission::{Attributes, Reinvocation};
use crate::registry::create::plain_failure;
use crate::workers;

pub(super) const NAME: &str = "MutatingAdmissionWebhook";

/// What the metrics call this phase.
const PHASE: &str = "admit";
/// The one type of patch.
const JSON_PATCH: &str = "JSONPatch";

/// What is remembered of the first round until the second (`webhookReinvokeContext`).
#[derive(Default)]
struct Rounds {
    /// Webhooks that were called and may be called once more.
    invoked: BTreeSet<(String, String)>,
    /// Those that will be.
    again: BTreeSet<(String, String)>,
    /// The object as the webhooks left it.
    left: Option<Object>,
}

impl Rounds {
    fn of<R>(reinvocation: &Reinvocation, work: impl FnOnce(&mut Self) -> R) -> R {
        reinvocation.remembered(NAME, work)
    }

    /// The object has changed since they saw it.
    fn repeat_invoked(&mut self) {
        self.again.append(&mut self.invoked);
    }
}

/// Calls every webhook that the request is for.
///
/// # Errors
/// The first refusal.
pub(super) async fn dispatch(
    hooks: Vec<Hook>,
    attributes: &Attributes<'_>,
    mut object: Option<&mut Object>,
    identities: Option<&Arc<Identities>>,
) -> Result<(), Status> {
    let reinvocation = attributes.reinvocation;
    if reinvocation.is_under_way() {
        Rounds::of(reinvocation, |rounds| {
            if rounds.left.as_ref() != object.as_deref() {
                rounds.repeat_invoked();
            }
        });
    }
    let managers = object.as_deref().and_then(managers).cloned();
    let mut calls = 0;
    let mut done = Ok(());
    for (index, hook) in hooks.iter().enumerate() {
        match one(hook, index, attributes, object.as_deref_mut(), identities).await {
            Ok(called) => calls += usize::from(called),
            Err(status) => {
                done = Err(status);
                break;
            }
        }
    }
    if calls > 0 {
        Rounds::of(reinvocation, |rounds| {
            let may_repeat = !rounds.invoked.is_empty();
            rounds.left = object.as_deref().filter(|_| may_repeat).cloned();
        });
        if let Some(object) = object {
            keep_managers(attributes, object, managers);
        }
    }
    done
}

fn managers(object: &Object) -> Option<&Value> {
    object.at(&["metadata", "managedFields"])
}

/// Managed fields that cannot be read are as they were before (`managedFieldsValidatingAdmissionController`).
fn keep_managers(attributes: &Attributes<'_>, object: &mut Object, before: Option<Value>) {
    let now = managers(object);
    if now == before.as_ref() {
        return;
    }
    let entries = now.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let Some(why) = fault_of_managers(entries) else { return };
    match before {
        Some(before) => object.set(&["metadata", "managedFields"], before),
        None => _ = object.metadata_mut().remove("managedFields"),
    }
    attributes.ctx.warn(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating \
         admission controller; please fix your requests: {why}"
    ));
}

/// Calls one webhook, if the request is for it. Whether it was called.
async fn one(
    hook: &Hook,
    index: usize,
    attributes: &Attributes<'_>,
    mut object: Option<&mut Object>,
    identities: Option<&Arc<Identities>>,
) -> Result<bool, Status> {
    let Some(matched) = hook.criteria.matches(attributes, object.as_deref())? else { return Ok(false) };
    let reinvocation = attributes.reinvocation;
    if !hook.conditions.hold(hook, PHASE, attributes, &matched, object.as_deref()).await? {
        return Ok(false);
    }
    let is_second = reinvocation.is_under_way();
    // What was not called in the first round is not called in the second.
    if is_second && !Rounds::of(reinvocation, |rounds| rounds.again.contains(&hook.id())) {
        return Ok(false);
    }
    let shown = shown::show(attributes, &matched, object.as_deref()).await?;
    let ctx = attributes.ctx;
    let started = ctx.registry.clock().instant();
    let calling = call::call(hook, attributes, &matched, &shown, true, identities);
    let called = workers::wait(calling).await;
    let round = format!("round_{}_index_{index}", u8::from(is_second));
    let changed = match called {
        Ok(response) => patched(hook, &round, attributes, &matched, &shown, response, &mut object).await,
        Err(failure) => Err(failure),
    };
    let took = ctx.registry.clock().instant().saturating_duration_since(started);
    call::count(hook, PHASE, attributes, &changed, took);
    let has_changed = matches!(changed, Ok(Some(true)));
    ctx.annotate(|| format!("mutation.webhook.admission.k8s.io/{round}"), || Noted::mutated(hook, has_changed));
    Rounds::of(reinvocation, |rounds| {
        if has_changed {
            rounds.repeat_invoked();
            reinvocation.ask();
        }
        if hook.reinvocable {
            rounds.invoked.insert(hook.id());
        }
    });
    let Err(failure) = changed else { return Ok(true) };
    if matches!(failure, Failure::Calling { .. }) && ctx.time_left().is_zero() {
        return Err(call::timed_out());
    }
    if matches!(failure, Failure::Calling { .. }) && hook.fails_open {
        tracing::warn!(webhook = hook.name, ?failure, "a webhook could not be called, and is not needed");
        ctx.registry.metrics().webhooks.failed_open(&hook.name, PHASE);
        ctx.annotate(|| format!("failed-open.mutation.webhook.admission.k8s.io/{round}"), || hook.name.clone());
        return Ok(true);
    }
    Err(failure.status(hook))
}

/// What the audit log is told of a webhook's work (`MutationAuditAnnotation` and `PatchAuditAnnotation`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Noted<'a> {
    configuration: &'a str,
    webhook: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
}

impl<'a> Noted<'a> {
    fn of(hook: &'a Hook) -> Self {
        let (configuration, webhook) = (hook.configuration.as_str(), hook.name.as_str());
        Self { configuration, webhook, mutated: None, patch: None, patch_type: None }
    }

    /// Whether the object has changed.
    fn mutated(hook: &'a Hook, has_changed: bool) -> String {
        Self { mutated: Some(has_changed), ..Self::of(hook) }.text()
    }

    /// How.
    fn patched(hook: &'a Hook, operations: &'a Value) -> String {
        Self { patch: Some(operations), patch_type: Some(JSON_PATCH), ..Self::of(hook) }.text()
    }

    fn text(&self) -> String {
        api::go::json::in_html(serde_json::to_string(self).unwrap_or_default())
    }
}

/// Applies the patch of an answer. None if there is none, and else whether anything has changed.
async fn patched(
    hook: &Hook,
    round: &str,
    attributes: &Attributes<'_>,
    matched: &Matched,
    shown: &Shown,
    response: Response,
    object: &mut Option<&mut Object>,
) -> Result<Option<bool>, Failure> {
    if response.patch.is_empty() {
        return Ok(None);
    }
    let undecodable =
        |why: String| Failure::calling(format!("received undecodable patch in webhook response: {why}"), 503);
    let operations = decode::decode_untyped(&response.patch, decode::Format::Json).map_err(undecodable)?;
    if operations.as_array().is_some_and(Vec::is_empty) || operations.is_null() {
        return Ok(None);
    }
    let internal = |why: String| Failure::Other(Status::internal(why));
    let (Some(object), Some(before)) = (object.as_deref_mut(), &shown.object) else {
        return Err(internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        )));
    };
    if response.patch_type != JSON_PATCH {
        return Err(Failure::calling(format!("unsupported patch type {:?}", response.patch_type), 400));
    }
    let before = Object::parse(before).map_err(|error| internal(error.to_string()))?;
    let mut value = before.clone().into_value();
    patch::json::apply(&mut value, &operations).map_err(|error| match error {
        PatchError::Malformed(why) => undecodable(why),
        other => internal(other.to_string()),
    })?;
    let target = shown::target(matched, attributes.subresource).map_err(Failure::Other)?;
    let mut new = decoded(value, &target)?;
    let changed = before != *shown::printed(&target, &new);
    let ctx = attributes.ctx;
    ctx.annotate_request(|| format!("patch.webhook.admission.k8s.io/{round}"), || Noted::patched(hook, &operations));
    defaults::apply_and_keep_nulls(&target.schema, &mut new);
    let version = object.api_version().to_string();
    let new = shown::versioned(attributes, attributes.resource, &version, &new).await;
    let new = new.map_err(|status| Failure::Other(shown::internal(status)))?;
    *object = new.into_owned();
    Ok(Some(changed))
}

/// What a patch made, which must still be of its kind.
fn decoded(value: Value, target: &decode::Target) -> Result<Object, Failure> {
    let stated = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").to_string();
    let (kind, version) = (stated("kind"), stated("apiVersion"));
    let is_same = (kind.is_empty() || kind == target.kind) && (version.is_empty() || version == target.api_version());
    if !is_same && target.custom {
        let wanted = target.api_version();
        return Err(Failure::Other(plain_failure(format!(
            "a webhook may not make {version}, Kind={kind} of {wanted}, Kind={}",
            target.kind
        ))));
    }
    let internal = |error: decode::DecodeError| Failure::Other(Status::internal(error.why()));
    let decode_as =
        |value: Value, target: &decode::Target| decode::decode_value(value, target, FieldValidation::Ignore);
    let (group, name) = version.split_once('/').unwrap_or(("", &version));
    if !is_same && let Some(other) = decode::Target::builtin(group, name, &kind) {
        // It is read as what it says it is, and cannot be what it was.
        decode_as(value.clone(), &other).map_err(internal)?;
        let why = decode_as(value, target).map_or_else(|error| error.why(), |_| "unknown conversion".into());
        return Err(Failure::Other(plain_failure(why)));
    }
    Ok(decode_as(value, target).map_err(internal)?.object)
}

/// Why managed fields cannot be read (`ValidateManagedFields`).
fn fault_of_managers(entries: &[Value]) -> Option<String> {
    for (index, entry) in entries.iter().enumerate() {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
        if !matches!(text("operation"), "Apply" | "Update") {
            return Some("operation must be `Apply` or `Update`".into());
        }
        if text("apiVersion").is_empty() {
            return Some("apiVersion must not be empty".into());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Some(format!("missing fieldsType in managed fields entry {index}")),
            other => return Some(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
        }
    }
    let is_readable = api::apply::decode_managers(entries).is_some();
    if is_readable { None } else { Some("error decoding managed fields".into()) }
}
