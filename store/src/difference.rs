//! What of one value another one has, and what is new in it.
//!
//! A difference is a list of steps: so many bytes from there in the old value, then so many bytes of its own. Making one
//! takes time in proportion to both values, whatever they hold.

use std::collections::HashMap;

/// Parts of the old value are looked up by blocks of this size.
const BLOCK_BYTES: usize = 32;
/// Offset, length of what is copied, length of what follows.
const STEP_BYTES: usize = 12;
/// The base of the rolling hash; odd, so that no byte is lost.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// How many bits the filter before the table has.
const FILTER_BITS: usize = 1 << 18;

/// What makes `to` out of `from`.
pub(crate) fn between(from: &[u8], to: &[u8]) -> Vec<u8> {
    let prefix = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let (from_rest, to_rest) = (&from[prefix..], &to[prefix..]);
    let suffix = from_rest.iter().rev().zip(to_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle = &to_rest[..to_rest.len() - suffix];
    let mut steps = Steps { copied: (0, prefix), literal: (0, 0), out: Vec::new() };
    let blocks = Blocks::of(from, prefix, from.len() - suffix);
    let mut at = 0;
    let mut hash = None;
    while at + BLOCK_BYTES <= middle.len() {
        let window = &middle[at..at + BLOCK_BYTES];
        let rolled = match hash {
            Some(before) => roll(before, middle[at - 1], window[BLOCK_BYTES - 1]),
            None => hash_of(window),
        };
        match blocks.find(from, rolled, window) {
            Some(found) => {
                let more = &middle[at + BLOCK_BYTES..];
                let same = from[found + BLOCK_BYTES..].iter().zip(more).take_while(|(a, b)| a == b).count();
                steps.copy(middle, found, BLOCK_BYTES + same);
                at += BLOCK_BYTES + same;
                steps.literal = (at, at);
                hash = None;
            }
            None => {
                at += 1;
                steps.literal.1 = at;
                hash = Some(rolled);
            }
        }
    }
    steps.literal.1 = middle.len();
    steps.copy(middle, from.len() - suffix, suffix);
    steps.literal = (0, 0);
    steps.finish(middle)
}

/// The value that a difference makes out of `from`; none if they do not belong together.
pub(crate) fn apply(from: &[u8], difference: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(from.len());
    let mut rest = difference;
    while !rest.is_empty() {
        let (head, after) = rest.split_at_checked(STEP_BYTES)?;
        let number = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).map(|number| number as usize).ok();
        let (offset, copied, new) = (number(0)?, number(4)?, number(8)?);
        out.extend_from_slice(from.get(offset..offset.checked_add(copied)?)?);
        let (literal, after) = after.split_at_checked(new)?;
        out.extend_from_slice(literal);
        rest = after;
    }
    Some(out)
}

/// The steps so far: what is copied, and which part of the middle follows it.
struct Steps {
    copied: (usize, usize),
    literal: (usize, usize),
    out: Vec<u8>,
}

impl Steps {
    fn copy(&mut self, middle: &[u8], offset: usize, length: usize) {
        self.write(middle);
        self.copied = (offset, length);
    }

    fn write(&mut self, middle: &[u8]) {
        let literal = &middle[self.literal.0..self.literal.1];
        if self.copied.1 == 0 && literal.is_empty() {
            return;
        }
        for number in [self.copied.0, self.copied.1, literal.len()] {
            self.out.extend((number as u32).to_le_bytes());
        }
        self.out.extend_from_slice(literal);
    }

    fn finish(mut self, middle: &[u8]) -> Vec<u8> {
        self.write(middle);
        self.out
    }
}

/// Where the blocks of the old value are, by their hashes.
struct Blocks {
    places: HashMap<u64, usize>,
    /// Most hashes are of no block: a bit tells that faster than the table.
    filter: Vec<u64>,
}

impl Blocks {
    fn of(from: &[u8], start: usize, end: usize) -> Self {
        let mut blocks = Self { places: HashMap::new(), filter: Vec::new() };
        if end.saturating_sub(start) >= BLOCK_BYTES {
            blocks.filter = vec![0; FILTER_BITS / 64];
        }
        for at in (start..end.saturating_sub(BLOCK_BYTES - 1)).step_by(BLOCK_BYTES) {
            let hash = hash_of(&from[at..at + BLOCK_BYTES]);
            let (word, bit) = place(hash);
            blocks.filter[word] |= bit;
            blocks.places.entry(hash).or_insert(at);
        }
        blocks
    }

    fn find(&self, from: &[u8], hash: u64, window: &[u8]) -> Option<usize> {
        let (word, bit) = place(hash);
        if self.filter.get(word)? & bit == 0 {
            return None;
        }
        self.places.get(&hash).copied().filter(|&at| &from[at..at + BLOCK_BYTES] == window)
    }
}

fn place(hash: u64) -> (usize, u64) {
    let bit = (hash >> 40) as usize % FILTER_BITS;
    (bit / 64, 1 << (bit % 64))
}

fn hash_of(block: &[u8]) -> u64 {
    block.iter().fold(0, |hash: u64, &byte| hash.wrapping_mul(BASE).wrapping_add(u64::from(byte) + 1))
}

/// The hash of the window one byte further on.
fn roll(hash: u64, gone: u8, new: u8) -> u64 {
    const GONE: u64 = BASE.wrapping_pow(BLOCK_BYTES as u32);
    hash.wrapping_mul(BASE).wrapping_add(u64::from(new) + 1).wrapping_sub((u64::from(gone) + 1).wrapping_mul(GONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, bytes: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(BASE) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        (0..bytes).map(|_| (next() >> 32) as u8).collect()
    }

    #[test]
    fn small_changes_anywhere_are_small_differences() {
        let old = noise(1, 100_000);
        let mut changed = old.clone();
        changed[50_000] ^= 1;
        changed.splice(20_000..20_010, noise(2, 300));
        changed.splice(90_000..90_100, []);
        changed.rotate_left(70_000);
        let difference = between(&old, &changed);
        assert!(difference.len() < 1_000, "{} bytes", difference.len());
        assert_eq!(apply(&old, &difference), Some(changed));
    }

    #[test]
    fn whatever_changed_comes_back() {
        for seed in 0..300_u64 {
            let old = noise(seed, (seed as usize * 37) % 900);
            let mut new = if seed % 5 == 0 { noise(seed + 1_000, 400) } else { old.clone() };
            let at = noise(seed + 7, 8).iter().fold(0, |a, &b| a * 31 + usize::from(b)) % (new.len() + 1);
            match seed % 4 {
                0 => new.truncate(at),
                1 => drop(new.splice(at..at, noise(seed + 9, 70))),
                2 => new.extend_from_within(..at),
                _ => new.iter_mut().skip(at).step_by(50).for_each(|byte| *byte ^= 0x55),
            }
            let difference = between(&old, &new);
            assert_eq!(apply(&old, &difference).as_ref(), Some(&new), "seed {seed}");
            assert!(difference.len() <= new.len() + 3 * STEP_BYTES + new.len() / BLOCK_BYTES * STEP_BYTES);
        }
        let repeated = vec![b'x'; 10_000];
        let difference = between(&repeated, &[repeated.clone(), repeated.clone()].concat());
        assert_eq!(apply(&repeated, &difference).map(|value| value.len()), Some(20_000));
        assert_eq!(apply(b"abc", &[1, 2, 3]), None);
        assert_eq!(apply(b"abc", &[9, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
