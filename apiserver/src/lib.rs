//! The API server: HTTP in, store out. A request becomes a [`RequestInfo`], goes through the chain
//! (audit, authentication, impersonation, limits, authorisation) and ends in one file a verb.
//!
//! Nothing here knows a kind: what differs between resources is a row of the catalogue, or a small
//! function plugged in through [`plug`].

pub mod admission;
pub mod authentication;
pub mod authorization;
pub mod bootstrap;
pub mod certificates;
pub mod clock;
pub mod config;
pub mod context;
pub mod plug;
pub mod registry;
pub mod request;

pub use config::Config;
pub use context::Context;
pub use registry::Registry;
pub use request::RequestInfo;
