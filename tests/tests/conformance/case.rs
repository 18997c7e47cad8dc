//! One conformance test: its name, what it runs on, and what it does.

use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use crate::plane::{Plane, Shared};

/// The longest that one test may take.
const TEST_SECONDS_MAX: u64 = 60;

/// A test named after a conformance test.
pub(crate) struct Conformance {
    /// The exact codename, as `conformance.yaml` has it.
    pub codename: &'static str,
    alone: bool,
    run: Box<dyn Fn(Plane) -> LocalBoxFuture<'static, ()> + Send + Sync>,
}

/// A test in a namespace of its own on the cluster that all share.
pub(crate) fn test<F>(codename: &'static str, run: impl Fn(Plane) -> F + Send + Sync + 'static) -> Conformance
where
    F: Future<Output = ()> + 'static,
{
    Conformance { codename, alone: false, run: Box::new(move |plane| Box::pin(run(plane))) }
}

/// A test on a cluster of its own.
pub(crate) fn alone<F>(codename: &'static str, run: impl Fn(Plane) -> F + Send + Sync + 'static) -> Conformance
where
    F: Future<Output = ()> + 'static,
{
    Conformance { alone: true, ..test(codename, run) }
}

/// Runs it; panics where it fails.
pub(crate) async fn run(test: &Conformance, shared: Arc<Shared>) {
    let plane = if test.alone { Plane::alone().await } else { shared.plane().await };
    let done = tokio::time::timeout(Duration::from_secs(TEST_SECONDS_MAX), (test.run)(plane.clone())).await;
    assert!(done.is_ok(), "the test did not end within {TEST_SECONDS_MAX} s");
    if !test.alone {
        plane.leave().await;
    }
}
