//! A key management service, version 2: values are encrypted here, with a key that is derived from a seed which the service
//! encrypts (`storage/value/encrypt/envelope/kmsv2`, and the probe of `server/options/encryptionconfig`).
//!
//! The service is asked when the server starts, when it says that its key is another one, and for each seed that opening
//! the store meets; not for each value.

mod client;
mod messages;
mod probe;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use prost::Message;
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};

use self::client::Client;
use self::messages::EncryptedObject;
use self::probe::LastCheck;
use super::cipher::Gcm;
use super::config::KmsConfiguration;
use super::metrics::{Direction, EncryptionMetrics};
use super::provider::{Place, hex};
use crate::clock::Clock;

/// How long what was written last may be written with while the service does not answer.
const WRITE_SEED_TTL: Duration = Duration::from_secs(180);
const SEED_BYTES: usize = 32;
/// What tells one derived key from another; it stands before what was encrypted.
const INFO_BYTES: usize = 32;
const DERIVED_KEY_BYTES: usize = 32;

/// A service and what it said last.
pub(super) struct Kms {
    name: String,
    client: Client,
    current: ArcSwapOption<Seed>,
    /// Seeds that values were encrypted with, by what the service made of them.
    seeds: Mutex<HashMap<Vec<u8>, Arc<Source>>>,
    last: tokio::sync::Mutex<LastCheck>,
    /// What the health endpoints say.
    health: Mutex<Result<(), String>>,
    server_id: String,
    metrics: Arc<EncryptionMetrics>,
    clock: Arc<dyn Clock>,
}

/// What keys come from.
enum Source {
    Seed(Prk),
    /// An older form: the key itself.
    Key(Gcm),
}

/// What is written with now.
struct Seed {
    source: Arc<Source>,
    /// The seed as the service encrypted it, and what it wants to know to decrypt it.
    template: EncryptedObject,
    /// Until when it may be written with.
    expires: Timestamp,
}

struct DerivedKey;

impl KeyType for DerivedKey {
    fn len(&self) -> usize {
        DERIVED_KEY_BYTES
    }
}

impl Source {
    fn seed(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < SEED_BYTES {
            return Err(format!("invalid seed length {} used for key generation", bytes.len()));
        }
        Ok(Self::Seed(Prk::new_less_safe(HKDF_SHA256, bytes)))
    }

    fn open(&self, path: &str, data: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Key(gcm) => gcm.open(path, data),
            Self::Seed(seed) => {
                let short = "the stored data was shorter than the required size";
                let (info, sealed) = data.split_first_chunk::<INFO_BYTES>().ok_or(short)?;
                derive(seed, info)?.open(path, sealed)
            }
        }
    }
}

fn derive(seed: &Prk, info: &[u8]) -> Result<Gcm, String> {
    let failed = || "failed to derive key from KDF".to_string();
    let mut key = [0; DERIVED_KEY_BYTES];
    seed.expand(&[info], DerivedKey).and_then(|derived| derived.fill(&mut key)).map_err(|_| failed())?;
    Gcm::new(&key).ok_or_else(failed)
}

