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
    /// Builds the release binary, measures the project's figures and prints the table.
    Bench {
        /// Only this part: start, control-plane, custom, scheduling, idle or node.
        #[arg(default_value = "")]
        sort: String,
    },
}

fn bench(sort: &str) -> Result<(), Box<dyn std::error::Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Both name both packages: with other features in each, everything would be built twice.
    const PACKAGES: [&str; 4] = ["--package", "coracle", "--package", "tests"];
    let build = [&["build", "--release", "--bin", "coracle"], &PACKAGES[..]].concat();
    let bench = [&["bench", "--bench", "figures"], &PACKAGES[..], &["--", sort]].concat();
    for words in [build, bench] {
        let status = std::process::Command::new(&cargo).args(&words).status()?;
        if !status.success() {
            return Err(format!("cargo {}: {status}", words.join(" ")).into());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let result = match Arguments::parse().chore {
        Chore::Tidy => tidy::run(),
        Chore::Images { directory } => images::run(&directory),
        Chore::Bench { sort } => bench(&sort),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
