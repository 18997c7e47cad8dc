//! Pods whose devices have a `NoExecute` taint that they do not bear are deleted, at once or when their time is over
//! (`pkg/controller/devicetainteviction`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::resource_claims::{self, Named, is_reserved_for, name};
use client::tolerations::tolerates_device;
use client::{Action, EventType, Informer, ObjectKey, WorkQueue};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{
    Device, DeviceRequestAllocationResult, DeviceTaint, ResourceClaim, ResourceSlice,
};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use metrics::Counter;
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};
use crate::figures::Devices;
use crate::pod::node_name;
use crate::resource_claim::{BY_CLAIM, add_pod_index};

/// Pods worked on at a time (`ConcurrentSyncs` of the controller).
const WORKERS: usize = 10;
/// The index of claims, and of slices, by the pool of devices.
const BY_POOL: &str = "by-device-pool";
const EFFECT: &str = "NoExecute";

/// What decides about a pod.
struct Evictions {
    context: Context,
    pods: Informer<Pod>,
    claims: Informer<ResourceClaim>,
    slices: Informer<ResourceSlice>,
    /// The pods that are to go, of which nobody was told yet that they may stay.
    marked: Mutex<HashSet<String>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let controller = Arc::new(Evictions {
        pods: context.informers.of::<Pod>(),
        claims: context.informers.of::<ResourceClaim>(),
        slices: context.informers.of::<ResourceSlice>(),
        marked: Mutex::default(),
        context: context.clone(),
    });
    controller.watch(&queue);
    controller.pods.wait_synced().await;
    controller.claims.wait_synced().await;
    controller.slices.wait_synced().await;
    context
        .run("device-taint-eviction-controller", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

fn pool(driver: &str, pool: &str) -> String {
    format!("{driver}/{pool}")
}

fn results(claim: &ResourceClaim) -> impl Iterator<Item = &DeviceRequestAllocationResult> {
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    allocation.into_iter().flat_map(|a| a.devices.iter()).flat_map(|devices| devices.results.iter().flatten())
}

fn is_tainted(slice: &ResourceSlice) -> bool {
    let devices = slice.spec.devices.iter().flatten();
    devices.flat_map(|device| device.taints.iter().flatten()).any(|taint| taint.effect == EFFECT)
}

impl Evictions {
    fn watch(self: &Arc<Self>, queue: &WorkQueue<ObjectKey>) {
        add_pod_index(&self.pods);
        self.claims.add_index(BY_POOL, |claim| {
            let pools: HashSet<String> = results(claim).map(|result| pool(&result.driver, &result.pool)).collect();
            pools.into_iter().collect()
        });
        self.slices.add_index(BY_POOL, |slice| vec![pool(&slice.spec.driver, &slice.spec.pool.name)]);
        let (to, this) = (queue.clone(), self.clone());
        self.slices.on_change(move |change| {
            let slice = change.object();
            if is_tainted(slice) || change.old().is_some_and(|old| is_tainted(old)) {
                let claims = this.claims.indexed(BY_POOL, &pool(&slice.spec.driver, &slice.spec.pool.name));
                claims.iter().for_each(|claim| this.enqueue_users(claim, &to));
            }
        });
        let (to, this) = (queue.clone(), self.clone());
        self.claims.on_change(move |change| this.enqueue_users(change.object(), &to));
        let (to, this) = (queue.clone(), self.clone());
        self.pods.on_change(move |change| {
            let pod = change.object();
            if change.is_delete() {
                this.marked.lock().remove(pod.metadata.uid.as_deref().unwrap_or_default());
            } else if !resource_claims::of_pod(pod).is_empty() {
                to.add(ObjectKey::of(&**pod));
            }
        });
    }

    fn enqueue_users(&self, claim: &ResourceClaim, to: &WorkQueue<ObjectKey>) {
        let users = self.pods.indexed(BY_CLAIM, &ObjectKey::of(claim).to_string());
        users.iter().for_each(|pod| to.add(ObjectKey::of(&**pod)));
    }

    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        let Some(pod) = self.pods.get_key(&key).filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
            return Ok(Action::Done);
        };
        let uid = pod.uid().unwrap_or_default();
        let Some(due) = self.due(&pod) else {
            if self.marked.lock().remove(&uid) {
                self.tell(&pod, "Cancelling deletion");
            }
            return Ok(Action::Done);
        };
        let late = self.context.clock.now().duration_since(due);
        if late < SignedDuration::ZERO {
            self.marked.lock().insert(uid);
            return Ok(Action::RequeueAfter(late.unsigned_abs()));
        }
        self.evict(&pod).await?;
        self.marked.lock().remove(&uid);
        let figures = self.context.figures::<Devices>();
        figures.taint_deletions.with([], Counter::add_one);
        let late = Duration::try_from(late).unwrap_or_default().as_secs_f64();
        figures.taint_deletion_durations.with([], |durations| durations.observe(late));
        Ok(Action::Done)
    }

