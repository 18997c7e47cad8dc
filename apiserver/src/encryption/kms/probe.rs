//! Whether the service is well and which key it has: asked again and again, and before the first write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::client::blocking;
use super::messages::{EncryptedObject, SEED, StatusResponse, validate_key_id};
use super::{Kms, SEED_BYTES, Seed, Source, WRITE_SEED_TTL, key_id_hash};
use crate::clock;
use crate::encryption::provider::aggregate;

/// How often a service that is well is asked, and one that is not.
const WELL_INTERVAL: Duration = Duration::from_secs(60);
const ILL_INTERVAL: Duration = Duration::from_secs(10);
/// For how long an answer about health holds.
const WELL_TTL: Duration = Duration::from_secs(20);
const ILL_TTL: Duration = Duration::from_secs(3);

/// The newest answer.
#[derive(Default)]
pub(super) struct LastCheck {
    at: Option<(Instant, Duration)>,
    /// The version of the first answer, which must not change.
    version: String,
}

impl Kms {
    /// Asks once, before the store is opened. That it fails is no end: the service may come later.
    pub(crate) fn prime(&self) {
        if let Err(error) = blocking(self.check()) {
            tracing::warn!(%error, name = self.name, "the key management service is not well");
        }
    }

    /// Asks for ever; `changed` is told when another key is written with.
    pub(crate) async fn follow(self: Arc<Self>, changed: impl Fn()) {
        loop {
            let before = self.current_key_id();
            let checked = self.check().await;
            if let Err(error) = &checked {
                tracing::warn!(%error, name = self.name, "the key management service is not well");
            }
            if self.current_key_id() != before {
                changed();
            }
            tokio::time::sleep(if checked.is_ok() { WELL_INTERVAL } else { ILL_INTERVAL }).await;
        }
    }

    /// What the newest check said.
    pub(crate) fn health(&self) -> Result<(), String> {
        self.health.lock().clone()
    }

    /// Asks, unless the newest answer holds still (`kmsv2PluginProbe.check`).
    pub(crate) async fn check(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        let now = self.clock.instant();
        if last.at.is_some_and(|(at, ttl)| now.saturating_duration_since(at) < ttl) {
            return self.health();
        }
        let name = &self.name;
        let checked = match self.client.status().await {
            Err(error) => Err(format!(
                "failed to perform status section of the healthz check for KMS Provider {name}, error: {error}"
            )),
            Ok(status) => self.judge(&status, &mut last.version).await,
        };
        last.at = Some((self.clock.instant(), if checked.is_ok() { WELL_TTL } else { ILL_TTL }));
        self.health.lock().clone_from(&checked);
        checked
    }

    /// `isKMSv2ProviderHealthyAndMaybeRotateDEK`
    async fn judge(&self, status: &StatusResponse, version: &mut String) -> Result<(), String> {
        let mut errors = Vec::new();
        if status.healthz != "ok" {
            errors.push(format!("got unexpected healthz status: {}", status.healthz));
        }
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            errors.push(format!("expected KMSv2 API version v2, got {}", status.version));
        } else {
            if version.is_empty() {
                version.clone_from(&status.version);
            }
            if *version != status.version {
                errors.push(format!(
                    "KMSv2 API version should not change after the initial status response version {version}, got {}",
                    status.version
                ));
            }
        }
        match validate_key_id(&status.key_id) {
            Err((code, error)) => {
                self.metrics.key_refused(&self.name, code);
                errors.push(format!("got invalid KMSv2 KeyID hash {:?}: {error}", key_id_hash(&status.key_id)));
            }
            Ok(()) => {
                self.metrics.key_told(&self.name, &status.key_id, &self.server_id, self.clock.now());
                errors.extend(self.rotate(&status.key_id).await.err());
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(format!("kmsv2 Provider {} is not healthy, error: {}", self.name, aggregate(&errors))),
        }
    }

    /// Takes a new seed if the service has another key, or goes on with the old one (`rotateDEKOnKeyIDChange`).
    async fn rotate(&self, key_id: &str) -> Result<(), String> {
        let expires = self.clock.now() + WRITE_SEED_TTL;
        let current = self.current.load_full();
        if let Some(current) = current.as_ref().filter(|current| current.template.key_id == key_id) {
            let (source, template) = (current.source.clone(), current.template.clone());
            self.current.store(Some(Arc::new(Seed { source, template, expires })));
            return Ok(());
        }
        let uid = clock::uuid(&*self.clock);
        let made = self.new_seed(&uid, expires).await;
        let encrypted_with = made.as_ref().map_or("", |seed| seed.template.key_id.as_str()).to_owned();
        let error = match made {
            Ok(seed) if seed.template.key_id == key_id => {
                self.remember(seed.template.cache_key(), seed.source.clone());
                self.current.store(Some(Arc::new(seed)));
                return Ok(());
            }
            Ok(_) => "<nil>".into(),
            Err(error) => error,
        };
        let (state_error, state_key, expires) = match &current {
            None => ("got unexpected nil transformer", String::new(), Timestamp::UNIX_EPOCH),
            Some(current) => ("<nil>", key_id_hash(&current.template.key_id), current.expires),
        };
        Err(format!(
            "failed to rotate DEK uid={uid:?}, useSeed=true, errState={state_error}, errGen={error}, \
             statusKeyIDHash={:?}, encryptKeyIDHash={:?}, stateKeyIDHash={state_key:?}, expirationTimestamp={}",
            key_id_hash(key_id),
            key_id_hash(&encrypted_with),
            clock::time(expires)
        ))
    }

    /// `GenerateTransformer`
    async fn new_seed(&self, uid: &str, expires: Timestamp) -> Result<Seed, String> {
        let mut bytes = [0; SEED_BYTES];
        let started = self.clock.instant();
        self.clock.random(&mut bytes);
        self.metrics.key_generated(self.clock.instant().saturating_duration_since(started));
        let answer = self.client.encrypt(uid, &bytes).await;
        let answer = answer.map_err(|error| format!("failed to encrypt DEK, error: {error}"))?;
        let template = EncryptedObject {
            encrypted_data: Vec::new(),
            key_id: answer.key_id,
            source: answer.ciphertext,
            annotations: answer.annotations,
            source_type: SEED,
        };
        template.validate_template()?;
        Ok(Seed { source: Arc::new(Source::seed(&bytes)?), template, expires })
    }
}
