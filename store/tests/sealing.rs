//! Values that are something else on the disk than in memory.

#[path = "faults/layer.rs"]
mod layer;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use layer::{Faults, FaultyFiles};
use store::{Durable, DurableConfig, Operation, Sealed, Sealing, Store, StoreError, Transaction};

/// No cipher, but what is asked of one: it hides the value, and opens for its key and under its path alone.
struct Toy {
    key: AtomicU8,
    hold: Arc<()>,
}

fn toy(key: u8) -> Arc<Toy> {
    Arc::new(Toy { key: AtomicU8::new(key), hold: Arc::default() })
}

fn mask(key: u8, path: &str, at: usize) -> u8 {
    let path = path.as_bytes();
    (key ^ path[at % path.len()]).wrapping_add(at as u8) | 0x80
}

impl Sealing for Toy {
    fn seal(&self, path: &str, value: &Bytes) -> Result<Option<Sealed>, String> {
        if !path.starts_with("/secrets/") {
            return Ok(None);
        }
        if value.starts_with(b"refuse") {
            return Err("the toy is broken".into());
        }
        let key = self.key.load(Ordering::SeqCst);
        let masked = value.iter().enumerate().map(|(at, byte)| byte ^ mask(key, path, at));
        let bytes = [key, path.len() as u8].into_iter().chain(masked).collect();
        Ok(Some(Sealed { bytes, hold: Some(self.hold.clone()) }))
    }

    fn open(&self, path: &str, sealed: &Bytes) -> Result<Bytes, String> {
        let [key, length, masked @ ..] = &sealed[..] else { return Err("too short".into()) };
        if *key > self.key.load(Ordering::SeqCst) || usize::from(*length) != path.len() {
            return Err("no key was found".into());
        }
        Ok(masked.iter().enumerate().map(|(at, byte)| byte ^ mask(*key, path, at)).collect())
    }

    fn accept_plain(&self, path: &str) -> Result<(), String> {
        if path.starts_with("/secrets/strict/") { Err("it is plain".into()) } else { Ok(()) }
    }
}

/// Small files, so that everything happens.
fn config(directory: &Path, sealing: Option<Arc<Toy>>) -> DurableConfig {
    let mut config = DurableConfig::new(directory);
    (config.segment_bytes, config.export_after_bytes) = (64 * 1024, 256 * 1024);
    config.sealing = sealing.map(|toy| toy as Arc<dyn Sealing>);
    config
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

async fn put(store: &Durable, key: &str, value: String) -> u64 {
    let operations = vec![Operation::Put(key.into(), value.into())];
    store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap().revision
}

fn planted(number: usize, version: usize) -> String {
    format!("{{\"password\":\"planted-{number:04}-{version}-hunter2\"}}")
}

/// Writes secrets and much else, changes some and deletes some.
async fn fill(store: &Durable) {
    for number in 0..300 {
        put(store, &format!("/secrets/{number}"), planted(number, 1)).await;
        put(store, &format!("/plain/{number}"), format!("plain-{number} {}", "x".repeat(1500))).await;
    }
    for number in 0..100 {
        put(store, &format!("/secrets/{number}"), planted(number, 2)).await;
        let operations = vec![Operation::Delete(format!("/secrets/{}", 200 + number % 50).into())];
        store.commit(Transaction { operations, ..Transaction::default() }).await.unwrap();
    }
}

fn content(store: &dyn Store) -> Vec<(String, Bytes, u64, u64)> {
    let snapshot = store.snapshot();
    let entry =
        |entry: &store::Entry| (entry.key().to_owned(), entry.value(), entry.create_revision(), entry.mod_revision());
    snapshot.list("", None).map(entry).collect()
}

/// How many files below a directory hold the text.
fn files_with(directory: &Path, text: &str) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += files_with(&path, text);
        } else if memmem(&fs::read(&path).unwrap(), text.as_bytes()) {
            found += 1;
        }
    }
    found
}

