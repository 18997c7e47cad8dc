//! The streams of an HTTP/2 connection: each a task, which ends when its answer lies there for too long.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::leaving::Progress;

tokio::task_local! {
    /// How far the answer of this task's stream is.
    static PROGRESS: Arc<Progress>;
}

/// Runs the streams of a connection.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    stall_timeout: Duration,
}

impl Streams {
    pub(super) fn new(stall_timeout: Duration) -> Self {
        Self { stall_timeout }
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(until_stalled(stream, self.stall_timeout));
    }
}

/// How far the answer of the stream that runs this is.
pub(super) fn progress() -> Option<Arc<Progress>> {
    PROGRESS.try_with(Arc::clone).ok()
}

/// Runs a stream. It is dropped, which resets it, when nothing of its answer went out for so long.
async fn until_stalled(stream: impl Future<Output = ()>, stall_timeout: Duration) {
    let progress = Arc::<Progress>::default();
    let mut stream = pin!(PROGRESS.scope(progress.clone(), stream));
    let mut seen = 0;
    let mut stalled: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let steps = progress.steps();
        if steps > seen {
            seen = steps;
            stalled = Some(Box::pin(sleep(stall_timeout)));
        }
        let Some(stalled) = stalled.as_mut() else { return Poll::Pending };
        if stalled.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // Something may have gone out since it was looked at.
        if progress.steps() == seen {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
