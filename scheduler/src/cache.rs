//! What the scheduler knows of nodes and the pods on them, kept current by events, with its own decisions
//! ("assumed" pods) in it before the API server has confirmed them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Nodes and pods.
#[derive(Default, Clone)]
pub(crate) struct Cache {
    nodes: BTreeMap<String, NodeInfo>,
    /// Where each pod is, by uid; true if the scheduler only assumes it.
    places: HashMap<String, (String, bool)>,
    /// How many nodes are known.
    known: usize,
    /// How many pods anywhere have required anti-affinity.
    anti_affine: usize,
}

impl Cache {
    /// Adds a node or takes over its newer state.
    pub(crate) fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let info = self.nodes.entry(name).or_default();
        self.known += usize::from(info.node.is_none());
        info.set_node(node);
    }

    /// Forgets a node; its pods stay until their own deletes come.
    pub(crate) fn remove_node(&mut self, name: &str) {
        let Some(info) = self.nodes.get_mut(name) else { return };
        self.known -= usize::from(info.node.is_some());
        info.node = None;
        if info.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// Adds a pod that is on a node, or takes over its newer state.
    pub(crate) fn set_pod(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node, false);
    }

    /// What a pod that is on a node counts for.
    pub(crate) fn requests_of(&self, uid: &str) -> Option<&crate::resources::Resources> {
        let (node, _) = self.places.get(uid)?;
        Some(&self.nodes.get(node)?.pods.get(uid)?.requests.exact)
    }

    /// Adds a pod that the scheduler has put on a node.
    pub(crate) fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.place(pod, node, true);
    }

    /// Takes back an assumption, unless the API server has confirmed it meanwhile.
    pub(crate) fn forget(&mut self, uid: &str) {
        if self.places.get(uid).is_some_and(|(_, assumed)| *assumed) {
            self.remove_pod(uid);
        }
    }

    /// Whether the pod is on a node, or assumed to be.
    pub(crate) fn has_pod(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }

    /// Removes a pod.
    pub(crate) fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let (node, _) = self.places.remove(uid)?;
        let info = self.nodes.get_mut(&node)?;
        let pod = info.remove(uid);
        self.anti_affine -= usize::from(pod.as_ref().is_some_and(|pod| !pod.anti_affinity.is_empty()));
        if info.node.is_none() && info.pods.is_empty() {
            self.nodes.remove(&node);
        }
        pod
    }

    fn place(&mut self, pod: Arc<PodInfo>, node: &str, assumed: bool) {
        self.remove_pod(&pod.uid);
        self.places.insert(pod.uid.clone(), (node.to_string(), assumed));
        self.anti_affine += usize::from(!pod.anti_affinity.is_empty());
        self.nodes.entry(node.to_string()).or_default().add(pod);
    }

    /// The nodes that exist, in the order of their names.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|info| info.node.is_some())
    }

    /// One node.
    pub(crate) fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|info| info.node.is_some())
    }

    /// How many pods are on nodes, and how many of them are only assumed to be.
    pub(crate) fn pod_counts(&self) -> (usize, usize) {
        (self.places.len(), self.places.values().filter(|(_, assumed)| *assumed).count())
    }

    /// How many nodes exist.
    pub(crate) fn node_count(&self) -> usize {
        self.known
    }

    /// Whether any placed pod has required anti-affinity.
    pub(crate) fn has_anti_affinity(&self) -> bool {
        self.anti_affine > 0
    }
}

/// Whether a pod still takes room on its node.
pub(crate) fn takes_room(pod: &Pod) -> bool {
    !api::pods::is_terminal(pod)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, cpu: &str) -> Arc<PodInfo> {
        let pod = json!({"metadata": {"uid": uid}, "spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        Arc::new(PodInfo::new(&serde_json::from_value(pod).unwrap(), &mut crate::pod::Sharing::default()))
    }

    fn node(name: &str) -> Arc<Node> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}})).unwrap())
    }

    #[test]
    fn room_is_taken_once_and_given_back() {
        let mut cache = Cache::default();
        cache.set_node(node("a"));
        cache.assume(pod("1", "1"), "a");
        cache.set_pod(pod("1", "1"), "a");
        assert_eq!(cache.node("a").unwrap().requested.cpu_milli, 1000);
        cache.forget("1");
        assert!(cache.has_pod("1"), "a confirmed pod is no assumption");
        cache.set_pod(pod("1", "2"), "a");
        assert_eq!(cache.node("a").unwrap().requested.cpu_milli, 2000);
        cache.remove_pod("1");
        assert_eq!(cache.node("a").unwrap().requested.cpu_milli, 0);
    }

    #[test]
    fn pods_may_come_before_their_node_and_stay_after_it() {
        let mut cache = Cache::default();
        cache.set_pod(pod("1", "1"), "a");
        assert_eq!(cache.nodes().count(), 0);
        cache.set_node(node("a"));
        assert_eq!(cache.node("a").unwrap().requested.cpu_milli, 1000);
        cache.remove_node("a");
        assert_eq!((cache.nodes().count(), cache.node_count()), (0, 0));
        cache.set_node(node("a"));
        assert_eq!(cache.node("a").unwrap().requested.cpu_milli, 1000);
    }
}
