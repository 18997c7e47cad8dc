//! Where values go that are read when the store is opened.

use bytes::{Bytes, BytesMut};

/// The room that small values share.
const SHELF_BYTES: usize = 64 * 1024;
/// Longer values have room of their own.
const SHARED_BYTES_MAX: usize = SHELF_BYTES / 4;

/// Puts many small values into one piece of memory. Thousands of values of a like size, each in a piece of its own,
/// take up to a quarter more than their bytes, and what was read meanwhile leaves holes between them. A value that
/// stays keeps its neighbours' memory, at most the room of a shelf.
#[derive(Default)]
pub(crate) struct Shelf(BytesMut);

impl Shelf {
    /// A value of so many bytes, from the parts it was read in.
    pub(crate) fn put<'a>(&mut self, bytes: usize, parts: impl Iterator<Item = &'a [u8]>) -> Bytes {
        if bytes > SHARED_BYTES_MAX {
            let mut value = Vec::with_capacity(bytes);
            parts.for_each(|part| value.extend_from_slice(part));
            return value.into();
        }
        if self.0.capacity() < bytes {
            self.0 = BytesMut::with_capacity(SHELF_BYTES);
        }
        parts.for_each(|part| self.0.extend_from_slice(part));
        self.0.split().freeze()
    }

    /// A value of so many bytes that `fill` writes; none if it cannot.
    pub(crate) fn fill(&mut self, bytes: usize, fill: impl FnOnce(&mut [u8]) -> bool) -> Option<Bytes> {
        if bytes > SHARED_BYTES_MAX {
            let mut value = vec![0; bytes];
            return fill(&mut value).then(|| value.into());
        }
        if self.0.capacity() < bytes {
            self.0 = BytesMut::with_capacity(SHELF_BYTES);
        }
        self.0.resize(bytes, 0);
        let value = fill(&mut self.0).then(|| self.0.split().freeze());
        self.0.clear();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_was_put() {
        let mut shelf = Shelf::default();
        let sizes = [0, 1, 3_500, SHARED_BYTES_MAX, SHARED_BYTES_MAX + 1, 200_000];
        let value = |n: usize| vec![n as u8; sizes[n % sizes.len()]];
        let put: Vec<Bytes> = (0..120)
            .map(|n| {
                let (head, tail) = (value(n), value(n));
                let (head, tail) = (&head[..head.len() / 2], &tail[tail.len() / 2..]);
                if n % 3 == 0 {
                    assert_eq!(shelf.fill(head.len() + 1, |_| false), None);
                    let fill = |value: &mut [u8]| value.iter_mut().for_each(|byte| *byte = n as u8);
                    return shelf.fill(head.len() + tail.len(), |value| (fill(value), true).1).unwrap();
                }
                shelf.put(head.len() + tail.len(), [head, tail].into_iter())
            })
            .collect();
        assert!(put.iter().enumerate().all(|(n, found)| *found == value(n)));
    }
}
