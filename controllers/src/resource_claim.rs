//! Claims of devices: those that pods have templates for are made, and those that nobody uses any more are given up
//! (`pkg/controller/resourceclaim`).

mod claims;
mod counts;
mod departed;
mod pods;

use std::collections::HashMap;
use std::sync::Arc;

use client::resource_claims::{self, name};
use client::{Action, Change, Informer, ObjectKey, WorkQueue};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::context::Context;
use crate::error::Error;
use crate::owner::controller_of;
use crate::pod::{is_terminal, node_name};
use departed::Departed;

/// Keys worked on at a time.
const WORKERS: usize = 10;
/// The index of pods by the claims that they use.
pub(crate) const BY_CLAIM: &str = "by-resource-claim";
/// The index of pods by the templates that they name.
const BY_TEMPLATE: &str = "by-resource-claim-template";
/// The index of claims by the uid of the pod that they were made for.
const BY_POD: &str = "by-pod";

/// What is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// A pod, which may lack claims.
    Pod(ObjectKey),
    /// A claim, which somebody may no longer need.
    Claim(ObjectKey),
}

struct Claims {
    context: Context,
    pods: Informer<Pod>,
    claims: Informer<ResourceClaim>,
    templates: Informer<ResourceClaimTemplate>,
    queue: WorkQueue<Key>,
    departed: Mutex<Departed>,
    /// Claims that were made and that the cache does not show yet: of which pod, for what, and their name.
    made: Mutex<HashMap<(String, String), String>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = WorkQueue::new(context.clock.clone());
    let controller = Arc::new(Claims {
        pods: context.informers.of::<Pod>(),
        claims: context.informers.of::<ResourceClaim>(),
        templates: context.informers.of::<ResourceClaimTemplate>(),
        queue: queue.clone(),
        departed: Mutex::default(),
        made: Mutex::default(),
        context: context.clone(),
    });
    controller.watch();
    controller.pods.wait_synced().await;
    controller.claims.wait_synced().await;
    controller.templates.wait_synced().await;
    context.informers.metrics().register(Arc::new(counts::Counts { claims: controller.claims.clone() }));
    context
        .controller("resource-claim", queue, WORKERS)
        .run(context.token.clone(), move |key| {
            let controller = controller.clone();
            async move {
                match key {
                    Key::Pod(key) => controller.sync_pod(&key).await?,
                    Key::Claim(key) => controller.sync_claim(&key).await?,
                }
                Ok::<_, Error>(Action::Done)
            }
        })
        .await;
}

impl Claims {
    fn watch(self: &Arc<Self>) {
        add_pod_index(&self.pods);
        self.pods.add_index(BY_TEMPLATE, |pod| {
            let namespace = pod.namespace().unwrap_or_default();
            let templates = resource_claims::of_pod(pod).iter().filter_map(|c| c.resource_claim_template_name.as_ref());
            templates.map(|name| format!("{namespace}/{name}")).collect()
        });
        self.claims.add_index(BY_POD, |claim| owning_pod(claim).map(|(_, uid)| uid.to_owned()).into_iter().collect());
        let this = self.clone();
        self.claims.on_change(move |change| this.on_claim(change));
        let this = self.clone();
        self.templates.on_change(move |change| {
            if !change.is_delete() {
                this.enqueue_indexed(BY_TEMPLATE, &ObjectKey::of(&**change.object()));
            }
        });
        let this = self.clone();
        self.pods.on_change(move |change| this.on_pod(change.object(), change.is_delete()));
    }

    fn on_claim(&self, change: &Change<ResourceClaim>) {
        let claim = change.object();
        let key = ObjectKey::of(&**claim);
        if let Some((_, uid)) = owning_pod(claim)
            && let Some(of) = claim.annotations().get(resource_claims::POD_CLAIM)
        {
            self.made.lock().remove(&(uid.to_owned(), of.clone()));
        }
        if !change.is_delete() {
            // At the start, or after an update, it may be reserved for pods that are gone.
            self.queue.add(Key::Claim(key.clone()));
        }
        self.enqueue_indexed(BY_CLAIM, &key);
    }

    fn enqueue_indexed(&self, index: &str, key: &ObjectKey) {
        for pod in self.pods.indexed(index, &key.to_string()) {
            self.on_pod(&pod, false);
        }
    }

    fn on_pod(&self, pod: &Pod, is_gone: bool) {
        if resource_claims::of_pod(pod).is_empty() && resource_claims::extended_name(pod).is_none() {
            return;
        }
        let (key, uid) = (ObjectKey::of(pod), pod.uid().unwrap_or_default());
        if is_gone {
            self.departed.lock().add(uid.clone());
            self.made.lock().retain(|(of, _), _| *of != uid);
        }
        if is_gone || is_done(pod) {
            for name in resource_claims::names(pod) {
                self.queue.add(Key::Claim(ObjectKey::new(key.namespace.clone(), name)));
            }
        }
        if self.needs_work(pod) {
            self.queue.add(Key::Pod(key));
        }
    }

    /// Whether something is to be done for a pod (`podNeedsWork`).
    fn needs_work(&self, pod: &Pod) -> bool {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let needs = |of: &k8s_openapi::api::core::v1::PodResourceClaim| {
            let named = match name(pod, of) {
                Err(_) => return true,
                Ok(None) => return false,
                Ok(Some(named)) => named,
            };
            let Some(claim) = self.claims.get(namespace, named.name) else {
                return of.resource_claim_template_name.is_some();
            };
            // It cannot go on before somebody deletes what is not its own.
            let is_foreign = named.is_made && resource_claims::foreign(pod, &claim).is_some();
            !is_foreign
                && !node_name(pod).is_empty()
                && resource_claims::is_allocated(&claim)
                && !resource_claims::is_reserved_for(&claim, uid)
        };
        pod.metadata.deletion_timestamp.is_none() && resource_claims::of_pod(pod).iter().any(needs)
    }
}

/// Files pods by the claims that they use.
pub(crate) fn add_pod_index(pods: &Informer<Pod>) {
    pods.add_index(BY_CLAIM, |pod| {
        let namespace = pod.namespace().unwrap_or_default();
        resource_claims::names(pod).into_iter().map(|name| format!("{namespace}/{name}")).collect()
    });
}

/// Whether it is certain that no container of a pod runs or will (`isPodDone`).
fn is_done(pod: &Pod) -> bool {
    is_terminal(pod) || pod.metadata.deletion_timestamp.is_some() && node_name(pod).is_empty()
}

/// The name and uid of the pod that a claim was made for.
fn owning_pod(claim: &ResourceClaim) -> Option<(&str, &str)> {
    let owner = controller_of(claim).filter(|owner| owner.api_version == "v1" && owner.kind == "Pod")?;
    Some((&owner.name, &owner.uid))
}
