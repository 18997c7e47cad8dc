//! Disruption budgets as preemption counts them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::selector::LabelSelector;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::pod::{PodInfo, selector};

/// The budgets of a cluster, parsed once for all nodes of an attempt.
pub(crate) struct Budgets(Vec<Budget>);

struct Budget {
    namespace: String,
    selector: LabelSelector,
    allowed: i32,
    /// The API server has counted these already.
    disrupted: Vec<String>,
}

impl Budgets {
    /// Those that select anything.
    pub(crate) fn new(budgets: &[Arc<PodDisruptionBudget>]) -> Self {
        let parse = |budget: &Arc<PodDisruptionBudget>| {
            let selector = selector(budget.spec.as_ref()?.selector.as_ref());
            let status = budget.status.as_ref();
            let disrupted = status.and_then(|status| status.disrupted_pods.as_ref());
            Some(Budget {
                namespace: budget.metadata.namespace.clone()?,
                selector,
                allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
                disrupted: disrupted.map(BTreeMap::keys).into_iter().flatten().cloned().collect(),
            })
        };
        // An empty selector selects nothing here.
        Self(budgets.iter().filter_map(parse).filter(|budget| !budget.selector.is_everything()).collect())
    }

    /// Those of the pods whose end would violate a budget, and the others, each in the order in which they were; budgets
    /// are used up in that order (`filterPodsWithPDBViolation`).
    pub(crate) fn split(&self, pods: Vec<Arc<PodInfo>>) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
        let mut left: Vec<i32> = self.0.iter().map(|budget| budget.allowed).collect();
        pods.into_iter().partition(|pod| {
            let mut violates = false;
            for (_, left) in self.0.iter().zip(&mut left).filter(|(budget, _)| budget.counts(pod)) {
                *left = left.saturating_sub(1);
                violates |= *left < 0;
            }
            violates
        })
    }
}

impl Budget {
    fn counts(&self, pod: &PodInfo) -> bool {
        !pod.labels.is_empty()
            && self.namespace == pod.namespace()
            && self.selector.matches(&*pod.labels)
            && !self.disrupted.iter().any(|name| name == pod.name())
    }
}
