//! Threads for requests that take more than a moment, so that the few that serve all connections are never held up: one
//! large body must not delay a lease or `/readyz`.

use std::cell::RefCell;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

use api::status::StatusDetails;
use api::{Status, UserInfo};
use tokio::runtime::Handle;
use tracing::{Instrument, Span};

use crate::chain::receive::REQUEST_TIMEOUT;
use crate::shares::{Share, Shares, Sizes};

/// What has to be decoded, checked or converted and is longer than this in bytes takes more than a moment.
pub const EXPENSIVE_BYTES: usize = 64 * 1024;
/// How many such requests wait for a thread at most; more are refused.
const WAITING_MAX: usize = 256;
/// How many of one user may wait. Threads go round among users, and one alone may use all.
const WAITING_SHARE: usize = 64;

/// The threads of one server. There are as many as the machine has processors.
#[derive(Debug, Clone)]
pub struct Workers(Shares);

/// The threads as one user may use them.
#[derive(Debug)]
pub struct UsersWorkers {
    threads: Shares,
    user: Arc<UserInfo>,
}

impl Default for Workers {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::new(threads, WAITING_MAX, WAITING_SHARE)
    }
}

impl Workers {
    fn new(threads: usize, waiting: usize, waiting_share: usize) -> Self {
        Self(Shares::new(Sizes { total: threads, share: threads, waiting, waiting_share }))
    }

    /// The threads, for a request of this user.
    pub fn of(&self, user: Arc<UserInfo>) -> UsersWorkers {
        UsersWorkers { threads: self.0.clone(), user }
    }
}

#[cfg(test)]
impl Workers {
    /// Holds all threads, which a test needs that nothing is done on one before it has looked. They are free when the answer is
    /// dropped.
    pub(crate) async fn held(&self) -> tokio::sync::watch::Sender<()> {
        while self.0.taken() > 0 {
            tokio::task::yield_now().await;
        }
        let (hold, held) = tokio::sync::watch::channel(());
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        for _ in 0..threads {
            let (workers, mut held) = (self.of(Arc::new(UserInfo::new("holds", &[]))), held.clone());
            tokio::spawn(async move {
                workers
                    .run(async move {
                        let _ = held.changed().await;
                        Ok(())
                    })
                    .await
            });
        }
        while self.0.taken() < threads {
            tokio::task::yield_now().await;
        }
        hold
    }
}

impl UsersWorkers {
    /// Does work on a thread of its own, when one is free and it is the user's turn. It goes on when nobody waits for it
    /// any more: until it ends, its thread counts.
    ///
    /// # Errors
    /// 429 if too much is waiting already, and what the work itself fails with.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Status>> + Send {
        // Here, so that the work has no place of its own in the future of every request that might need a thread.
        let work = Box::pin(work.instrument(Span::current()));
        async move {
            let thread = self.threads.take(&self.user, 1, REQUEST_TIMEOUT).await.map_err(|_| too_many())?;
            let counted = Counted { share: Some(thread), threads: self.threads.clone(), user: self.user.clone() };
            let (handle, work) = (Handle::current(), COUNTED.scope(RefCell::new(counted), work));
            let done = tokio::task::spawn_blocking(move || handle.block_on(work));
            done.await.unwrap_or_else(|_| Err(Status::internal("the request could not be worked on")))
        }
    }
}

/// A thread that counts as one that works.
struct Counted {
    share: Option<Share>,
    threads: Shares,
    user: Arc<UserInfo>,
}

tokio::task_local! {
    static COUNTED: RefCell<Counted>;
}

/// Waits for something outside of the server. A thread that does so does not count as one that works: what hangs must not keep
/// others' work from being done.
pub async fn wait<T>(outside: impl Future<Output = T>) -> T {
    // Elsewhere nothing is counted.
    let Ok(share) = COUNTED.try_with(|counted| counted.borrow_mut().share.take()) else { return outside.await };
    let counts = share.is_some();
    drop(share);
    let found = outside.await;
    if counts && let Ok((threads, user)) = COUNTED.try_with(|counted| counted.borrow().place()) {
        // Where no turn comes it goes on uncounted: how many there are is bounded by the requests under way.
        let share = threads.take(&user, 1, REQUEST_TIMEOUT).await.ok();
        let _ = COUNTED.try_with(|counted| counted.borrow_mut().share = share);
    }
    found
}

