//! The power fails under load.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use store::{Durable, Store};

use crate::filled::{files_below, random, runtime};
use crate::layer::{Faults, FaultyFiles};
use crate::load::{self, Progress};

/// Cuts the power `cuts` times under load, and opens what is left each time: with `survivors` some sectors that were
/// not synced are there, and without `exports` the checkpoint has to do.
fn cut_under_load(faults: Faults, cuts: u64, survivors: bool, exports: bool) -> Vec<Result<(), String>> {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let files = FaultyFiles::new(&data, faults);
    let mut config = load::small(&data);
    config.files = Arc::new(files.clone());
    let store = Durable::open(config).unwrap();
    let (progress, stop) = (Arc::new(Progress::default()), Arc::new(AtomicBool::new(false)));
    let runtime = runtime();
    let writers = runtime.spawn(load::run(store.clone(), progress.clone(), stop.clone()));
    // Until the first file of the log went, nothing depends on the checkpoint.
    let begin = Instant::now();
    while data.join("log-0000000000000001").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the load is too small to make a checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut results = Vec::new();
    for cut in 0..cuts {
        let mut random = random(cut + 1);
        std::thread::sleep(Duration::from_millis(40 + random() % 80));
        let left = directory.path().join(format!("left-{cut}"));
        let acknowledged = progress.acknowledged();
        if survivors {
            files.cut_power(&left, Some(&mut || random().is_multiple_of(3)));
        } else {
            files.cut_power(&left, None);
        }
        let submitted = progress.submitted();
        if !exports {
            remove_exports(&left);
        }
        let result = match Durable::open(load::small(&left)) {
            Ok(store) => load::verify(&*store, &acknowledged, &submitted),
            Err(error) => Err(error.to_string()),
        };
        results.push(result.map_err(|error| format!("cut {cut}: {error}")));
    }
    stop.store(true, Ordering::SeqCst);
    runtime.block_on(writers).unwrap();
    let acknowledged = progress.acknowledged();
    assert!(acknowledged.numbers.iter().all(|&number| number > 0), "{acknowledged:?}");
    runtime.block_on(store.close()).unwrap();
    let blobs = fs::read_dir(data.join("checkpoint/blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "sled made files that it never syncs");
    results
}

#[test]
fn a_power_failure_loses_nothing_acknowledged() {
    let results = cut_under_load(Faults::default(), 12, false, false);
    assert_eq!(results.into_iter().find(Result::is_err), None);
}

#[test]
fn a_power_failure_that_keeps_some_sectors_loses_nothing_acknowledged() {
    let results = cut_under_load(Faults::default(), 12, true, true);
    assert_eq!(results.into_iter().find(Result::is_err), None);
}

#[test]
fn the_power_failure_test_notices_a_checkpoint_that_is_only_flushed_by_sled() {
    let results = cut_under_load(Faults { checkpoint_unsynced: true, ..Faults::default() }, 12, false, false);
    assert!(results.iter().any(Result::is_err), "{results:?}");
}

fn remove_exports(directory: &Path) {
    for file in files_below(directory) {
        if file.file_name().unwrap().to_string_lossy().starts_with("export") {
            fs::remove_file(&file).unwrap();
        }
    }
}