impl Kms {
    /// The service of a configuration that was checked. Nothing is asked yet.
    ///
    /// # Errors
    /// If it is of a version that is not served.
    pub(super) fn new(
        config: &KmsConfiguration,
        server_id: String,
        metrics: Arc<EncryptionMetrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, String> {
        if config.api_version == "v1" {
            return Err(
                "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead.  \
                        Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature."
                    .into(),
            );
        }
        let client = Client::new(config, metrics.clone(), clock.clone());
        let name = config.name.clone();
        Ok(Arc::new(Self {
            health: Mutex::new(Err(format!("kmsv2 Provider {name} was not asked yet"))),
            name,
            client,
            current: ArcSwapOption::empty(),
            seeds: Mutex::default(),
            last: tokio::sync::Mutex::default(),
            server_id,
            metrics,
            clock,
        }))
    }

    /// The hash of the key that the service encrypts seeds with now.
    pub(super) fn current_key_id(&self) -> Option<String> {
        self.current.load().as_ref().map(|seed| key_id_hash(&seed.template.key_id))
    }

    /// `TransformToStorage` of the envelope transformer.
    pub(super) fn seal(&self, value: &[u8], place: &Place<'_>) -> Result<Vec<u8>, String> {
        let current = self.current.load();
        let current = current.as_ref().ok_or("got unexpected nil transformer")?;
        let now = place.clock.now();
        if now > current.expires {
            return Err(format!(
                "encryptedDEKSource with keyID hash {:?} expired at {} (current time is {})",
                key_id_hash(&current.template.key_id),
                crate::clock::time(current.expires),
                crate::clock::time(now)
            ));
        }
        let Source::Seed(seed) = &*current.source else { return Err("got unexpected nil transformer".into()) };
        let mut info = [0; INFO_BYTES];
        place.clock.random(&mut info);
        let encrypted_data = derive(seed, &info)?.seal(&info, place.path, value, place.clock)?;
        let object = EncryptedObject { encrypted_data, ..current.template.clone() };
        self.metrics.key_used(Direction::ToStorage, &self.name, &object.key_id, &self.server_id, now);
        Ok(object.encode_to_vec())
    }

    /// `TransformFromStorage` of the envelope transformer. It may ask the service, and blocks meanwhile.
    pub(super) fn open(&self, stored: &[u8], place: &Place<'_>) -> Result<Vec<u8>, String> {
        let object = EncryptedObject::decode(stored).map_err(|error| error.to_string())?;
        object.validate()?;
        // A service that says nothing of itself is not asked to decrypt.
        if self.current.load().is_none() {
            return Err("got unexpected nil transformer".into());
        }
        let source = self.source_of(&object)?;
        self.metrics.key_used(Direction::FromStorage, &self.name, &object.key_id, &self.server_id, place.clock.now());
        source.open(place.path, &object.encrypted_data)
    }

    /// The value, if it is encrypted under the key that the service has now.
    pub(super) fn opens_as_current(&self, stored: &[u8], place: &Place<'_>) -> Option<Vec<u8>> {
        let object = EncryptedObject::decode(stored).ok()?;
        let current = self.current.load();
        let template = &current.as_ref()?.template;
        let same = object.key_id == template.key_id && object.source_type == template.source_type;
        // A seed of this service that is not known here is one from before a start; its key is the same.
        let source = self.seeds.lock().get(&object.cache_key()).cloned();
        if same { source?.open(place.path, &object.encrypted_data).ok() } else { None }
    }

    fn source_of(&self, object: &EncryptedObject) -> Result<Arc<Source>, String> {
        let cache_key = object.cache_key();
        if let Some(known) = self.seeds.lock().get(&cache_key) {
            return Ok(known.clone());
        }
        self.metrics.cache_missed();
        let key =
            self.client.decrypt_blocking(object).map_err(|error| format!("failed to decrypt DEK, error: {error}"))?;
        let source = match object.source_type {
            messages::SEED => Source::seed(&key)?,
            _ => Source::Key(Gcm::new(&key).ok_or_else(|| format!("crypto/aes: invalid key size {}", key.len()))?),
        };
        let source = Arc::new(source);
        self.remember(cache_key, source.clone());
        Ok(source)
    }

    fn remember(&self, cache_key: Vec<u8>, source: Arc<Source>) {
        let mut seeds = self.seeds.lock();
        seeds.insert(cache_key, source);
        self.metrics.seeds_known(&self.name, seeds.len());
    }
}

/// The hash under which a key's name is shown (`GetHashIfNotEmpty`).
fn key_id_hash(key_id: &str) -> String {
    use sha2::{Digest, Sha256};
    if key_id.is_empty() { String::new() } else { format!("sha256:{}", hex(&Sha256::digest(key_id))) }
}

#[cfg(test)]
mod tests;
