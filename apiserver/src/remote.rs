//! What webhooks of authentication and authorisation are asked, how often, and what of their answers is kept.

pub mod cache;
pub mod retry;
pub mod review;

pub use cache::Cache;
pub use review::{Outcome, Reviewer};
