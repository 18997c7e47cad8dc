//! ResourceQuotas: how much of each is used, counted anew when something goes away or the quota changes.
//!
//! What is made is counted by the API server's admission. A resource is watched only once a quota counts it, and what is
//! made is counted here too, but only after some time: that puts right what admission counted for a write that failed.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use api::quota;
use api::resources::ResourceList;
use client::{Action, Change, Informer, ObjectKey, Selection, WorkQueue};
use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod, ResourceQuota, Service};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::Resource;
use kube::api::PostParams;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::context::Context;
use crate::discovery::{self, Meta};
use crate::error::{Result, ignore_not_found, is_conflict};
use crate::pod::is_terminal;

/// Quotas worked on at a time.
const WORKERS: usize = 5;
/// How long after something was made it is counted here.
const SETTLE: Duration = Duration::from_secs(5);

struct Quotas {
    context: Context,
    queue: WorkQueue<ObjectKey>,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    device_claims: Informer<ResourceClaim>,
    /// Whatever else quotas count, by group and resource.
    others: Mutex<HashMap<(String, String), Informer<Meta>>>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let informers = &context.informers;
    let controller = Arc::new(Quotas {
        queue: context.queue(),
        quotas: informers.of(),
        pods: informers.of(),
        services: informers.of(),
        claims: informers.of(),
        device_claims: informers.of(),
        others: Mutex::default(),
        context: context.clone(),
    });
    let to = controller.queue.clone();
    controller.quotas.on_change(move |change| {
        let hard = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|spec| spec.hard.clone());
        let (quota, old) = (change.object(), change.old());
        if change.is_delete() {
            return;
        }
        if old.is_none_or(|old| hard(old) != hard(quota)) {
            to.add(ObjectKey::of(&**quota));
        } else if old.is_some_and(|old| old.status != quota.status) {
            // Others than this controller and admission may have written it.
            to.add_after(ObjectKey::of(&**quota), SETTLE);
        }
    });
    controller.replenish(&controller.pods, |old, new| ends(old) != ends(new) || is_terminal(old) != is_terminal(new));
    controller.replenish(&controller.services, |old, new| old.spec != new.spec);
    controller.replenish(&controller.claims, |old, new| old.spec != new.spec || old.status != new.status);
    controller.replenish(&controller.device_claims, |old, new| old.spec != new.spec);
    controller.quotas.wait_synced().await;
    controller.pods.wait_synced().await;
    controller.services.wait_synced().await;
    controller.claims.wait_synced().await;
    controller.device_claims.wait_synced().await;
    let queue = controller.queue.clone();
    context
        .run("resource-quota", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(&key).await }
        })
        .await;
}

fn ends(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.active_deadline_seconds.is_some())
}

impl Quotas {
    /// Counts anew when an object goes or changes in what counts, and some time after one was made.
    fn replenish<K>(&self, informer: &Informer<K>, differs: impl Fn(&K, &K) -> bool + Send + 'static)
    where
        K: Resource + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (to, quotas) = (self.queue.clone(), self.quotas.clone());
        informer.on_change(move |change: &Change<K>| {
            let (object, old) = (change.object(), change.old());
            if old.is_some_and(|old| !differs(old, object)) {
                return;
            }
            let namespace = object.meta().namespace.as_deref().unwrap_or_default();
            for quota in quotas.list_in(namespace) {
                let key = ObjectKey::of(&*quota);
                if change.is_delete() || old.is_some() { to.add(key) } else { to.add_after(key, SETTLE) }
            }
        });
    }

    async fn sync(&self, key: &ObjectKey) -> Result<Action> {
        let Some(quota) = self.quotas.get_key(key) else { return Ok(Action::Done) };
        let spec = quota.spec.clone().unwrap_or_default();
        let hard = spec.hard.clone().unwrap_or_default();
        let scopes = serde_json::to_value(&spec)?;
        let mut used = ResourceList::default();
        let mut counted: Vec<(String, String)> = hard.keys().filter_map(|name| owned(quota::counted(name)?)).collect();
        counted.extend(hard.keys().filter(|name| quota::concerns(name, "", "pods")).map(|_| pair("", "pods")));
        let claims = hard.keys().filter(|name| quota::concerns(name, "", "persistentvolumeclaims"));
        counted.extend(claims.map(|_| pair("", "persistentvolumeclaims")));
        counted.sort();
        counted.dedup();
        for (group, resource) in &counted {
            let Some(usage) = self.usage(&key.namespace, group, resource, &scopes).await? else { continue };
            let concerned = hard.keys().filter(|name| quota::concerns(name, group, resource));
            concerned.for_each(|name| used.add(&ResourceList::count(name, 0)));
            used.add(&usage);
        }
        let status = quota.status.clone().unwrap_or_default();
        let before = ResourceList::of(Some(&serde_json::to_value(&status.used)?));
        // What nothing counts (any more) stays as it was noted; if it never was, it is not listed (`CalculateUsage`).
        used.add(&before.only(|name| !used.0.contains_key(name)));
        let used = used.only(|name| hard.contains_key(name));
        if status.hard.as_ref() == Some(&hard) && status.used.is_some() && before == used {
            return Ok(Action::Done);
        }
        let mut written = (*quota).clone();
        written.status = Some(serde_json::from_value(json!({"hard": hard, "used": used.to_json()}))?);
        let quotas = self.context.api::<ResourceQuota>(&key.namespace);
        match quotas.replace_status(&key.name, &PostParams::default(), &written).await {
            // Admission has counted meanwhile, which the cache will tell.
            Err(error) if is_conflict(&error) => Ok(Action::Retry),
            other => {
                ignore_not_found(other)?;
                Ok(Action::Done)
            }
        }
    }

