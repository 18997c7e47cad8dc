//! Disks that fail, are full or cannot be written.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{Durable, DurableConfig, Store, StoreError, Transaction};

use crate::filled::{content, random, runtime};
use crate::layer::{Faults, FaultyFiles};
use crate::load::{self, Progress};
use crate::mount::Small;

#[test]
fn a_failed_sync_stops_the_store_and_is_not_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let files = FaultyFiles::new(&data, Faults::default());
    let store = Durable::open(DurableConfig { files: Arc::new(files.clone()), ..load::small(&data) }).unwrap();
    runtime().block_on(async {
        store.commit(Transaction::create("/a", Bytes::new())).await.unwrap();
        let mut watch = store.watch(2).unwrap();
        files.faults().sync_fails.store(true, Ordering::SeqCst);
        let before = files.faults().syncs.load(Ordering::SeqCst);
        let failed = store.commit(Transaction::create("/b", Bytes::new())).await;
        assert!(matches!(failed, Err(StoreError::Stopped(_))), "{failed:?}");
        files.faults().sync_fails.store(false, Ordering::SeqCst);
        let told = tokio::time::timeout(Duration::from_secs(60), store.failed()).await.unwrap();
        assert!(matches!(told, StoreError::Stopped(_)), "{told:?}");
        assert!(matches!(store.failure(), Some(StoreError::Stopped(_))));
        let after = store.commit(Transaction::create("/c", Bytes::new())).await;
        assert!(matches!(after, Err(StoreError::Stopped(_))), "{after:?}");
        assert!(matches!(watch.next().await, Err(StoreError::Stopped(_))));
        assert_eq!(store.snapshot().len(), 1, "what is not durable is not shown");
        assert!(store.close().await.is_err());
        assert_eq!(files.faults().syncs.load(Ordering::SeqCst), before + 1);
    });
}

#[test]
fn a_checkpoint_that_cannot_be_synced_stops_the_store_and_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let files = FaultyFiles::new(&data, Faults::default());
    let store = Durable::open(DurableConfig { files: Arc::new(files.clone()), ..load::small(&data) }).unwrap();
    let progress = Arc::new(Progress::default());
    let runtime = runtime();
    files.faults().checkpoint_sync_fails.store(true, Ordering::SeqCst);
    // The writers end when the store stops.
    let run = load::run(store.clone(), progress.clone(), Arc::new(AtomicBool::new(false)));
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), run).await }).unwrap();
    assert!(matches!(store.failure(), Some(StoreError::Stopped(_))));
    assert!(matches!(runtime.block_on(store.close()), Err(StoreError::Stopped(_))));
    load::verify(&*store, &progress.acknowledged(), &progress.submitted()).unwrap();
    drop(store);
    let left = directory.path().join("left");
    files.cut_power(&left, None);
    for directory in [&data, &left] {
        let again = Durable::open(load::small(directory)).unwrap();
        load::verify(&*again, &progress.acknowledged(), &progress.submitted()).unwrap();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_serves_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let files = FaultyFiles::new(&data, Faults::default());
    let store = Durable::open(DurableConfig { files: Arc::new(files.clone()), ..load::small(&data) }).unwrap();
    let value = Bytes::from(vec![b'v'; 4000]);
    runtime().block_on(async {
        let mut written = Vec::new();
        for i in 0..3 {
            let key = format!("/{i}");
            let committed = store.commit(Transaction::create(key.as_str(), value.clone())).await.unwrap();
            written.push((key, committed.revision));
        }
        files.faults().full.store(true, Ordering::SeqCst);
        let error = loop {
            let key = format!("/{}", written.len());
            match store.commit(Transaction::create(key.as_str(), value.clone())).await {
                Ok(committed) => written.push((key, committed.revision)),
                Err(error) => break error,
            }
            assert!(written.len() < 1000, "the disk never gets full");
        };
        assert!(matches!(error, StoreError::Full(_)), "{error}");
        let mut watch = store.watch(store.snapshot().revision()).unwrap();
        for (key, revision) in &written {
            let update = Transaction::update(key.as_str(), *revision, Bytes::from_static(b"going")).freeing();
            let revision = store.commit(update).await.unwrap().revision;
            store.commit(Transaction::delete(key.as_str(), revision)).await.unwrap();
        }
        assert!(watch.next().await.is_ok());
        assert!(store.snapshot().is_empty());
        let refused = store.commit(Transaction::create("/more", value.clone())).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        files.faults().full.store(false, Ordering::SeqCst);
        store.commit(Transaction::create("/more", value.clone())).await.unwrap();
        // A write that finds no room half-way leaves nothing behind.
        files.faults().write_full.store(true, Ordering::SeqCst);
        let refused = store.commit(Transaction::create("/none", value.clone())).await;
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
        files.faults().write_full.store(false, Ordering::SeqCst);
        store.commit(Transaction::create("/small", Bytes::new())).await.unwrap();
    });
    drop(store);
    let again = Durable::open(load::small(&data)).unwrap();
    assert_eq!(content(&*again).iter().map(|(key, ..)| key.as_str()).collect::<Vec<_>>(), ["/more", "/small"]);
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn a_disk_that_fills_up_while_a_checkpoint_is_made_loses_nothing() {
    let disk = Small::new("3m");
    let data = disk.path().join("data");
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![1; 1 << 20]).unwrap();
    let store = Durable::open(load::small(&data)).unwrap();
    let progress = Arc::new(Progress::default());
    let runtime = runtime();
    // Each writer ends at its first refusal.
    let run = load::run(store.clone(), progress.clone(), Arc::new(AtomicBool::new(false)));
    let filled = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), run).await });
    assert!(filled.is_ok(), "the load fits the disk");
    let (acknowledged, submitted) = (progress.acknowledged(), progress.submitted());
    load::verify(&*store, &acknowledged, &submitted).unwrap();
    drop(runtime.block_on(store.close()));
    drop(store);
    fs::remove_file(&filler).unwrap();
    let again = Durable::open(load::small(&data)).unwrap();
    load::verify(&*again, &acknowledged, &submitted).unwrap();
    runtime.block_on(again.commit(Transaction::create("/more", Bytes::new()))).unwrap();
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn a_directory_that_cannot_be_written_is_refused_by_name() {
    let disk = Small::new("3m");
    let data = disk.path().join("data");
    let store = Durable::open(load::small(&data)).unwrap();
    runtime().block_on(store.commit(Transaction::create("/a", Bytes::new()))).unwrap();
    drop(store);
    disk.remount("ro");
    match Durable::open(load::small(&data)).err() {
        Some(StoreError::Io(why)) => assert!(why.contains("Read-only"), "{why}"),
        other => panic!("{other:?}"),
    }
    disk.remount("rw");
    let again = Durable::open(load::small(&data)).unwrap();
    assert_eq!(content(&*again).len(), 1);
}

