//! `ImagePolicyWebhook`: a server outside says which images may be run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::{Object, Status};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::files::PluginFiles;
use super::{Admission, Attributes, Operation, forbidden};
use crate::outgoing::{Kubeconfig, Reply};
use crate::remote::cache::Key;

const NAME: &str = "ImagePolicyWebhook";
/// Annotations of a pod that the server is told of have this in their names.
const DOMAIN: &str = ".image-policy.k8s.io/";
/// What the names of annotations in the audit log begin with.
const AUDIT: &str = "imagepolicywebhook.image-policy.k8s.io/";
/// How many answers are kept.
const ANSWERS_MAX: usize = 1024;
/// How often the server is asked, how much longer is waited each time, and how long one time may take.
const ATTEMPTS_MAX: u32 = 5;
const BACKOFF_FACTOR: f64 = 1.5;
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The plugin.
pub(super) struct ImagePolicy {
    endpoint: Kubeconfig,
    allow_for: Duration,
    deny_for: Duration,
    backoff: Duration,
    default_allow: bool,
    /// By a digest of what was asked, which may be long.
    answers: Mutex<HashMap<Key, (Answer, Instant)>>,
}

/// `ImageReviewStatus`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    allowed: bool,
    reason: String,
    audit_annotations: BTreeMap<String, String>,
}

impl ImagePolicy {
    /// As the files of a cluster tell it.
    ///
    /// # Errors
    /// What is wrong with them; also that they tell it nothing.
    pub(super) fn new(files: &PluginFiles) -> Result<Self, String> {
        let file = files.plain(NAME)?.ok_or("no config specified")?;
        let told = &file["imagePolicy"];
        let duration = |field: &str, scale: u64, otherwise: Duration, range: (Duration, Duration)| match told[field]
            .as_i64()
            .unwrap_or(0)
        {
            -1 => Ok(Duration::ZERO),
            0 => Ok(otherwise),
            number => {
                let found = u64::try_from(number).ok().and_then(|number| number.checked_mul(scale));
                let found = found.map(Duration::from_millis).filter(|found| (range.0..=range.1).contains(found));
                let shown =
                    |time: Duration| api::go::duration::format(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
                let given = api::go::duration::format(number.saturating_mul(scale as i64).saturating_mul(1_000_000));
                let (least, most) = (shown(range.0), shown(range.1));
                found.ok_or_else(|| format!("valid value is between {least} and {most}, got {given}"))
            }
        };
        let (second, minutes) = (Duration::from_secs(1), |minutes: u64| Duration::from_secs(60 * minutes));
        let backoff = duration("retryBackoff", 1, Duration::from_millis(500), (Duration::from_nanos(1), minutes(5)))?;
        let allow_for = duration("allowTTL", 1_000, minutes(5), (second, minutes(30)))?;
        let deny_for = duration("denyTTL", 1_000, Duration::from_secs(30), (second, minutes(30)))?;
        let path = PathBuf::from(told["kubeConfigFile"].as_str().unwrap_or(""));
        let default_allow = told["defaultAllow"] == true;
        let endpoint = Kubeconfig::read(&path).map_err(|error| error.to_string())?;
        Ok(Self { endpoint, allow_for, deny_for, backoff, default_allow, answers: Mutex::default() })
    }

    async fn judge(&self, attributes: &Attributes<'_>, pod: &Object) -> Result<(), Status> {
        let spec = asked(attributes, pod);
        let now = attributes.ctx.registry.clock().instant();
        let key = Key::from(Sha256::digest(spec.to_string()));
        let known = self.answers.lock().get(&key).filter(|(_, until)| now < *until).map(|(answer, _)| answer.clone());
        let answer = match known {
            Some(answer) => answer,
            None => match self.ask(&spec).await {
                Ok(answer) => {
                    self.keep(key, answer.clone(), now);
                    answer
                }
                Err(why) if self.default_allow => {
                    tracing::warn!(why, "an image is allowed because its policy cannot be asked");
                    attributes.ctx.annotate(|| format!("{AUDIT}failed-open"), || "true".into());
                    return Ok(());
                }
                Err(why) => return Err(forbidden(attributes, Some(pod), &why)),
            },
        };
        for (name, text) in &answer.audit_annotations {
            attributes.ctx.annotate(|| format!("{AUDIT}{name}"), || text.clone());
        }
        if answer.allowed {
            return Ok(());
        }
        let why = match answer.reason.as_str() {
            "" => "one or more images rejected by webhook backend".into(),
            reason => format!("image policy webhook backend denied one or more images: {reason}"),
        };
        Err(forbidden(attributes, Some(pod), &why))
    }

    fn keep(&self, key: Key, answer: Answer, now: Instant) {
        let until = now + if answer.allowed { self.allow_for } else { self.deny_for };
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, (_, until)| now < *until);
        }
        // What all is still good for makes room for nothing; it is asked again.
        if answers.len() < ANSWERS_MAX {
            answers.insert(key, (answer, until));
        }
    }

    async fn ask(&self, spec: &Value) -> Result<Answer, String> {
        let review = json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview",
            "metadata": {"creationTimestamp": null}, "spec": spec, "status": {"allowed": false}});
        let body = Bytes::from(review.to_string());
        let mut delay = self.backoff.as_secs_f64();
        for attempt in 1.. {
            let (why, again) = match self.endpoint.post(body.clone(), ATTEMPT_TIMEOUT, ANSWER_BYTES_MAX).await {
                Ok(reply) if reply.status.is_success() => {
                    let answer = serde_json::from_slice::<Value>(&reply.body).map_err(|error| error.to_string())?;
                    return Answer::deserialize(&answer["status"]).map_err(|error| error.to_string());
                }
                Ok(Reply { status: code, .. }) => {
                    let again = code.is_server_error() || code.as_u16() == 429;
                    (format!("Error contacting webhook: {}", code.as_u16()), again)
                }
                Err(error) => (error.to_string(), true),
            };
            if !again || attempt >= ATTEMPTS_MAX {
                return Err(why);
            }
            tokio::time::sleep(Duration::from_secs_f64(delay)).await;
            delay *= BACKOFF_FACTOR;
        }
        unreachable!("the last attempt returns")
    }
}

impl Admission for ImagePolicy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let is_pod = attributes.resource.group.is_empty() && attributes.resource.plural == "pods";
            let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
            let is_meant = is_pod && is_write && matches!(attributes.subresource, "" | "ephemeralcontainers");
            match object.filter(|_| is_meant) {
                Some(pod) => self.judge(attributes, pod).await,
                None => Ok(()),
            }
        }
        .boxed()
    }
}

/// `ImageReviewSpec`
fn asked(attributes: &Attributes<'_>, pod: &Object) -> Value {
    let lists: &[&str] =
        if attributes.subresource.is_empty() { &["containers", "initContainers"] } else { &["ephemeralContainers"] };
    let containers = lists.iter().filter_map(|list| pod.at(&["spec", list])?.as_array()).flatten();
    let containers: Vec<Value> = containers.map(|container| json!({"image": container["image"]})).collect();
    let annotations = pod.at(&["metadata", "annotations"]).and_then(Value::as_object).into_iter().flatten();
    let annotations: serde_json::Map<String, Value> = annotations
        .filter(|(name, _)| name.contains(DOMAIN))
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    let mut spec = json!({"containers": containers, "namespace": attributes.namespace});
    if !annotations.is_empty() {
        spec["annotations"] = annotations.into();
    }
    spec
}
