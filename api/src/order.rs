//! Checks orders that are written by hand: sorting panics on one that is none.

use std::cmp::Ordering;
use std::fmt::Debug;

/// Asserts for every pair and triple of `items` that `compare` is an order of all of them.
pub(crate) fn assert_total<T: Debug>(items: &[T], compare: impl Fn(&T, &T) -> Ordering) {
    for a in items {
        assert_eq!(compare(a, a), Ordering::Equal, "{a:?} is itself");
        for b in items {
            let order = compare(a, b);
            assert_eq!(order, compare(b, a).reverse(), "{a:?} and {b:?} from both sides");
            for c in items.iter().filter(|c| order == Ordering::Equal || compare(b, c) == order) {
                let expect = if order == Ordering::Equal { compare(b, c) } else { order };
                assert_eq!(compare(a, c), expect, "{a:?}, {b:?}, {c:?}");
            }
        }
    }
}
