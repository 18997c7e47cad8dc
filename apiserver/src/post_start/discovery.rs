//! Asks servers of aggregated APIs what they have: when something is said of their APIServices, and each minute (`discoveryManager` in
//! kube-aggregator).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::api_services::prober;
use super::rounds::{self, Outcome, Pace};
use crate::aggregator::discovery::{self, ACCEPT, Known, VersionDiscovery, Versions, Whole};
use crate::aggregator::{Asked, Fetched, fetch};
use crate::group_versions::{KEYS, Remote, ServiceReference};
use crate::registry::News;
use crate::{ApiServer, Registry};

/// How many are asked at once.
const WORKERS: usize = 2;
/// How often each is asked (`discoveryRefreshInterval`), which is also the longest time after a failure.
const REFRESH: Duration = Duration::from_secs(60);
/// How long after a failure one is asked again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may be.
const BYTES_MAX: usize = 8 << 20;

/// What is known while the server runs.
#[derive(Default)]
struct Asking {
    /// When something was last said of each APIService: what a service said before does not count.
    marked: Mutex<HashMap<String, Instant>>,
    /// What each service said.
    cached: Mutex<BTreeMap<ServiceReference, Cached>>,
}

#[derive(Clone)]
struct Cached {
    versions: Arc<Versions>,
    tag: Option<String>,
    /// When it was asked.
    asked: Instant,
}

/// Follows APIServices until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    let asking = Asking::default();
    let pace = Pace { workers: WORKERS, delay: RETRY_DELAY, delay_max: REFRESH };
    let names = |_, news| {
        let names: Vec<String> = match news {
            News::State(_) => {
                let table = registry.group_versions();
                table.remotes().iter().map(|remote| remote.api_service.clone()).collect()
            }
            News::Events(happened) => {
                happened.iter().filter_map(|event| event.key().rsplit('/').next()).map(str::to_string).collect()
            }
        };
        let now = registry.clock().instant();
        let mut marked = asking.marked.lock();
        for name in &names {
            marked.insert(name.clone(), now);
        }
        names
    };
    rounds::run(registry, vec![registry.follow(KEYS)], pace, || true, names, |name| ask(registry, &asking, name)).await;
}

async fn ask(registry: &Registry, asking: &Asking, name: String) -> Outcome {
    let remote = registry.group_versions().named(&name).and_then(|found| found.remote.clone());
    let Some(remote) = remote else {
        asking.marked.lock().remove(&name);
        asking.forget_unused(registry);
        registry.aggregator().set_discovered(&name, None);
        return Outcome::Done(None);
    };
    let found = asking.versions(registry, &remote).await;
    let (version, is_current) = match found {
        Ok(found) => (found, true),
        Err(error) => {
            tracing::info!(name, error, "what the server of an aggregated API has is not known");
            (VersionDiscovery::empty(&remote.version), false)
        }
    };
    let known = Known { service: remote.service.clone(), version: version.told(is_current) };
    registry.aggregator().set_discovered(&name, Some(known));
    if !is_current {
        return Outcome::Failed;
    }
    asking.marked.lock().insert(name, registry.clock().instant());
    Outcome::Done(Some(REFRESH))
}

impl Asking {
    /// What a service has of a group and version, asked unless it was since that was marked.
    async fn versions(&self, registry: &Registry, remote: &Remote) -> Result<VersionDiscovery, String> {
        let cached = self.cached.lock().get(&remote.service).cloned();
        let marked = self.marked.lock().get(&remote.api_service).copied();
        if let Some(cached) = cached.as_ref().filter(|cached| marked.is_some_and(|marked| cached.asked > marked)) {
            return Ok(of(&cached.versions, remote));
        }
        let asked = registry.clock().instant();
        let tag = cached.as_ref().and_then(|cached| cached.tag.as_deref());
        let fetched = get(registry, remote, "/apis", ACCEPT, tag).await?;
        let cached = match discovery::read_whole(&fetched)? {
            Whole::Unchanged => match cached {
                Some(cached) => Cached { asked, ..cached },
                None => return Err("it answers with 304 though nothing is known".into()),
            },
            Whole::Changed(versions, tag) => Cached { versions: Arc::new(versions), tag, asked },
            // One version alone, which nobody else needs.
            Whole::Unknown => {
                let fetched = get(registry, remote, &remote.path(), "application/json", None).await?;
                return discovery::read_plain(&remote.version, &fetched);
            }
        };
        self.cached.lock().insert(remote.service.clone(), cached.clone());
        Ok(of(&cached.versions, remote))
    }

    /// Forgets what services said that no APIService names any more.
    fn forget_unused(&self, registry: &Registry) {
        let table = registry.group_versions();
        self.cached.lock().retain(|service, _| table.remotes().iter().any(|remote| remote.service == *service));
    }
}

/// One version among those of a server; there may be nothing of it.
fn of(versions: &Versions, remote: &Remote) -> VersionDiscovery {
    let found = versions.get(&(remote.group.clone(), remote.version.clone()));
    found.cloned().unwrap_or_else(|| VersionDiscovery::empty(&remote.version))
}

async fn get(
    registry: &Registry,
    remote: &Remote,
    path: &str,
    accept: &'static str,
    known: Option<&str>,
) -> Result<Fetched, String> {
    let asked = Asked { path, query: "", accept, known, user: prober(), time: TIMEOUT, bytes_max: Some(BYTES_MAX) };
    fetch(registry, remote, asked).await.map(|(fetched, _)| fetched).map_err(|error| error.to_string())
}
