//! The API server: HTTP in, store out. A request becomes a [`RequestInfo`], goes through the stages of the [`chain`] and ends
//! in one file a verb.
//!
//! Nothing here knows a kind: what differs between resources is a row of the catalogue, or a small
//! function plugged in through [`plug`].

pub mod admission;
mod aggregator;
pub mod allocator;
pub mod answer;
pub mod assembly;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod body;
pub mod bootstrap;
pub mod certificates;
pub mod chain;
pub mod clock;
pub mod codec;
pub mod config;
pub mod content;
pub mod context;
pub mod conversion;
pub mod documents;
pub mod encryption;
pub mod flow_control;
pub mod followed;
pub mod front_proxy;
pub mod group_versions;
pub mod list;
pub mod managed;
pub mod matching;
mod memo;
pub mod metrics;
pub mod options;
pub mod outgoing;
mod pieces;
pub mod plug;
pub mod post_start;
pub mod proxy;
pub mod registry;
pub mod remote;
pub mod request;
pub mod selection;
pub mod server;
mod service_endpoint;
mod shares;
pub mod state;
pub mod strategy;
pub mod transform;
pub mod verbs;
pub mod watch;
pub mod webhooks;
pub mod workers;

pub use crate::metrics::Build;
pub use config::Config;
pub use context::Context;
pub use registry::Registry;
pub use request::RequestInfo;
pub use server::ApiServer;
