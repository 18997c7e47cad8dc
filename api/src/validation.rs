//! What makes an object valid: pure functions that return every error at once.

pub mod metadata;
