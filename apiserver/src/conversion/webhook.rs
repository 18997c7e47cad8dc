//! Conversion by a webhook of the definition (`webhookConverter` in apiextensions): ConversionReview, and what a webhook may change.

use std::time::Instant;

use api::catalogue::Resource;
use api::crd::{ConversionWebhook, Versions};
use api::decode::{self, Target};
use api::{Object, Status, defaults};
use bytes::Bytes;
use serde_json::{Value, json};

use super::metadata;
use crate::registry::create::plain_failure;
use crate::webhooks::{Answer, CALL_TIMEOUT, Place};
use crate::{Registry, workers};

const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "ConversionReview";
/// How many bytes of objects are sent at a time; a single object may be longer.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// How much longer an answer may be than what was sent: twice that, and so much.
const ANSWER_BYTES_MORE: usize = decode::BODY_BYTES_MAX;

/// What the metrics call the ways in which it fails.
const CALL_FAILED: &str = "conversion_webhook_call_failure";
const MALFORMED: &str = "conversion_webhook_malformed_response_failure";
const PARTIAL: &str = "conversion_webhook_partial_response_failure";
const INVALID: &str = "conversion_webhook_invalid_converted_object_failure";

/// A failure: what is counted, and what is told.
struct Failed(&'static str, String);

/// One asking.
struct Asking<'a> {
    registry: &'a Registry,
    resource: &'a Resource,
    versions: &'a Versions,
    webhook: &'a ConversionWebhook,
    /// `group/version`
    wanted: &'a str,
}

/// Asks for every object that is in another version; some at a time, so that what is sent is bounded.
///
/// # Errors
/// 500 for the first that cannot be had.
pub(super) async fn convert(
    registry: &Registry,
    resource: &Resource,
    versions: &Versions,
    mut objects: Vec<Object>,
    wanted: &str,
) -> Result<Vec<Object>, Status> {
    let Some(webhook) = versions.webhook() else { return Err(Status::internal("the definition has no webhook")) };
    let asking = Asking { registry, resource, versions, webhook, wanted };
    let mut batch = Vec::new();
    let (mut encoded, mut bytes) = (Vec::new(), 0);
    for place in 0..objects.len() {
        let object = &objects[place];
        if object.api_version() == wanted {
            continue;
        }
        if versions.schema(version_of(object.api_version())).is_none() {
            let stated = object.api_version();
            return Err(plain_failure(format!("request to convert CR from an invalid group/version: {stated}")));
        }
        let one = object.encode();
        if bytes + one.len() > BATCH_BYTES_MAX && !batch.is_empty() {
            asking.batch(&mut objects, std::mem::take(&mut batch), std::mem::take(&mut encoded)).await?;
            bytes = 0;
        }
        bytes += one.len();
        batch.push(place);
        encoded.push(one);
    }
    if !batch.is_empty() {
        asking.batch(&mut objects, batch, encoded).await?;
    }
    Ok(objects)
}

fn version_of(api_version: &str) -> &str {
    api_version.rsplit('/').next().unwrap_or("")
}

impl Asking<'_> {
    /// Converts the objects at these places.
    async fn batch(&self, objects: &mut [Object], places: Vec<usize>, encoded: Vec<Bytes>) -> Result<(), Status> {
        let clock = self.registry.clock();
        let started: Instant = clock.instant();
        let done = self.converted(objects, &places, encoded).await;
        let took = clock.instant().saturating_duration_since(started);
        let from = version_of(objects[places[0]].api_version()).to_string();
        let definition = self.resource.qualified_name();
        let failure = done.as_ref().err().map(|failed| failed.0);
        let metrics = &self.registry.metrics().webhooks;
        metrics.converted(&definition, [&from, version_of(self.wanted)], failure, took);
        let converted = done.map_err(|Failed(_, why)| plain_failure(why))?;
        for (place, object) in places.into_iter().zip(converted) {
            objects[place] = object;
        }
        Ok(())
    }

    async fn converted(
        &self,
        objects: &[Object],
        places: &[usize],
        encoded: Vec<Bytes>,
    ) -> Result<Vec<Object>, Failed> {
        let first = &objects[places[0]];
        let about = format!("conversion webhook for {}, Kind={}", first.api_version(), first.kind());
        let answered =
            self.ask(encoded).await.map_err(|Failed(kind, why)| Failed(kind, format!("{about} failed: {why}")))?;
        if answered.len() != places.len() {
            let (found, expected) = (answered.len(), places.len());
            return Err(Failed(PARTIAL, format!("{about} returned {found} objects, expected {expected}")));
        }
        let mut converted = Vec::with_capacity(places.len());
        for (index, (place, value)) in places.iter().zip(answered).enumerate() {
            let original = &objects[*place];
            let about = format!("conversion webhook for {}, Kind={}", original.api_version(), original.kind());
            let which = if places.len() == 1 { Which::Only } else { Which::At(index) };
            let object = checked(original, value, self.wanted, which);
            let mut object = object.map_err(|why| match why {
                Wrong::Plain(why) => Failed(INVALID, why),
                Wrong::Returned(why) => Failed(INVALID, format!("{about} returned {why}")),
            })?;
            if let Some(schema) = self.versions.schema(version_of(self.wanted)) {
                decode::prune(schema, &mut object);
                defaults::drop_nulls(schema, &mut object);
            }
            converted.push(object);
        }
        Ok(converted)
    }

    /// What the webhook makes of encoded objects.
    async fn ask(&self, objects: Vec<Bytes>) -> Result<Vec<Value>, Failed> {
        let call = |why: String| Failed(CALL_FAILED, why);
        let mut versions = self.webhook.review_versions.iter().map(String::as_str);
        let version = versions.find(|version| matches!(*version, "v1" | "v1beta1"));
        let version = version.ok_or_else(|| call("no supported conversion review versions".into()))?;
        let (place, mut bundle) = Place::of(&self.webhook.client_config).map_err(call)?;
        if bundle.iter().all(u8::is_ascii_whitespace) {
            bundle.clear();
        }
        let uid = crate::clock::uuid(self.registry.clock());
        let body = request(version, &uid, self.wanted, &objects);
        let most = 2 * body.len() + ANSWER_BYTES_MORE;
        drop(objects);
        let webhook = self.registry.webhooks().at(self.registry, &place, &bundle, None).map_err(call)?;
        let asked = webhook.post(body, CALL_TIMEOUT, CALL_TIMEOUT, most);
        let answer = workers::wait(asked).await.map_err(|error| call(error.to_string()))?;
        let target =
            Target::builtin(GROUP, version, KIND).ok_or_else(|| call("ConversionReview has no schema".into()))?;
        let review = answer.object(&target).map_err(|error| call(error.to_string()))?;
        response(version, &uid, &answer, review).map_err(|why| Failed(MALFORMED, why))
    }
}

