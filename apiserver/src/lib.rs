//! apiserver

pub mod certificates;
