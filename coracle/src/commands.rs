//! One file a command.

pub mod down;
pub mod image;
pub mod kubeconfig;
pub mod server;
pub mod status;
pub mod up;

use std::future::Future;

use crate::error::Error;

/// Runs a command's future on a runtime of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
