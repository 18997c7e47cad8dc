//! The pods of this node, as the node server asks for them: pods, their sandbox, containers, log files and addresses.

use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;

/// One container as the runtime last showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Name in the pod.
    pub name: String,
    /// CRI id, without a scheme.
    pub id: String,
    /// How often the container was started before this instance.
    pub restart_count: u32,
    /// Whether it runs now.
    pub running: bool,
    /// Its log file.
    pub log_path: PathBuf,
}

/// One pod with what the runtime last showed of it.
#[derive(Debug, Clone)]
pub struct PodRecord {
    /// The pod as the API last showed it.
    pub pod: Arc<Pod>,
    /// CRI id of the newest sandbox.
    pub sandbox_id: Option<String>,
    /// Whether that sandbox is ready.
    pub sandbox_ready: bool,
    /// Addresses of the pod, primary first.
    pub ips: Vec<IpAddr>,
    /// All instances of all containers, newest first within a name.
    pub containers: Vec<ContainerRecord>,
}

impl PodRecord {
    /// The newest instance of a container.
    pub fn container(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The instance before the newest, for `logs --previous`.
    pub fn previous(&self, name: &str) -> Option<&ContainerRecord> {
        self.containers.iter().filter(|container| container.name == name).nth(1)
    }
}

/// The pods of this node. Clones share the same content.
#[derive(Clone, Default)]
pub struct Directory {
    pods: Arc<RwLock<HashMap<String, Arc<PodRecord>>>>,
}

impl Directory {
    /// The pod of this UID.
    pub fn by_uid(&self, uid: &str) -> Option<Arc<PodRecord>> {
        self.pods.read().get(uid).cloned()
    }

    /// The pod of this name; of two with one name, the one that is not being deleted.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodRecord>> {
        let pods = self.pods.read();
        let matching = pods.values().filter(|record| {
            let metadata = &record.pod.metadata;
            metadata.namespace.as_deref() == Some(namespace) && metadata.name.as_deref() == Some(name)
        });
        matching.min_by_key(|record| record.pod.metadata.deletion_timestamp.is_some()).cloned()
    }

    /// All pods of this node.
    pub fn list(&self) -> Vec<Arc<PodRecord>> {
        self.pods.read().values().cloned().collect()
    }

    /// The UID of the pod that a CRI sandbox or container id belongs to.
    pub(crate) fn uid_of(&self, id: &str) -> Option<String> {
        let pods = self.pods.read();
        let owner = pods.iter().find(|(_, record)| {
            record.sandbox_id.as_deref() == Some(id) || record.containers.iter().any(|container| container.id == id)
        });
        owner.map(|(uid, _)| uid.clone())
    }

    pub(crate) fn put(&self, uid: &str, record: PodRecord) {
        self.pods.write().insert(uid.to_owned(), Arc::new(record));
    }

    pub(crate) fn remove(&self, uid: &str) {
        self.pods.write().remove(uid);
    }
}
