//! Frames are read back as written, and nothing else is read as one.

use std::collections::HashSet;

use bytes::Bytes;

use super::*;
use crate::{Operation, Transaction};

const SEQUENCE: u64 = 7;

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// A log of some frames, and the states after each.
fn log(random: &mut impl FnMut() -> u64) -> (Vec<u8>, Vec<Snapshot>) {
    let mut file = vec![0; FILE_HEADER_BYTES];
    let mut states = vec![Snapshot::empty(1)];
    let mut buffer = Vec::new();
    for _ in 0..4 {
        let mut stage = crate::stage::Stage::on(states.last().unwrap().clone());
        for _ in 0..=random() % 3 {
            let key = format!("/key/{}", random() % 5);
            let operation = match random() % 3 {
                0 => Operation::Delete(key.into()),
                _ => Operation::Put(key.into(), Bytes::from(vec![b'v'; (random() % 900) as usize])),
            };
            stage.commit(Transaction { operations: vec![operation], ..Transaction::default() }).unwrap();
        }
        if stage.events.is_empty() {
            continue;
        }
        encode_commits(&mut buffer, SEQUENCE, &stage.events, Base::of(&stage.snapshot));
        file.extend(&buffer);
        states.push(stage.snapshot);
    }
    file.resize(file.len() + 2048, 0);
    (file, states)
}

/// How many frames are read, and what follows them.
fn read(file: &[u8], states: &[Snapshot]) -> (usize, &'static str) {
    let (mut at, mut count) = (FILE_HEADER_BYTES, 0);
    let mut state = states[0].clone();
    loop {
        match read_frame(file, at, SEQUENCE) {
            Found::Frame(frame) => {
                frame.apply_commits(&mut state, &mut HashSet::new()).unwrap();
                count += 1;
                let expected = Base::of(&states[count]);
                assert_eq!(Base::of(&state), expected);
                assert_eq!(
                    (frame.last(), frame.keys, frame.digest),
                    (expected.revision, expected.keys, expected.digest)
                );
                assert!(state.entries().map(Entry::value).eq(states[count].entries().map(Entry::value)));
                at = frame.end;
            }
            Found::End => return (count, "end"),
            Found::Torn => return (count, "torn"),
            Found::Corrupt(_) => return (count, "corrupt"),
        }
    }
}

#[test]
fn frames_are_read_back() {
    for seed in 0..50 {
        let (file, states) = log(&mut random(seed));
        assert_eq!(read(&file, &states), (states.len() - 1, "end"));
    }
}

#[test]
fn a_changed_byte_in_a_frame_is_corrupt() {
    for seed in 0..20 {
        let mut random = random(seed);
        let (file, states) = log(&mut random);
        let end = file.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        for _ in 0..200 {
            let at = FILE_HEADER_BYTES + random() as usize % (end - FILE_HEADER_BYTES);
            let mut changed = file.clone();
            // Other bits, and a byte that looks as if it were never written.
            changed[at] = if random().is_multiple_of(3) { 0 } else { changed[at] ^ (1 + random() % 255) as u8 };
            if changed == file {
                continue;
            }
            match read(&changed, &states) {
                (_, "corrupt") => {}
                // The zeros that fill up a frame mean nothing.
                (count, _) => assert!(count == states.len() - 1 && file[at] == 0, "seed {seed}, byte {at}"),
            }
        }
    }
}

#[test]
fn a_frame_with_missing_sectors_is_torn() {
    for seed in 0..50 {
        let mut random = random(seed);
        let (file, states) = log(&mut random);
        let last_frame = {
            let mut at = FILE_HEADER_BYTES;
            while let Found::Frame(frame) = read_frame(&file, at, SEQUENCE) {
                if matches!(read_frame(&file, frame.end, SEQUENCE), Found::End) {
                    break;
                }
                at = frame.end;
            }
            at
        };
        // All sectors after some place, or one of them.
        let first = last_frame.next_multiple_of(SECTOR_BYTES);
        let end = file.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        for sector in (first..end).step_by(SECTOR_BYTES) {
            for missing in [sector..file.len(), sector..(sector + SECTOR_BYTES).min(file.len())] {
                let mut torn = file.clone();
                torn[missing].fill(0);
                let expected = if is_blank(&torn[last_frame..]) { "end" } else { "torn" };
                assert_eq!(read(&torn, &states), (states.len() - 2, expected), "seed {seed}, sector {sector}");
            }
        }
    }
}

#[test]
fn nonsense_is_not_read() {
    let mut random = random(11);
    for length in 0..2000 {
        let content: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        assert!(!matches!(read_frame(&content, 0, SEQUENCE), Found::Frame(_)));
        drop(FileHeader::decode(&content, FileKind::Log));
        // Even with a right checksum it must only fail.
        let first = random();
        let frame = Frame { first, count: random() as u32 % 8, content: &content, keys: 0, digest: 0, end: 0 };
        drop(frame.apply_commits(&mut Snapshot::empty(1), &mut HashSet::new()));
        drop(frame.insert_entries(&mut Snapshot::empty(1), &mut Shelf::default()));
    }
}