/// The review that is sent.
fn request(version: &str, uid: &str, wanted: &str, objects: &[Bytes]) -> Bytes {
    const MORE_BYTES: usize = 512;
    let bytes: usize = objects.iter().map(|object| object.len() + 1).sum();
    let mut out = Vec::with_capacity(bytes + MORE_BYTES);
    let head = format!(
        "{{\"kind\":\"{KIND}\",\"apiVersion\":\"{GROUP}/{version}\",\"request\":{{\"uid\":\"{uid}\",\"desiredAPIVersion\":{},\
         \"objects\":[",
        Value::from(wanted)
    );
    out.extend_from_slice(head.as_bytes());
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(object);
    }
    let empty = json!({"uid": "", "convertedObjects": null, "result": {"metadata": {}}});
    out.extend_from_slice(format!("]}},\"response\":{empty}}}").as_bytes());
    out.into()
}

/// The objects of an answer (`getConvertedObjectsFromResponse`).
fn response(version: &str, uid: &str, answer: &Answer, mut review: Object) -> Result<Vec<Value>, String> {
    let stated = answer.stated();
    let is_v1 = version == "v1";
    if is_v1 && (stated.group.as_str(), stated.version.as_str(), stated.kind.as_str()) != (GROUP, "v1", KIND) {
        return Err(format!("expected webhook response of {GROUP}/v1, Kind={KIND}, got {stated}"));
    }
    if !review.at(&["response"]).is_some_and(Value::is_object) {
        return Err("no response provided".into());
    }
    let found = review.str_at(&["response", "uid"]);
    if is_v1 && found != uid {
        let quote = api::go::strconv::quote;
        return Err(format!("expected response.uid={}, got {}", quote(uid), quote(found)));
    }
    let status = review.str_at(&["response", "result", "status"]);
    if status != "Success" {
        let message = review.str_at(&["response", "result", "message"]);
        return Err(if message.is_empty() {
            format!("response.result.status was '{status}', not 'Success'")
        } else {
            message.to_string()
        });
    }
    match review.remove(&["response", "convertedObjects"]) {
        Some(Value::Array(objects)) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// Which of the objects that were sent one is: errors name it differently.
#[derive(Clone, Copy)]
enum Which {
    Only,
    At(usize),
}

/// What is wrong with a converted object.
enum Wrong {
    /// It is none; the reference says so without saying who made it.
    Plain(String),
    Returned(String),
}

/// A converted object, with the metadata that no webhook may change (`validateConvertedObject` and `restoreObjectMeta`).
fn checked(original: &Object, converted: Value, wanted: &str, which: Which) -> Result<Object, Wrong> {
    let (none, kind, object, meta) = match which {
        Which::Only => {
            (String::new(), "invalid object at index 0".into(), "invalid object".into(), "invalid metadata".into())
        }
        Which::At(index) => {
            let object = format!("invalid converted object at index {index}");
            (object.clone(), object.clone(), object, format!("invalid metadata in object at index {index}"))
        }
    };
    let no_object = |why: String| match which {
        Which::Only => Wrong::Plain(why),
        Which::At(_) => Wrong::Returned(format!("{none}: {why}")),
    };
    let of_kind = |why: String| Wrong::Returned(format!("{kind}: {why}"));
    let mut new = match converted {
        Value::Object(map) => Object(map),
        other => {
            let found = api::patch::json_kind(&other);
            return Err(no_object(api::go::json::cannot_unmarshal(found, "map[string]interface {}")));
        }
    };
    if new.kind().is_empty() {
        let shown = Value::Object(new.0).to_string();
        return Err(no_object(format!("Object 'Kind' is missing in '{shown}'")));
    }
    if new.api_version() != wanted {
        let found = new.api_version();
        return Err(of_kind(format!("invalid groupVersion (expected {wanted}, received {found})")));
    }
    if new.kind() != original.kind() {
        let (expected, found) = (original.kind(), new.kind());
        return Err(of_kind(format!("invalid kind (expected {expected}, received {found})")));
    }
    metadata::same_object(original, &new).map_err(|why| Wrong::Returned(format!("{object}: {why}")))?;
    metadata::restore(original, &mut new).map_err(|why| Wrong::Returned(format!("{meta}: {why}")))?;
    Ok(new)
}

#[cfg(test)]
mod tests;
