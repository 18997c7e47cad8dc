//! The resources of a pod and its containers, and how they are compared.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    pod::{self, Role},
    resources::{self, PodCgroup},
};

/// The resources that can be changed.
pub(super) const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// The resources of a pod as a whole, and of its containers by name.
#[derive(Debug, Clone)]
pub(super) struct Shares {
    pub(super) whole: Option<ResourceRequirements>,
    pub(super) own: HashMap<String, ResourceRequirements>,
}

/// The resources that a running instance was given.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The resources of the container.
    pub own: ResourceRequirements,
    /// Those of the pod as a whole, which limit it where it has no limits of its own.
    pub whole: Option<ResourceRequirements>,
}

/// How a container gets other resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Update,
    Restart,
}

pub(super) fn resizable(of: &Pod) -> impl Iterator<Item = (Role, Container)> {
    pod::containers(of).into_iter().filter(|(role, _)| *role != Role::Ephemeral)
}

pub(super) fn wanted(of: &Pod) -> Shares {
    let own = resizable(of).map(|(_, c)| (c.name, c.resources.unwrap_or_default())).collect();
    Shares { whole: resources::of_whole(of).cloned(), own }
}

type List = BTreeMap<String, Quantity>;

/// Of `list` what has a name that is in `names`.
pub(super) fn only_named(list: Option<&List>, names: Option<&List>) -> Option<List> {
    let (list, names) = (list?, names?);
    Some(list.iter().filter(|(name, _)| names.contains_key(*name)).map(|(n, q)| (n.clone(), q.clone())).collect())
}

/// The allocation as the API knows it: an agent that starts anew finds it there.
pub(super) fn allocated_before(of: &Pod, wanted: &Shares) -> Shares {
    let lists = of.status.iter().flat_map(|s| [&s.container_statuses, &s.init_container_statuses]);
    let known: HashMap<&str, &ContainerStatus> =
        lists.flat_map(|list| list.iter().flatten()).map(|status| (status.name.as_str(), status)).collect();
    let before = |name: &String, wanted: &ResourceRequirements| {
        let status = known.get(name.as_str())?;
        let requests = status.allocated_resources.clone()?;
        let limits = status.resources.as_ref()?.limits.clone();
        Some(ResourceRequirements { requests: Some(requests), limits, claims: wanted.claims.clone() })
    };
    let whole_before = || {
        let (status, wanted) = (of.status.as_ref()?, wanted.whole.as_ref()?);
        Some(ResourceRequirements {
            requests: only_named(Some(status.allocated_resources.as_ref()?), wanted.requests.as_ref()),
            limits: only_named(status.resources.as_ref()?.limits.as_ref(), wanted.limits.as_ref()),
            claims: wanted.claims.clone(),
        })
    };
    let own = wanted.own.iter().map(|(name, new)| (name.clone(), before(name, new).unwrap_or_else(|| new.clone())));
    Shares { whole: whole_before().or_else(|| wanted.whole.clone()), own: own.collect() }
}

/// The amounts that can be changed: of each resource the request and the limit that holds, in thousandths.
pub(super) fn amounts(
    whole: Option<&ResourceRequirements>,
    own: Option<&ResourceRequirements>,
) -> [[Option<i64>; 2]; 2] {
    RESIZABLE.map(|name| {
        let request = own.and_then(|own| own.requests.as_ref()?.get(name));
        [request, resources::limit(whole, own, name)].map(|amount| amount.map(resources::milli))
    })
}

pub(super) fn is_same(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    amounts(None, Some(one)) == amounts(None, Some(other))
}

pub(super) fn step(container: &Container, whole: Option<&ResourceRequirements>, given: &Given) -> Option<Step> {
    let wanted = amounts(whole, container.resources.as_ref());
    let before = amounts(given.whole.as_ref(), Some(&given.own));
    let changed = RESIZABLE.into_iter().zip(wanted).zip(before).filter(|((_, new), old)| new != old);
    let mut changed = changed.map(|((name, _), _)| name).peekable();
    changed.peek()?;
    let restarts = |name: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer")
    };
    Some(if changed.any(restarts) { Step::Restart } else { Step::Update })
}

/// Settings under which the containers have room before, while and after they change.
pub(super) fn wider(old: PodCgroup, new: PodCgroup) -> PodCgroup {
    PodCgroup {
        cpu_shares: old.cpu_shares.max(new.cpu_shares),
        cpu_quota: old.cpu_quota.zip(new.cpu_quota).map(|(old, new)| old.max(new)),
        cpu_period: new.cpu_period,
        memory: old.memory.zip(new.memory).map(|(old, new)| old.max(new)),
    }
}

/// The new limit, if it allows less than the old one.
pub(super) fn lowered(before: Option<i64>, new: Option<i64>) -> Option<i64> {
    new.filter(|new| before.is_none_or(|before| *new < before))
}