fn memmem(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn has_all_kinds_of_files(directory: &Path) -> bool {
    let names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.iter().any(|name| name.starts_with("export-")) && directory.join("checkpoint/db").exists()
}

#[test]
fn what_is_sealed_is_in_no_file_and_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let runtime = runtime();
    let store = Durable::open(config(&data, Some(toy(1)))).unwrap();
    runtime.block_on(fill(&store));
    let begin = Instant::now();
    while !has_all_kinds_of_files(&data) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no export and checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(files_with(&data, "hunter2"), 0, "while it is open");
    let expected = content(&*store);
    runtime.block_on(store.close()).unwrap();
    drop(store);
    assert_eq!(files_with(&data, "hunter2"), 0);
    assert!(files_with(&data, "plain-299 ") > 0, "the search finds what is there");
    for base in ["checkpoint", "export", "log"] {
        let store = Durable::open(config(&data, Some(toy(1)))).unwrap();
        assert!(content(&*store) == expected, "before the {base} is taken away");
        let sealed = store.snapshot().get("/secrets/7").unwrap().sealed().cloned();
        assert_eq!(sealed.map(|sealed| sealed[0]), Some(1));
        assert!(store.snapshot().get("/plain/7").unwrap().sealed().is_none());
        drop(store);
        if base == "checkpoint" {
            fs::remove_dir_all(data.join("checkpoint")).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_opened_refuses_the_whole_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = Durable::open(config(&data, Some(toy(2)))).unwrap();
    runtime().block_on(fill(&store));
    let refused = runtime().block_on(store.commit(Transaction::create("/secrets/new", "refuse".into())));
    assert!(matches!(refused, Err(StoreError::Sealing { .. })), "{refused:?}");
    let expected = content(&*store);
    drop(store);
    for sealing in [None, Some(toy(1))] {
        let error = Durable::open(config(&data, sealing)).err();
        let named = matches!(&error, Some(StoreError::Unreadable { key, .. }) if key.starts_with("/secrets/"));
        assert!(named, "{error:?}");
    }
    let store = Durable::open(config(&data, Some(toy(2)))).unwrap();
    assert!(content(&*store) == expected);
    drop(store);
    let other = directory.path().join("other");
    let store = Durable::open(config(&other, None)).unwrap();
    runtime().block_on(put(&store, "/secrets/strict/a", "plain".into()));
    drop(store);
    let error = Durable::open(config(&other, Some(toy(2)))).err();
    assert!(matches!(error, Some(StoreError::Unreadable { key, .. }) if key == "/secrets/strict/a"));
}

/// Writes every secret anew, as it is.
async fn reseal(store: &Durable) {
    let snapshot = store.snapshot();
    for entry in snapshot.list("/secrets/", None) {
        store.commit(Transaction::update(entry.key(), entry.mod_revision(), entry.value())).await.unwrap();
    }
}

#[test]
fn a_renewal_leaves_nothing_of_before() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let runtime = runtime();
    let store = Durable::open(config(&data, None)).unwrap();
    runtime.block_on(fill(&store));
    drop(store);
    assert!(files_with(&data, "hunter2") > 1);
    let store = Durable::open(config(&data, Some(toy(1)))).unwrap();
    assert_eq!(store.renewed(), None);
    runtime.block_on(reseal(&store));
    assert!(files_with(&data, "hunter2") > 0, "what was replaced is still there");
    runtime.block_on(store.renew("first".into())).unwrap();
    assert_eq!((files_with(&data, "hunter2"), store.renewed().as_deref()), (0, Some("first")));
    let logs = || {
        let names = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("log-")).collect::<Vec<_>>()
    };
    let log = logs();
    assert_eq!(log.len(), 1);
    runtime.block_on(store.renew("first".into())).unwrap();
    assert_eq!(logs(), log, "a file that nothing was written to serves again");
    let expected = content(&*store);
    let revision = store.snapshot().revision();
    drop(store);
    let store = Durable::open(config(&data, Some(toy(1)))).unwrap();
    assert!(content(&*store) == expected && store.snapshot().revision() == revision);
    assert_eq!(store.renewed().as_deref(), Some("first"));
    let long = runtime.block_on(store.renew("x".repeat(5000)));
    assert!(matches!(long, Err(StoreError::TooLarge { .. })));
    runtime.block_on(store.close()).unwrap();
    assert!(matches!(runtime.block_on(store.renew("late".into())), Err(StoreError::Stopped(_))));
    assert_eq!(store.renewed().as_deref(), Some("first"));
}

