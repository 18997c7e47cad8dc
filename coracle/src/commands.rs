//! One file a command.

pub mod backup;
pub mod down;
pub mod encryption;
pub mod image;
pub mod kubeconfig;
pub mod server;
pub mod status;
pub mod up;

use std::fmt::Display;
use std::future::Future;
use std::io::Write;

use crate::error::Error;

/// Runs a command's future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Prints a line. A reader that went away (`coracle up | head -n 1`) must not stop what the command is about, so a line
/// that cannot be written is dropped.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
