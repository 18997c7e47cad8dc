//! ReplicaSet and ReplicationController as one thing: both keep a number of pods.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use kube::Resource;
use serde::Serialize;

use crate::selector::{self, Labels};

/// A kind that keeps a number of pods.
pub(crate) trait Replicated:
    client::informer::Cached + Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize
{
    /// The name of the controller.
    const NAME: &'static str;

    fn replicas(&self) -> i32;
    fn min_ready_seconds(&self) -> i32;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn selects(&self, labels: &Labels) -> bool;
    fn status(&self) -> ReplicaSetStatus;
    fn with_status(&self, status: ReplicaSetStatus) -> Self;
}

impl Replicated for ReplicaSet {
    const NAME: &'static str = "replicaset";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn selects(&self, labels: &Labels) -> bool {
        self.spec.as_ref().is_some_and(|s| !selector::is_empty(&s.selector) && selector::matches(&s.selector, labels))
    }

    fn status(&self) -> ReplicaSetStatus {
        self.status.clone().unwrap_or_default()
    }

    fn with_status(&self, status: ReplicaSetStatus) -> Self {
        Self { status: Some(status), ..self.clone() }
    }
}

impl Replicated for ReplicationController {
    const NAME: &'static str = "replicationcontroller";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn selects(&self, labels: &Labels) -> bool {
        let wanted = self.spec.as_ref().and_then(|s| s.selector.as_ref());
        wanted.is_some_and(|w| !w.is_empty() && selector::contains(labels, w))
    }

    fn status(&self) -> ReplicaSetStatus {
        let s = self.status.clone().unwrap_or_default();
        let condition = |c: ReplicationControllerCondition| ReplicaSetCondition {
            last_transition_time: c.last_transition_time,
            message: c.message,
            reason: c.reason,
            status: c.status,
            type_: c.type_,
        };
        ReplicaSetStatus {
            available_replicas: s.available_replicas,
            conditions: s.conditions.map(|c| c.into_iter().map(condition).collect()),
            fully_labeled_replicas: s.fully_labeled_replicas,
            observed_generation: s.observed_generation,
            ready_replicas: s.ready_replicas,
            replicas: s.replicas,
            terminating_replicas: None,
        }
    }

    fn with_status(&self, s: ReplicaSetStatus) -> Self {
        let condition = |c: ReplicaSetCondition| ReplicationControllerCondition {
            last_transition_time: c.last_transition_time,
            message: c.message,
            reason: c.reason,
            status: c.status,
            type_: c.type_,
        };
        let status = ReplicationControllerStatus {
            available_replicas: s.available_replicas,
            conditions: s.conditions.map(|c| c.into_iter().map(condition).collect()),
            fully_labeled_replicas: s.fully_labeled_replicas,
            observed_generation: s.observed_generation,
            ready_replicas: s.ready_replicas,
            replicas: s.replicas,
        };
        Self { status: Some(status), ..self.clone() }
    }
}
