//! Creating and deleting the pods of a controller, with the events that tell of it.

use std::future::Future;

use client::EventType;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Resource, ResourceExt};

use crate::context::Context;
use crate::error::{Error, Result, is_namespace_terminating, is_not_found, message};
use crate::owner::controller_reference;

/// Creations of the first batch; each batch that succeeds is followed by one of twice the size.
const FIRST_BATCH: usize = 1;
/// The longest generated name that still leaves room for the suffix.
const PREFIX_BYTES_MAX: usize = 252;

/// A pod as `template` says, controlled by `owner`.
pub(crate) fn pod_from_template<O: Resource<DynamicType = ()>>(template: &PodTemplateSpec, owner: &O) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let mut prefix = owner.name_any();
    if prefix.len() < PREFIX_BYTES_MAX {
        prefix.push('-');
    }
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: owner.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

impl Context {
    /// Creates a pod for `owner` and records an event.
    pub(crate) async fn create_pod<O: Resource<DynamicType = ()>>(&self, owner: &O, pod: &Pod) -> Result<Pod> {
        if pod.labels().is_empty() {
            return Err(Error::Invalid("unable to create pods, no labels".into()));
        }
        let namespace = owner.namespace().unwrap_or_default();
        match self.api::<Pod>(&namespace).create(&PostParams::default(), pod).await {
            Ok(created) => {
                let said = format!("Created pod: {}", created.name_any());
                self.events.event(owner, EventType::Normal, "SuccessfulCreate", said);
                Ok(created)
            }
            Err(error) => {
                if !is_namespace_terminating(&error) {
                    let said = format!("Error creating: {}", message(&error));
                    self.events.event(owner, EventType::Warning, "FailedCreate", said);
                }
                Err(error.into())
            }
        }
    }

    /// Deletes a pod of `owner` and records an event. A pod that is gone already is no error; `false` says so.
    pub(crate) async fn delete_pod<O: Resource<DynamicType = ()>>(&self, owner: &O, name: &str) -> Result<bool> {
        let namespace = owner.namespace().unwrap_or_default();
        match self.api::<Pod>(&namespace).delete(name, &DeleteParams::default()).await {
            Ok(_) => {
                self.events.event(owner, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(true)
            }
            Err(error) if is_not_found(&error) => Ok(false),
            Err(error) => {
                let said = format!("Error deleting: {}", message(&error));
                self.events.event(owner, EventType::Warning, "FailedDelete", said);
                Err(error.into())
            }
        }
    }
}

/// Runs `create` up to `count` times in batches of doubling size, and stops after a batch with a failure, so that a
/// quota that refuses one pod is not asked for thousands. Returns how many succeeded, and the first failure.
pub(crate) async fn slow_start<F, Fut>(count: usize, create: F) -> (usize, Option<Error>)
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let (mut succeeded, mut next, mut batch) = (0, 0, FIRST_BATCH);
    while next < count {
        let size = batch.min(count - next);
        let outcomes = join_all((next..next + size).map(&create)).await;
        next += size;
        succeeded += outcomes.iter().filter(|o| o.is_ok()).count();
        if let Some(error) = outcomes.into_iter().find_map(Result::err) {
            return (succeeded, Some(error));
        }
        batch *= 2;
    }
    (succeeded, None)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_failure_stops_the_batches() {
        let calls = Cell::new(0);
        let (succeeded, error) = slow_start(100, |i| {
            calls.set(calls.get() + 1);
            async move { if i == 2 { Err(Error::Invalid("no".into())) } else { Ok(()) } }
        })
        .await;
        assert_eq!((succeeded, calls.get()), (2, 3), "one, then two");
        assert!(error.is_some());
        assert_eq!(slow_start(100, |_| async { Ok(()) }).await.0, 100);
    }
}
