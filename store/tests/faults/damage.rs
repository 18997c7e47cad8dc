//! Torn, changed and lost bytes: what is left opens as it was or is refused by name.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use store::{Durable, DurableConfig, Store, StoreError, Transaction};

use crate::filled::{content, copy, files_below, filled, newest_log, random, runtime};
use crate::load;

#[test]
fn a_changed_byte_is_refused_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let expected = filled(&data);
    let mut random = random(7);
    let (mut opened, mut refused) = (0, 0);
    for file in files_below(&data) {
        let length = fs::metadata(&file).unwrap().len();
        if length == 0 || file.ends_with("lock") || file.ends_with("spare") {
            continue;
        }
        for _ in 0..6 {
            let left = directory.path().join("left");
            copy(&data, &left);
            let target = left.join(file.strip_prefix(&data).unwrap());
            let mut bytes = fs::read(&target).unwrap();
            // Half of the changes hit bytes that mean something.
            let written: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
            let at = match random() % 2 {
                0 if !written.is_empty() => written[random() as usize % written.len()],
                _ => random() as usize % bytes.len(),
            };
            bytes[at] ^= 1 << (random() % 8);
            fs::write(&target, bytes).unwrap();
            match Durable::open(load::small(&left)) {
                Ok(store) => {
                    assert!(content(&*store) == expected, "byte {at} of {} changes what is read", file.display());
                    opened += 1;
                }
                Err(StoreError::Corrupt { .. } | StoreError::NewerFormat { .. }) => refused += 1,
                Err(other) => panic!("byte {at} of {}: {other}", file.display()),
            }
            fs::remove_dir_all(&left).unwrap();
        }
    }
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
}

#[test]
fn a_tail_cut_anywhere_leaves_a_state_that_was() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = Durable::open(DurableConfig { segment_bytes: 1 << 20, ..load::small(&data) }).unwrap();
    // What a power failure may leave of the head is what was synced.
    let head = fs::read(data.join("head")).unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        for number in 1..=3 {
            for writer in 0..load::WRITERS {
                store.commit(load::step(writer, number)).await.unwrap();
            }
        }
    });
    let states: Vec<_> = (1..=store.snapshot().revision())
        .map(|revision| {
            let snapshot = store.snapshot_at(revision, "").unwrap();
            snapshot.list("", None).map(|e| (e.key().to_owned(), e.mod_revision(), e.value())).collect()
        })
        .collect::<Vec<Vec<_>>>();
    let newest = store.snapshot().revision();
    drop(store);
    fs::write(data.join("head"), head).unwrap();
    let log = data.join("log-0000000000000001");
    let whole = fs::read(&log).unwrap();
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let mut random = random(3);
    let mut clean = 0;
    for round in 0..60 {
        let left = directory.path().join("left");
        copy(&data, &left);
        let mut bytes = whole.clone();
        // What a power failure leaves unwritten are whole sectors.
        let at = (64 + random() as usize % (end - 64)).next_multiple_of(512);
        if round % 2 == 0 {
            let sector = at + 512 * (random() as usize % 4);
            bytes[at..sector].fill(0);
            bytes[sector + 512..].fill(0);
        } else {
            bytes[at..].fill(0)
        }
        fs::write(left.join("log-0000000000000001"), &bytes).unwrap();
        let store = Durable::open(load::small(&left)).unwrap_or_else(|error| panic!("cut at {at}: {error}"));
        let found = content(&*store);
        assert!(states.contains(&found), "cut at {at}: a state that never was");
        // A revision that someone may have seen does not come again.
        let next = runtime.block_on(store.commit(Transaction::create("/next", Bytes::new()))).unwrap();
        // (Zeros exactly from the end of a frame on do not tell that there was another.)
        let unnoticed = states.iter().position(|state| *state == found).unwrap() + 2 == next.revision as usize;
        assert!(next.revision > newest || unnoticed, "cut at {at}: revision {} again", next.revision);
        clean += usize::from(unnoticed);
        drop(store);
        let again = Durable::open(load::small(&left)).unwrap();
        assert_eq!(again.snapshot().revision(), next.revision);
        assert_eq!(content(&*again).len(), found.len() + 1);
        drop(again);
        fs::remove_dir_all(&left).unwrap();
    }
    assert!(clean < 20, "{clean} cuts went unnoticed");
}

