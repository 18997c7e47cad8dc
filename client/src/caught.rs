//! Panics that a component outlives: they are caught where one unit of work ends, told with what was worked on, and
//! counted; the loop around tries again.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;

/// Why a unit of work ended before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked(String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked: {}", self.0)
    }
}

impl std::error::Error for Panicked {}

impl From<Box<dyn Any + Send>> for Panicked {
    fn from(payload: Box<dyn Any + Send>) -> Self {
        let said = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
        Self(said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into()))
    }
}

/// How many panics a loop has outlived. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Panics(Arc<AtomicU64>);

impl Panics {
    /// Counts one more, and returns how many there are with it.
    pub fn note(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` to its end, or to its panic.
///
/// # Errors
/// What the panic said. What `work` changed before stays changed: the caller looks at everything afresh.
pub async fn caught<F: Future>(work: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(Panicked::from)
}

/// [`caught`] for work that does not wait.
///
/// # Errors
/// What the panic said.
pub fn caught_call<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panicked::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        assert_eq!(caught(async { 1 }).await, Ok(1));
        let said = caught(async {
            if true {
                panic!("at {}", 7)
            }
        })
        .await;
        assert_eq!(said.map_err(|e| e.to_string()), Err("panicked: at 7".into()));
        assert_eq!(
            caught_call(|| if true {
                panic!("plain")
            })
            .map_err(|e| e.to_string()),
            Err("panicked: plain".into())
        );
        let panics = Panics::default();
        assert_eq!((panics.note(), panics.clone().note(), panics.count()), (1, 2, 2));
    }
}
