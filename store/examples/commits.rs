//! Measures durable commits a second beside the disk's own fdatasync, then opening, in a directory of its own.
//!
//! `cargo run --release --package store --example commits -- DIRECTORY [ROUNDS] [VALUE_BYTES]`

use std::error::Error;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{Durable, DurableConfig, Memory, Operation, Store, Transaction};

const WRITERS: [usize; 4] = [1, 16, 64, 256];
const ROUND: Duration = Duration::from_secs(1);
const WATCHERS: usize = 1000;
const WATCHED_EVENTS: usize = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("name a directory to measure in")?;
    let rounds = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let value_bytes = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let directory = Path::new(&directory).join("commits-measured");
    std::fs::create_dir_all(&directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{value_bytes} bytes a value, {rounds} rounds of {ROUND:?}; min, median, max");
    for writers in WRITERS {
        let mut rates = Vec::new();
        let mut latencies = Vec::new();
        let mut syncs = Vec::new();
        for round in 0..rounds {
            syncs.push(fdatasync_us(&directory, value_bytes)?);
            let data = directory.join(format!("{writers}-{round}"));
            let store = Durable::open(DurableConfig::new(&data))?;
            let (rate, p50) = runtime.block_on(measure(store.clone(), writers, value_bytes));
            rates.push(rate);
            latencies.push(p50);
            drop(store);
            std::fs::remove_dir_all(&data)?;
        }
        println!(
            "{writers:>4} writers: {} commits/s, p50 {} us, the disk's fdatasync {} us",
            spread(&mut rates),
            spread(&mut latencies),
            spread(&mut syncs)
        );
    }
    for (keys, bytes) in [(12_000, 3600), (100_000, 1000)] {
        opening(&runtime, &directory.join("opening"), keys, bytes, rounds)?;
    }
    let durable = Durable::open(DurableConfig::new(directory.join("watching")))?;
    println!("{WATCHERS} watchers, durable: {:.0} deliveries/s", runtime.block_on(deliveries(durable)));
    println!("{WATCHERS} watchers, memory: {:.0} deliveries/s", runtime.block_on(deliveries(Memory::new())));
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn spread(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    format!("{:.0} / {:.0} / {:.0}", at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}

/// The median time of a write of so many bytes and an fdatasync, into room reserved before.
fn fdatasync_us(directory: &Path, bytes: usize) -> Result<f64, Box<dyn Error>> {
    const SYNCS: usize = 200;
    let path = directory.join("fdatasync");
    let file = std::fs::File::options().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; bytes * SYNCS], 0)?;
    file.sync_all()?;
    let mut times = Vec::new();
    for at in 0..SYNCS {
        let begin = Instant::now();
        file.write_all_at(&vec![1; bytes], (at * bytes) as u64)?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(times[SYNCS / 2])
}

/// Commits a second and their median time in microseconds.
async fn measure(store: Arc<dyn Store>, writers: usize, value_bytes: usize) -> (f64, f64) {
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let begin = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, value) = (store.clone(), value.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begin.elapsed() < ROUND {
                    let key = format!("/registry/pods/default/writer-{writer}-{}", times.len() % 1000);
                    let operations = vec![Operation::Put(key.into(), value.clone())];
                    let sent = Instant::now();
                    store
                        .commit(Transaction { operations, ..Transaction::default() })
                        .await
                        .expect("the disk has room");
                    times.push(sent.elapsed().as_secs_f64() * 1e6);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no writer panics"));
    }
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    (rate, times[times.len() / 2])
}

fn opening(
    runtime: &tokio::runtime::Runtime,
    data: &Path,
    keys: usize,
    bytes: usize,
    rounds: usize,
) -> Result<(), Box<dyn Error>> {
    let store = Durable::open(DurableConfig::new(data))?;
    runtime.block_on(async {
        let value = Bytes::from(vec![b'v'; bytes]);
        let create =
            |key| store.commit(Transaction::create(format!("/registry/pods/default/pod-{key:06}"), value.clone()));
        for keys in (0..keys).collect::<Vec<_>>().chunks(500) {
            futures::future::try_join_all(keys.iter().map(|key| create(*key))).await.expect("the disk has room");
        }
    });
    drop(store);
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let begin = Instant::now();
        let store = Durable::open(DurableConfig::new(data))?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        assert_eq!(store.snapshot().len(), keys);
        // What opening began in the background, so that the next round finds it done.
        std::thread::sleep(Duration::from_secs(2));
        drop(store);
    }
    let first = times[0];
    let memory = std::fs::read_to_string("/proc/self/status")?;
    let resident = memory.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    println!(
        "opening {keys} keys of {bytes} bytes: first {:.0} ms, then {} ms; {resident}",
        first,
        spread(&mut times[1..])
    );
    std::fs::remove_dir_all(data)?;
    Ok(())
}

/// Deliveries a second when every watcher gets every event.
async fn deliveries(store: Arc<dyn Store>) -> f64 {
    let delivered = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..WATCHERS)
        .map(|_| {
            let mut watch = store.watch(1).expect("nothing is forgotten");
            let delivered = delivered.clone();
            tokio::spawn(async move {
                let mut events = 0;
                while events < WATCHED_EVENTS {
                    let batches = watch.next().await.expect("the store is open");
                    events += batches.iter().map(|batch| batch.len()).sum::<usize>();
                }
                delivered.fetch_add(events, Ordering::Relaxed);
            })
        })
        .collect();
    for event in 0..WATCHED_EVENTS {
        store.commit(Transaction::create(format!("/{event}"), Bytes::new())).await.expect("the disk has room");
    }
    for task in tasks {
        task.await.expect("no watcher panics");
    }
    delivered.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}
