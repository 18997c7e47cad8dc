//! The figures of the project, measured: `cargo xtask bench`. Prints a table; nothing here is a timed test.

mod control_plane;
mod custom;
mod guards;
mod http;
mod load;
mod measure;
mod node;
mod objects;
mod scheduling;
mod server;
mod start;
mod webhook;

use std::process::ExitCode;

use measure::Figures;

/// How many pods the large figures use.
const PODS: usize = 12_000;
/// Rounds of each repeated figure.
const ROUNDS: usize = 3;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let mut figures = Figures::new(&wanted);
    let mut failed = false;
    // A part that fails says so in the table, and the others are still measured.
    let parts: Vec<&str> = PARTS.into_iter().filter(|part| figures.wants(part)).collect();
    for part in parts {
        if let Err(failure) = runtime.block_on(measure_part(part, &mut figures)) {
            figures.skipped(part, &failure.to_string());
            failed = true;
        }
    }
    figures.end();
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The parts that can be asked for one by one.
const PARTS: [&str; 7] = ["start", "control-plane", "custom", "guards", "scheduling", "idle", "node"];

async fn measure_part(part: &str, figures: &mut Figures) -> Result<(), Failure> {
    match part {
        "start" => start::first(figures).await,
        "control-plane" => control_plane::all(figures).await,
        "custom" => custom::all(figures).await,
        "guards" => guards::all(figures).await,
        "scheduling" => scheduling::bound(figures).await,
        "idle" => start::idle(figures).await,
        "node" => node::all(figures).await,
        other => Err(format!("there is no part {other}").into()),
    }
}
