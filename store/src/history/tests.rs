//! What is kept, for how long, and for whom.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::limits::{HISTORY_IDLE_BYTES_MAX, HISTORY_KEPT_FOR, HISTORY_OLD_AFTER, HISTORY_OLDER_BYTES_MAX};
use crate::{Operation, Transaction};

const LARGE: &str = "/maps/a/large";

/// The first part of a key.
fn first(key: &str) -> &str {
    key[1.min(key.len())..].find('/').map_or("", |at| &key[..at + 2])
}

fn limits() -> HistoryLimits {
    HistoryLimits { group: first, ..HistoryLimits::default() }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn put(history: &History, key: &str, value: Vec<u8>, now: Instant) -> Revision {
    let mut stage = Stage::on(history.snapshot());
    let operations = vec![Operation::Put(key.into(), Bytes::from(value))];
    let committed = stage.commit(Transaction { operations, ..Transaction::default() }).unwrap();
    history.publish_at(stage, now);
    history.pack(None);
    history.bound(now);
    committed.revision
}

/// How many events of a key a watcher finds that begins after a revision.
fn seen(history: &Arc<History>, after: Revision, key: &str) -> Result<usize, StoreError> {
    let prefix = &key[..=key.rfind('/').unwrap()];
    let mut watch = history.watch(after, prefix)?;
    let mut count = 0;
    while let Some(batches) = futures::FutureExt::now_or_never(watch.next()) {
        count += batches?.iter().flat_map(|batch| batch.iter()).filter(|event| event.key() == key).count();
    }
    Ok(count)
}

#[test]
fn small_changes_of_a_large_value_push_nobody_out() {
    let history = History::new(Snapshot::empty(1), limits());
    let now = clock::now();
    let before = put(&history, "/pods/a/one", b"1".to_vec(), now);
    let base = noise(1, 900_000);
    for number in 0..200_u32 {
        let mut value = base.clone();
        value[100..104].copy_from_slice(&number.to_le_bytes());
        value[800_000..800_004].copy_from_slice(&number.to_le_bytes());
        put(&history, LARGE, value, now);
    }
    put(&history, "/pods/a/one", b"2".to_vec(), now);
    assert_eq!(seen(&history, before, "/pods/a/one").unwrap(), 1);
    assert_eq!(seen(&history, 1, LARGE).unwrap(), 200);
    history.forget_old_at(now + HISTORY_KEPT_FOR);
    assert_eq!(seen(&history, 1, LARGE).unwrap(), 200);
    let kept = history.past.read().bytes();
    assert!(kept < 2_000_000, "{kept} bytes for differences of eight");
    // Each state is still what it was.
    let state = history.snapshot_at(before + 100, LARGE).unwrap();
    assert_eq!(state.get(LARGE).unwrap().value()[100..104], 99_u32.to_le_bytes());
}

#[test]
fn a_group_over_its_bounds_costs_the_others_nothing() {
    let history = History::new(Snapshot::empty(1), HistoryLimits { bytes_max: 3_000_000, ..limits() });
    let now = clock::now();
    let before = put(&history, "/pods/a/one", b"1".to_vec(), now);
    let mut slow = history.watch(before, "/maps/").unwrap();
    let mut quiet = history.watch(before, "/maps/b/").unwrap();
    for number in 0..10 {
        put(&history, LARGE, noise(number, 900_000), now);
    }
    put(&history, "/pods/a/one", b"2".to_vec(), now);
    assert!(matches!(futures::executor::block_on(slow.next()), Err(StoreError::Lagged)));
    assert!(futures::FutureExt::now_or_never(quiet.next()).is_none(), "nothing that concerns it was forgotten");
    assert!(matches!(seen(&history, before, LARGE), Err(StoreError::Compacted { .. })));
    assert!(matches!(history.snapshot_at(before, "/maps/"), Err(StoreError::Compacted { .. })));
    assert!(matches!(history.snapshot_at(before, ""), Err(StoreError::Compacted { .. })));
    assert!(matches!(history.watch(before, ""), Err(StoreError::Compacted { .. })));
    assert_eq!(seen(&history, before, "/pods/a/one").unwrap(), 1);
    let state = history.snapshot_at(before, "/pods/").unwrap();
    assert_eq!(state.get("/pods/a/one").unwrap().value(), "1");
    let newest = history.snapshot().revision;
    assert_eq!(seen(&history, newest - 2, LARGE).unwrap(), 1, "the newest are there");
}

#[test]
fn where_all_are_over_their_bounds_the_largest_gives_way() {
    let history = History::new(Snapshot::empty(1), HistoryLimits { total_bytes_max: 5_000_000, ..limits() });
    let now = clock::now();
    for number in 0..20 {
        put(&history, LARGE, noise(number, 500_000), now);
        put(&history, "/small/a/one", noise(number + 100, 50_000), now);
    }
    assert_eq!(seen(&history, 1, "/small/a/one").unwrap(), 20);
    assert!(matches!(seen(&history, 1, LARGE), Err(StoreError::Compacted { .. })));
    assert!(history.past.read().bytes() <= 5_000_000);
}

#[test]
fn the_older_it_is_the_less_is_kept() {
    let history = History::new(Snapshot::empty(1), limits());
    let now = clock::now();
    let before = put(&history, "/pods/a/one", b"1".to_vec(), now);
    for number in 0..30 {
        put(&history, LARGE, noise(number, 900_000), now);
    }
    put(&history, "/pods/a/one", b"2".to_vec(), now);
    let kept = |age: Duration| {
        history.forget_old_at(now + age);
        history.past.read().bytes()
    };
    assert!(kept(Duration::from_secs(75)) > 25_000_000, "a client that comes back after 75 seconds finds all");
    assert_eq!(seen(&history, 1, LARGE).unwrap(), 30);
    assert!(kept(HISTORY_KEPT_FOR + Duration::from_secs(1)) <= HISTORY_OLDER_BYTES_MAX + 1_000);
    assert!(kept(HISTORY_OLD_AFTER + Duration::from_secs(1)) <= 2 * HISTORY_IDLE_BYTES_MAX);
    // What is small stays, however old: a client that saw it last has missed nothing.
    assert_eq!(seen(&history, before, "/pods/a/one").unwrap(), 1);
    assert_eq!(seen(&history, history.snapshot().revision - 1, LARGE).unwrap(), 0);
}

#[test]
fn what_a_reader_had_put_together_is_let_go() {
    let history = History::new(Snapshot::empty(1), limits());
    let now = clock::now();
    for number in 0..5 {
        put(&history, LARGE, vec![number; 10], now);
    }
    assert_eq!(history.snapshot_at(3, LARGE).unwrap().get(LARGE).unwrap().value(), vec![1; 10]);
    history.forget_old_at(now);
    assert_eq!(history.rebuilt.lock().len(), 1);
    history.forget_old_at(now);
    assert_eq!(history.rebuilt.lock().len(), 0);
}
