//! Backups: what is in them, what is refused, and the stores that are made of them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use store::files::{Disk, Files};
use store::{Backup, Durable, DurableConfig, Memory, Operation, Pieces, Store, StoreError, Transaction};

const NOW: u64 = 1_800_000_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

fn put(store: &dyn Store, key: &str, value: Bytes) -> u64 {
    let operations = vec![Operation::Put(key.into(), value)];
    let commit = store.commit(Transaction { operations, ..Transaction::default() });
    futures::executor::block_on(commit).unwrap().revision
}

fn filled(keys: usize) -> Arc<Memory> {
    let store = Memory::with_limits(store::HistoryLimits::default());
    for number in 0..keys {
        put(&*store, &format!("/k/{number:05}"), vec![b'a' + (number % 20) as u8; number * 37 % 20_000].into());
    }
    store
}

fn content(store: &dyn Store) -> Vec<(String, Bytes, u64, u64)> {
    let snapshot = store.snapshot();
    let entry =
        |entry: &store::Entry| (entry.key().to_owned(), entry.value(), entry.create_revision(), entry.mod_revision());
    snapshot.list("", None).map(entry).collect()
}

fn write(store: &dyn Store, path: &Path) -> Vec<u8> {
    let bytes = Pieces::new(store.snapshot(), NOW).flatten().collect::<Vec<u8>>();
    fs::write(path, &bytes).unwrap();
    bytes
}

fn files() -> Arc<dyn Files> {
    Arc::new(Disk)
}

#[test]
fn a_store_is_made_of_what_was_backed_up() {
    for keys in [0, 1, 3000] {
        let directory = tempfile::tempdir().unwrap();
        let (file, data) = (directory.path().join("file"), directory.path().join("store"));
        let store = filled(keys);
        write(&*store, &file);
        put(&*store, "/later", "x".into());
        let backup = Backup::read(&file, &Disk).unwrap();
        assert_eq!((backup.keys(), backup.sealed()), (keys, 0));
        let restored = backup.restore(&data, &files(), NOW + 60, false).unwrap();
        assert!(restored.revision >= backup.revision() + 60 * 100_000, "whatever was written in a minute is below");
        assert_eq!(restored.replaced, None);
        let open = || Durable::open(DurableConfig::new(&data)).unwrap();
        let opened = open();
        let mut expected = content(&*store);
        expected.retain(|entry| entry.0 != "/later");
        assert!(content(&*opened) == expected);
        assert_eq!(opened.snapshot().revision(), restored.revision);
        assert!(
            matches!(opened.watch(backup.revision()), Err(StoreError::Compacted { .. })),
            "what was before is gone"
        );
        let next = put(&*opened, "/next", "y".into());
        assert_eq!(next, restored.revision + 1);
        drop(opened);
        assert_eq!(open().snapshot().revision(), next);
        let mut left: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["file", "store"]);
    }
}

#[test]
fn another_store_is_replaced_only_if_that_is_said_and_stays_beside() {
    let directory = tempfile::tempdir().unwrap();
    let (file, data) = (directory.path().join("file"), directory.path().join("store"));
    write(&*filled(20), &file);
    let backup = Backup::read(&file, &Disk).unwrap();
    let old = Durable::open(DurableConfig::new(&data)).unwrap();
    for number in 0..100 {
        put(&*old, &format!("/old/{number}"), "x".into());
    }
    let newest = old.snapshot().revision();
    assert!(matches!(backup.restore(&data, &files(), NOW, true), Err(StoreError::Locked { .. })), "it is in use");
    let expected = content(&*old);
    drop(old);
    assert!(matches!(backup.restore(&data, &files(), NOW, false), Err(StoreError::Exists { .. })));
    let restored = backup.restore(&data, &files(), 0, true).unwrap();
    assert!(restored.revision > newest, "also if the clock went back");
    let replaced = Durable::open(DurableConfig::new(restored.replaced.unwrap())).unwrap();
    assert!(content(&*replaced) == expected);
    assert_eq!(Durable::open(DurableConfig::new(&data)).unwrap().snapshot().len(), 20);
    // What an interrupted one left is no hindrance, and an empty directory is none.
    let other = directory.path().join("other");
    fs::create_dir_all(directory.path().join("other.restoring/checkpoint")).unwrap();
    fs::create_dir(&other).unwrap();
    backup.restore(&other, &files(), NOW, false).unwrap();
    assert_eq!(Durable::open(DurableConfig::new(&other)).unwrap().snapshot().len(), 20);
}

#[test]
fn whatever_is_wrong_with_a_file_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    let bytes = write(&*filled(60), &file);
    let refused = |content: &[u8]| {
        fs::write(&file, content).unwrap();
        matches!(Backup::read(&file, &Disk), Err(StoreError::Corrupt { path, .. }) if path.ends_with("file"))
    };
    for cut in (0..bytes.len()).step_by(997).chain([bytes.len() - 1, bytes.len() - 40, 63, 64]) {
        assert!(refused(&bytes[..cut]), "cut at {cut}");
    }
    for at in (0..bytes.len()).step_by(101).chain(0..200) {
        let mut changed = bytes.clone();
        changed[at] ^= 4;
        assert!(refused(&changed), "byte {at}");
    }
    assert!(refused(&[&bytes[..], &bytes[64..]].concat()), "twice the same");
    assert!(refused(b"something else, of some length that is more than that of a header of such a file"));
    let mut newer = bytes.clone();
    newer[8] = 99;
    let checksum = crc32fast::hash(&newer[..56]);
    newer[56..60].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&file, newer).unwrap();
    assert!(matches!(Backup::read(&file, &Disk), Err(StoreError::NewerFormat { found: 99, .. })));
    let missing = Backup::read(&directory.path().join("none"), &Disk);
    assert!(matches!(missing, Err(StoreError::Io(_))));
}

/// A process that is killed anywhere while it restores leaves the old store, the new one, or none with everything beside.
#[test]
fn an_interrupted_restore_can_be_done_again() {
    let Some(target) = std::env::var_os("CORACLE_STORE_RESTORE_DIRECTORY") else {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        write(&*filled(500), &file);
        let data = directory.path().join("store");
        let old = Durable::open(DurableConfig::new(&data)).unwrap();
        put(&*old, "/old", "x".into());
        drop(old);
        for round in 0..20 {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["an_interrupted_restore_can_be_done_again", "--exact"])
                .env("CORACLE_STORE_RESTORE_DIRECTORY", directory.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(std::time::Duration::from_micros(500 + round * 900));
            child.kill().unwrap();
            child.wait().unwrap();
            if data.exists() {
                let keys = Durable::open(DurableConfig::new(&data)).unwrap().snapshot().len();
                assert!(keys == 1 || keys == 500, "{keys}");
            }
        }
        let restored = Backup::read(&file, &Disk).unwrap().restore(&data, &files(), NOW + 1, data.exists()).unwrap();
        let opened = Durable::open(DurableConfig::new(&data)).unwrap();
        assert_eq!((opened.snapshot().len(), opened.snapshot().revision()), (500, restored.revision));
        runtime().block_on(opened.close()).unwrap();
        return;
    };
    let directory = Path::new(&target);
    let backup = Backup::read(&directory.join("file"), &Disk).unwrap();
    // Another one in each process: what was replaced before stays.
    let time = NOW + u64::from(std::process::id());
    drop(backup.restore(&directory.join("store"), &files(), time, true));
}
