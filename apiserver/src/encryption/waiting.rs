//! Secrets that could not be opened when the store was, as the key management service that encrypted them was away: the server
//! starts without them as in the reference, says of them what it says, and opens them when the service comes.
//!
//! That holds for Secrets alone, which nothing in the server follows; without a service that keeps anything else it does not start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::Status;
use api::catalogue::Resource;
use parking_lot::Mutex;
use store::{Sealing, Store, StoreError};

use super::Encryption;
use crate::RequestInfo;
use crate::verbs::watch::initializing;

/// What may wait.
const PREFIX: &str = "/registry/secrets/";
/// So many values may fail to open before others are left for the next time: each may take as long as a service is waited for.
const FAILURES_MAX: usize = 8;

/// The keys, each with why its value could not be opened.
#[derive(Default)]
pub(super) struct Waiting {
    keys: Mutex<BTreeMap<String, String>>,
    is_any: AtomicBool,
}

impl Waiting {
    fn note(&self, key: &str, why: &str) {
        let mut keys = self.keys.lock();
        if keys.insert(key.to_owned(), why.to_owned()).is_none() && keys.len() == 1 {
            tracing::warn!(
                key,
                why,
                "what a key management service encrypted that is away cannot be read until it comes"
            );
        }
        self.is_any.store(true, Ordering::Release);
    }

    fn opened(&self, key: &str) {
        let mut keys = self.keys.lock();
        keys.remove(key);
        self.is_any.store(!keys.is_empty(), Ordering::Release);
    }
}

impl Encryption {
    /// Whether a value that cannot be opened may be opened later.
    pub(super) fn may_wait(&self, key: &str, why: &str) -> bool {
        let is_away = self.0.current.load().services.iter().any(|kms| kms.health().is_err());
        let may = is_away && key.starts_with(PREFIX);
        if may {
            self.0.waiting.note(key, why);
        }
        may
    }

    /// Whether a request can be answered that is about these objects.
    ///
    /// # Errors
    /// 500 if it is about one that waits, as the reference says it; 429 for a watch.
    pub(crate) fn check_opened(&self, resource: &Resource, info: &RequestInfo) -> Result<(), Status> {
        if !self.0.waiting.is_any.load(Ordering::Acquire) {
            return Ok(());
        }
        let keys = self.0.waiting.keys.lock();
        match info.verb.as_str() {
            "create" => Ok(()),
            "list" | "watch" | "deletecollection" => {
                let prefix = resource.prefix(&info.namespace);
                let first = keys.range(prefix.clone()..).next().filter(|(key, _)| key.starts_with(&prefix));
                match first {
                    None => Ok(()),
                    Some(_) if info.verb == "watch" => Err(initializing()),
                    Some((key, why)) => Err(Status::internal(format!("unable to transform key {key:?}: {why}"))),
                }
            }
            _ => keys.get(&resource.key(&info.namespace, &info.name)).map_or(Ok(()), |why| Err(Status::internal(why))),
        }
    }

    /// Opens what waits. Whether nothing waits any more.
    pub(super) async fn open_waiting(&self, store: &Arc<dyn Store>) -> Result<bool, StoreError> {
        let keys: Vec<String> = self.0.waiting.keys.lock().keys().cloned().collect();
        if keys.is_empty() {
            return Ok(true);
        }
        let (encryption, snapshot) = (self.clone(), store.snapshot());
        let open = move || {
            let (waiting, mut failures) = (&encryption.0.waiting, 0);
            for key in keys {
                let entry = snapshot.get(&key).filter(|entry| entry.is_unopened());
                let opened = entry.and_then(|entry| Some((entry, encryption.open(&key, entry.sealed()?))));
                match opened {
                    Some((_, Err(why))) => {
                        waiting.note(&key, &why);
                        failures += 1;
                    }
                    Some((entry, Ok(value))) => {
                        entry.open_with(value);
                        waiting.opened(&key);
                    }
                    None => waiting.opened(&key),
                }
                if failures >= FAILURES_MAX {
                    break;
                }
            }
            !waiting.is_any.load(Ordering::Acquire)
        };
        tokio::task::spawn_blocking(open).await.map_err(|error| StoreError::Stopped(error.to_string()))
    }
}
