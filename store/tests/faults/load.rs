//! Writers whose every state can be told from the stored value, to check what is found after a failure.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use store::{Durable, DurableConfig, Operation, Revision, Store, Transaction};

pub(crate) const WRITERS: usize = 8;
/// Every so many steps a writer deletes its key.
const DELETE_EVERY: u64 = 5;

/// What each writer asked for and was told.
#[derive(Default)]
pub(crate) struct Progress {
    pub submitted: [AtomicU64; WRITERS],
    pub acknowledged: [AtomicU64; WRITERS],
    pub revision: AtomicU64,
}

/// Small files, so that checkpoints and exports happen all the time.
pub(crate) fn small(directory: &Path) -> DurableConfig {
    let mut config = DurableConfig::new(directory);
    config.segment_bytes = 64 * 1024;
    config.export_after_bytes = 256 * 1024;
    config
}

pub(crate) fn key(writer: usize) -> String {
    format!("/writers/{writer}")
}

/// Text of a length between 0 and 9000; every other one compresses badly.
fn filler(writer: u64, number: u64) -> String {
    let length = (number * 997 + writer * 131) % 9000;
    let letter =
        |at: u64| if number.is_multiple_of(2) { 'x' } else { char::from(b' ' + (noise(at + number) % 90) as u8) };
    (0..length).map(letter).collect()
}

/// SplitMix64's finalizer.
fn noise(at: u64) -> u64 {
    let mixed = (at ^ (at >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// One step of a writer: a value that names the step, of a size that may take several chunks; or a deletion.
pub(crate) fn step(writer: usize, number: u64) -> Transaction {
    let key = key(writer);
    let operation = if number.is_multiple_of(DELETE_EVERY) {
        Operation::Delete(key.into())
    } else {
        Operation::Put(key.into(), Bytes::from(format!("{number} {}", filler(writer as u64, number))))
    };
    let mut operations = vec![operation];
    // Many other keys as well, so that the checkpoint has more than one page.
    let other = format!("/others/{writer}/{}", number % 50);
    operations.push(Operation::Put(other.into(), Bytes::from(number.to_string())));
    Transaction { operations, ..Transaction::default() }
}

/// Runs the writers until told to stop, or the store stops.
pub(crate) async fn run(store: Arc<Durable>, progress: Arc<Progress>, stop: Arc<AtomicBool>) {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, progress, stop) = (store.clone(), progress.clone(), stop.clone());
            tokio::spawn(async move {
                let mut number = progress.acknowledged[writer].load(Ordering::SeqCst);
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    progress.submitted[writer].store(number, Ordering::SeqCst);
                    let Ok(committed) = store.commit(step(writer, number)).await else { return };
                    progress.acknowledged[writer].store(number, Ordering::SeqCst);
                    progress.revision.fetch_max(committed.revision, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// What was asked and told at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub numbers: [u64; WRITERS],
    pub revision: Revision,
}

impl Progress {
    pub(crate) fn acknowledged(&self) -> Moment {
        let revision = self.revision.load(Ordering::SeqCst);
        Moment { numbers: std::array::from_fn(|writer| self.acknowledged[writer].load(Ordering::SeqCst)), revision }
    }

    pub(crate) fn submitted(&self) -> Moment {
        Moment { numbers: std::array::from_fn(|writer| self.submitted[writer].load(Ordering::SeqCst)), revision: 0 }
    }
}

/// Whether the store holds everything acknowledged and nothing that was never asked for.
pub(crate) fn verify(store: &dyn Store, acknowledged: &Moment, submitted: &Moment) -> Result<(), String> {
    let snapshot = store.snapshot();
    if snapshot.revision() < acknowledged.revision {
        return Err(format!("revision {} after {}", snapshot.revision(), acknowledged.revision));
    }
    for writer in 0..WRITERS {
        let (from, to) = (acknowledged.numbers[writer], submitted.numbers[writer]);
        let found = snapshot.get(&key(writer)).map(|entry| {
            let value = entry.value();
            let text = std::str::from_utf8(&value).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        let fits = match found {
            Some(number) => {
                let Operation::Put(_, expected) = &step(writer, number).operations[0] else {
                    return Err(format!("writer {writer} never put {number}"));
                };
                let value = snapshot.get(&key(writer)).unwrap().value();
                (from..=to).contains(&number) && value == *expected
            }
            None => (from..=to).any(|number| number.is_multiple_of(DELETE_EVERY)),
        };
        if !fits {
            return Err(format!("writer {writer}: found {found:?}, acknowledged {from}, submitted {to}"));
        }
        for other in from.saturating_sub(49).max(1)..=from {
            let name = format!("/others/{writer}/{}", other % 50);
            let value = snapshot.get(&name).map(|entry| std::str::from_utf8(&entry.value()).unwrap().parse::<u64>());
            match value {
                Some(Ok(number)) if number >= other && number <= to && number % 50 == other % 50 => {}
                _ => return Err(format!("{name}: found {value:?}, acknowledged {other}, submitted {to}")),
            }
        }
    }
    Ok(())
}
