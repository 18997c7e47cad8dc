//! Servers elsewhere that the API server asks: webhooks of authentication and authorisation, issuers of tokens.

pub mod cache;
pub mod client;
pub mod kubeconfig;
pub mod retry;
pub mod review;

pub use cache::Cache;
pub use client::{Remote, RemoteError, Reply};
pub use kubeconfig::{Kubeconfig, KubeconfigError};
pub use review::{Outcome, Reviewer};
