//! Giving memory back that is free.
//!
//! mimalloc keeps what is freed for a while, which saves a busy process from asking the system for the same pages again
//! and again. It gives them back at a later allocation of the same thread only, which in an idle process never comes;
//! and what one thread freed of another's stays that one's until it looks. So once the process has worked and is idle
//! again, each thread of the runtime is woken and looks when it parks. A process that does nothing wakes nobody.

#![expect(unsafe_code, reason = "the allocator and the clocks of the system are called")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

// What is called below is linked with it.
use mimalloc as _;
use tokio::runtime::{Builder, Runtime};

/// How long a process does little until it is idle.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// A process does little when it uses less than this share of a core.
const IDLE_SHARE: f64 = 0.1;
/// So much work of a thread leaves something that is worth giving back.
const WORTHWHILE: Duration = Duration::from_millis(10);
/// How often a thread that parks looks at what it used: the system is asked for that.
const LOOK_EVERY: Duration = Duration::from_millis(100);

unsafe extern "C" {
    fn mi_collect(force: bool);
}

thread_local! {
    static THREAD: Cell<Parked> = const { Cell::new(Parked { looked: Duration::ZERO, given: Duration::ZERO, round: 0 }) };
}

/// What a thread of the runtime knew when it parked last.
#[derive(Clone, Copy)]
struct Parked {
    /// When it looked at what it used.
    looked: Duration,
    /// What it had used when it gave back what was free.
    given: Duration,
    /// The round in which it did.
    round: u64,
}

#[derive(Default)]
struct State {
    /// How often everybody was to give back.
    round: AtomicU64,
    /// Whether somebody worked since.
    worked: AtomicBool,
}

/// A runtime that gives memory back when it is idle.
///
/// # Errors
/// If the system gives it no threads.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    let state = Arc::new(State::default());
    let waiting = state.clone();
    let (handle, runtime) = std::sync::mpsc::channel::<tokio::runtime::Handle>();
    let run = move || {
        if let Ok(runtime) = runtime.recv() {
            give_back(&waiting, &runtime);
        }
    };
    let thread = std::thread::Builder::new().name("memory".into()).stack_size(64 * 1024).spawn(run)?;
    let watcher = thread.thread().clone();
    let runtime = Builder::new_multi_thread().enable_all().on_thread_park(move || parks(&state, &watcher)).build()?;
    // The thread waits for it.
    let _ = handle.send(runtime.handle().clone());
    Ok(runtime)
}

/// A thread of the runtime has nothing to do.
fn parks(state: &State, watcher: &Thread) {
    let Some(now) = clock(libc::CLOCK_MONOTONIC_COARSE) else { return };
    let mut thread = THREAD.get();
    let round = state.round.load(Ordering::Relaxed);
    if thread.round != round {
        collect();
        let given = clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default();
        THREAD.set(Parked { looked: now, given, round });
        return;
    }
    if now < thread.looked + LOOK_EVERY {
        return;
    }
    thread.looked = now;
    THREAD.set(thread);
    let used = clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default();
    if used.saturating_sub(thread.given) > WORTHWHILE && !state.worked.swap(true, Ordering::Relaxed) {
        watcher.unpark();
    }
}

/// Waits until there was work and the process is idle again, and lets everybody give back then; for ever.
fn give_back(state: &State, runtime: &tokio::runtime::Handle) {
    loop {
        while !state.worked.load(Ordering::Relaxed) {
            std::thread::park();
        }
        let mut before = clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default();
        loop {
            std::thread::sleep(IDLE_AFTER);
            let used = clock(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or_default();
            if used.saturating_sub(before).as_secs_f64() < IDLE_SHARE * IDLE_AFTER.as_secs_f64() {
                break;
            }
            before = used;
        }
        state.round.fetch_add(1, Ordering::Relaxed);
        state.worked.store(false, Ordering::Relaxed);
        // Each wakes a thread, which parks again.
        for _ in 0..runtime.metrics().num_workers() {
            runtime.spawn(std::future::ready(()));
        }
        std::thread::sleep(LOOK_EVERY);
        // What they left, and what threads left that have ended.
        collect();
    }
}

fn collect() {
    // SAFETY: may be called at any time, from any thread.
    unsafe { mi_collect(true) };
}

/// What a clock of the system says; none if it does not.
fn clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the place that it is given.
    let told = unsafe { libc::clock_gettime(clock, &raw mut time) };
    (told == 0).then_some(())?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}
