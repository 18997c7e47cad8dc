//! Audit: what is written down of requests.

mod annotations;

pub use annotations::Annotations;
