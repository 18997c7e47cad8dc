//! The harness: a control plane in this process, or a real cluster with the real kubectl.

pub mod kubectl;
pub mod real;
