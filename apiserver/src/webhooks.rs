//! Calls to webhooks, of admission and of conversion: where they are, connections to them that are kept, and what their answers mean
//! (`util/webhook` in apiserver, and what it uses of client-go's `rest`).
//!
//! What a webhook can do to the server is bounded here: how many calls of it are under way, how long each takes, and how much it may
//! answer. Nobody is led elsewhere by an answer.

mod answer;
mod place;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, Method, Request};
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;

use crate::outgoing::{self, Client, ClientError, Connector, Credentials, Identities, Identity, Reply, Trust};
use crate::registry::WeakRegistry;
use crate::server::loopback;
use crate::{Registry, service_endpoint};
pub use answer::{Answer, CallError};
pub use place::Place;

/// How many webhooks are remembered (`defaultCacheSize`).
const CLIENTS_MAX: usize = 200;
/// How often a webhook that says when to come back is asked again (`maxRetries` in client-go's `rest`).
const RETRIES_MAX: usize = 10;
/// The longest time of a call that says none (`setGlobalDefaults`).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

const AGENT: &str = "kube-apiserver-admission";
/// Where this server is for itself.
const ITSELF: &str = "kubernetes.default.svc:443";
const STOPPED: &str = "the server is stopped";

/// The webhooks that were called last, each with its connections.
#[derive(Default)]
pub struct Webhooks(Mutex<Vec<Arc<Webhook>>>);

impl Webhooks {
    /// The webhook at a place, which is trusted if its certificate is from one of these authorities (PEM; those of the system if there
    /// are none), and called as one of these identities.
    ///
    /// # Errors
    /// What is wrong with the authorities, or with the identity.
    pub fn at(
        &self,
        registry: &Registry,
        place: &Place,
        ca_bundle: &[u8],
        identities: Option<&Arc<Identities>>,
    ) -> Result<Arc<Webhook>, String> {
        let mut known = self.0.lock();
        if let Some(found) = known.iter().position(|hook| hook.is_of(place, ca_bundle, identities)) {
            // The last that was used is the first, so that the least used goes.
            known[..=found].rotate_right(1);
            return Ok(known[0].clone());
        }
        let end = End::new(registry, place, ca_bundle, identities)?;
        let (identities, ca_bundle) = (identities.cloned(), ca_bundle.to_vec());
        let made = Arc::new(Webhook { place: place.clone(), ca_bundle, identities, end });
        known.insert(0, made.clone());
        known.truncate(CLIENTS_MAX);
        Ok(made)
    }
}

/// Where calls of a webhook end.
enum End {
    /// Elsewhere.
    Away(Box<Caller>),
    /// At this very server, which leads them on if the path is that of an aggregated API.
    Here(WeakRegistry),
}

/// Who calls a webhook that is elsewhere.
struct Caller {
    client: Client,
    credentials: Credentials,
    /// As whom, if as another.
    acting: HeaderMap,
}

impl End {
    /// (`NewDefaultAuthenticationInfoResolverWrapper`)
    fn new(
        registry: &Registry,
        place: &Place,
        ca_bundle: &[u8],
        identities: Option<&Arc<Identities>>,
    ) -> Result<Self, String> {
        let target = place.target();
        if target == ITSELF {
            return Ok(Self::Here(registry.weak()));
        }
        let identity = identities.map_or_else(|| Ok(Identity::default()), |identities| identities.of(&target));
        let Identity { shown, credentials, acting } = identity.map_err(|error| error.to_string())?;
        let client = client(registry, place, ca_bundle, shown)?;
        Ok(Self::Away(Box::new(Caller { client, credentials, acting })))
    }
}

/// A client for one webhook (`ClientManager.hookClientConfig`).
fn client(
    registry: &Registry,
    place: &Place,
    ca_bundle: &[u8],
    shown: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<Client, String> {
    // Several connections reach several ends; on this machine there is but one.
    let protocols = if place.is_on_this_machine() { outgoing::HTTP } else { outgoing::HTTP_1 };
    let tls = outgoing::tls_config(Trust::Authorities(ca_bundle), shown, protocols)?;
    let name = ServerName::try_from(place.server_name()).map_err(|error| format!("tls: {error}"))?;
    let connector = Connector::new(tls, Some(name));
    let Place::Service { namespace, name, port, .. } = place else { return Ok(Client::new(connector)) };
    let (registry, namespace, name, port) = (registry.weak(), namespace.clone(), name.clone(), *port);
    Ok(Client::new(connector.to(move || {
        let registry = registry.upgrade().ok_or(STOPPED)?;
        let found = service_endpoint::resolve(&registry, &namespace, &name, port).map_err(|error| error.to_string())?;
        Ok((found.host, found.port))
    })))
}

impl End {
    async fn exchange(&self, mut request: Request<Body>, bytes_max: usize) -> Result<Reply, ClientError> {
        let failed = |why: String| ClientError::Failed(why);
        match self {
            Self::Here(registry) => {
                let registry = registry.upgrade().ok_or_else(|| failed(STOPPED.into()))?;
                loopback::exchange(registry, request, bytes_max).await
            }
            Self::Away(caller) => {
                let Caller { client, credentials, acting } = &**caller;
                let sent = credentials.authorization().await.map_err(|error| failed(error.to_string()))?;
                if let Some(sent) = sent {
                    request.headers_mut().insert(AUTHORIZATION, sent);
                }
                request.headers_mut().extend(acting.clone());
                client.exchange(request, bytes_max).await
            }
        }
    }
}

/// One webhook and the connections to it.
pub struct Webhook {
    place: Place,
    ca_bundle: Vec<u8>,
    identities: Option<Arc<Identities>>,
    end: End,
}

impl Webhook {
    fn is_of(&self, place: &Place, ca_bundle: &[u8], identities: Option<&Arc<Identities>>) -> bool {
        let known = self.identities.as_ref().map(Arc::as_ptr);
        self.place == *place && self.ca_bundle == ca_bundle && known == identities.map(Arc::as_ptr)
    }

    /// Posts JSON and returns the answer, whatever its code. `told` is the time that the webhook is told it has, in whole seconds;
    /// after `time` the call is over.
    ///
    /// # Errors
    /// [`CallError`] if no answer comes in time, or one longer than `answer_bytes_max`.
    pub async fn post(
        &self,
        body: Bytes,
        told: Duration,
        time: Duration,
        answer_bytes_max: usize,
    ) -> Result<Answer, CallError> {
        let url = format!("{}{}?timeout={}s", self.place.origin(), self.place.path(), told.as_secs());
        let fault = |why: String| CallError::Failed { url: url.clone(), why };
        let work = async {
            let mut retries = 0;
            loop {
                let request = self.request(&url, &body).map_err(|error| fault(error.to_string()))?;
                let reply = self.end.exchange(request, answer_bytes_max).await.map_err(|error| match error {
                    ClientError::TooLarge(_) => CallError::Unread(error.to_string()),
                    ClientError::Unread(why) => CallError::Unread(why),
                    other => fault(other.to_string()),
                })?;
                let answer = Answer::from(reply);
                match answer.come_back().filter(|_| retries < RETRIES_MAX) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Ok(answer),
                }
                retries += 1;
            }
        };
        match tokio::time::timeout(time, work).await {
            Ok(done) => done,
            Err(_) => Err(fault("context deadline exceeded".into())),
        }
    }

    fn request(&self, url: &str, body: &Bytes) -> Result<Request<Body>, http::Error> {
        Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(HOST, self.place.authority())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json, */*")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.clone()))
    }
}
