//! Where tests find what was recorded of the reference implementation.

use std::path::{Path, PathBuf};

/// A file or directory of `tests/facts`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/facts").join(name)
}

/// A file of `tests/facts`.
#[track_caller]
pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
