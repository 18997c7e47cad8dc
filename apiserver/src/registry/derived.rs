//! A value made from what is stored below some prefixes, for readers that ask at every request.
//!
//! Nobody follows the store for it: whoever asks looks whether something was written there since it was made, which costs an
//! atomic load for each prefix, and makes it anew if so. A write is therefore in effect for whoever comes after it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwapOption, Guard};
use parking_lot::Mutex;
use store::{Revision, Snapshot, Store, StoreError, Watch};

/// The value; one for each store.
pub struct Derived<T> {
    /// Each ends with a slash.
    prefixes: &'static [&'static str],
    make: fn(&Snapshot) -> T,
    newest: ArcSwapOption<Made<T>>,
    /// They are never read: they only tell whether something happened.
    watches: OnceLock<Vec<Watch>>,
    /// Held while the value is made, so that those who come together make it once.
    making: Mutex<()>,
}

/// A value and the state that it was made from.
struct Made<T> {
    revision: Revision,
    value: T,
}

/// The value as it was when it was asked for. Not to be kept for longer than a request takes.
pub struct Held<T>(Guard<Option<Arc<Made<T>>>>);

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.as_ref().expect("it is only made around a value").value
    }
}

impl<T> Derived<T> {
    /// A value that `make` makes, and that only depends on the keys below `prefixes`, which end with a slash.
    pub const fn new(prefixes: &'static [&'static str], make: fn(&Snapshot) -> T) -> Self {
        let newest = ArcSwapOption::const_empty();
        Self { prefixes, make, newest, watches: OnceLock::new(), making: Mutex::new(()) }
    }

    /// The value as of the newest state of the store, which must be the same at every call.
    pub fn get(&self, store: &dyn Store) -> Held<T> {
        if let Some(held) = self.current() {
            return held;
        }
        let _making = self.making.lock();
        // Somebody else may have made it meanwhile.
        if let Some(held) = self.current() {
            return held;
        }
        if self.watches.get().is_none()
            && let Ok(watches) = self.watch(store)
        {
            let _ = self.watches.set(watches);
        }
        // Only now, so that the watches are not younger than the state.
        let snapshot = store.snapshot();
        let made = Arc::new(Made { revision: snapshot.revision(), value: (self.make)(&snapshot) });
        self.newest.store(Some(made.clone()));
        Held(Guard::from_inner(Some(made)))
    }

    /// The value that is there, if nothing was written since. A store that cannot be watched makes it anew each time.
    fn current(&self) -> Option<Held<T>> {
        let found = self.newest.load();
        let revision = found.as_ref()?.revision;
        let is_current = self.watches.get()?.iter().all(|watch| watch.is_quiet_since(revision));
        is_current.then_some(Held(found))
    }

    fn watch(&self, store: &dyn Store) -> Result<Vec<Watch>, StoreError> {
        let newest = store.snapshot().revision();
        self.prefixes.iter().map(|prefix| store.watch_prefix(newest, prefix)).collect()
    }
}

#[cfg(test)]
mod tests {
    use store::{Memory, Operation, Transaction};

    use super::*;

    /// How much is below each prefix.
    fn count(snapshot: &Snapshot) -> [usize; 2] {
        ["/a/", "/b/"].map(|prefix| snapshot.list(prefix, None).count())
    }

    async fn write(store: &dyn Store, key: &str, value: Option<&'static str>) {
        let operation = match value {
            Some(value) => Operation::Put(key.into(), value.into()),
            None => Operation::Delete(key.into()),
        };
        store.commit(Transaction { operations: vec![operation], ..Transaction::default() }).await.unwrap();
    }

    fn address<T>(held: &Held<T>) -> *const T {
        &**held
    }

    #[tokio::test]
    async fn a_write_below_a_prefix_counts_at_once_and_others_do_not() {
        let store = Memory::new();
        let derived = Derived::new(&["/a/", "/b/"], count);
        assert_eq!(*derived.get(&*store), [0, 0]);
        write(&*store, "/a/1", Some("x")).await;
        assert_eq!(*derived.get(&*store), [1, 0]);
        write(&*store, "/b/1", Some("x")).await;
        let held = derived.get(&*store);
        assert_eq!(*held, [1, 1]);
        for other in ["/c/1", "/a", "/bb/1"] {
            write(&*store, other, Some("x")).await;
            assert_eq!(address(&derived.get(&*store)), address(&held), "{other} is none of it");
        }
        write(&*store, "/a/1", None).await;
        assert_eq!(*derived.get(&*store), [0, 1]);
        assert_eq!(*held, [1, 1], "who holds it keeps it");
    }

    #[test]
    fn those_who_come_together_see_every_write_that_was_answered() {
        const WRITES: usize = 200;
        let store = Memory::new();
        let derived = Derived::new(&["/a/"], count);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (store, derived) = (&store, &derived);
                scope.spawn(move || {
                    for at in 1..=WRITES {
                        futures::executor::block_on(write(&**store, &format!("/a/{writer}-{at}"), Some("x")));
                        assert!(derived.get(&**store)[0] >= at);
                    }
                });
            }
        });
        assert_eq!(derived.get(&*store)[0], 4 * WRITES);
    }
}
