//! The queue between who records events and the task that writes them: recording never waits, and what does not fit is dropped,
//! as client-go does.

use std::future::Future;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Clock;

/// Events that wait to be written.
const WAITING_MAX: usize = 1000;
/// Bytes of a message (`events.k8s.io` allows no more).
const MESSAGE_BYTES_MAX: usize = 1024;

/// Events with the time at which each was recorded. Clones share one queue.
pub(crate) struct EventQueue<T> {
    queue: mpsc::Sender<(T, Timestamp)>,
    clock: Clock,
}

impl<T> Clone for EventQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), clock: self.clock.clone() }
    }
}

impl<T: Send + 'static> EventQueue<T> {
    /// A queue whose events are handed to `write`, which runs until `token` is cancelled.
    pub(crate) fn start<W>(
        clock: Clock,
        token: CancellationToken,
        write: impl FnOnce(mpsc::Receiver<(T, Timestamp)>) -> W,
    ) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (queue, recorded) = mpsc::channel(WAITING_MAX);
        let writer = write(recorded);
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = writer => {}
            }
        });
        Self { queue, clock }
    }

    /// Adds an event that happens now.
    pub(crate) fn add(&self, event: T) {
        if let Err(error) = self.queue.try_send((event, self.clock.now())) {
            tracing::debug!(%error, "an event was dropped");
        }
    }
}

/// A message of the length that an event can have; `mark` ends one that was cut.
pub(crate) fn cut(mut message: String, mark: &str) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX - mark.len()));
        message.push_str(mark);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_letters() {
        let check = |message: String, mark: &str, expected: String| assert_eq!(cut(message, mark), expected);
        check("short".into(), " ...", "short".into());
        check("x".repeat(1024), " ...", "x".repeat(1024));
        check("x".repeat(1025), "", "x".repeat(1024));
        check("x".repeat(1025), " ...", "x".repeat(1020) + " ...");
        check("é".repeat(1024), "", "é".repeat(512));
        check("é".repeat(1024), " ..", "é".repeat(510) + " ..");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_the_writer_ends_with_its_token() {
        let (token, (done, ended)) = (CancellationToken::new(), tokio::sync::oneshot::channel::<()>());
        let (hold, mut held) = tokio::sync::mpsc::unbounded_channel();
        let queue = EventQueue::start(Clock::system(), token.clone(), |recorded| async move {
            let _done = done;
            hold.send(recorded).ok();
            std::future::pending().await
        });
        (0..WAITING_MAX + 5).for_each(|number| queue.clone().add(number));
        let mut recorded = held.recv().await.expect("the writer runs");
        token.cancel();
        assert!(ended.await.is_err(), "the writer was dropped");
        drop(queue);
        let mut numbers = Vec::new();
        while let Some((number, _)) = recorded.recv().await {
            numbers.push(number);
        }
        assert_eq!(numbers, (0..WAITING_MAX).collect::<Vec<_>>());
    }
}
