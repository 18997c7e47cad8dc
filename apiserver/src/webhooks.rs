//! Calls to webhooks, of admission and of conversion: where they are, connections to them that are kept, and what their answers mean
//! (`util/webhook` in apiserver, and what it uses of client-go's `rest`).
//!
//! What a webhook can do to the server is bounded here: how many calls of it are under way, how long each takes, and how much it may
//! answer. Nobody is led elsewhere by an answer.

mod answer;
mod connection;
mod place;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::Semaphore;

use crate::Registry;
pub use answer::{Answer, CallError};
pub use place::Place;

/// How many webhooks are remembered (`defaultCacheSize`).
const CLIENTS_MAX: usize = 200;
/// How many calls of one webhook are under way; others wait, within their time.
const CALLS_MAX: usize = 512;
/// How many look-ups of the name of one webhook's host are under way: each holds a thread, and none can be ended.
const LOOKUPS_MAX: usize = 2;
/// How many connections to one webhook are kept while they are not used.
const IDLE_MAX: usize = 25;
/// Those that nobody used for so long are closed (about `IdleConnTimeout` of Go's default transport).
const IDLE_TIME: Duration = Duration::from_secs(60);
/// How often a webhook that says when to come back is asked again (`maxRetries` in client-go's `rest`).
const RETRIES_MAX: usize = 10;
/// The longest time of a call that says none (`setGlobalDefaults`).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

const AGENT: &str = "kube-apiserver-admission";

/// The webhooks that were called last, each with its connections.
#[derive(Default)]
pub struct Webhooks(Mutex<Vec<Arc<Webhook>>>);

impl Webhooks {
    /// The webhook at a place, which is trusted if its certificate is from one of these authorities (PEM; those of the system if there
    /// are none).
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn at(&self, place: &Place, ca_bundle: &[u8]) -> Result<Arc<Webhook>, String> {
        let mut known = self.0.lock();
        if let Some(found) = known.iter().position(|hook| hook.place == *place && hook.ca_bundle == ca_bundle) {
            // The last that was used is the first, so that the least used goes.
            known[..=found].rotate_right(1);
            return Ok(known[0].clone());
        }
        let tls = tls::config(ca_bundle)?;
        let made = Arc::new(Webhook {
            place: place.clone(),
            ca_bundle: ca_bundle.to_vec(),
            tls,
            calls: Semaphore::new(CALLS_MAX),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            idle: Mutex::default(),
            tidying: AtomicBool::new(false),
        });
        known.insert(0, made.clone());
        known.truncate(CLIENTS_MAX);
        Ok(made)
    }
}

/// One webhook and the connections to it.
pub struct Webhook {
    place: Place,
    ca_bundle: Vec<u8>,
    tls: Arc<ClientConfig>,
    calls: Semaphore,
    lookups: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    tidying: AtomicBool,
}

type Sender = SendRequest<Full<Bytes>>;

struct Idle {
    sender: Sender,
    /// Since somebody last looked.
    used: bool,
}

impl Webhook {
    /// Posts JSON and returns the answer, whatever its code. `told` is the time that the webhook is told it has, in whole seconds;
    /// after `time` the call is over.
    ///
    /// # Errors
    /// [`CallError`] if no answer comes in time, or one longer than `answer_bytes_max`.
    pub async fn post(
        self: &Arc<Self>,
        registry: &Registry,
        body: Bytes,
        told: Duration,
        time: Duration,
        answer_bytes_max: usize,
    ) -> Result<Answer, CallError> {
        let target = format!("{}?timeout={}s", self.place.path(), told.as_secs());
        let fault = |why: String| CallError::Failed { url: format!("{}{target}", self.place.origin()), why };
        let work = async {
            let _counted = self.calls.acquire().await.map_err(|error| fault(error.to_string()))?;
            let mut retries = 0;
            loop {
                let (response, sender) = self.send(registry, &target, &body).await.map_err(fault)?;
                let answer = self.read(response, sender, answer_bytes_max).await?;
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

    /// Sends a request on a connection that is kept, or on a new one.
    async fn send(
        &self,
        registry: &Registry,
        target: &str,
        body: &Bytes,
    ) -> Result<(Response<Incoming>, Sender), String> {
        let mut request = self.request(target, body).map_err(|error| error.to_string())?;
        while let Some(mut sender) = self.take_idle() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                // It was closed meanwhile, and nothing of the request went out.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(connection::told(error.error())),
                },
            }
        }
        let mut sender = connection::open(registry, &self.place, self.tls.clone(), &self.lookups).await?;
        let response = sender.send_request(request).await.map_err(|error| connection::told(&error))?;
        Ok((response, sender))
    }

    fn request(&self, target: &str, body: &Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(HOST, self.place.authority())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json, */*")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body.clone()))
    }

    async fn read(
        self: &Arc<Self>,
        response: Response<Incoming>,
        mut sender: Sender,
        bytes_max: usize,
    ) -> Result<Answer, CallError> {
        let (head, body) = response.into_parts();
        let read = Limited::new(body, bytes_max).collect().await;
        let body = read.map_err(|error| {
            let is_long = error.is::<LengthLimitError>();
            let why = if is_long { format!("the answer is longer than {bytes_max} bytes") } else { error.to_string() };
            CallError::Unread(why)
        })?;
        // The connection is free once it has noticed that the answer is over.
        if sender.ready().await.is_ok() {
            self.keep(sender);
        }
        Ok(Answer::new(&head, body.to_bytes()))
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).map(|last| last.sender).find(|sender| !sender.is_closed())
    }

    fn keep(self: &Arc<Self>, sender: Sender) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(Idle { sender, used: true });
        }
        drop(idle);
        if !self.tidying.swap(true, Ordering::AcqRel) {
            tokio::spawn(tidy(Arc::downgrade(self)));
        }
    }
}

/// Lets go of connections that nobody uses, until there are none.
async fn tidy(webhook: Weak<Webhook>) {
    loop {
        tokio::time::sleep(IDLE_TIME).await;
        let Some(webhook) = webhook.upgrade() else { return };
        let mut idle = webhook.idle.lock();
        idle.retain_mut(|idle| std::mem::take(&mut idle.used) && !idle.sender.is_closed());
        if idle.is_empty() {
            webhook.tidying.store(false, Ordering::Release);
            return;
        }
    }
}
