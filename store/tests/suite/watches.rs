//! Watches, of every backend.

use super::*;

#[test]
fn history_is_bounded_and_a_slow_watcher_is_told() {
    let by_events = HistoryLimits { events_max: 10, ..HistoryLimits::default() };
    let by_bytes = HistoryLimits { bytes_max: 10_000, ..HistoryLimits::default() };
    for history in [by_events, by_bytes] {
        check_with(history, |store| async move {
            let mut slow = store.watch(1).unwrap();
            for _ in 0..50 {
                put(&store, "/a", &"x".repeat(900)).await;
            }
            assert!(matches!(slow.next().await, Err(StoreError::Lagged)));
            assert!(matches!(store.watch(1), Err(StoreError::Compacted { .. })));
            assert!(matches!(store.snapshot_at(1, ""), Err(StoreError::Compacted { .. })));
            let mut fast = store.watch(store.snapshot().revision() - 5).unwrap();
            assert!(fast.next().await.is_ok());
        });
    }
}

#[test]
fn watchers_see_every_event_in_order() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 40;
    check(|store| async move {
        let watchers: Vec<_> = (0..8)
            .map(|_| {
                let mut watch = store.watch(1).unwrap();
                let store = store.clone();
                tokio::spawn(async move {
                    let mut revisions = Vec::new();
                    while revisions.len() < (WRITERS * EACH) as usize {
                        for batch in watch.next().await.unwrap() {
                            revisions.extend(batch.iter().map(|event| event.revision));
                        }
                        assert!(store.snapshot().revision() >= watch.revision());
                    }
                    revisions
                })
            })
            .collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for i in 0..EACH {
                        let revision = put(&store, &format!("/{writer}"), &i.to_string()).await;
                        assert!(store.snapshot().revision() >= revision, "an answered commit is visible");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        for watcher in watchers {
            assert_eq!(watcher.await.unwrap(), (2..2 + WRITERS * EACH).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_watch_of_a_prefix_is_not_disturbed_by_others() {
    let history = HistoryLimits { events_max: 20, ..HistoryLimits::default() };
    check_with(history, |store| async move {
        put(&store, "/pods/a/1", "1").await;
        let mut pods = store.watch_prefix(1, "/pods/").unwrap();
        let mut namespace = store.watch_prefix(2, "/pods/b/").unwrap();
        let mut one = store.watch_prefix(2, "/pods/a/1").unwrap();
        for _ in 0..100 {
            put(&store, "/nodes/n", "x").await;
        }
        assert_eq!(namespace.revision(), 102, "nothing was missed");
        let nothing = tokio::time::timeout(Duration::from_millis(20), namespace.next()).await;
        assert!(nothing.is_err(), "woken for another's key");
        // What this one had not read was forgotten.
        assert!(matches!(pods.next().await, Err(StoreError::Lagged)));
        put(&store, "/pods/b/1", "1").await;
        put(&store, "/pods/a/1", "2").await;
        let keys = |batches: Vec<store::EventBatch>| {
            batches.iter().flat_map(|b| b.iter().map(|e| (e.revision, e.key().to_owned()))).collect::<Vec<_>>()
        };
        assert_eq!(keys(namespace.next().await.unwrap()), [(103, "/pods/b/1".to_owned())]);
        let mut found = Vec::new();
        while found.last() != Some(&(104, "/pods/a/1".to_owned())) {
            found.extend(keys(one.next().await.unwrap()));
        }
        assert_eq!(one.revision(), 104);
        let mut late = store.watch_prefix(102, "/pods/").unwrap();
        let mut found = Vec::new();
        while late.revision() < 104 {
            found.extend(keys(late.next().await.unwrap()).into_iter().map(|(revision, _)| revision));
        }
        assert_eq!(found, [103, 104]);
    });
}

#[test]
fn what_a_snapshot_shows_a_watch_has() {
    check(|store| async move {
        let mut watch = store.watch_prefix(1, "/a/").unwrap();
        for i in 0..200 {
            let revision = put(&store, "/a/1", &i.to_string()).await;
            let batches = futures::FutureExt::now_or_never(watch.next()).expect("no need to wait").unwrap();
            assert!(batches.iter().flat_map(|batch| batch.iter()).any(|event| event.revision == revision));
        }
    });
}

#[test]
fn watchers_of_prefixes_miss_nothing_under_load() {
    check(|store| async move {
        let watchers: Vec<_> = (0..20)
            .map(|i| {
                let prefix = format!("/{}/", i % 4);
                let mut watch = store.watch_prefix(1, &prefix).unwrap();
                tokio::spawn(async move {
                    let mut values = Vec::new();
                    while values.len() < 300 {
                        for event in watch.next().await.unwrap().iter().flat_map(|batch| batch.iter()) {
                            if event.key().starts_with(&prefix) {
                                values.push(event.key()[prefix.len()..].parse::<u64>().unwrap());
                            }
                        }
                    }
                    values
                })
            })
            .collect();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for i in 0..300 {
                        put(&store, &format!("/{writer}/{i}"), "").await;
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        for watcher in watchers {
            assert_eq!(watcher.await.unwrap(), (0..300).collect::<Vec<_>>());
        }
    });
}
