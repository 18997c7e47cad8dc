//! The providers of one list: the first encrypts, each decrypts what begins with its prefix (`prefixTransformers` in
//! `storage/value`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use sha2::{Digest, Sha256};

use super::cipher::{Cbc, Cipher, Gcm};
use super::config::{Key, ProviderConfiguration};
use super::kms::Kms;
use super::metrics::{Direction, EncryptionMetrics, Measured};
use crate::clock::Clock;

/// What everything begins with that is encrypted.
const ENCRYPTED: &[u8] = b"k8s:enc:";
const GCM_PREFIX: &str = "k8s:enc:aesgcm:v1:";
const CBC_PREFIX: &str = "k8s:enc:aescbc:v1:";
const SECRETBOX_PREFIX: &str = "k8s:enc:secretbox:v1:";
const KMS_PREFIX: &str = "k8s:enc:kms:v2:";

/// The providers of one list, at least one.
pub(super) struct Chain(Vec<Arc<Provider>>);

struct Provider {
    /// What stands before everything it wrote; empty for the identity.
    prefix: String,
    kind: Kind,
}

enum Kind {
    Keys {
        /// What is said if none of them fits.
        family: &'static str,
        keys: Vec<NamedKey>,
    },
    Kms(Arc<Kms>),
    Identity,
}

struct NamedKey {
    /// The name with a colon, which stands before what was encrypted with it.
    prefix: String,
    cipher: Cipher,
    /// Tells it from another key of its name.
    hash: [u8; 32],
}

/// What a value is, and what it is counted under.
pub(super) struct Place<'a> {
    /// The key in the store.
    pub path: &'a str,
    /// As `secrets` or `deployments.apps`.
    pub resource: &'a str,
    /// Time and randomness.
    pub clock: &'a dyn Clock,
    /// What is counted.
    pub metrics: &'a EncryptionMetrics,
}

impl Place<'_> {
    fn measure<'a>(&'a self, direction: Direction, prefix: &'a str) -> Measured<'a> {
        Measured::begin(self.metrics, self.clock, direction, self.resource, prefix)
    }
}

impl Chain {
    /// The providers of a list that was checked; `kms` finds the service of a name.
    ///
    /// # Errors
    /// What the reference says of what it does not serve.
    pub(super) fn new(
        providers: &[ProviderConfiguration],
        mut kms: impl FnMut(&super::config::KmsConfiguration) -> Result<Arc<Kms>, String>,
    ) -> Result<Self, String> {
        let mut chain = Vec::with_capacity(providers.len());
        for provider in providers {
            chain.push(Arc::new(if let Some(keys) = &provider.aesgcm {
                let make = |key: &[u8]| Gcm::new(key).map(Cipher::Gcm);
                Provider { prefix: GCM_PREFIX.into(), kind: named("AES", keys, make)? }
            } else if let Some(keys) = &provider.aescbc {
                let make = |key: &[u8]| Cbc::new(key).map(Cipher::Cbc);
                Provider { prefix: CBC_PREFIX.into(), kind: named("AES", keys, make)? }
            } else if let Some(keys) = &provider.secretbox {
                let make = |key: &[u8]| Some(Cipher::Secretbox(Box::new(XSalsa20Poly1305::new_from_slice(key).ok()?)));
                Provider { prefix: SECRETBOX_PREFIX.into(), kind: named("Secretbox", keys, make)? }
            } else if let Some(config) = &provider.kms {
                Provider { prefix: format!("{KMS_PREFIX}{}:", config.name), kind: Kind::Kms(kms(config)?) }
            } else {
                Provider { prefix: String::new(), kind: Kind::Identity }
            }));
        }
        if chain.is_empty() {
            return Err("at least one provider is required".into());
        }
        Ok(Self(chain))
    }

    /// These providers, and after them those of another list.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    /// What is written for a value; none if that is the value.
    ///
    /// # Errors
    /// Why it cannot be encrypted now.
    pub(super) fn seal(&self, value: &[u8], place: &Place<'_>) -> Result<Option<Vec<u8>>, String> {
        let first = &self.0[0];
        let measured = place.measure(Direction::ToStorage, &first.prefix);
        let sealed = first.seal(value, place);
        measured.end(&sealed);
        sealed
    }

    /// The value of what was written.
    ///
    /// # Errors
    /// In the words of the reference; of several providers whose prefix fits, all are told.
    pub(super) fn open(&self, stored: &[u8], place: &Place<'_>) -> Result<Vec<u8>, String> {
        let mut errors = Vec::new();
        for provider in &self.0 {
            let Some(rest) = stored.strip_prefix(provider.prefix.as_bytes()) else { continue };
            if provider.prefix.is_empty() {
                // Whether it is encrypted is what it looks for: another one may have done that.
                match stored.starts_with(ENCRYPTED) {
                    true => continue,
                    false => {
                        place.measure(Direction::FromStorage, "identity").end(&Ok(()));
                        return Ok(stored.to_vec());
                    }
                }
            }
            let measured = place.measure(Direction::FromStorage, &provider.prefix);
            let opened = provider.open(rest, place);
            measured.end(&opened);
            match opened {
                Ok(value) => return Ok(value),
                Err(error) => errors.push(error),
            }
        }
        match errors.as_slice() {
            [] => {
                let missing = Err("no matching prefix found".to_string());
                place.measure(Direction::FromStorage, "unknown").end(&missing);
                missing
            }
            _ => Err(aggregate(&errors)),
        }
    }

