//! The `coracle` binary: a Kubernetes cluster in one process.

#![expect(unsafe_code, reason = "mimalloc's options are set before anything is allocated")]

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A request makes and drops thousands of small values; with the C library's allocator that is nearly half its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc's `mi_option_e`.
const ARENA_EAGER_COMMIT: c_int = 4;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
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

fn main() -> ExitCode {
    match coracle::cli::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