#[test]
fn who_waits_for_a_hold_is_told_of_every_commit() {
    let directory = tempfile::tempdir().unwrap();
    let toy = toy(1);
    let store = Durable::open(config(directory.path(), Some(toy.clone()))).unwrap();
    let waiting = store.commit(Transaction::create("/secrets/a", "x".into()));
    runtime().block_on(waiting).unwrap();
    let begin = Instant::now();
    // The writer lets go of it just after it has answered.
    while Arc::strong_count(&toy.hold) > 1 {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    assert!(store.snapshot().get("/secrets/a").is_some());
}

/// Cuts the power again and again while everything is resealed and renewed under load: what is left opens, loses nothing,
/// and once the mark is there, nothing of before is.
#[test]
fn a_power_failure_during_a_renewal_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let runtime = runtime();
    let files = FaultyFiles::new(&data, Faults::default());
    let sealing = toy(1);
    let open = || DurableConfig { files: Arc::new(files.clone()), ..config(&data, Some(sealing.clone())) };
    let store = Durable::open(open()).unwrap();
    runtime.block_on(fill(&store));
    let stop = Arc::new(AtomicBool::new(false));
    let renewals = runtime.spawn({
        let (store, stop, sealing) = (store.clone(), stop.clone(), sealing.clone());
        async move {
            let mut key = 1;
            while !stop.load(Ordering::SeqCst) && key < 100 {
                key += 1;
                sealing.key.store(key, Ordering::SeqCst);
                reseal(&store).await;
                store.renew(key.to_string()).await.unwrap();
                put(&store, "/renewed", key.to_string()).await;
            }
            key
        }
    });
    let value = |store: &dyn Store| {
        let text = store.snapshot().get("/renewed").map_or(Bytes::from("1"), store::Entry::value);
        std::str::from_utf8(&text).unwrap().parse::<u8>().unwrap()
    };
    let secrets = |store: &dyn Store| {
        let snapshot = store.snapshot();
        snapshot.list("/secrets/", None).map(|entry| (entry.key().to_owned(), entry.value())).collect::<Vec<_>>()
    };
    let expected = secrets(&*store);
    for cut in 0..10 {
        std::thread::sleep(Duration::from_millis(30 + cut * 17 % 50));
        let acknowledged = value(&*store);
        let left = directory.path().join(format!("left-{cut}"));
        files.cut_power(&left, None);
        let opened = Durable::open(config(&left, Some(toy(200)))).unwrap();
        assert!(secrets(&*opened) == expected, "cut {cut}");
        assert!(value(&*opened) >= acknowledged, "cut {cut}");
        if let Some(mark) = opened.renewed() {
            let mark: u8 = mark.parse().unwrap();
            assert!(mark >= acknowledged, "cut {cut}");
            let snapshot = opened.snapshot();
            let oldest = snapshot.list("/secrets/", None).map(|entry| entry.sealed().unwrap()[0]).min();
            assert!(oldest >= Some(mark), "cut {cut}: {oldest:?}, {mark}");
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert!(runtime.block_on(renewals).unwrap() > 2, "renewals went on");
    assert!(files.faults().syncs.load(Ordering::SeqCst) > 0, "the layer was used");
    runtime.block_on(store.close()).unwrap();
}
