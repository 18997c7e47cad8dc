//! What a directory holds, and who has it.

use std::fs;
use std::time::{Duration, Instant};

use store::{Durable, DurableConfig, Operation, Store, StoreError, Transaction};

use crate::filled::{content, files_below, filled, runtime};
use crate::load;

#[test]
fn a_directory_has_one_owner_and_a_known_format() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = Durable::open(load::small(&data)).unwrap();
    assert!(matches!(Durable::open(load::small(&data)), Err(StoreError::Locked { .. })));
    runtime().block_on(store.close()).unwrap();
    fs::write(data.join("format"), "coracle store format 1\n").unwrap();
    drop(Durable::open(load::small(&data)).unwrap());
    let known = fs::read_to_string(data.join("format")).unwrap();
    assert_eq!(known, "coracle store format 4\n", "an older version must not take what is written now for damage");
    fs::write(data.join("format"), "coracle store format 5\n").unwrap();
    let newer = Durable::open(load::small(&data)).err();
    assert!(matches!(newer, Some(StoreError::NewerFormat { found: 5, known: 4, .. })), "{newer:?}");
    fs::write(data.join("format"), "what?\n").unwrap();
    assert!(matches!(Durable::open(load::small(&data)), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_store_that_is_gone_is_not_replaced_by_an_empty_one() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let config = || DurableConfig { must_exist: true, ..load::small(&data) };
    drop(filled(&data));
    drop(Durable::open(config()).unwrap());
    for left in ["format", "spare", "lock"] {
        for file in files_below(&data) {
            if !file.ends_with(left) {
                fs::remove_file(file).unwrap();
            }
        }
        let refused = Durable::open(config()).err();
        assert!(
            matches!(refused, Some(StoreError::Missing { .. } | StoreError::Corrupt { .. })),
            "{left}: {refused:?}"
        );
    }
    fs::remove_dir_all(&data).unwrap();
    assert!(matches!(Durable::open(config()), Err(StoreError::Missing { .. })));
    // A first start that was cut off has acknowledged nothing, so the next one begins again.
    fs::remove_dir_all(&data).unwrap();
    drop(Durable::open(load::small(&data)).unwrap());
    fs::remove_file(data.join("format")).unwrap();
    drop(Durable::open(load::small(&data)).unwrap());
    fs::remove_file(data.join("format")).unwrap();
    fs::remove_file(data.join("head")).unwrap();
    drop(Durable::open(load::small(&data)).unwrap());
}

#[test]
fn a_directory_of_the_format_before_opens_and_is_brought_up() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let expected = filled(&data);
    // What that version did not have, and one that a newer version left before an older one went on.
    fs::write(data.join("format"), "coracle store format 2\n").unwrap();
    for head in [None, Some("of an earlier time")] {
        match head {
            None => fs::remove_file(data.join("head")).unwrap(),
            Some(text) => fs::write(data.join("head"), text).unwrap(),
        }
        fs::write(data.join("format"), "coracle store format 2\n").unwrap();
        let store = Durable::open(load::small(&data)).unwrap();
        assert!(content(&*store) == expected);
        drop(store);
        assert_eq!(fs::read_to_string(data.join("format")).unwrap(), "coracle store format 4\n");
    }
    fs::remove_file(data.join("head")).unwrap();
    for format in [3, 4] {
        fs::write(data.join("format"), format!("coracle store format {format}\n")).unwrap();
        let opened = Durable::open(load::small(&data));
        assert!(matches!(opened, Err(StoreError::Corrupt { path, .. }) if path.ends_with("head")));
    }
}

#[test]
fn a_quiet_store_brings_its_checkpoint_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = DurableConfig::new(directory.path().join("data"));
    (config.checkpoint_after_bytes, config.checkpoint_quiet) = (64 * 1024, Duration::from_millis(20));
    let store = Durable::open(config.clone()).unwrap();
    let put = |number: u64, size: usize| {
        let operations = vec![Operation::Put(format!("/k/{number}").into(), vec![b'x'; size].into())];
        let committed = futures::executor::block_on(store.commit(Transaction { operations, ..Default::default() }));
        committed.unwrap().revision
    };
    let checkpoint = config.directory.join("checkpoint/db");
    put(0, 1024);
    std::thread::sleep(Duration::from_millis(200));
    assert!(!checkpoint.exists(), "a little is not worth a checkpoint");
    for number in 1..=100 {
        put(number, 1024);
    }
    let begin = Instant::now();
    while !checkpoint.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint is made though all is quiet");
        std::thread::sleep(Duration::from_millis(5));
    }
    let last = put(101, 10);
    drop(store);
    let store = Durable::open(config).unwrap();
    assert_eq!((store.snapshot().len(), store.snapshot().revision()), (102, last));
}
