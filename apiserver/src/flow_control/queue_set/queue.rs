//! One queue, and in which of them somebody waits.

use std::collections::VecDeque;

use super::slots::Key;
use crate::flow_control::seat_seconds::SeatSeconds;

/// Requests of some flows, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: VecDeque<Key>,
    /// How many are served.
    pub(super) executing: usize,
    pub(in super::super) seats_in_use: usize,
    /// The reading of the progress meter at which the next request begins.
    pub(in super::super) next: SeatSeconds,
    /// Of those that wait: the seats that they want at first, and at most.
    seats: [usize; 2],
    work: SeatSeconds,
}

impl Queue {
    /// Whether nobody waits or is served.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.executing == 0
    }

    /// Whether no request refers to it.
    pub(super) fn is_unused(&self) -> bool {
        self.is_idle() && self.seats_in_use == 0
    }

    /// Who waits longest.
    pub(super) fn first(&self) -> Option<Key> {
        self.waiting.front().copied()
    }

    /// How many wait.
    pub(in super::super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those who wait, the first first.
    pub(in super::super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.waiting.iter().copied()
    }

    /// How many are served.
    pub(in super::super) fn executing(&self) -> usize {
        self.executing
    }

    /// The work of those who wait.
    pub(in super::super) fn work(&self) -> SeatSeconds {
        self.work
    }

    /// The seats that those who wait want at first, and at most.
    pub(in super::super) fn seats_wanted(&self) -> [usize; 2] {
        self.seats
    }

    pub(super) fn push(&mut self, key: Key, seats: [usize; 2], work: SeatSeconds) {
        self.waiting.push_back(key);
        self.seats = [self.seats[0] + seats[0], self.seats[1] + seats[1]];
        self.work = self.work + work;
    }

    /// Takes out one that waits. A queue is short, by its configuration.
    pub(super) fn remove(&mut self, key: Key, seats: [usize; 2], work: SeatSeconds) {
        if let Some(place) = self.waiting.iter().position(|waiting| *waiting == key) {
            self.waiting.remove(place);
            self.seats = [self.seats[0] - seats[0], self.seats[1] - seats[1]];
            self.work = self.work - work;
        }
    }
}

/// The numbers of queues in which somebody waits, a bit each.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<u64>);

const BITS: usize = u64::BITS as usize;

impl Waiting {
    pub(super) fn insert(&mut self, index: usize) {
        let word = index / BITS;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % BITS);
    }

    pub(super) fn remove(&mut self, index: usize) {
        self.0[index / BITS] &= !(1 << (index % BITS));
    }

    /// Those above `index`, then those up to it.
    pub(super) fn after(&self, index: usize) -> impl Iterator<Item = usize> {
        let begin = index + 1;
        self.from(begin).chain(self.from(0).take_while(move |found| *found < begin))
    }

    fn from(&self, begin: usize) -> impl Iterator<Item = usize> {
        let first = begin / BITS;
        let words = self.0.iter().enumerate().skip(first);
        words.flat_map(move |(word, bits)| {
            let mut left = if word == first { bits & (u64::MAX << (begin % BITS)) } else { *bits };
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(word * BITS + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_gone_through_in_turn() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.after(7).count(), 0);
        [0, 3, 63, 64, 200].into_iter().for_each(|index| waiting.insert(index));
        let check = |after: usize, expected: &[usize]| assert_eq!(waiting.after(after).collect::<Vec<_>>(), expected);
        check(0, &[3, 63, 64, 200, 0]);
        check(3, &[63, 64, 200, 0, 3]);
        check(63, &[64, 200, 0, 3, 63]);
        check(127, &[200, 0, 3, 63, 64]);
        check(500, &[0, 3, 63, 64, 200]);
        waiting.remove(64);
        assert_eq!(waiting.after(10).collect::<Vec<_>>(), [63, 200, 0, 3]);
    }
}
