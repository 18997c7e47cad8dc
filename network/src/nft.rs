//! Running `nft`: one transaction a call, all or nothing.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How much of the program's complaint an error quotes.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// Why a transaction failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The program cannot be run.
    #[error("nft cannot be run (is nftables installed?): {0}")]
    Run(#[from] std::io::Error),
    /// The kernel or the program refused the transaction.
    #[error("nft: {0}")]
    Refused(String),
}

/// Applies one transaction, written in the language of `nft -f`.
///
/// # Errors
/// [`Error::Refused`] with the program's complaint; then nothing of the transaction was applied.
pub(crate) async fn apply(transaction: &str) -> Result<(), Error> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    let write = async {
        // nft reads to the end before it complains; a broken pipe is told better by its message.
        let _ = stdin.write_all(transaction.as_bytes()).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let end = message.char_indices().map(|(at, _)| at).take_while(|at| *at < MESSAGE_BYTES_MAX).last().unwrap_or(0);
    Err(Error::Refused(message.get(..=end).unwrap_or(&message).trim().to_owned()))
}

/// The output of a command that lists, item by item.
///
/// # Errors
/// [`Error::Refused`] if there is no such thing, or what is printed is no JSON.
pub(crate) async fn list(command: &[&str]) -> Result<Vec<Value>, Error> {
    let output = Command::new("nft").args(["--json", "--numeric"]).args(command).kill_on_drop(true).output().await?;
    if !output.status.success() {
        return Err(Error::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let mut document: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| Error::Refused(format!("its JSON: {error}")))?;
    match document["nftables"].take() {
        Value::Array(items) => Ok(items),
        _ => Ok(Vec::new()),
    }
}
