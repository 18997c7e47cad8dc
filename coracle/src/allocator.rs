//! The allocator, told to give back what is free.

use std::ffi::{c_int, c_long};

use mimalloc::MiMalloc;

/// A request makes and drops thousands of small values; with the C library's allocator that is nearly half its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc's `mi_option_e`.
const ARENA_EAGER_COMMIT: c_int = 4;
/// `mi_option_purge_delay` of mimalloc's `mi_option_e`.
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// Runs before anything is allocated: the first allocation reads the options.
#[used]
#[unsafe(link_section = ".init_array.00099")]
static SET_OPTIONS: extern "C" fn() = set_options;

/// mimalloc keeps what is freed for a while, and gives it back at a later allocation, which in a process that has
/// become idle never comes.
extern "C" fn set_options() {
    // SAFETY: the calls only write to a static table of the library, and no other thread is there yet.
    unsafe {
        mi_option_set(ARENA_EAGER_COMMIT, 0);
        mi_option_set(PURGE_DELAY, 0);
    }
}
