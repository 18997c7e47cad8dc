//! Why a sync failed.

use thiserror::Error;

/// Why a sync failed; the key comes again after its back-off.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// An object could not be written as JSON, or read from it.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// An object says something that cannot be done.
    #[error("{0}")]
    Invalid(String),
    /// A file of a local volume could not be removed.
    #[error("{path}: {source}")]
    File {
        /// The file or directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A result of this crate.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The API server's answer, if that is what failed.
    pub(crate) fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api(error) => status(error),
            _ => None,
        }
    }
}

/// The status in an error.
pub(crate) fn status(error: &kube::Error) -> Option<&kube::core::Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Whether the object does not exist.
pub(crate) fn is_not_found(error: &kube::Error) -> bool {
    status(error).is_some_and(|s| s.is_not_found())
}

/// Whether an object of this name exists already.
pub(crate) fn is_already_exists(error: &kube::Error) -> bool {
    status(error).is_some_and(|s| s.is_already_exists())
}

/// Whether somebody else changed the object first.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    status(error).is_some_and(|s| s.is_conflict() && !s.is_already_exists())
}

/// Whether a create failed because its namespace is on its way out, in which case there is nothing to do.
pub(crate) fn is_namespace_terminating(error: &kube::Error) -> bool {
    let causes = status(error).and_then(|s| s.details.as_ref()).map(|d| d.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|c| c.reason == "NamespaceTerminating")
}

/// What an event says of an error: the message of the API server where there is one.
pub(crate) fn message(error: &kube::Error) -> String {
    status(error).map_or_else(|| error.to_string(), |s| s.message.clone())
}

/// Turns "not found" into success.
pub(crate) fn ignore_not_found<T>(outcome: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
