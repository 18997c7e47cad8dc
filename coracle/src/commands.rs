//! One file a command.

pub(crate) mod backup;
pub(crate) mod down;
pub(crate) mod encryption;
pub(crate) mod image;
pub(crate) mod kubeconfig;
pub(crate) mod server;
pub(crate) mod status;
pub(crate) mod up;

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
