//! Requests by a number that is theirs for as long as they are there.

/// The number of a request.
pub(crate) type Key = usize;

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In a queue.
    Waiting,
    /// It has its seats.
    Executing,
    /// It is over, and has its seats for a while.
    Lingering,
}

/// Things by number.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<Key>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

const GONE: &str = "a key is used while its request is there";

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, thing: T) -> Key {
        match self.free.pop() {
            Some(key) => {
                self.slots[key] = Some(thing);
                key
            }
            None => {
                self.slots.push(Some(thing));
                self.slots.len() - 1
            }
        }
    }

    /// Takes a thing out; its number is free.
    pub(super) fn remove(&mut self, key: Key) -> T {
        let thing = self.take(key);
        self.free.push(key);
        thing
    }

    /// Takes a thing out that will be put back.
    pub(super) fn take(&mut self, key: Key) -> T {
        self.slots[key].take().expect(GONE)
    }

    pub(super) fn put(&mut self, key: Key, thing: T) {
        self.slots[key] = Some(thing);
    }

    pub(in super::super) fn get(&self, key: Key) -> &T {
        self.slots[key].as_ref().expect(GONE)
    }

    pub(in super::super) fn get_mut(&mut self, key: Key) -> &mut T {
        self.slots[key].as_mut().expect(GONE)
    }

    /// Every thing with its number.
    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().enumerate().filter_map(|(key, thing)| Some((key, thing.as_ref()?)))
    }

    pub(in super::super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }
}