    /// What all objects of a resource use that the quota is about; nothing if it is not served.
    async fn usage(
        &self,
        namespace: &str,
        group: &str,
        resource: &str,
        scopes: &Value,
    ) -> Result<Option<ResourceList>> {
        let now = self.context.clock.now();
        let objects: Vec<Value> = match (group, resource) {
            ("", "pods") => self.pods.list_in(namespace).iter().map(|pod| facts(pod)).collect::<Result<_>>()?,
            ("", "services") => json_of(&self.services.list_in(namespace))?,
            ("", "persistentvolumeclaims") => json_of(&self.claims.list_in(namespace))?,
            ("resource.k8s.io", "resourceclaims") => json_of(&self.device_claims.list_in(namespace))?,
            _ => {
                let Some(informer) = self.watched(group, resource).await? else { return Ok(None) };
                vec![Value::Null; informer.list_in(namespace).len()]
            }
        };
        let mut used = ResourceList::default();
        for object in objects.iter().filter(|object| quota::in_scope(scopes, group, resource, object)) {
            used.add(&quota::usage(group, resource, object, now));
        }
        Ok(Some(used))
    }

    /// The informer of a resource, started if no quota counted it yet; none if it is not served.
    async fn watched(&self, group: &str, resource: &str) -> Result<Option<Informer<Meta>>> {
        let key = pair(group, resource);
        let known = self.others.lock().get(&key).cloned();
        let informer = match known {
            Some(informer) => informer,
            None => {
                let served = discovery::all(&self.context.client).await?;
                let served = served.into_iter().find(|s| s.resource.group == group && s.resource.plural == resource);
                let Some(served) = served.filter(|s| s.is_namespaced() && s.can("list") && s.can("watch")) else {
                    return Ok(None);
                };
                let informer = self.context.informers.dynamic::<Meta>(&served.resource, Selection::default());
                if self.others.lock().insert(key, informer.clone()).is_none() {
                    self.replenish(&informer, |_, _| false);
                }
                informer
            }
        };
        informer.wait_synced().await;
        Ok(Some(informer))
    }
}

fn pair(group: &str, resource: &str) -> (String, String) {
    (group.to_owned(), resource.to_owned())
}

fn owned((group, resource): (&str, &str)) -> Option<(String, String)> {
    Some(pair(group, resource))
}

fn json_of<K: Serialize>(objects: &[Arc<K>]) -> Result<Vec<Value>> {
    Ok(objects.iter().map(|object| serde_json::to_value(&**object)).collect::<Result<_, _>>()?)
}

/// What a quota may ask of a pod; the whole would cost many times as much.
fn facts(pod: &Pod) -> Result<Value> {
    let container =
        |c: &Container| json!({"name": c.name, "resources": c.resources, "restartPolicy": c.restart_policy});
    let spec = pod.spec.as_ref();
    let containers: Vec<Value> = spec.iter().flat_map(|s| &s.containers).map(container).collect();
    let init: Vec<Value> = spec.iter().flat_map(|s| s.init_containers.iter().flatten()).map(container).collect();
    let mut facts = json!({
        "metadata": {"deletionTimestamp": pod.metadata.deletion_timestamp,
            "deletionGracePeriodSeconds": pod.metadata.deletion_grace_period_seconds},
        "spec": {"containers": containers, "initContainers": init},
        "status": {"phase": pod.status.as_ref().and_then(|s| s.phase.as_ref()),
            "qosClass": pod.status.as_ref().and_then(|s| s.qos_class.as_ref())},
    });
    if let Some(spec) = spec {
        facts["spec"]["overhead"] = serde_json::to_value(&spec.overhead)?;
        facts["spec"]["resources"] = serde_json::to_value(&spec.resources)?;
        facts["spec"]["affinity"] = serde_json::to_value(&spec.affinity)?;
        facts["spec"]["activeDeadlineSeconds"] = json!(spec.active_deadline_seconds);
        facts["spec"]["priorityClassName"] = json!(spec.priority_class_name);
    }
    Ok(facts)
}
