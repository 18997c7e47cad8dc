//! The allocator, and giving back what is free.

use std::ffi::{c_int, c_long};
use std::time::Duration;

use mimalloc::MiMalloc;

/// A request makes and drops thousands of small values; with the C library's allocator that is nearly half its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc's `mi_option_e`.
const ARENA_EAGER_COMMIT: c_int = 4;
/// How often it is looked at whether the process has become idle.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A process is idle when it uses less than this share of a core.
const IDLE_SHARE: f64 = 0.1;
/// So much work leaves something that is worth giving back.
const WORTHWHILE: Duration = Duration::from_millis(10);

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
    fn mi_collect(force: bool);
}

/// Runs before anything is allocated: the first allocation reads the options.
#[used]
#[unsafe(link_section = ".init_array.00099")]
static SET_OPTIONS: extern "C" fn() = set_options;

extern "C" fn set_options() {
    // SAFETY: the call only writes to a static table of the library, and no other thread is there yet.
    unsafe {
        mi_option_set(ARENA_EAGER_COMMIT, 0);
    }
}

/// Gives memory back whenever the process has worked and is idle again. mimalloc keeps what is freed for a while, which
/// saves a busy process from asking the system for the same pages again and again; but it gives them back at a later
/// allocation only, which in an idle process never comes.
pub fn give_back_when_idle() {
    let watcher = std::thread::Builder::new().name("memory".into()).stack_size(64 * 1024);
    let run = || {
        let (mut last, mut given) = (Duration::ZERO, Duration::ZERO);
        loop {
            std::thread::sleep(LOOK_EVERY);
            let Some(used) = cpu_time() else { return };
            let is_idle = (used - last).as_secs_f64() < IDLE_SHARE * LOOK_EVERY.as_secs_f64();
            last = used;
            if is_idle && used - given > WORTHWHILE {
                // SAFETY: may be called at any time, from any thread.
                unsafe { mi_collect(true) };
                given = cpu_time().unwrap_or(used);
            }
        }
    };
    if let Err(error) = watcher.spawn(run) {
        tracing::warn!(%error, "free memory is kept");
    }
}

/// What the process has used of processors so far; none if the system does not tell.
fn cpu_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the place that it is given.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    (told == 0).then_some(())?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}
