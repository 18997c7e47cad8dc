//! Images: pull policies with back-off, import of archives, and the built-in pause image.

pub mod archive;
pub mod import;
pub mod name;
pub mod pause;
mod secrets;
pub mod view;

use std::{collections::HashMap, sync::Arc, time::Duration};

use client::{Clock, EventRecorder, EventType};
use jiff::{SignedDuration, Timestamp};
use k8s_cri::v1::PodSandboxConfig;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, Secret};
use parking_lot::Mutex;

use crate::{cri::Cri, figures, pod, status::Waiting};

pub use import::{Error as ImportError, import};

/// The first delay before a failed pull is tried again.
const BACKOFF_INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest such delay.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(300);
/// Failed pulls that are remembered; the oldest is forgotten first.
const FAILURES_MAX: usize = 4096;

/// An image that is there.
#[derive(Debug, Clone)]
pub struct Present {
    /// The runtime's name for it.
    pub reference: String,
    /// Its own user, if numeric.
    pub user: Option<i64>,
    /// Its own user, if a name.
    pub username: String,
}

impl Present {
    fn new(reference: String, image: Option<&k8s_cri::v1::Image>) -> Self {
        let username = image.map(|image| image.username.clone()).unwrap_or_default();
        let numeric = image.and_then(|image| image.uid.as_ref()).map(|uid| uid.value);
        // An image that names no user runs as root.
        let user = numeric.or_else(|| username.is_empty().then_some(0));
        Self { reference, user, username }
    }
}

/// An image that is not there.
#[derive(Debug, Clone)]
pub struct Absent {
    /// The reason that the container's status shows.
    pub waiting: Waiting,
    /// When to try again.
    pub retry: Duration,
}

#[derive(Debug, Clone)]
struct Failure {
    delay: SignedDuration,
    at: Timestamp,
    message: String,
}

/// Makes sure that images are there before containers are made from them.
#[derive(Clone)]
pub struct Images {
    cri: Cri,
    recorder: EventRecorder,
    clock: Clock,
    failures: Arc<Mutex<HashMap<(String, String), Failure>>>,
    /// How long images were pulled for each pod, by its uid.
    pulling: Arc<Mutex<HashMap<String, Duration>>>,
    figures: Arc<figures::Agent>,
}

/// An image that a container runs or a volume shows.
pub struct Wanted<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Whom events are about.
    pub reference: ObjectReference,
    /// The image.
    pub image: &'a str,
    /// Its pull policy, if one is given.
    pub policy: Option<&'a str>,
    /// The pod's pull secrets.
    pub secrets: &'a [Arc<Secret>],
    /// The sandbox that the image is pulled for.
    pub sandbox: &'a PodSandboxConfig,
}

impl Images {
    /// Images of this runtime.
    pub fn new(cri: Cri, recorder: EventRecorder, clock: Clock, figures: Arc<figures::Agent>) -> Self {
        Self { cri, recorder, clock, failures: Arc::default(), pulling: Arc::default(), figures }
    }

    /// How long images were pulled for a pod.
    pub(crate) fn pulling(&self, uid: &str) -> Duration {
        self.pulling.lock().get(uid).copied().unwrap_or_default()
    }

    fn event(&self, wanted: &Wanted<'_>, type_: EventType, reason: &str, message: String) {
        self.recorder.event_about(wanted.reference.clone(), type_, reason, message);
    }

    /// The image, pulled if its policy asks for that.
    ///
    /// # Errors
    /// [`Absent`] with the reason for the container's status.
    pub async fn ensure(&self, wanted: &Wanted<'_>) -> Result<Present, Absent> {
        let given = wanted.policy.filter(|policy| !policy.is_empty());
        let policy = given.unwrap_or_else(|| name::default_policy(wanted.image));
        let (mut present, mut pulls) = (None, None);
        let ensured = self.ensure_as(wanted, policy, &mut present, &mut pulls).await;
        self.figures.ensured(policy, present, pulls);
        ensured
    }

