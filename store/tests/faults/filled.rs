//! Closed stores with something in them, and their files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use store::{Durable, Store};

use crate::load;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// A small generator, so that a failure can be repeated.
pub(crate) fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// A closed store with a checkpoint, an export and a tail, and what it held.
pub(crate) fn filled(directory: &Path) -> Vec<(String, u64, Bytes)> {
    let mut config = load::small(directory);
    config.export_after_bytes = 0;
    let store = Durable::open(config).unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        for number in 1..=40 {
            for writer in 0..load::WRITERS {
                store.commit(load::step(writer, number)).await.unwrap();
            }
        }
        // The background work of the last roll.
        for _ in 0..500 {
            if fs::read_dir(directory).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().starts_with("export"))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for number in 41..=43 {
            store.commit(load::step(0, number)).await.unwrap();
        }
        store.close().await.unwrap();
    });
    content(&*store)
}

pub(crate) fn content(store: &dyn Store) -> Vec<(String, u64, Bytes)> {
    let snapshot = store.snapshot();
    snapshot.list("", None).map(|e| (e.key().to_owned(), e.mod_revision(), e.value())).collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(crate) fn newest_log(data: &Path) -> PathBuf {
    let logs = files_below(data).into_iter().filter(|f| f.file_name().unwrap().to_string_lossy().starts_with("log-"));
    logs.max().unwrap()
}
