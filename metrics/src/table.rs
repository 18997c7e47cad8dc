//! A map from label values to what is counted under them, which grows up to a limit and never shrinks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many places are tried for one series before it is given up.
const PROBES_MAX: usize = 32;

/// Series by the values of their `N` labels. To find one takes no lock.
#[derive(Debug)]
pub struct Table<S, const N: usize> {
    places: Box<[OnceLock<Box<Entry<S, N>>>]>,
    lost: AtomicU64,
}

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

impl<S, const N: usize> Table<S, N> {
    /// A table with this many places, of which a few may stay empty when it is full.
    pub fn new(places: usize) -> Self {
        Self { places: (0..places.max(1)).map(|_| OnceLock::new()).collect(), lost: AtomicU64::new(0) }
    }

    /// The series of these values, which is made if there is none; none if there is no room for it.
    pub fn get(&self, labels: [&str; N], make: impl FnOnce() -> S) -> Option<&S> {
        let hash = hash(&labels);
        let start = usize::try_from(hash % self.places.len() as u64).unwrap_or(0);
        let mut make = Some(make);
        for probe in 0..PROBES_MAX.min(self.places.len()) {
            let place = &self.places[(start + probe) % self.places.len()];
            let entry = match (place.get(), make.take()) {
                (Some(entry), unused) => {
                    make = unused;
                    entry
                }
                // Another thread may come first, with these labels or with others.
                (None, Some(new)) => {
                    let mut new = Some(new);
                    let entry = place.get_or_init(|| {
                        let series = new.take().map(|new| new());
                        let series = series.expect("a place is filled once");
                        Box::new(Entry { hash, labels: labels.map(Box::from), series })
                    });
                    make = new;
                    entry
                }
                (None, None) => return None,
            };
            if entry.is(hash, &labels) {
                return Some(&entry.series);
            }
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Every series with its labels, in no order.
    pub fn iter(&self) -> impl Iterator<Item = ([&str; N], &S)> {
        self.places.iter().filter_map(OnceLock::get).map(|entry| (entry.labels.each_ref().map(|l| &**l), &entry.series))
    }

    /// How often there was no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn hash<const N: usize>(labels: &[&str; N]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for label in labels {
        label.hash(&mut hasher);
    }
    hasher.finish()
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
    fn threads_count_in_the_same_series() {
        let table: Table<AtomicU64, 1> = Table::new(64);
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
