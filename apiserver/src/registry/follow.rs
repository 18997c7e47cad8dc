//! Following what is stored below a prefix: the one place that knows what to do when the history went on without its reader.

use std::sync::Arc;

use store::{Event, EventBatch, Snapshot, Store, StoreError, Watch};

use crate::Registry;

/// A reader of what happens below a prefix. It begins with the state, and begins anew with it whenever events are lost to it.
pub struct Followed {
    store: Arc<dyn Store>,
    prefix: Arc<str>,
    /// None before the state is told.
    events: Option<Watch>,
}

/// What a reader gets to know.
pub enum News {
    /// The state to begin with: nothing that was told before counts any more.
    State(Snapshot),
    /// What happened since.
    Events(Happened),
}

/// Events below the prefix, at least one.
pub struct Happened {
    batches: Vec<EventBatch>,
    prefix: Arc<str>,
}

impl Happened {
    /// The events, in order. One that the state shows already may be among the first.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.batches.iter().flat_map(|batch| batch.iter()).filter(|event| event.key().starts_with(&*self.prefix))
    }
}

impl Registry {
    /// Follows the keys below a prefix, which ends with a slash or is empty.
    pub fn follow(&self, prefix: impl Into<Arc<str>>) -> Followed {
        Followed { store: self.store().clone(), prefix: prefix.into(), events: None }
    }
}

impl Followed {
    /// The next news; none once the store is closed. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<News> {
        loop {
            let told = match &mut self.events {
                None => self.begin(),
                Some(events) => {
                    events.next().await.map(|batches| News::Events(Happened { batches, prefix: self.prefix.clone() }))
                }
            };
            match told {
                Ok(News::Events(happened)) if happened.iter().next().is_none() => {}
                Ok(news) => return Some(news),
                Err(StoreError::Lagged | StoreError::Compacted { .. }) => self.events = None,
                Err(_) => return None,
            }
        }
    }

    /// The newest state, at the first call and then whenever an event happened that `concerns` the reader; none once the
    /// store is closed. Dropping the future may lose what was found not to concern.
    pub async fn changed(&mut self, concerns: impl Fn(&Event) -> bool) -> Option<Snapshot> {
        loop {
            match self.next().await? {
                News::State(state) => return Some(state),
                News::Events(happened) if happened.iter().any(&concerns) => return Some(self.store.snapshot()),
                News::Events(_) => {}
            }
        }
    }

    fn begin(&mut self) -> Result<News, StoreError> {
        let state = self.store.snapshot();
        self.events = Some(self.store.watch_prefix(state.revision(), &self.prefix)?);
        Ok(News::State(state))
    }
}

#[cfg(test)]
mod tests {
    use api::catalogue::Catalogue;
    use futures::FutureExt;
    use store::{HistoryLimits, Memory, Operation, Transaction};

    use super::*;
    use crate::Config;

    fn registry() -> Registry {
        let store = Memory::with_limits(HistoryLimits { events_max: 8, ..HistoryLimits::default() });
        Registry::new(Config::new(store), Catalogue::default())
    }

    async fn write(registry: &Registry, key: &str) {
        let operations = vec![Operation::Put(key.into(), "x".into())];
        registry.store().commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
    }

    /// What is told now: the number of keys of a state, or the keys of events.
    fn told(followed: &mut Followed) -> Option<String> {
        Some(match followed.next().now_or_never()?? {
            News::State(state) => format!("{} keys", state.list("/a/", None).count()),
            News::Events(happened) => happened.iter().map(Event::key).collect::<Vec<_>>().join(" "),
        })
    }

    #[tokio::test]
    async fn the_state_comes_first_and_again_when_events_are_lost() {
        let registry = registry();
        write(&registry, "/a/1").await;
        let mut followed = registry.follow("/a/");
        assert_eq!(told(&mut followed).as_deref(), Some("1 keys"));
        write(&registry, "/b/1").await;
        assert_eq!(told(&mut followed), None, "other keys are none of it");
        write(&registry, "/a/2").await;
        write(&registry, "/a/3").await;
        assert_eq!(told(&mut followed).as_deref(), Some("/a/2 /a/3"));
        for at in 0..100 {
            write(&registry, &format!("/a/{at}")).await;
        }
        assert_eq!(told(&mut followed).as_deref(), Some("100 keys"), "the history holds eight");
        write(&registry, "/a/1").await;
        assert_eq!(told(&mut followed).as_deref(), Some("/a/1"));
        registry.store().close().await.unwrap();
        assert!(followed.next().await.is_none());
    }

    #[tokio::test]
    async fn only_what_concerns_wakes() {
        let registry = registry();
        let mut followed = registry.follow("/a/");
        let mut changed = || followed.changed(|event| event.key() == "/a/2").now_or_never().flatten().is_some();
        assert!(changed(), "at first");
        write(&registry, "/a/1").await;
        assert!(!changed());
        write(&registry, "/a/2").await;
        assert!(changed());
        for at in 10..100 {
            write(&registry, &format!("/a/{at}")).await;
        }
        assert!(changed(), "what was lost may have been it");
    }
}
