//! What the scheduler knows of devices and of the claims on them: what it has been told, what it has written and not
//! been told yet, and what it is about to write (`DefaultDRAManager`, `claimTracker`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::resource_claims::foreign_owner;
use client::{Change, Clock, Informer, Informers, ObjectKey};
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceClass, ResourceClaim, ResourceSlice};
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::devices::inventory::Inventory;
use crate::devices::ledger::Ledger;
use crate::devices::selectors::Selectors;
use crate::pod::PodInfo;
use crate::pod_devices::{CLASS_PREFIX, PodClaim};

/// The index of classes by the extended resources that stand for their devices.
const BY_RESOURCE: &str = "by-extended-resource";

/// The index of claims by the uid of the pod that they were made for.
const BY_POD: &str = "by-owning-pod";

/// Claims, and the devices for them.
pub(crate) struct DeviceClaims {
    /// The claims.
    pub claims: Informer<ResourceClaim>,
    /// The classes of devices.
    pub classes: Informer<DeviceClass>,
    /// What drivers offer.
    pub slices: Informer<ResourceSlice>,
    /// Expressions that select devices.
    pub selectors: Selectors,
    /// The time.
    pub clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ledger: Arc<Ledger>,
    inventory: Arc<Inventory>,
    /// What is about to be written, by the uid of the claim.
    pending: HashMap<String, AllocationResult>,
    /// What was written and is not in the cache yet.
    written: HashMap<ObjectKey, Arc<ResourceClaim>>,
}