impl Counted {
    fn place(&self) -> (Shares, Arc<UserInfo>) {
        (self.threads.clone(), self.user.clone())
    }
}

/// `NewTooManyRequestsError`
fn too_many() -> Status {
    const RETRY_AFTER_SECONDS: u32 = 1;
    let message = "too many large requests are waiting to be worked on, please try again later";
    let details = StatusDetails { retry_after_seconds: RETRY_AFTER_SECONDS, ..Default::default() };
    Status::failure(429, "TooManyRequests", message).with_details(details)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};

    use futures::FutureExt;

    use super::*;

    fn user(name: &str) -> Arc<UserInfo> {
        Arc::new(UserInfo::new(name, &[]))
    }

    /// Holds a thread until something is sent.
    fn hold(workers: UsersWorkers) -> (Sender<()>, tokio::task::JoinHandle<Result<(), Status>>) {
        let (release, released) = channel::<()>();
        let holding =
            tokio::spawn(async move { workers.run(async move { released.recv().map_err(|_| too_many()) }).await });
        (release, holding)
    }

    #[tokio::test]
    async fn a_thread_that_waits_for_others_does_not_count() {
        let workers = Workers::new(1, 4, 4);
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let (alice, bob) = (workers.of(user("alice")), workers.of(user("bob")));
        let waiting = tokio::spawn(async move {
            alice
                .run(async move {
                    wait(async move { released.await.map_err(|_| too_many()) }).await?;
                    Ok(COUNTED.with(|counted| counted.borrow().share.is_some()))
                })
                .await
        });
        // Only one thread may work, and it is free although the first has not ended.
        for _ in 0..3 {
            bob.run(async { Ok(()) }).await.unwrap();
        }
        assert!(!waiting.is_finished());
        release.send(()).unwrap();
        assert!(waiting.await.unwrap().unwrap(), "and then it counts again");
    }

    #[tokio::test]
    async fn work_leaves_the_thread_that_serves() {
        let workers = Workers::new(1, 0, 0).of(user("alice"));
        let here = thread::current().id();
        let there: ThreadId = workers.run(async { Ok(thread::current().id()) }).await.unwrap();
        assert_ne!(here, there);
        let error = workers.run(async { Err::<(), _>(Status::bad_request("no")) }).await.unwrap_err();
        assert_eq!(error.code, 400);
        let large = [0_u8; 16 * 1024];
        let running = workers.run(async move { Ok(large.len()) });
        assert!(size_of_val(&running) < 1024, "it is not a part of what waits for it");
        assert_eq!(running.await, Ok(16 * 1024));
    }

    #[tokio::test]
    async fn what_waits_is_bounded_and_no_user_can_fill_the_line() {
        let workers = Workers::new(1, 3, 2);
        let (alice, bob) = (workers.of(user("alice")), workers.of(user("bob")));
        // One holds the only thread without yielding, two wait for it, and the next is refused.
        let (release, holding) = hold(workers.of(user("alice")));
        while workers.0.taken() == 0 {
            tokio::task::yield_now().await;
        }
        let mut waiting: Vec<_> =
            [3, 4].into_iter().map(|number| Box::pin(alice.run(async move { Ok(number) }))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        let error = alice.run(async { Ok(5) }).await.unwrap_err();
        assert_eq!((error.code, error.details.map(|d| d.retry_after_seconds)), (429, Some(1)));
        // Another user has a place, and the next turn but one.
        let (second, bobs) = hold(workers.of(user("bob")));
        tokio::task::yield_now().await;
        assert_eq!(
            bob.run(async { Ok(6) }).now_or_never().unwrap().unwrap_err().code,
            429,
            "the whole line is bounded"
        );
        release.send(()).unwrap();
        assert_eq!(holding.await.unwrap(), Ok(()));
        assert_eq!(waiting.remove(0).await, Ok(3));
        assert!(waiting[0].as_mut().now_or_never().is_none(), "bob's turn");
        second.send(()).unwrap();
        assert_eq!((bobs.await.unwrap(), waiting.remove(0).await), (Ok(()), Ok(4)));
        assert!(bob.run(async { Ok(()) }).await.is_ok(), "room is given back");
    }
}
