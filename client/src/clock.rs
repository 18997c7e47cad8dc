//! The one module of this crate that reads a clock or draws a random number.
//!
//! A [`Clock`] is handed to whoever needs the time. Tests hand in [`Clock::manual`] and move it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::watch;

/// A source of time, delays and randomness. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System { started: Instant },
    Manual(Arc<Manual>),
}

struct Manual {
    start: Timestamp,
    elapsed: watch::Sender<Duration>,
    random: Mutex<u64>,
}

/// Letters that names are made of: no vowels, so that no word appears by chance.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System { started: Instant::now() })
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual(start: Timestamp) -> Self {
        let (elapsed, _) = watch::channel(Duration::ZERO);
        Self(Kind::Manual(Arc::new(Manual { start, elapsed, random: Mutex::new(0x9e37_79b9_7f4a_7c15) })))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System { .. } => Timestamp::now(),
            Kind::Manual(m) => {
                let elapsed = *m.elapsed.borrow();
                m.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Time since the clock was made; never goes back.
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System { started } => started.elapsed(),
            Kind::Manual(m) => *m.elapsed.borrow(),
        }
    }

    /// Waits until [`Clock::elapsed`] reaches `deadline`.
    pub async fn sleep_until(&self, deadline: Duration) {
        match &self.0 {
            Kind::System { started } => tokio::time::sleep_until((*started + deadline).into()).await,
            Kind::Manual(m) => {
                let mut elapsed = m.elapsed.subscribe();
                let reached = elapsed.wait_for(|e| *e >= deadline).await.is_ok();
                if !reached {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.elapsed().saturating_add(duration)).await;
    }

    /// Moves a manual clock; the machine's clock does not move for anybody.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(m) = &self.0 {
            m.elapsed.send_modify(|e| *e += by);
        }
    }

    /// A number in `0.0..1.0`.
    pub fn random(&self) -> f64 {
        (self.random_bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// 64 random bits; the same sequence each time on a manual clock.
    pub fn random_bits(&self) -> u64 {
        match &self.0 {
            Kind::System { .. } => rand::rng().random(),
            Kind::Manual(m) => {
                let mut state = m.random.lock();
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                *state
            }
        }
    }

    /// A random ending of a name, as `generateName` makes them.
    pub fn name_suffix(&self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(NAME_ALPHABET[(self.random_bits() % NAME_ALPHABET.len() as u64) as usize]))
            .collect()
    }

    /// `duration` lengthened by up to `share` of itself.
    pub fn jitter(&self, duration: Duration, share: f64) -> Duration {
        duration.mul_f64(1.0 + self.random() * share)
    }
}
