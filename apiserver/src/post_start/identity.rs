//! The Lease by which others see that this API server is there (`apiserver-…` in `kube-system`), and the end of those of
//! servers that are not (`IdentityLeaseComponentLabelKey` and what uses it in `pkg/controlplane/apiserver`).
//!
//! It is named after the host, so that a restart makes no other, and held by the process. It goes when the server is
//! stopped; one that a crash left behind is replaced at the next start.

use std::time::Duration;

use api::Object;
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::{ApiServer, Registry, clock};

const GROUP: &str = "coordination.k8s.io";
const NAMESPACE: &str = "kube-system";
const COMPONENT: &str = "kube-apiserver";
/// What marks the leases of API servers.
const IDENTITY_LABEL: &str = "apiserver.kubernetes.io/identity";
/// How long a lease holds.
const DURATION_SECONDS: u64 = 3_600;
/// How often it is renewed.
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// After so many renewals leases that have run out are looked for: once an hour.
const RENEWALS_BETWEEN_CLEANUPS: u32 = 360;

/// The name of the lease of a server on a host.
pub fn lease_name(host_name: &str) -> String {
    let mut hash = Sha256::new();
    for part in [host_name, COMPONENT] {
        // `cryptobyte` writes the length of each part before it, in two bytes.
        hash.update(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        hash.update(part);
    }
    format!("apiserver-{}", base32(&hash.finalize()[..16]))
}

/// Base 32 in lower case, without padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let digits = (bytes.len() * 8).div_ceil(5);
    let digit = |at: usize| (0..5).fold(0, |value, offset| value << 1 | bit(at * 5 + offset));
    (0..digits).map(|at| LETTERS[usize::from(digit(at))] as char).collect()
}

/// Holds the lease until `stop` is cancelled, and then gives it up.
pub(super) async fn hold(server: ApiServer, stop: CancellationToken) {
    let lease = Lease::new(server);
    lease.delete(&lease.name).await;
    let mut renewals = 0_u32;
    loop {
        lease.renew().await;
        if renewals.is_multiple_of(RENEWALS_BETWEEN_CLEANUPS) {
            lease.clean_up().await;
        }
        renewals = renewals.wrapping_add(1);
        if stop.run_until_cancelled(tokio::time::sleep(RENEW_INTERVAL)).await.is_none() {
            return lease.delete(&lease.name).await;
        }
    }
}

struct Lease {
    server: ApiServer,
    name: String,
    holder: String,
}

impl Lease {
    fn new(server: ApiServer) -> Self {
        let name = lease_name(&server.registry().config().host_name);
        let holder = format!("{name}_{}", clock::uuid(server.registry().clock()));
        Self { server, name, holder }
    }

    fn registry(&self) -> &Registry {
        self.server.registry()
    }

    /// Makes the lease, or says that it still holds.
    async fn renew(&self) {
        let stored = self.registry().get(GROUP, "leases", NAMESPACE, &self.name);
        let (method, url) = match &stored {
            Some(_) => (Method::PUT, url(&self.name)),
            None => (Method::POST, url("")),
        };
        let mut lease = stored.unwrap_or_else(|| {
            let lease = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Lease",
                "metadata": {"name": self.name, "namespace": NAMESPACE}, "spec": {"holderIdentity": self.holder}});
            Object::from_value(lease).expect("written as an object")
        });
        let config = self.registry().config();
        lease.set(&["metadata", "labels", IDENTITY_LABEL], COMPONENT);
        lease.set(&["metadata", "labels", "kubernetes.io/hostname"], config.host_name.as_str());
        let address = config.advertised.as_str();
        lease.set(&["metadata", "annotations", "kubernetes.io/peer-advertise-address"], address);
        lease.set(&["spec", "leaseDurationSeconds"], DURATION_SECONDS);
        lease.set(&["spec", "renewTime"], clock::micro_time(self.registry().clock().now()));
        self.send(method, url, lease.into_value().to_string()).await;
    }

    /// Deletes what servers left behind that have not been there for the time that their leases hold.
    async fn clean_up(&self) {
        let registry = self.registry();
        let now = registry.clock().now();
        let leases = registry.list_in(&registry.snapshot(), GROUP, "leases", NAMESPACE);
        let ours = |lease: &&Object| lease.str_at(&["metadata", "labels", IDENTITY_LABEL]) == COMPONENT;
        for lease in leases.iter().filter(ours).filter(|lease| has_run_out(lease, now)) {
            self.delete(lease.name()).await;
        }
    }

    async fn delete(&self, name: &str) {
        if self.registry().get(GROUP, "leases", NAMESPACE, name).is_some() {
            self.send(Method::DELETE, url(name), String::new()).await;
        }
    }

    /// What fails is tried again at the next renewal.
    async fn send(&self, method: Method, url: String, body: String) {
        if let Err(error) = self.server.ask_itself(&method, url, "application/json", body).await {
            tracing::warn!(lease = self.name, %method, %error, "the API server's own lease could not be written");
        }
    }
}

fn url(name: &str) -> String {
    let all = format!("/apis/{GROUP}/v1/namespaces/{NAMESPACE}/leases");
    if name.is_empty() { all } else { format!("{all}/{name}") }
}

/// Whether a lease no longer holds; one that says nothing of its time does not.
fn has_run_out(lease: &Object, now: Timestamp) -> bool {
    let renewed = lease.str_at(&["spec", "renewTime"]).parse::<Timestamp>().ok();
    let seconds = lease.at(&["spec", "leaseDurationSeconds"]).and_then(serde_json::Value::as_u64);
    let until = renewed.zip(seconds).and_then(|(time, seconds)| time.checked_add(Duration::from_secs(seconds)).ok());
    until.is_none_or(|until| until < now)
}

#[cfg(test)]
mod tests;