    /// The same, telling whether the image was there and whether it had to be pulled, once that is known.
    async fn ensure_as(
        &self,
        wanted: &Wanted<'_>,
        policy: &str,
        is_present: &mut Option<bool>,
        pulls: &mut Option<bool>,
    ) -> Result<Present, Absent> {
        let image = wanted.image;
        if let Err(reason) = name::check(image) {
            let message = format!("Failed to apply default image tag {image:?}: {reason}");
            self.event(wanted, EventType::Warning, "InspectFailed", message.clone());
            self.event(wanted, EventType::Warning, "Failed", "Error: InvalidImageName".to_owned());
            return Err(absent("InvalidImageName", message, BACKOFF_MAX));
        }
        let found = if policy == "Always" { None } else { self.look(wanted, image).await? };
        *is_present = (policy != "Always").then_some(found.is_some());
        *pulls = Some(found.is_none() && policy != "Never");
        if let Some(present) = found {
            let message =
                format!("Container image {image:?} already present on machine and can be accessed by the pod");
            self.event(wanted, EventType::Normal, "Pulled", message);
            return Ok(present);
        }
        if policy == "Never" {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            self.event(wanted, EventType::Warning, "ErrImageNeverPull", message.clone());
            self.event(wanted, EventType::Warning, "Failed", "Error: ErrImageNeverPull".to_owned());
            return Err(absent("ErrImageNeverPull", message, BACKOFF_INITIAL));
        }
        self.pull(wanted, image).await
    }

    async fn look(&self, wanted: &Wanted<'_>, image: &str) -> Result<Option<Present>, Absent> {
        match self.cri.image_status(image).await {
            Ok(found) => Ok(found.map(|found| Present::new(found.id.clone(), Some(&found)))),
            Err(error) => {
                let message = format!("Failed to inspect image {image:?}: {error}");
                self.event(wanted, EventType::Warning, "InspectFailed", message.clone());
                Err(absent("ImageInspectError", message, BACKOFF_INITIAL))
            }
        }
    }

    async fn pull(&self, wanted: &Wanted<'_>, image: &str) -> Result<Present, Absent> {
        let key = (pod::uid(wanted.pod).to_owned(), image.to_owned());
        let now = self.clock.now();
        let failure = self.failures.lock().get(&key).cloned();
        if let Some(failure) = &failure {
            let left = failure.delay - now.duration_since(failure.at);
            if left.is_positive() {
                let message = format!("Back-off pulling image {image:?}");
                self.event(wanted, EventType::Normal, "BackOff", message.clone());
                self.event(wanted, EventType::Warning, "Failed", "Error: ImagePullBackOff".to_owned());
                let message = format!("{message}: ErrImagePull: {}", failure.message);
                return Err(absent("ImagePullBackOff", message, left));
            }
        }
        self.event(wanted, EventType::Normal, "Pulling", format!("Pulling image {image:?}"));
        let started = self.clock.elapsed();
        let auth = secrets::auth(wanted.secrets, image);
        match self.cri.pull_image(image, auth, Some(wanted.sandbox.clone())).await {
            Ok(reference) => {
                self.failures.lock().remove(&key);
                let found = self.cri.image_status(&reference).await.ok().flatten();
                let size = found.as_ref().map_or(0, |found| found.size);
                let took = self.clock.elapsed().saturating_sub(started);
                self.figures.pulled(size, took);
                *self.pulling.lock().entry(key.0).or_default() += took;
                let took = took.as_millis();
                let message = format!(
                    "Successfully pulled image {image:?} in {took}ms ({took}ms including waiting). Image size: {size} bytes."
                );
                self.event(wanted, EventType::Normal, "Pulled", message);
                Ok(Present::new(reference, found.as_ref()))
            }
            Err(error) => {
                let text = error.message();
                self.event(wanted, EventType::Warning, "Failed", format!("Failed to pull image {image:?}: {error}"));
                self.event(wanted, EventType::Warning, "Failed", "Error: ErrImagePull".to_owned());
                let delay = failure.map_or(BACKOFF_INITIAL, |failure| (failure.delay * 2).min(BACKOFF_MAX));
                self.note(key, Failure { delay, at: self.clock.now(), message: text.clone() });
                // The status shows the error itself for a moment before it shows the back-off.
                Err(absent("ErrImagePull", text, SignedDuration::from_secs(1)))
            }
        }
    }

    fn note(&self, key: (String, String), failure: Failure) {
        let mut failures = self.failures.lock();
        if failures.len() >= FAILURES_MAX
            && let Some(oldest) = failures.iter().min_by_key(|(_, failure)| failure.at).map(|(key, _)| key.clone())
        {
            failures.remove(&oldest);
        }
        failures.insert(key, failure);
    }

    /// Forgets the failures of a pod that is gone.
    pub fn forget(&self, uid: &str) {
        self.failures.lock().retain(|(owner, _), _| owner != uid);
        self.pulling.lock().remove(uid);
    }
}

fn absent(reason: &str, message: String, retry: SignedDuration) -> Absent {
    let retry = Duration::try_from(retry).unwrap_or(Duration::from_secs(1));
    Absent { waiting: Waiting { reason: reason.to_owned(), message }, retry }
}
