//! Where the parts that know something in particular plug into the core: who asks, what they may do, what
//! is done to an object of one kind, and what a subresource that is not a view of its parent does.

pub mod admission;
pub mod authentication;
pub mod authorization;
pub mod endpoint;
pub mod strategy;

use std::collections::HashMap;
use std::sync::Arc;

pub use admission::{Admission, Operation};
pub use authentication::{Authenticator, Known, Notes, PeerCertificate};
pub use authorization::{Authorizer, Authorizers, Decision};
pub use endpoint::{Connecter, Creater, Endpoints};
pub use strategy::Strategy;

use api::catalogue::Resource;
use serde_json::Value;

use crate::authentication::{Anonymous, SecretUses};
use crate::front_proxy::FrontProxy;

/// Finds the strategy of a resource, or of one of its subresources (empty for the resource itself).
pub type StrategyOf = fn(&Resource, &str) -> &'static dyn Strategy;

/// Everything plugged into one server.
#[derive(Clone)]
pub struct Plugins {
    /// Asked in order until one knows who asks.
    pub authenticators: Vec<Arc<dyn Authenticator>>,
    /// Whether one may ask without credentials.
    pub anonymous: Anonymous,
    /// Asked in order until one allows or denies; no opinion at the end is a denial.
    pub authorizers: Authorizers,
    /// In order, first all that mutate, then all that validate.
    pub admission: Vec<Arc<dyn Admission>>,
    /// What a kind does about its own objects.
    pub strategy_of: StrategyOf,
    /// Resources and subresources that are not stored.
    pub endpoints: Endpoints,
    /// Whom the server believes that tell it who asks, and how it tells others; none if it does neither.
    pub front_proxy: Option<Arc<FrontProxy>>,
    /// Fixed documents by path, such as the key set of service account tokens.
    pub documents: Arc<HashMap<String, Value>>,
    /// Secrets whose tokens were used, to be labelled.
    pub secret_uses: Arc<SecretUses>,
}

impl Default for Plugins {
    /// No way in but in-process identities, nothing allowed but to `system:masters`, nothing particular to any kind.
    fn default() -> Self {
        Self {
            authenticators: Vec::new(),
            anonymous: Anonymous::Everything,
            authorizers: vec![Arc::new(authorization::Masters) as Arc<dyn Authorizer>].into(),
            admission: Vec::new(),
            strategy_of: |_, _| &strategy::Generic,
            endpoints: Endpoints::default(),
            front_proxy: None,
            documents: Arc::default(),
            secret_uses: Arc::default(),
        }
    }
}
