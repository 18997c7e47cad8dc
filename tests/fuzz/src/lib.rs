//! Properties that hold for every input, one function a fuzz target. Each takes bytes of any kind and panics where a
//! property does not hold; `tests/fuzz/run` says how they are run.

mod bodies;
mod kinds;
mod log;
mod patches;
mod rules;
mod texts;

/// Lets the panics of the YAML scanner pass, which the decoder catches; others still end the run, as they reach libFuzzer.
pub fn bear_caught_panics() {
    drop(std::panic::take_hook());
    std::panic::set_hook(Box::new(|panic| {
        if !panic.location().is_some_and(|place| place.file().contains("libyaml-safer")) {
            eprintln!("{panic}");
        }
    }));
}

pub use bodies::{json, protobuf, yaml};
pub use log::log;
pub use patches::{apply, json_patch, merge_patch, strategic_patch};
pub use rules::cel;
pub use texts::{quantities, selectors};
