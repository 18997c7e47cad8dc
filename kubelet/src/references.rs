//! ConfigMaps and Secrets that pods of this node refer to: one watch an object, shared by the pods, ended with the last.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use client::{
    Clock, Informer, Selection,
    informer::{Cached, drop_managed_fields},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How long the first answer of a watch may take before the pod is told so and tries again.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Watched objects by namespace and name.
type Entries<K> = Arc<Mutex<HashMap<(String, String), Entry<K>>>>;
type Wake = Arc<dyn Fn(&str) + Send + Sync>;

/// Watched objects of both kinds.
#[derive(Clone)]
pub struct References {
    config_maps: Watched<ConfigMap>,
    secrets: Watched<Secret>,
}

impl References {
    /// Objects read through `client`; `wake` is called with the UID of each pod whose object changed.
    pub fn new(client: Client, clock: Clock, cancel: CancellationToken, wake: Wake) -> Self {
        Self {
            config_maps: Watched::new(client.clone(), clock.clone(), cancel.clone(), wake.clone()),
            secrets: Watched::new(client, clock, cancel, wake),
        }
    }

    /// A ConfigMap for a pod; `None` if there is none.
    ///
    /// # Errors
    /// When the API server does not answer in time.
    pub async fn config_map(&self, pod: &str, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, String> {
        self.config_maps.get(pod, namespace, name, "configmap").await
    }

    /// A Secret for a pod; `None` if there is none.
    ///
    /// # Errors
    /// When the API server does not answer in time.
    pub async fn secret(&self, pod: &str, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, String> {
        self.secrets.get(pod, namespace, name, "secret").await
    }

    /// Ends the watches that only this pod needed.
    pub fn release(&self, pod: &str) {
        self.config_maps.release(pod);
        self.secrets.release(pod);
    }
}

struct Entry<K> {
    informer: Informer<K>,
    users: Arc<Mutex<HashSet<String>>>,
    cancel: CancellationToken,
}

struct Watched<K> {
    client: Client,
    clock: Clock,
    cancel: CancellationToken,
    wake: Wake,
    entries: Entries<K>,
}

impl<K> Clone for Watched<K> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            clock: self.clock.clone(),
            cancel: self.cancel.clone(),
            wake: self.wake.clone(),
            entries: self.entries.clone(),
        }
    }
}

impl<K> Watched<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Cached,
{
    fn new(client: Client, clock: Clock, cancel: CancellationToken, wake: Wake) -> Self {
        Self { client, clock, cancel, wake, entries: Arc::default() }
    }

    async fn get(&self, pod: &str, namespace: &str, name: &str, kind: &str) -> Result<Option<Arc<K>>, String> {
        let informer = self.informer(pod, namespace, name);
        match tokio::time::timeout(FIRST_ANSWER_TIMEOUT, informer.wait_synced()).await {
            Ok(()) => Ok(informer.get(namespace, name)),
            Err(_) => Err(format!("failed to sync {kind} cache: timed out waiting for {namespace}/{name}")),
        }
    }

    fn informer(&self, pod: &str, namespace: &str, name: &str) -> Informer<K> {
        let mut entries = self.entries.lock();
        let key = (namespace.to_owned(), name.to_owned());
        let entry = entries.entry(key).or_insert_with(|| self.start(namespace, name));
        entry.users.lock().insert(pod.to_owned());
        entry.informer.clone()
    }

    fn start(&self, namespace: &str, name: &str) -> Entry<K> {
        let cancel = self.cancel.child_token();
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let selection = Selection { fields: Some(format!("metadata.name={name}")), labels: None };
        let informer = Informer::start(api, selection, drop_managed_fields, self.clock.clone(), cancel.clone());
        let users: Arc<Mutex<HashSet<String>>> = Arc::default();
        let (wake, affected) = (self.wake.clone(), users.clone());
        informer.on_change(move |_| {
            let pods: Vec<String> = affected.lock().iter().cloned().collect();
            for pod in pods {
                wake(&pod);
            }
        });
        Entry { informer, users, cancel }
    }

    fn release(&self, pod: &str) {
        self.entries.lock().retain(|_, entry| {
            let mut users = entry.users.lock();
            users.remove(pod);
            if users.is_empty() {
                entry.cancel.cancel();
            }
            !users.is_empty()
        });
    }
}
