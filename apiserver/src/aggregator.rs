//! Aggregated APIs: what the service of an APIService serves is asked of it (kube-aggregator), and told in discovery and in the
//! OpenAPI documents together with what is served here.
//!
//! A request that comes here is authenticated and allowed. What a service can do to this server is bounded where it is asked:
//! by the request's time, by what one of its documents may hold, and by how many of them are fetched at once.

pub(crate) mod description;
pub(crate) mod discovery;
mod fetch;
mod handler;
mod request;
mod transport;
mod upgrade;

use std::sync::Arc;

use arc_swap::ArcSwap;

use description::{Described, Description};
use discovery::{Discovered, Known};
pub(crate) use fetch::{Asked, FetchError, Fetched, fetch};
pub(crate) use handler::serve;
pub(crate) use request::escape_key;
use transport::Transports;

/// What is kept of services between requests.
#[derive(Default)]
pub(crate) struct Aggregator {
    transports: Transports,
    discovered: ArcSwap<Discovered>,
    described: ArcSwap<Described>,
}

impl Aggregator {
    /// The connections to services.
    fn transports(&self) -> &Transports {
        &self.transports
    }

    /// What services have.
    pub(crate) fn discovered(&self) -> Arc<Discovered> {
        self.discovered.load_full()
    }

    /// Keeps what the service of an APIService has, or forgets it.
    pub(crate) fn set_discovered(&self, name: &str, known: Option<Known>) {
        let known = known.map(Arc::new);
        self.discovered.rcu(|before| {
            if known.is_none() && !before.contains_key(name) {
                return before.clone();
            }
            let mut after = Discovered::clone(before);
            match &known {
                Some(known) => after.insert(name.to_string(), known.clone()),
                None => after.remove(name),
            };
            Arc::new(after)
        });
    }

    /// The OpenAPI documents of services.
    pub(crate) fn described(&self) -> Arc<Described> {
        self.described.load_full()
    }

    /// Keeps the documents of the service of an APIService, or forgets them.
    pub(crate) fn set_described(&self, name: &str, description: Option<Arc<Description>>) {
        self.described.rcu(|before| {
            if description.is_none() && !before.contains_key(name) {
                return before.clone();
            }
            let mut after = Described::clone(before);
            match &description {
                Some(description) => after.insert(name.to_string(), description.clone()),
                None => after.remove(name),
            };
            Arc::new(after)
        });
    }
}
