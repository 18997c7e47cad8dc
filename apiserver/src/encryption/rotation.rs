//! What goes on beside the requests: services and the file are followed, and what was written with other keys than the
//! first is written anew.
//!
//! A value is written anew as it is, if nobody wrote it meanwhile: so none is lost, and watchers see a change without a
//! difference, as when somebody replaces an object by itself. When all are, the store writes the rest of its files anew,
//! after which nothing of the old keys (or plain text) is in any; its mark says with what that was done. A start that
//! finds another mark begins again, so that it does not matter where an earlier one was interrupted.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use store::{Store, StoreError, Transaction};

use super::generation::Generation;
use super::{Encryption, FILE_INTERVAL};
use crate::Registry;

/// So many values are written anew at once,
const BATCH: usize = 64;
/// and so long it is paused after them: about a thousand a second.
const PAUSE: Duration = Duration::from_millis(64);
/// When it is tried again after a failure (a full disk, say), and how long that grows to be.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);
/// After so long it is looked whether a write that waited for room came through as an earlier file said.
const SECOND_LOOK: Duration = Duration::from_secs(30);

/// Follows services and file, and writes anew what has to be. Never ends.
pub(crate) async fn follow(registry: &Registry) {
    let Some(encryption) = &registry.config().encryption else { return std::future::pending().await };
    tokio::join!(services(encryption), file(encryption, registry.store()), rewriting(encryption, registry.store()));
}

async fn services(encryption: &Encryption) {
    loop {
        let services = encryption.0.current.load().services.clone();
        let each = services.into_iter().map(|kms| kms.follow(|| encryption.0.changed.notify_one()));
        let ended = async {
            join_all(each).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ended => {}
            () = encryption.0.services.notified() => {}
        }
    }
}

async fn file(encryption: &Encryption, store: &Arc<dyn Store>) {
    let inner = &encryption.0;
    loop {
        if inner.source.follow && !inner.source.own {
            drop(tokio::time::timeout(FILE_INTERVAL, inner.look.notified()).await);
        } else {
            inner.look.notified().await;
        }
        if !inner.source.follow {
            tracing::warn!("the file of encryption providers is read at the start only");
            continue;
        }
        let (reader, stored) = (encryption.clone(), store.snapshot());
        let reloaded = tokio::task::spawn_blocking(move || reader.reload(&stored)).await;
        let reloaded = reloaded.unwrap_or_else(|error| Err(error.to_string()));
        match &reloaded {
            Ok(false) => continue,
            Ok(true) => tracing::info!(path = %inner.source.path.display(), "what is encrypted and how has changed"),
            Err(error) => tracing::error!(error, path = %inner.source.path.display(), "the old file goes on to count"),
        }
        inner.around.metrics.reloaded(&inner.around.server_id, reloaded.is_ok(), inner.around.clock.now());
    }
}

async fn rewriting(encryption: &Encryption, store: &Arc<dyn Store>) {
    let mut pause = RETRY;
    loop {
        let wait = match rewrite_if_due(encryption, store).await {
            Ok(Outcome::Nothing) => None,
            Ok(Outcome::Waiting) => Some(RETRY),
            Ok(Outcome::Done) => {
                pause = RETRY;
                Some(SECOND_LOOK)
            }
            Err(StoreError::Stopped(_)) => return,
            Err(error) => {
                tracing::warn!(%error, "what was encrypted with an older key has to wait");
                let now = pause;
                pause = (pause * 2).min(RETRY_MAX);
                Some(now)
            }
        };
        match wait {
            None => encryption.0.changed.notified().await,
            Some(wait) => drop(tokio::time::timeout(wait, encryption.0.changed.notified()).await),
        }
    }
}

enum Outcome {
    Nothing,
    /// Something cannot be opened yet, and so not be written.
    Waiting,
    Done,
}

async fn rewrite_if_due(encryption: &Encryption, store: &Arc<dyn Store>) -> Result<Outcome, StoreError> {
    if !encryption.open_waiting(store).await? {
        return Ok(Outcome::Waiting);
    }
    let earlier = std::mem::take(&mut *encryption.0.earlier.lock());
    for ended in earlier {
        ended.cancelled().await;
    }
    let current = encryption.0.current.load_full();
    // A service that has not said which key it has will be heard of.
    let Some(mark) = current.fingerprint() else { return Ok(Outcome::Nothing) };
    let written = rewrite(encryption, &current, store).await?;
    if written == 0 && store.renewed().as_deref() == Some(&mark) {
        return Ok(Outcome::Nothing);
    }
    if written > 0 {
        tracing::info!(written, "values were written anew with the first key");
    }
    store.renew(mark).await?;
    Ok(Outcome::Done)
}

/// Writes anew what is not as it would be written now; how many values.
async fn rewrite(
    encryption: &Encryption,
    current: &Arc<Generation>,
    store: &Arc<dyn Store>,
) -> Result<usize, StoreError> {
    let mut written = 0;
    loop {
        let stale = find(encryption, current, store).await?;
        if stale.is_empty() {
            return Ok(written);
        }
        for batch in stale.chunks(BATCH) {
            let writes = batch.iter().map(|entry| {
                store.commit(Transaction::update(entry.key_shared(), entry.mod_revision(), entry.value()))
            });
            for result in join_all(writes).await {
                match result {
                    // Somebody else wrote it, who used the first key.
                    Ok(_) | Err(StoreError::ConditionFailed { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        written += stale.len();
    }
}

/// The values that would be written otherwise now. Decrypts those that may be as they should, not on a worker.
async fn find(
    encryption: &Encryption,
    current: &Arc<Generation>,
    store: &Arc<dyn Store>,
) -> Result<Vec<store::Entry>, StoreError> {
    let (encryption, current, snapshot) = (encryption.clone(), current.clone(), store.snapshot());
    let find = move || {
        let around = &encryption.0.around;
        snapshot.list("", None).filter(|entry| !current.is_current(entry, around)).cloned().collect()
    };
    tokio::task::spawn_blocking(find).await.map_err(|error| StoreError::Stopped(error.to_string()))
}
