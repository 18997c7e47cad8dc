//! Connections to the service of an aggregated API: kept, over HTTP/2 where the other end knows it, and showing the front proxy's
//! certificate (`BuildTransportConfig` in kube-aggregator).

use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;

use crate::Registry;
use crate::group_versions::Remote;
use crate::outgoing::{self, Client, Connector, Fault, Stream, Trust};

/// How many services have connections that are kept.
const TRANSPORTS_MAX: usize = 200;

/// The transports of the services that were asked last.
#[derive(Default)]
pub(crate) struct Transports(Mutex<Vec<Arc<Transport>>>);

impl Transports {
    /// The transport to what serves this.
    ///
    /// # Errors
    /// What is wrong with the authorities that it is to be of.
    pub(crate) fn of(&self, registry: &Registry, remote: &Remote) -> Result<Arc<Transport>, String> {
        let mut known = self.0.lock();
        if let Some(found) = known.iter().position(|transport| transport.is_of(remote)) {
            // The last that was used is the first, so that the least used goes.
            known[..=found].rotate_right(1);
            return Ok(known[0].clone());
        }
        let made = Arc::new(Transport::new(registry, remote)?);
        known.insert(0, made.clone());
        known.truncate(TRANSPORTS_MAX);
        Ok(made)
    }

    /// Lets go of the connections of one that failed; requests that are under way keep theirs.
    pub(crate) fn forget(&self, transport: &Arc<Transport>) {
        self.0.lock().retain(|known| !Arc::ptr_eq(known, transport));
    }
}

/// The connections to one service under one set of authorities.
pub(crate) struct Transport {
    host: String,
    ca_bundle: Vec<u8>,
    insecure: bool,
    client: Client,
    /// For a connection that is to change its protocol, which only one over HTTP/1.1 can.
    upgrading: Connector,
}

impl Transport {
    fn new(registry: &Registry, remote: &Remote) -> Result<Self, String> {
        let trust = match remote.insecure {
            true => Trust::Anybody,
            false => Trust::Authorities(&remote.ca_bundle),
        };
        let shown = registry.plugins().front_proxy.as_ref().map(|front_proxy| front_proxy.shown());
        let host = remote.service.host();
        let name = ServerName::try_from(host.clone()).map_err(|error| format!("tls: {error}"))?;
        let connector = |protocols: &[&str]| {
            let config = outgoing::tls_config(trust, shown.clone(), protocols)?;
            Ok::<_, String>(Connector::new(config, Some(name.clone())))
        };
        let (client, upgrading) = (Client::new(connector(outgoing::HTTP)?), connector(outgoing::HTTP_1)?);
        Ok(Self { host, ca_bundle: remote.ca_bundle.clone(), insecure: remote.insecure, client, upgrading })
    }

    fn is_of(&self, remote: &Remote) -> bool {
        self.insecure == remote.insecure && self.ca_bundle == remote.ca_bundle && self.host == remote.service.host()
    }

    /// Sends a request, whose address has a scheme and an authority.
    ///
    /// # Errors
    /// Why there is no answer, in Go's words.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, String> {
        self.client.request(request).await.map_err(|fault| fault.told)
    }

    /// A connection of its own, which speaks HTTP/1.1.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn dial(&self, uri: &Uri) -> Result<Stream, Fault> {
        self.upgrading.dial(uri).await
    }
}
