//! What every backend must do, run against each.

#[path = "suite/watches.rs"]
mod watches;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{
    Condition, Durable, DurableConfig, EventKind, HistoryLimits, Memory, Operation, Store, StoreError, SyncPolicy,
    Transaction, limits,
};

/// A backend for one test, and what must outlive it.
struct Backend {
    name: &'static str,
    store: Arc<dyn Store>,
    _directory: Option<tempfile::TempDir>,
}

fn backends(history: HistoryLimits) -> Vec<Backend> {
    let durable = |sync| {
        let directory = tempfile::tempdir().unwrap();
        let mut config = DurableConfig::new(directory.path().join("data"));
        (config.sync, config.history, config.segment_bytes) = (sync, history, 256 * 1024);
        let name = if sync == SyncPolicy::Always { "durable" } else { "durable, unsynced" };
        Backend { name, store: Durable::open(config).unwrap(), _directory: Some(directory) }
    };
    vec![
        Backend { name: "memory", store: Memory::with_limits(history), _directory: None },
        durable(SyncPolicy::Always),
        durable(SyncPolicy::Never),
    ]
}

/// Runs a case against every backend.
fn check<F: Future<Output = ()>>(case: impl Fn(Arc<dyn Store>) -> F) {
    check_with(HistoryLimits::default(), case);
}

fn check_with<F: Future<Output = ()>>(history: HistoryLimits, case: impl Fn(Arc<dyn Store>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    for backend in backends(history) {
        println!("backend: {}", backend.name);
        let result = runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(60), case(backend.store.clone())).await });
        result.expect("the case ends in time");
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn put(store: &Arc<dyn Store>, key: &str, value: &str) -> u64 {
    let operations = vec![Operation::Put(key.into(), bytes(value))];
    store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap().revision
}

fn keys(store: &Arc<dyn Store>, prefix: &str, start: Option<&str>) -> Vec<String> {
    store.snapshot().list(prefix, start).map(|entry| entry.key().to_owned()).collect()
}

#[test]
fn create_update_delete() {
    check(|store| async move {
        let created = store.commit(Transaction::create("/a", bytes("1"))).await.unwrap();
        assert_eq!(created.revision, 2);
        assert_eq!(created.entries[0].create_revision(), 2);
        let updated = store.commit(Transaction::update("/a", 2, bytes("2"))).await.unwrap();
        assert_eq!((updated.revision, updated.entries[0].create_revision()), (3, 2));
        assert_eq!(store.snapshot().get("/a").unwrap().value(), "2");
        let deleted = store.commit(Transaction::delete("/a", 3)).await.unwrap();
        assert_eq!((deleted.revision, deleted.entries.len()), (4, 0));
        assert!(store.snapshot().is_empty());
        let again = store.commit(Transaction::create("/a", bytes("3"))).await.unwrap();
        assert_eq!(again.entries[0].create_revision(), 5);
    });
}