#[test]
fn a_checkpoint_that_does_not_open_is_rebuilt_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let expected = filled(&data);
    for with_export in [true, false] {
        let left = directory.path().join(format!("left-{with_export}"));
        copy(&data, &left);
        fs::write(left.join("checkpoint/db"), b"nonsense").unwrap();
        for file in files_below(&left) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("snap") || (name.starts_with("export") && !with_export) {
                fs::remove_file(&file).unwrap();
            }
        }
        match Durable::open(load::small(&left)) {
            Ok(store) => {
                assert!(with_export, "opened without a base");
                assert!(content(&*store) == expected);
                let runtime = runtime();
                for number in 44..=100 {
                    runtime.block_on(store.commit(load::step(1, number))).unwrap();
                }
                let expected = content(&*store);
                drop(store);
                let again = Durable::open(load::small(&left)).unwrap();
                assert!(content(&*again) == expected);
            }
            Err(StoreError::Corrupt { .. }) => assert!(!with_export, "refused though there is an export"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// A store that was closed or killed, of several files with a checkpoint and an export or of one file alone: whatever
/// is cut, overwritten with zeros, removed, doubled or put in another's place, it opens as it was or is refused by name.
#[test]
fn whatever_files_lose_is_refused_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let (large, small) = (directory.path().join("large"), directory.path().join("small"));
    let large_content = filled(&large);
    let small_content = filled_little(&small);
    let mut random = random(11);
    let (mut opened, mut refused) = (0, 0);
    for (data, expected) in [(&large, &large_content), (&small, &small_content)] {
        let files: Vec<_> = files_below(data).into_iter().filter(|file| !file.ends_with("lock")).collect();
        for round in 0..files.len() * 9 {
            let left = directory.path().join("left");
            copy(data, &left);
            let inside = |file: &Path| left.join(file.strip_prefix(data).unwrap());
            let (one, two) = (&files[round / 9], &files[random() as usize % files.len()]);
            let length = fs::metadata(one).unwrap().len();
            let end = fs::read(one).unwrap().iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
            let at = if end == 0 { 0 } else { random() as usize % end };
            let what = match round % 9 {
                0 => fs::remove_file(inside(one)).map(|()| "removed"),
                1 => fs::OpenOptions::new().write(true).open(inside(one)).unwrap().set_len(at as u64).map(|()| "cut"),
                2 => fs::write(inside(one), vec![0; length as usize]).map(|()| "zeros"),
                3 => fs::write(inside(one), zeroed(one, at)).map(|()| "zeros from somewhere on"),
                4 => fs::copy(two, inside(one)).map(|_| "another file's content"),
                5 => fs::copy(one, next_log(&left)).map(|_| "doubled"),
                6 => fs::remove_file(inside(one)).map(|()| drop(fs::remove_file(inside(two)))).map(|()| "two removed"),
                7 => fs::remove_file(left.join("head"))
                    .and_then(|()| fs::write(newest_log(&left), zeroed(&newest_log(data), at)))
                    .map(|()| "no head and a log cut off"),
                _ => fs::write(inside(one), []).map(|()| "emptied"),
            };
            let label = format!("{}: {} (and {})", what.unwrap(), one.display(), two.display());
            match Durable::open(load::small(&left)) {
                Ok(store) => {
                    assert!(content(&*store) == *expected, "{label} changes what is read");
                    opened += 1;
                }
                Err(error @ (StoreError::Corrupt { .. } | StoreError::NewerFormat { .. })) => {
                    let named = error.to_string();
                    assert!(!named.contains(&format!("{}:", left.display())), "{label} names no file: {named}");
                    refused += 1;
                }
                Err(other) => panic!("{label}: {other}"),
            }
            fs::remove_dir_all(&left).unwrap();
        }
    }
    assert!(opened > 10 && refused > 30, "{opened} opened, {refused} refused");
}

fn zeroed(file: &Path, from: usize) -> Vec<u8> {
    let mut bytes = fs::read(file).unwrap();
    let from = from.min(bytes.len());
    bytes[from..].fill(0);
    bytes
}

fn next_log(data: &Path) -> std::path::PathBuf {
    let newest = newest_log(data).file_name().unwrap().to_string_lossy().into_owned();
    let number = u64::from_str_radix(newest.trim_start_matches("log-"), 16).unwrap();
    data.join(format!("log-{:016x}", number + 1))
}

/// What a killed process leaves of a young store.
fn filled_little(directory: &Path) -> Vec<(String, u64, Bytes)> {
    let running = directory.with_extension("running");
    let store = Durable::open(DurableConfig { segment_bytes: 1 << 20, ..load::small(&running) }).unwrap();
    runtime().block_on(async {
        for number in 1..=9 {
            store.commit(load::step(0, number)).await.unwrap();
        }
    });
    copy(&running, directory);
    content(&*store)
}

#[test]
fn the_newest_acknowledged_write_does_not_vanish_with_a_changed_byte() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = Durable::open(DurableConfig { segment_bytes: 1 << 20, ..load::small(&data) }).unwrap();
    runtime().block_on(async {
        for number in 1..=3 {
            store.commit(load::step(0, number)).await.unwrap();
        }
    });
    let expected = content(&*store);
    drop(store);
    let log = "log-0000000000000001";
    let whole = fs::read(data.join(log)).unwrap();
    let end = whole.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let mut random = random(5);
    let mut refused = 0;
    for round in 0..60 {
        // The mark at the very end, where a torn write would show, and anywhere in the last frame.
        let at = if round < 4 { end - 1 - round } else { end - 1 - random() as usize % 2_000 };
        let mut bytes = whole.clone();
        bytes[at] = if round % 2 == 0 { 0 } else { !bytes[at] };
        let left = directory.path().join("left");
        copy(&data, &left);
        fs::write(left.join(log), &bytes).unwrap();
        match Durable::open(load::small(&left)) {
            Ok(store) => assert!(content(&*store) == expected, "byte {at} of {end}"),
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        fs::remove_dir_all(&left).unwrap();
    }
    assert!(refused > 40, "{refused} refused");
}
