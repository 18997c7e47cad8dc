//! Entries that a webhook has converted for a watch, for all other watches that come to the same entry: however many watch, the
//! webhook is asked once. Gets and lists ask anew, as they do of the reference.

use std::collections::VecDeque;
use std::sync::Arc;

use api::Status;
use bytes::Bytes;
use parking_lot::Mutex;
use store::Revision;
use tokio::sync::OnceCell;

/// How many entries are kept.
const ENTRIES_MAX: usize = 1_024;
/// And how many bytes of them.
const BYTES_MAX: usize = 16 << 20;

/// An entry in a version of a definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub key: Arc<str>,
    pub revision: Revision,
    pub definition: u64,
    pub version: String,
}

type Cell = Arc<OnceCell<Bytes>>;

/// The newest of them.
#[derive(Debug, Default)]
pub struct Shared(Mutex<VecDeque<(Key, Cell)>>);

impl Shared {
    /// The converted bytes: those that somebody had made, or is just having made.
    ///
    /// # Errors
    /// What `make` fails with, which is not kept.
    pub(super) async fn get(
        &self,
        key: Key,
        make: impl Future<Output = Result<Bytes, Status>>,
    ) -> Result<Bytes, Status> {
        let cell = self.cell(key);
        let mut made = false;
        let found = cell
            .get_or_try_init(|| async {
                made = true;
                make.await
            })
            .await?
            .clone();
        if made {
            self.shrink();
        }
        Ok(found)
    }

    fn cell(&self, key: Key) -> Cell {
        let mut all = self.0.lock();
        // The newest are asked for most.
        if let Some((_, cell)) = all.iter().rev().find(|(known, _)| *known == key) {
            return cell.clone();
        }
        if all.len() == ENTRIES_MAX {
            all.pop_front();
        }
        let cell = Cell::default();
        all.push_back((key, cell.clone()));
        cell
    }

    fn shrink(&self) {
        let mut all = self.0.lock();
        let mut bytes: usize = all.iter().filter_map(|(_, cell)| cell.get()).map(Bytes::len).sum();
        while bytes > BYTES_MAX
            && let Some((_, cell)) = all.pop_front()
        {
            bytes -= cell.get().map_or(0, Bytes::len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn key(revision: Revision) -> Key {
        Key { key: "/k".into(), revision, definition: 1, version: "v1".into() }
    }

    #[tokio::test]
    async fn what_is_made_is_made_once() {
        let (shared, calls) = (Arc::new(Shared::default()), Arc::new(AtomicUsize::new(0)));
        let ask = |revision: Revision| {
            let (shared, calls) = (shared.clone(), calls.clone());
            async move {
                let make = async {
                    calls.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok(Bytes::from(vec![0; 1 << 20]))
                };
                shared.get(key(revision), make).await.map(|bytes| bytes.len())
            }
        };
        let all = futures::future::join_all((0..50).map(|_| ask(1))).await;
        assert!(all.into_iter().all(|made| made == Ok(1 << 20)));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        for revision in 2..40 {
            ask(revision).await.unwrap();
        }
        assert!(shared.0.lock().len() <= BYTES_MAX >> 20);
        let failed = shared.get(key(99), async { Err(Status::internal("no")) }).await;
        assert!(failed.is_err());
        ask(99).await.unwrap();
    }
}
