//! Time and randomness come in through here, and nowhere else in this crate.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rand::Rng;

/// The letters of generated names: no vowels and nothing that is easily misread (`rand.String` in apimachinery).
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many letters `generateName` adds.
pub const NAME_SUFFIX_LENGTH: usize = 5;

/// Where time and randomness come from; tests hand in their own.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// A monotonic clock.
    fn instant(&self) -> Instant;
    /// Fills a buffer with random bytes fit for secrets.
    fn random(&self, bytes: &mut [u8]);
}

/// The clock and the randomness of this machine.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    fn random(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

impl SystemClock {
    /// The shared form in which a clock is handed on.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

/// A time as `metav1.Time` writes it: UTC, whole seconds.
pub fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time as `metav1.MicroTime` writes it.
pub fn micro_time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A random (version 4) UUID.
pub fn uuid(clock: &dyn Clock) -> String {
    let mut bytes = [0; 16];
    clock.random(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().to_string()
}

/// Random letters, as generated names end in.
pub fn name_suffix(clock: &dyn Clock, length: usize) -> String {
    let mut bytes = vec![0; length];
    clock.random(&mut bytes);
    bytes.iter().map(|b| NAME_LETTERS[usize::from(*b) % NAME_LETTERS.len()] as char).collect()
}
