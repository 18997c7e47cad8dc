//! A map from label values to what is counted under them, which grows up to a limit and never shrinks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The part of all places that the first level has; each further one has twice as many as the one before.
const FIRST_LEVEL_PART: usize = 16;
/// How many places the first level has at least, if there are so many.
const FIRST_LEVEL_MIN: usize = 32;
/// How many places of a level are tried for one series before the next level is.
const PROBES_MAX: usize = 8;

/// Series by the values of their `N` labels. To find one takes no lock, and a table of few series takes little room.
#[derive(Debug)]
pub struct Table<S, const N: usize> {
    levels: Box<[Level<S, N>]>,
    lost: AtomicU64,
}

/// Some of the places, made when the level before has none left for a series.
#[derive(Debug)]
struct Level<S, const N: usize> {
    size: usize,
    places: OnceLock<Box<[Place<S, N>]>>,
}

type Place<S, const N: usize> = OnceLock<Box<Entry<S, N>>>;

#[derive(Debug)]
struct Entry<S, const N: usize> {
    hash: u64,
    labels: [Box<str>; N],
    series: S,
}

impl<S, const N: usize> Entry<S, N> {
    fn is(&self, hash: u64, labels: &[&str; N]) -> bool {
        self.hash == hash && self.labels.iter().zip(labels).all(|(own, label)| **own == **label)
    }
}

impl<S, const N: usize> Level<S, N> {
    fn places(&self) -> &[Place<S, N>] {
        self.places.get_or_init(|| (0..self.size).map(|_| OnceLock::new()).collect())
    }
}

impl<S, const N: usize> Table<S, N> {
    /// A table with room for about so many series; a few places may stay empty when it is full.
    pub fn new(room: usize) -> Self {
        let mut levels = Vec::new();
        let mut left = room.max(1);
        let first = (room / FIRST_LEVEL_PART).max(FIRST_LEVEL_MIN);
        while left > 0 {
            let size = (first << levels.len()).min(left);
            left -= size;
            levels.push(Level { size, places: OnceLock::new() });
        }
        Self { levels: levels.into(), lost: AtomicU64::new(0) }
    }

    /// The series of these values, which is made if there is none; none if there is no room for it.
    pub fn get(&self, labels: [&str; N], make: impl FnOnce() -> S) -> Option<&S> {
        let hash = hash(&labels);
        let mut make = Some(make);
        for place in self.levels.iter().flat_map(|level| probes(level.places(), hash)) {
            let entry = place.get_or_init(|| {
                // A place is filled once, and with it the search ends.
                let series = make.take().map(|make| make()).expect("nothing was made before");
                Box::new(Entry { hash, labels: labels.map(Box::from), series })
            });
            // Another thread may have come first, with these labels or with others.
            if entry.is(hash, &labels) {
                return Some(&entry.series);
            }
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Every series with its labels, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ([&str; N], &S)> {
        let places = self.levels.iter().filter_map(|level| level.places.get()).flatten();
        let entries = places.filter_map(OnceLock::get);
        entries.map(|entry| (entry.labels.each_ref().map(|label| &**label), &entry.series))
    }

    /// How often there was no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The places of a level where a series may be, in the order in which they are tried.
fn probes<P>(places: &[P], hash: u64) -> impl Iterator<Item = &P> {
    let start = usize::try_from(hash % places.len() as u64).unwrap_or(0);
    (0..PROBES_MAX.min(places.len())).map(move |probe| &places[(start + probe) % places.len()])
}

/// As the hash of rustc's tables: cheap, and whoever finds labels that collide only fills places that are counted anyway.
fn hash<const N: usize>(labels: &[&str; N]) -> u64 {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let hash = labels.iter().fold(0, |hash, label| {
        let (words, rest) = label.as_bytes().as_chunks::<8>();
        let hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        let rest = rest.iter().fold(label.len() as u64, |word, byte| word << 8 | u64::from(*byte));
        mix(hash, rest)
    });
    // The lower bits, which choose the place, are the least mixed.
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_made_once_and_room_ends() {
        let table: Table<AtomicU64, 2> = Table::new(4);
        for round in 1..=3 {
            let series = table.get(["a", "b"], || AtomicU64::new(0)).unwrap();
            assert_eq!(series.fetch_add(1, Ordering::Relaxed) + 1, round);
        }
        assert!(table.get(["ab", ""], || AtomicU64::new(7)).is_some_and(|s| s.load(Ordering::Relaxed) == 7));
        for number in 0..10 {
            table.get([&number.to_string(), ""], || AtomicU64::new(0));
        }
        assert_eq!((table.iter().count(), table.lost()), (4, 8));
        assert_eq!(table.get(["a", "b"], || AtomicU64::new(0)).unwrap().load(Ordering::Relaxed), 3);
    }

    #[test]
    fn most_of_the_room_is_used_and_none_before_it_is_needed() {
        let table: Table<u32, 1> = Table::new(1_000);
        assert!(table.levels.iter().all(|level| level.places.get().is_none()));
        table.get(["first"], || 0);
        assert_eq!(table.levels.iter().filter(|level| level.places.get().is_some()).count(), 1);
        for number in 0..10_000_u32 {
            table.get([&number.to_string()], || number);
        }
        let count = table.iter().count();
        assert!((900..=1_000).contains(&count), "{count}");
        assert!(table.iter().all(|([label], number)| label == "first" || *label == number.to_string()));
    }

    #[test]
    fn threads_count_in_the_same_series() {
        let table: Table<AtomicU64, 1> = Table::new(256);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..4_000 {
                        let series = table.get([&(number % 40).to_string()], || AtomicU64::new(0)).unwrap();
                        series.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(table.iter().map(|(_, s)| s.load(Ordering::Relaxed)).collect::<Vec<_>>(), vec![400; 40]);
    }
}