    /// Whether plain values may be read.
    ///
    /// # Errors
    /// That no provider takes them.
    pub(super) fn accept_plain(&self) -> Result<(), String> {
        let takes = self.0.iter().any(|provider| matches!(provider.kind, Kind::Identity));
        if takes { Ok(()) } else { Err("no matching prefix found".into()) }
    }

    /// Whether what is written for a value (none: the value) is what [`Chain::seal`] would write now, but for chance.
    pub(super) fn is_current(&self, value: &[u8], sealed: Option<&[u8]>, place: &Place<'_>) -> bool {
        let first = &self.0[0];
        match (&first.kind, sealed) {
            (Kind::Identity, sealed) => sealed.is_none(),
            (_, None) => false,
            (_, Some(sealed)) => sealed
                .strip_prefix(first.prefix.as_bytes())
                .is_some_and(|rest| first.opens_as_current(rest, place).is_some_and(|opened| opened == value)),
        }
    }

    /// What writes now: its prefix and key; none if that is not known yet. Nothing of a key can be told from it.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let first = &self.0[0];
        Some(match &first.kind {
            Kind::Identity => "identity".into(),
            Kind::Kms(kms) => format!("{}{}", first.prefix, kms.current_key_id()?),
            Kind::Keys { keys, .. } => format!("{}{}{}", first.prefix, keys[0].prefix, hex(&keys[0].hash)),
        })
    }
}

fn named(family: &'static str, keys: &[Key], make: impl Fn(&[u8]) -> Option<Cipher>) -> Result<Kind, String> {
    let named = |key: &Key| {
        let could_not = |error: String| format!("could not obtain secret for named key {}: {error}", key.name);
        let secret = STANDARD.decode(&key.secret).map_err(|error| could_not(error.to_string()))?;
        let cipher = make(&secret).ok_or_else(|| could_not(format!("invalid key size {}", secret.len())))?;
        Ok(NamedKey { prefix: format!("{}:", key.name), cipher, hash: Sha256::digest(&secret).into() })
    };
    let keys = keys.iter().map(named).collect::<Result<Vec<_>, String>>()?;
    if keys.is_empty() { Err(format!("{family} provider has no valid keys")) } else { Ok(Kind::Keys { family, keys }) }
}

impl Provider {
    fn seal(&self, value: &[u8], place: &Place<'_>) -> Result<Option<Vec<u8>>, String> {
        let (name, sealed) = match &self.kind {
            Kind::Identity => return Ok(None),
            Kind::Kms(kms) => ("", kms.seal(value, place)?),
            Kind::Keys { keys, .. } => {
                let key = &keys[0];
                let measured = place.measure(Direction::ToStorage, &key.prefix);
                let sealed = key.cipher.seal(place.path, value, place.clock);
                measured.end(&sealed);
                (key.prefix.as_str(), sealed?)
            }
        };
        Ok(Some([self.prefix.as_bytes(), name.as_bytes(), &sealed].concat()))
    }

    fn open(&self, rest: &[u8], place: &Place<'_>) -> Result<Vec<u8>, String> {
        match &self.kind {
            Kind::Identity => Err("identity transformer tried to read encrypted data".into()),
            Kind::Kms(kms) => kms.open(rest, place),
            Kind::Keys { family, keys } => {
                let mut errors = Vec::new();
                for key in keys {
                    let Some(sealed) = rest.strip_prefix(key.prefix.as_bytes()) else { continue };
                    let measured = place.measure(Direction::FromStorage, &key.prefix);
                    let opened = key.cipher.open(place.path, sealed);
                    measured.end(&opened);
                    match opened {
                        Ok(value) => return Ok(value),
                        Err(error) => errors.push(error),
                    }
                }
                if errors.is_empty() {
                    return Err(format!("no matching key was found for the provided {family} transformer"));
                }
                Err(aggregate(&errors))
            }
        }
    }

    /// The value of what it wrote, if it would write it with the same key now.
    fn opens_as_current(&self, rest: &[u8], place: &Place<'_>) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Identity => None,
            Kind::Kms(kms) => kms.opens_as_current(rest, place),
            Kind::Keys { keys, .. } => {
                let sealed = rest.strip_prefix(keys[0].prefix.as_bytes())?;
                keys[0].cipher.open(place.path, sealed).ok()
            }
        }
    }
}

/// Several errors as one (`utilerrors.NewAggregate`, which tells each text once).
pub(super) fn aggregate(errors: &[String]) -> String {
    let mut told: Vec<&str> = Vec::new();
    for error in errors {
        if !told.contains(&error.as_str()) {
            told.push(error);
        }
    }
    if let [one] = told[..] { one.to_owned() } else { format!("[{}]", told.join(", ")) }
}

/// In lower case.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
