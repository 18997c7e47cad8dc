//! The store's log, changed in any way: opening refuses it by name, or shows a state that was.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use futures::executor::block_on;
use store::{Durable, DurableConfig, Operation, Store, StoreError, Transaction};

const LOG: &str = "log-0000000000000001";
/// A directory is written for every input, so the files are small.
const SEGMENT_BYTES: u64 = 8 * 1024;

type State = Vec<(String, u64, Bytes)>;

/// A log, and every state that was while it was written.
struct Written {
    log: Vec<u8>,
    format: Vec<u8>,
    /// As it was before anything was written: a power failure may leave that.
    head: Vec<u8>,
    states: Vec<State>,
}

fn config(directory: &Path) -> DurableConfig {
    let mut config = DurableConfig::new(directory);
    config.segment_bytes = SEGMENT_BYTES;
    config.sync = store::SyncPolicy::Never;
    config
}

fn state(store: &dyn Store) -> State {
    let snapshot = store.snapshot();
    snapshot.list("", None).map(|e| (e.key().to_owned(), e.mod_revision(), e.value())).collect()
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Durable::open(DurableConfig { sync: store::SyncPolicy::Always, ..config(directory.path()) });
        let store = store.expect("an empty store");
        let read = |name: &str| std::fs::read(directory.path().join(name)).expect("a file");
        let head = read("head");
        let mut states = vec![state(&*store)];
        for number in 0..12u8 {
            let key = format!("/k/{}", number % 5);
            let operation = match number % 4 {
                3 => Operation::Delete(key.into()),
                _ => Operation::Put(key.into(), vec![b'a' + number; usize::from(number) * 40].into()),
            };
            let transaction = Transaction { operations: vec![operation], ..Transaction::default() };
            block_on(store.commit(transaction)).expect("committed");
            states.push(state(&*store));
        }
        drop(store);
        Written { log: read(LOG), format: read("format"), head, states }
    })
}

/// Changes to a log: four bytes say what, where and with what; after a 0xff the rest is the whole file.
pub fn log(data: &[u8]) {
    let written = written();
    let mut bytes = written.log.clone();
    if let Some(rest) = data.strip_prefix(&[0xff]) {
        bytes = rest.to_vec();
    }
    let steps = if data.first() == Some(&0xff) { &[][..] } else { data.as_chunks::<4>().0 };
    for &[what, low, high, with] in steps {
        let at = usize::from(u16::from_le_bytes([low, high])) % bytes.len().max(1);
        match what % 4 {
            0 if !bytes.is_empty() => bytes[at] ^= with,
            1 => bytes.truncate(at),
            2 => bytes[at..].fill(0),
            _ => {
                let from = usize::from(with) * 32 % bytes.len().max(1);
                let length = 32.min(bytes.len() - from).min(bytes.len() - at);
                bytes.copy_within(from..from + length, at);
            }
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join(LOG), &bytes).expect("written");
    std::fs::write(directory.path().join("format"), &written.format).expect("written");
    std::fs::write(directory.path().join("head"), &written.head).expect("written");
    match Durable::open(config(directory.path())) {
        Ok(store) => {
            let found = state(&*store);
            assert!(written.states.contains(&found), "a state that never was: {found:?}");
            block_on(store.commit(Transaction::create("/next", Bytes::new()))).expect("it goes on");
        }
        Err(StoreError::Corrupt { .. } | StoreError::NewerFormat { .. } | StoreError::Unreadable { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}