fn revision(claim: &ResourceClaim) -> u64 {
    claim.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// The uid of the controller of a claim.
fn owner(claim: &ResourceClaim) -> Option<&str> {
    let owner = claim.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    Some(&owner.uid)
}

fn allocation(claim: &ResourceClaim) -> Option<&AllocationResult> {
    claim.status.as_ref().and_then(|status| status.allocation.as_ref())
}

impl DeviceClaims {
    /// Starts or shares the informers.
    pub(crate) fn new(informers: &Informers) -> Arc<Self> {
        Self::of(informers.of(), informers.of(), informers.of(), informers.clock().clone())
    }

    /// The same of these informers, whose changes are followed from now on.
    pub(crate) fn of(
        claims: Informer<ResourceClaim>,
        classes: Informer<DeviceClass>,
        slices: Informer<ResourceSlice>,
        clock: Clock,
    ) -> Arc<Self> {
        classes.add_index(BY_RESOURCE, |class| {
            let own = format!("{CLASS_PREFIX}{}", class.name_any());
            class.spec.extended_resource_name.iter().cloned().chain([own]).collect()
        });
        claims.add_index(BY_POD, |claim| owner(claim).map(str::to_owned).into_iter().collect());
        let this =
            Arc::new(Self { claims, classes, slices, selectors: Selectors::default(), clock, state: Mutex::default() });
        let of = Arc::downgrade(&this);
        this.claims.on_change(move |change| {
            if let Some(this) = of.upgrade() {
                this.on_claim(change);
            }
        });
        let of = Arc::downgrade(&this);
        this.slices.on_change(move |change| {
            if let Some(this) = of.upgrade() {
                let slice = change.object();
                let mut state = this.state.lock();
                let inventory = Arc::make_mut(&mut state.inventory);
                match change.is_delete() {
                    true => inventory.remove(slice.metadata.name.as_deref().unwrap_or_default()),
                    false => inventory.set(slice.clone()),
                }
            }
        });
        this
    }

    /// Waits until each informer holds its first list.
    pub(crate) async fn wait_synced(&self) {
        self.claims.wait_synced().await;
        self.classes.wait_synced().await;
        self.slices.wait_synced().await;
    }

    fn on_claim(&self, change: &Change<ResourceClaim>) {
        let claim = change.object();
        let (key, uid) = (ObjectKey::of(&**claim), claim.uid().unwrap_or_default());
        let mut state = self.state.lock();
        let is_older = |written: &Arc<ResourceClaim>| {
            written.metadata.uid == claim.metadata.uid && revision(written) > revision(claim)
        };
        if !change.is_delete() && state.written.get(&key).is_some_and(is_older) {
            return;
        }
        state.written.remove(&key);
        if let Some(old) = change.old().filter(|old| old.metadata.uid != claim.metadata.uid) {
            Arc::make_mut(&mut state.ledger).set(old.metadata.uid.as_deref().unwrap_or_default(), None);
        }
        if !state.pending.contains_key(&uid) {
            let taken = allocation(claim).filter(|_| !change.is_delete());
            Arc::make_mut(&mut state.ledger).set(&uid, taken);
        }
    }

    /// The newest state of a claim that is known.
    pub(crate) fn claim(&self, namespace: &str, name: &str) -> Option<Arc<ResourceClaim>> {
        let key = ObjectKey::new(namespace, name);
        let written = self.state.lock().written.get(&key).cloned();
        written.or_else(|| self.claims.get_key(&key))
    }

    /// The claims that were made for the pod of a uid.
    pub(crate) fn made_for(&self, uid: &str) -> Vec<Arc<ResourceClaim>> {
        let mut claims = self.claims.indexed(BY_POD, uid);
        let state = self.state.lock();
        claims.extend(state.written.values().filter(|claim| owner(claim) == Some(uid)).cloned());
        claims
    }

    /// A class of devices.
    pub(crate) fn class(&self, name: &str) -> Option<Arc<DeviceClass>> {
        self.classes.get("", name)
    }

    /// The class whose devices an extended resource stands for; of several the newest.
    pub(crate) fn class_of_resource(&self, resource: &str) -> Option<Arc<DeviceClass>> {
        if self.classes.is_empty() {
            return None;
        }
        let newest = |class: &Arc<DeviceClass>| {
            (class.metadata.creation_timestamp.clone().map(|time| time.0), std::cmp::Reverse(class.name_any()))
        };
        self.classes.indexed(BY_RESOURCE, resource).into_iter().max_by_key(newest)
    }

    /// What claims have and what drivers offer, as of now.
    pub(crate) fn snapshot(&self) -> (Arc<Ledger>, Arc<Inventory>) {
        let state = self.state.lock();
        (state.ledger.clone(), state.inventory.clone())
    }

    /// Whether devices for a claim are about to be written.
    pub(crate) fn is_pending(&self, uid: &str) -> bool {
        self.state.lock().pending.contains_key(uid)
    }

    /// Takes devices for a claim before that is written.
    pub(crate) fn reserve(&self, uid: &str, allocation: AllocationResult) {
        let mut state = self.state.lock();
        Arc::make_mut(&mut state.ledger).set(uid, Some(&allocation));
        state.pending.insert(uid.to_owned(), allocation);
    }

    /// What was to be written for a claim is written, or will not be.
    pub(crate) fn settle(&self, uid: &str, written: Option<&ResourceClaim>) {
        if let Some(claim) = written {
            self.note(claim);
        }
        let mut state = self.state.lock();
        if state.pending.remove(uid).is_none() {
            return;
        }
        let known = written.map(|claim| allocation(claim).cloned());
        Arc::make_mut(&mut state.ledger).set(uid, known.flatten().as_ref());
    }

    /// Takes over a state of a claim that was written, unless the cache is as new.
    pub(crate) fn note(&self, claim: &ResourceClaim) {
        let key = ObjectKey::of(claim);
        let known = self.claims.get_key(&key);
        let mut state = self.state.lock();
        if known.is_none_or(|known| revision(&known) < revision(claim)) {
            let uid = claim.metadata.uid.as_deref().unwrap_or_default();
            if !state.pending.contains_key(uid) {
                Arc::make_mut(&mut state.ledger).set(uid, allocation(claim));
            }
            state.written.insert(key, Arc::new(claim.clone()));
        }
    }

    /// The claims of a pod, those that it needs.
    ///
    /// # Errors
    /// Which of them keeps it from being scheduled, and why (`foreachPodResourceClaim`).
    pub(crate) fn of_pod(&self, pod: &PodInfo) -> Result<Vec<Arc<ResourceClaim>>, String> {
        let mut claims = Vec::with_capacity(pod.claims.len());
        for claim in &pod.claims {
            match claim {
                PodClaim::Unnamed(why) => return Err(why.clone()),
                PodClaim::NotNeeded => {}
                PodClaim::Named { name, is_made } => {
                    let found = self
                        .claim(pod.namespace(), name)
                        .ok_or_else(|| format!("could not find resourceclaim \"{}/{name}\"", pod.namespace()))?;
                    if found.metadata.deletion_timestamp.is_some() {
                        return Err(format!("resourceclaim {name:?} is being deleted"));
                    }
                    if let Some(why) = foreign_owner(pod.namespace(), pod.name(), &pod.uid, &found).filter(|_| *is_made)
                    {
                        return Err(why);
                    }
                    claims.push(found);
                }
            }
        }
        Ok(claims)
    }

    /// The time, as the deadlines of searches go by.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// A name for a part of a device, as uids are.
    pub(crate) fn share_id(&self) -> String {
        let (high, low) = (self.clock.random_bits(), self.clock.random_bits());
        let bits = (u128::from(high) << 64 | u128::from(low)) & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
        let text = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}