/// On a disk that others filled to the last byte the store opens and is read, and deletes make room for writes again.
#[test]
#[ignore = "needs root, to mount a disk"]
fn deletes_make_room_on_a_full_disk() {
    deletes_make_room("24m", 2, true);
}

#[test]
#[ignore = "needs root, to mount a disk"]
fn few_deletes_make_room_on_a_disk_that_is_full_of_objects() {
    deletes_make_room("24m", 20, false);
    deletes_make_room("64m", 30, false);
}

/// Fills a disk, and deletes a part of what is there.
fn deletes_make_room(size: &str, part: usize, filled_by_others: bool) {
    let disk = Small::new(size);
    let data = disk.path().join("data");
    let mut config = DurableConfig::new(&data);
    config.checkpoint_quiet = Duration::from_millis(20);
    let store = Durable::open(config.clone()).unwrap();
    let mut random = random(9);
    let mut noise = |bytes: usize| -> Bytes { (0..bytes).map(|_| b' ' + (random() % 90) as u8).collect() };
    let mut written = Vec::new();
    loop {
        let key = format!("/{}", written.len());
        match futures::executor::block_on(store.commit(Transaction::create(key.as_str(), noise(30_000)))) {
            Ok(committed) => written.push((key, committed.revision)),
            Err(StoreError::Full(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let held = written.len() * 30_000;
    assert!(held > 5_000_000, "a disk of 24 MB held {held} bytes");
    drop(store);
    if filled_by_others {
        let mut filler = fs::File::create(disk.path().join("filler")).unwrap();
        while std::io::Write::write(&mut filler, &[1; 4096]).is_ok_and(|written| written > 0) {}
    }
    let store = Durable::open(config.clone()).unwrap();
    assert_eq!(store.snapshot().len(), written.len());
    for (key, revision) in written.drain(..written.len() / part) {
        futures::executor::block_on(store.commit(Transaction::delete(key.as_str(), revision))).unwrap();
    }
    let begin = Instant::now();
    while let Err(error) = futures::executor::block_on(store.commit(Transaction::create("/more", noise(30_000)))) {
        assert!(matches!(error, StoreError::Full(_)), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(300), "deletes make no room");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(data.join("reserve").exists() || data.join("checkpoint").exists());
    let expected = content(&*store);
    drop(store);
    assert!(content(&*Durable::open(config).unwrap()) == expected);
}
