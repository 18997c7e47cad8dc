//! What a command tells a person when it fails.

/// A failure, in one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was used wrongly, or the machine lacks something.
    #[error("{0}")]
    Usage(String),
    /// Input or output failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The store did not open or stopped.
    #[error("store: {0}")]
    Store(#[from] store::StoreError),
    /// A request to the API server failed.
    #[error("API server: {0}")]
    Kube(#[from] kube::Error),
    /// A part of the cluster failed.
    #[error("{part}: {error}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What it said.
        error: String,
    },
}

impl Error {
    /// A failure that the user can mend.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// A file or directory that could not be worked on.
    pub fn file(what: &str, path: &std::path::Path, error: std::io::Error) -> Self {
        Self::Usage(format!("cannot {what} {}: {error}", path.display()))
    }

    /// A failure of a part of the cluster.
    pub fn part(part: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Part { part, error: error.to_string() }
    }
}
