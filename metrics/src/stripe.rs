//! Where a thread counts: threads that run at once should not write to the same memory, as each write would then wait
//! for the other processor to let go of it.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many threads can count at once without meeting.
const STRIPES: usize = 8;
/// How many numbers of 64 bits two processors never share unasked, prefetched neighbours included.
const LINE_NUMBERS: usize = 16;

/// One value for each of a few threads, made when the first of them needs it.
#[derive(Debug)]
pub(crate) struct Striped<T: ?Sized>([OnceLock<Box<T>>; STRIPES]);

impl<T: ?Sized> Default for Striped<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl<T: ?Sized> Striped<T> {
    /// The value of this thread and those that share it.
    pub(crate) fn own(&self, make: impl FnOnce() -> Box<T>) -> &T {
        self.0[stripe()].get_or_init(make)
    }

    /// All values.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|value| value.get().map(|value| &**value))
    }
}

/// So many numbers of a stripe, with nothing else beside them.
pub(crate) fn room(numbers: usize) -> usize {
    numbers.next_multiple_of(LINE_NUMBERS)
}

/// The stripe of this thread. Threads take them in turn.
fn stripe() -> usize {
    /// It tells threads of the process apart and nothing else.
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    const NONE: usize = usize::MAX;
    thread_local! {
        static OWN: Cell<usize> = const { Cell::new(NONE) };
    }
    OWN.with(|own| {
        if own.get() == NONE {
            own.set(THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        own.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_values_of_their_own() {
        let striped = Striped::<AtomicUsize>::default();
        assert_eq!(striped.all().count(), 0);
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| striped.own(Box::default).fetch_add(1, Ordering::Relaxed));
            }
        });
        let counts: Vec<usize> = striped.all().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts.iter().sum::<usize>(), 2 * STRIPES);
        assert!(counts.len() > 1, "{counts:?}");
    }
}
