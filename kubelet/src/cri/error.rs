//! Errors of the runtime.

use tonic::{Code, Status};

/// An error of the runtime, or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be reached.
    #[error("cannot reach the container runtime: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// The runtime answered with an error.
    #[error("rpc error: code = {code:?} desc = {message}")]
    Call {
        /// gRPC code.
        code: Code,
        /// The runtime's own message.
        message: String,
    },
    /// The runtime's answer lacks a part that the protocol promises.
    #[error("the runtime's answer lacks {0}")]
    Missing(&'static str),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Call { code: status.code(), message: status.message().to_owned() }
    }
}

impl Error {
    /// Whether the object asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Call { code: Code::NotFound, .. })
    }

    /// Whether there was no answer, or no end, in time; the runtime and the connection say so in words of their own.
    pub fn is_timeout(&self) -> bool {
        let Error::Call { code, message } = self else { return false };
        let message = message.to_ascii_lowercase();
        *code == Code::DeadlineExceeded || message.contains("timed out") || message.contains("timeout")
    }

    /// The message alone, without the gRPC code.
    pub fn message(&self) -> String {
        match self {
            Error::Call { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}
