//! Chores in Rust: `cargo xtask tidy`, `cargo xtask images`, `cargo xtask bench`.

mod images;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Chores of the project")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Checks what a machine can check of the layout and the rules of the code.
    Tidy,
    /// Packs test images (busybox, nginx, redis) from Debian packages into OCI archives.
    Images {
        /// Where the archives go.
        #[arg(default_value = "target/images")]
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Tidy => tidy::run(),
        Chore::Images { directory } => images::run(&directory),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
