//! The `coracle` binary: a Kubernetes cluster in one process.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// A request makes and drops thousands of small values; with the C library's allocator that is nearly half its time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match coracle::cli::Arguments::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
