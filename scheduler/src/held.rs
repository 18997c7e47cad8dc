//! Pods that are held until a claim of devices is there, by the claim (`PreEnqueue` of `DynamicResources`).

use std::collections::{HashMap, HashSet};

use client::ObjectKey;

use crate::pod::PodInfo;
use crate::pod_devices::PodClaim;

/// Which pods wait for which claims.
#[derive(Debug, Default)]
pub(crate) struct Held {
    by_claim: HashMap<ObjectKey, HashSet<String>>,
    claims: HashMap<String, Vec<ObjectKey>>,
}

impl Held {
    /// Holds a pod for its claims.
    pub(crate) fn add(&mut self, pod: &PodInfo) {
        self.remove(&pod.uid);
        let named = pod.claims.iter().filter_map(|claim| match claim {
            PodClaim::Named { name, .. } => Some(ObjectKey::new(pod.namespace(), name.as_str())),
            _ => None,
        });
        let keys: Vec<ObjectKey> = named.collect();
        for key in &keys {
            self.by_claim.entry(key.clone()).or_default().insert(pod.uid.clone());
        }
        self.claims.insert(pod.uid.clone(), keys);
    }

    /// Holds a pod no longer.
    pub(crate) fn remove(&mut self, uid: &str) {
        for key in self.claims.remove(uid).unwrap_or_default() {
            if let Some(uids) = self.by_claim.get_mut(&key) {
                uids.remove(uid);
                if uids.is_empty() {
                    self.by_claim.remove(&key);
                }
            }
        }
    }

    /// The uids of the pods that wait for a claim.
    pub(crate) fn waiting_for(&self, claim: &ObjectKey) -> Vec<String> {
        self.by_claim.get(claim).into_iter().flatten().cloned().collect()
    }
}
