//! Certificate signing requests: those of nodes are approved, approved ones are signed, and old ones go
//! (`pkg/controller/certificates`).

mod approving;
mod cleaner;
mod rules;
mod signing;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::{Action, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use crate::context::Context;
use crate::error::Result;

pub(crate) use approving::run as run_approving;
pub(crate) use cleaner::run as run_cleaner;
pub(crate) use signing::run as run_signing;

/// What a request says of its subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requested {
    /// The name of the user or host.
    pub common_name: String,
    /// The groups.
    pub organizations: Vec<String>,
    /// How many names of hosts.
    pub dns_names: usize,
    /// How many addresses of people.
    pub emails: usize,
    /// How many addresses of hosts.
    pub addresses: usize,
    /// How many names of services.
    pub uris: usize,
}

type Read = dyn Fn(&[u8]) -> Result<Requested, String> + Send + Sync;
type Sign = dyn Fn(&[u8], &[String], Duration) -> Result<String, String> + Send + Sync;
type End = dyn Fn(&[u8]) -> Option<Timestamp> + Send + Sync;

/// Reads requests and certificates, and signs; all are PEM.
#[derive(Clone)]
pub struct Authority {
    read: Arc<Read>,
    sign: Arc<Sign>,
    end: Arc<End>,
}

impl Authority {
    /// An authority that has `read` say what a request asks for, `sign` make a certificate of it with these usages for
    /// so long, and `end` tell when a certificate ends.
    pub fn new(
        read: impl Fn(&[u8]) -> Result<Requested, String> + Send + Sync + 'static,
        sign: impl Fn(&[u8], &[String], Duration) -> Result<String, String> + Send + Sync + 'static,
        end: impl Fn(&[u8]) -> Option<Timestamp> + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), sign: Arc::new(sign), end: Arc::new(end) }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

/// Works with `sync` on the requests that are `meant`, until the context is cancelled; on none where there is no authority.
async fn follow_requests<F, Fut>(
    context: Context,
    name: &'static str,
    workers: usize,
    meant: fn(&CertificateSigningRequest) -> bool,
    sync: F,
) where
    F: Fn(Context, Authority, CertificateSigningRequest) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Action>> + Send + 'static,
{
    let Some(authority) = context.config.authority.clone() else { return };
    let queue = context.queue();
    let requests = context.informers.of::<CertificateSigningRequest>();
    let to = queue.clone();
    requests.on_change(move |change| {
        let request = change.object();
        if !change.is_delete() && meant(request) {
            to.add(ObjectKey::of(&**request));
        }
    });
    requests.wait_synced().await;
    let (of, sync) = (context.clone(), Arc::new(sync));
    context
        .run(name, queue, workers, move |key| {
            let (context, request, authority) = (of.clone(), requests.get_key(&key), authority.clone());
            let sync = sync.clone();
            async move {
                match request {
                    Some(request) => sync(context, authority, Arc::unwrap_or_clone(request)).await,
                    None => Ok(Action::Done),
                }
            }
        })
        .await;
}

/// Whether a condition of this type is true.
fn has(request: &CertificateSigningRequest, type_: &str) -> bool {
    let conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether there is a condition of this type: a decision is one whatever its status.
fn decided(request: &CertificateSigningRequest, type_: &str) -> bool {
    let mut conditions = request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == type_)
}

fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    request.status.as_ref().and_then(|status| status.certificate.as_ref()).map_or(&[], |bytes| &bytes.0)
}

#[cfg(test)]
mod tests;
