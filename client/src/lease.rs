//! Leases: a heartbeat, and the election of one leader.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// How much longer than asked a wait between renewals may be (`JitterFactor` of client-go's leader election).
const JITTER: f64 = 0.2;
/// First pause of a heartbeat whose renewal failed; it doubles up to the interval.
const RETRY_MS_MIN: u64 = 200;

/// A lease object that this process renews.
#[derive(Clone)]
pub struct Lease {
    api: Api<LeaseObject>,
    name: String,
    holder: String,
    duration: Duration,
    owner: Option<OwnerReference>,
    clock: Clock,
    /// The last state written, so that a renewal is one request.
    last: Option<LeaseObject>,
}

/// What came of an attempt to hold a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// We hold it.
    Ours,
    /// Somebody else holds it; it may be tried again after this time.
    Theirs(Duration),
}

impl Lease {
    /// The lease `namespace/name`, to be held by `holder` for `duration` after each renewal.
    pub fn new(client: Client, namespace: &str, name: &str, holder: &str, duration: Duration, clock: Clock) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, name: name.into(), holder: holder.into(), duration, owner: None, clock, last: None }
    }

    /// Sets the owner that a new lease object is created with.
    pub fn owned_by(mut self, owner: OwnerReference) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Writes the time of now, creating the object if need be, whoever held it before.
    ///
    /// # Errors
    /// What the API server answers; a conflict only if two others changed the lease in between.
    pub async fn renew(&mut self) -> Result<(), kube::Error> {
        if let Some(lease) = self.last.take() {
            match self.replace(lease).await {
                Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
                other => return other,
            }
        }
        match self.api.get_opt(&self.name).await? {
            Some(lease) => self.replace(lease).await,
            None => self.create().await,
        }
    }

    /// Takes the lease if it is free, expired or ours.
    ///
    /// # Errors
    /// What the API server answers, but for a lost race, which is [`Held::Theirs`].
    pub async fn try_hold(&mut self) -> Result<Held, kube::Error> {
        let outcome = match self.api.get_opt(&self.name).await? {
            None => self.create().await,
            Some(lease) => {
                if let Some(left) = self.held_by_another_for(&lease) {
                    return Ok(Held::Theirs(left));
                }
                self.replace(lease).await
            }
        };
        match outcome {
            Ok(()) => Ok(Held::Ours),
            Err(kube::Error::Api(s)) if s.is_conflict() || s.is_already_exists() => Ok(Held::Theirs(self.duration / 4)),
            Err(error) => Err(error),
        }
    }

    /// Renews the lease every `interval` until `token` is cancelled, and sooner after a failure.
    pub async fn heartbeat(mut self, interval: Duration, token: CancellationToken) {
        let mut retry = Duration::from_millis(RETRY_MS_MIN);
        loop {
            let pause = match self.renew().await {
                Ok(()) => {
                    retry = Duration::from_millis(RETRY_MS_MIN);
                    interval
                }
                Err(error) => {
                    tracing::debug!(lease = self.name, %error, "the lease was not renewed");
                    let pause = retry;
                    retry = (retry * 2).min(interval);
                    pause
                }
            };
            tokio::select! {
                () = token.cancelled() => return,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    /// Waits until we are the leader, runs `lead` with a token that is cancelled when we are no more, and returns then.
    pub async fn lead<F, Fut>(mut self, token: CancellationToken, lead: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()>,
    {
        let retry = self.duration / 7;
        loop {
            match self.try_hold().await {
                Ok(Held::Ours) => break,
                Ok(Held::Theirs(_)) => {}
                Err(error) => tracing::debug!(lease = self.name, %error, "the lease was not taken"),
            }
            tokio::select! {
                () = token.cancelled() => return,
                () = self.clock.sleep(self.clock.jitter(retry, JITTER)) => {}
            }
        }
        let leading = token.child_token();
        tokio::join!(lead(leading.clone()), self.keep(leading, retry));
    }

    async fn keep(&mut self, leading: CancellationToken, retry: Duration) {
        let mut renewed = self.clock.elapsed();
        loop {
            tokio::select! {
                () = leading.cancelled() => return,
                () = self.clock.sleep(retry) => {}
            }
            match self.try_hold().await {
                Ok(Held::Ours) => renewed = self.clock.elapsed(),
                outcome if self.clock.elapsed().saturating_sub(renewed) > self.duration * 2 / 3 => {
                    tracing::warn!(lease = self.name, ?outcome, "leadership is lost");
                    return leading.cancel();
                }
                _ => {}
            }
        }
    }

    fn held_by_another_for(&self, lease: &LeaseObject) -> Option<Duration> {
        let spec = lease.spec.as_ref()?;
        let holder = spec.holder_identity.as_deref().filter(|h| !h.is_empty())?;
        if holder == self.holder {
            return None;
        }
        let lasts = Duration::from_secs(spec.lease_duration_seconds.unwrap_or(0).max(0) as u64);
        let until = spec.renew_time.as_ref()?.0.checked_add(lasts).ok()?;
        let left = until.duration_since(self.clock.now());
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }

    async fn create(&mut self) -> Result<(), kube::Error> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            owner_references: self.owner.clone().map(|o| vec![o]),
            ..ObjectMeta::default()
        };
        let lease = LeaseObject { metadata, spec: Some(self.spec(None)) };
        self.last = Some(self.api.create(&PostParams::default(), &lease).await?);
        Ok(())
    }

    async fn replace(&mut self, mut lease: LeaseObject) -> Result<(), kube::Error> {
        lease.spec = Some(self.spec(lease.spec.take()));
        lease.metadata.managed_fields = None;
        self.last = Some(self.api.replace(&self.name, &PostParams::default(), &lease).await?);
        Ok(())
    }

    fn spec(&self, old: Option<LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(self.clock.now());
        let mut spec = old.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.holder) {
            spec.lease_transitions = Some(spec.holder_identity.map_or(0, |_| spec.lease_transitions.unwrap_or(0) + 1));
            spec.acquire_time = Some(now.clone());
            spec.holder_identity = Some(self.holder.clone());
        }
        spec.lease_duration_seconds = i32::try_from(self.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        spec
    }
}