#[test]
fn conditions_fail_with_what_is_stored() {
    check(|store| async move {
        put(&store, "/a", "1").await;
        for (transaction, found) in [
            (Transaction::create("/a", bytes("2")), Some(2)),
            (Transaction::update("/a", 1, bytes("2")), Some(2)),
            (Transaction::delete("/a", 7), Some(2)),
            (Transaction::update("/b", 2, bytes("2")), None),
            (Transaction::create("/c", bytes("2")).and(Transaction::create("/a", bytes("2"))), Some(2)),
        ] {
            match store.commit(transaction).await {
                Err(StoreError::ConditionFailed { current, .. }) => {
                    assert_eq!(current.map(|entry| entry.mod_revision()), found);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(store.snapshot().revision(), 2);
        assert_eq!(store.snapshot().len(), 1);
    });
}

#[test]
fn a_transaction_is_one_revision() {
    check(|store| async move {
        put(&store, "/a", "1").await;
        let transaction = Transaction::create("/b", bytes("b")).and(Transaction::delete("/a", 2));
        let mut watch = store.watch(2).unwrap();
        assert_eq!(store.commit(transaction).await.unwrap().revision, 3);
        let events: Vec<_> = watch.next().await.unwrap().iter().flat_map(|batch| batch.to_vec()).collect();
        assert_eq!(events.iter().map(|e| (e.key(), e.revision)).collect::<Vec<_>>(), [("/b", 3), ("/a", 3)]);
        assert!(matches!(&events[1].kind, EventKind::Delete { previous } if previous.value() == "1"));
    });
}

#[test]
fn a_commit_that_changes_nothing_has_no_revision() {
    check(|store| async move {
        put(&store, "/a", "1").await;
        let operations = vec![Operation::Delete("/absent".into())];
        let committed = store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
        assert_eq!((committed.revision, store.snapshot().revision()), (2, 2));
        assert_eq!(put(&store, "/b", "1").await, 3);
    });
}

#[test]
fn limits_are_kept() {
    check(|store| async move {
        let long = "k".repeat(limits::KEY_BYTES_MAX + 1);
        let big = Bytes::from(vec![b'v'; limits::VALUE_BYTES_MAX + 1]);
        let full = Bytes::from(vec![b'v'; limits::VALUE_BYTES_MAX]);
        let puts = |n: usize| (0..n).map(|i| Operation::Put(format!("/{i}").into(), full.clone())).collect();
        let many = (0..=limits::OPERATIONS_MAX).map(|i| Operation::Delete(format!("/{i}").into())).collect();
        for operations in [
            vec![Operation::Put(long.as_str().into(), bytes(""))],
            vec![Operation::Put("/a".into(), big)],
            puts(5),
            many,
        ] {
            let result = store.commit(Transaction { operations, ..Transaction::default() }).await;
            assert!(matches!(result, Err(StoreError::TooLarge { .. })), "{result:?}");
        }
        for key in ["", "/a\0b"] {
            let result = store.commit(Transaction::create(key, bytes(""))).await;
            assert!(matches!(result, Err(StoreError::Invalid(_))), "{result:?}");
        }
        let twice = Transaction::create("/a", bytes("")).and(Transaction::create("/a", bytes("")));
        assert!(matches!(store.commit(twice).await, Err(StoreError::Invalid(_))));
        store.commit(Transaction { operations: puts(3), ..Transaction::default() }).await.unwrap();
        assert_eq!(store.snapshot().len(), 3);
    });
}

#[test]
fn lists_are_ordered_and_begin_where_asked() {
    check(|store| async move {
        for key in ["/pods/b", "/pods/a", "/podsx", "/pods/a/x", "/nodes/n", "/services/s"] {
            put(&store, key, key).await;
        }
        assert_eq!(keys(&store, "/pods/", None), ["/pods/a", "/pods/a/x", "/pods/b"]);
        assert_eq!(keys(&store, "/pods/", Some("/pods/a\0")), ["/pods/a/x", "/pods/b"]);
        assert_eq!(keys(&store, "/pods/", Some("/zzz")), [""; 0]);
        assert_eq!(keys(&store, "/pods/", Some("/a")).len(), 3);
    });
}

#[test]
fn every_kept_revision_can_be_read() {
    check(|store| async move {
        for i in 0..200_u64 {
            let key = format!("/{}", i % 7);
            if i % 5 == 4 {
                let operations = vec![Operation::Delete(key.as_str().into())];
                store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
            } else {
                put(&store, &key, &i.to_string()).await;
            }
        }
        let newest = store.snapshot().revision();
        // The state at each revision, from the events alone.
        let mut watch = store.watch(1).unwrap();
        let mut state = std::collections::BTreeMap::new();
        while watch.revision() < newest {
            for event in watch.next().await.unwrap().iter().flat_map(|batch| batch.iter()) {
                match &event.kind {
                    EventKind::Put { entry, previous } => {
                        let before = state.insert(entry.key().to_owned(), entry.mod_revision());
                        assert_eq!(before, previous.as_ref().map(|entry| entry.mod_revision()));
                    }
                    EventKind::Delete { previous } => assert!(state.remove(previous.key()).is_some()),
                }
                let snapshot = store.snapshot_at(event.revision, "").unwrap();
                let found = snapshot.list("", None).map(|entry| (entry.key().to_owned(), entry.mod_revision()));
                assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), state);
                assert_eq!((snapshot.len(), snapshot.revision()), (state.len(), event.revision));
            }
        }
        assert!(store.snapshot_at(1, "").unwrap().is_empty());
        assert!(matches!(store.snapshot_at(newest + 1, ""), Err(StoreError::FutureRevision { .. })));
    });
}

#[test]
fn compaction_forgets_what_was_before() {
    check(|store| async move {
        for i in 0..20 {
            put(&store, "/a", &i.to_string()).await;
        }
        assert!(matches!(store.compact(99), Err(StoreError::FutureRevision { .. })));
        store.snapshot_at(5, "").unwrap();
        store.compact(10).unwrap();
        assert!(matches!(store.snapshot_at(5, ""), Err(StoreError::Compacted { oldest: 10, .. })));
        assert!(matches!(store.watch(9), Err(StoreError::Compacted { oldest: 10, .. })));
        assert_eq!(store.snapshot_at(10, "").unwrap().get("/a").unwrap().mod_revision(), 10);
        let mut watch = store.watch(10).unwrap();
        assert!(watch.next().await.unwrap().iter().flat_map(|b| b.iter()).any(|event| event.revision == 11));
    });
}

#[test]
fn one_of_many_rivals_wins() {
    check(|store| async move {
        let revision = put(&store, "/a", "0").await;
        let rivals: Vec<_> = (0..32)
            .map(|i: u32| tokio::spawn(store.commit(Transaction::update("/a", revision, bytes(&i.to_string())))))
            .collect();
        let mut won = 0;
        for rival in rivals {
            match rival.await.unwrap() {
                Ok(_) => won += 1,
                Err(StoreError::ConditionFailed { current, .. }) => {
                    assert_eq!(current.unwrap().mod_revision(), revision + 1);
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(won, 1);
    });
}

#[test]
fn a_closed_store_tells_writers_and_watchers() {
    check(|store| async move {
        let mut watch = store.watch(1).unwrap();
        put(&store, "/a", "1").await;
        store.close().await.unwrap();
        store.close().await.unwrap();
        assert_eq!(watch.next().await.unwrap().len(), 1);
        assert!(matches!(watch.next().await, Err(StoreError::Stopped(_))));
        assert!(matches!(store.commit(Transaction::create("/b", bytes(""))).await, Err(StoreError::Stopped(_))));
        assert_eq!(store.snapshot().len(), 1);
    });
}

#[test]
fn a_condition_may_stand_alone() {
    check(|store| async move {
        put(&store, "/a", "1").await;
        let holds = Transaction { conditions: vec![Condition::ModRevision("/a".into(), 2)], ..Transaction::default() };
        assert_eq!(store.commit(holds).await.unwrap().revision, 2);
        let fails = Transaction { conditions: vec![Condition::Absent("/a".into())], ..Transaction::default() };
        assert!(matches!(store.commit(fails).await, Err(StoreError::ConditionFailed { .. })));
    });
}
