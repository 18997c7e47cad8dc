//! Kills a writing process with -9 again and again, and opens what it left.

#[path = "faults/load.rs"]
mod load;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load::{Progress, WRITERS};
use store::{Durable, Store};

/// Tells the test below that it is the process to be killed, and where to write.
const DIRECTORY_VARIABLE: &str = "CORACLE_STORE_CRASH_DIRECTORY";
const ROUNDS: u64 = 10;

/// Not a test of its own: the process that writes until it is killed. Each line says what was submitted, or
/// acknowledged and under which revision, or seen by a watcher.
#[test]
fn write_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) else { return };
    let store = Durable::open(load::small(directory.as_ref())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut watch = store.watch(store.snapshot().revision()).unwrap();
        tokio::spawn(async move {
            while let Ok(batches) = watch.next().await {
                for event in batches.iter().flat_map(|batch| batch.iter()) {
                    say(format!("seen {} {}", event.revision, event.key()));
                }
            }
        });
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            let key = load::key(writer);
            // Goes on after what is stored, or the step after a deletion that is told by the other key.
            let newest = (0..50)
                .filter_map(|other| store.snapshot().get(&format!("/others/{writer}/{other}")).cloned())
                .map(|entry| std::str::from_utf8(&entry.value()).unwrap().parse::<u64>().unwrap())
                .max();
            let mut number = newest.unwrap_or(0);
            say(format!("submitted {writer} {number}"));
            say(format!("acknowledged {writer} {number} 0 {key}"));
            writers.push(tokio::spawn(async move {
                loop {
                    number += 1;
                    say(format!("submitted {writer} {number}"));
                    let committed = store.commit(load::step(writer, number)).await.unwrap();
                    say(format!("acknowledged {writer} {number} {} {key}", committed.revision));
                }
            }));
        }
        futures::future::join_all(writers).await;
    });
}

fn say(line: String) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// Runs the writing process until it said so many lines, and for some time more; returns what it said.
fn killed_after(directory: &std::path::Path, lines: usize, time: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["write_until_killed", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY_VARIABLE, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let (enough, said_enough) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        for line in out.lines().map_while(Result::ok) {
            said.push(line);
            if said.len() == lines {
                enough.send(()).unwrap();
            }
        }
        said
    });
    said_enough.recv_timeout(Duration::from_secs(30)).expect("the process writes");
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn a_killed_store_has_what_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let progress = Progress::default();
    let mut newest_shown = 0;
    for round in 0..ROUNDS {
        // Some rounds end while the store is being opened.
        let opening = round % 4 == 3;
        let lines = if opening { 2 } else { 500 };
        let said = killed_after(&data, lines, Duration::from_millis(round * 37 % 200));
        let mut oldest_new = u64::MAX;
        let mut seen = Vec::new();
        for line in &said {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["submitted", writer, number] => {
                    progress.submitted[writer.parse::<usize>().unwrap()]
                        .store(number.parse().unwrap(), Ordering::SeqCst);
                }
                ["acknowledged", writer, number, revision, _] => {
                    let revision: u64 = revision.parse().unwrap();
                    progress.acknowledged[writer.parse::<usize>().unwrap()]
                        .store(number.parse().unwrap(), Ordering::SeqCst);
                    progress.revision.fetch_max(revision, Ordering::SeqCst);
                    oldest_new = if revision > 0 { oldest_new.min(revision) } else { oldest_new };
                }
                ["seen", revision, key] => seen.push((revision.parse::<u64>().unwrap(), key.to_owned())),
                _ => {}
            }
        }
        assert!(opening || (oldest_new < u64::MAX && !seen.is_empty()), "round {round}: nothing happened");
        assert!(oldest_new > newest_shown, "round {round}: revision {oldest_new} came after {newest_shown}");
        let store = Durable::open(load::small(&data)).unwrap();
        load::verify(&*store, &progress.acknowledged(), &progress.submitted())
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        // What a watcher was shown is durable: no later revision is missing.
        let newest_seen = seen.iter().map(|(revision, _)| *revision).max().unwrap_or(0);
        assert!(store.snapshot().revision() >= newest_seen, "round {round}: a watcher saw more than is stored");
        newest_shown = store.snapshot().revision();
    }
    assert!(data.join("checkpoint/db").exists(), "the load was too small to make a checkpoint");
    threads_end_with_the_store(&data);
}

/// Closing, or dropping, leaves no thread of ours, even under load.
fn threads_end_with_the_store(data: &std::path::Path) {
    let ours = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name =
            |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
        tasks.filter_map(name).filter(|name| name.starts_with("store-")).count()
    };
    // The system takes a moment to name a thread, and to forget one that was joined.
    let becomes = |count| {
        for _ in 0..100 {
            if ours() == count {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} threads where {count} are expected", ours());
    };
    becomes(0);
    let store = Durable::open(load::small(data)).unwrap();
    becomes(2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = runtime.spawn(load::run(store.clone(), Arc::new(Progress::default()), stop));
    std::thread::sleep(Duration::from_millis(100));
    runtime.block_on(store.close()).unwrap();
    runtime.block_on(writers).unwrap();
    drop(store);
    becomes(0);
}