    /// When a pod has to go, if it does (`podEvictionTime`).
    fn due(&self, pod: &Pod) -> Option<Timestamp> {
        if node_name(pod).is_empty() {
            return None;
        }
        let (namespace, uid) = (pod.namespace().unwrap_or_default(), pod.uid().unwrap_or_default());
        let of_claim = |of| {
            let Named { name, is_made } = name(pod, of).ok().flatten()?;
            let claim = self.claims.get(&namespace, name)?;
            let is_foreign = is_made && resource_claims::foreign(pod, &claim).is_some();
            if is_foreign || !is_reserved_for(&claim, &uid) {
                return None;
            }
            results(&claim).filter_map(|result| self.due_for(result)).min()
        };
        resource_claims::of_pod(pod).iter().filter_map(of_claim).min()
    }

    /// When who has a device has to go because of its taints (`claimEvictionTime`).
    fn due_for(&self, result: &DeviceRequestAllocationResult) -> Option<Timestamp> {
        let slices = self.slices.indexed(BY_POOL, &pool(&result.driver, &result.pool));
        let newest = slices.iter().map(|slice| slice.spec.pool.generation).max()?;
        let current = slices.iter().filter(|slice| slice.spec.pool.generation == newest);
        let mut devices = current.flat_map(|slice| slice.spec.devices.iter().flatten());
        let device: &Device = devices.find(|device| device.name == result.device)?;
        let taints = device.taints.iter().flatten().filter(|taint| taint.effect == EFFECT);
        taints.filter_map(|taint| borne_until(taint, result)).min()
    }

    fn tell(&self, pod: &Pod, said: &str) {
        self.context.events.event(pod, EventType::Normal, "DeviceTaintManagerEviction", said);
    }

    async fn evict(&self, pod: &Pod) -> Result<()> {
        self.tell(pod, "Marking for deletion");
        let api = self.context.api::<Pod>(&pod.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByDeviceTaintManager",
            "message": "Device Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": api::time::format(self.context.clock.now()),
        }]}});
        let told = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await;
        ignore_not_found(told)?;
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        ignore_not_found(api.delete(&pod.name_any(), &params).await).map_err(Error::from)?;
        Ok(())
    }
}

/// Until when a taint is borne; nothing if for ever.
fn borne_until(taint: &DeviceTaint, result: &DeviceRequestAllocationResult) -> Option<Timestamp> {
    let since = taint.time_added.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let tolerations = result.tolerations.iter().flatten();
    let bearing = tolerations.filter(|t| t.effect.as_deref() == Some(EFFECT) && tolerates_device(t, taint));
    let mut shortest: Option<i64> = None;
    for toleration in bearing {
        let seconds = toleration.toleration_seconds?.max(0);
        shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
    }
    let seconds = SignedDuration::from_secs(shortest.unwrap_or(0));
    Some(since.saturating_add(seconds).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_taint_is_borne_for_the_shortest_time_that_is_given() {
        let check = |tolerations: Value, expected: Option<i64>| {
            let taint: DeviceTaint = serde_json::from_value(json!({"key": "k", "effect": "NoExecute",
                "timeAdded": "1970-01-01T00:01:40Z"}))
            .unwrap();
            let result = serde_json::from_value(json!({"request": "r", "driver": "d", "pool": "p", "device": "x",
                "tolerations": tolerations}))
            .unwrap();
            assert_eq!(borne_until(&taint, &result).map(|until| until.as_second()), expected, "{tolerations}");
        };
        let bears = |effect: &str, seconds: Value| json!({"operator": "Exists", "effect": effect, "tolerationSeconds": seconds});
        check(json!([]), Some(100));
        check(json!([bears("NoExecute", json!(null))]), None);
        check(json!([bears("NoExecute", json!(30)), bears("NoExecute", json!(5))]), Some(105));
        check(json!([bears("NoExecute", json!(-3))]), Some(100));
        check(json!([bears("NoSchedule", json!(null))]), Some(100));
        check(json!([bears("NoExecute", json!(30)), bears("NoExecute", json!(null))]), None);
    }
}
