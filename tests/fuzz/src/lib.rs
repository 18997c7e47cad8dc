//! Properties that hold for every input, one function a fuzz target. Each takes bytes of any kind and panics where a
//! property does not hold; `tests/fuzz/run` says how they are run.

mod bodies;
mod kinds;
mod log;
mod patches;
mod rules;
mod texts;

pub use bodies::{json, protobuf, yaml};
pub use log::log;
pub use patches::{apply, json_patch, merge_patch, strategic_patch};
pub use rules::cel;
pub use texts::{quantities, selectors};
