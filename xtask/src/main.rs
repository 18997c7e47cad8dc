//! Chores in Rust: `cargo xtask tidy`, `cargo xtask codegen`, `cargo xtask images`, `cargo xtask bench`.

mod codegen;
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
    /// Writes the data files that come out of a Kubernetes source tree, or checks that they agree.
    Codegen {
        /// The source tree.
        #[arg(long, value_name = "DIR", required_unless_present = "check")]
        from: Option<PathBuf>,
        /// Checks the files as they are and needs no tree.
        #[arg(long, conflicts_with_all = ["from", "into"])]
        check: bool,
        /// Where the files go instead of into the project.
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Packs test images (busybox, nginx, redis) from Debian packages into OCI archives.
    Images {
        /// Where the archives go.
        #[arg(default_value = "target/images")]
        directory: PathBuf,
    },
    /// Builds the release binary, measures the project's figures and prints the table.
    Bench {
        /// Only this part: start, control-plane, custom, guards, scheduling, idle or node.
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
        Chore::Codegen { from: Some(from), into, .. } => codegen::write(&from, into.as_deref()),
        Chore::Codegen { .. } => codegen::check(),
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
