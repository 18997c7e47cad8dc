//! What a pod asks for and is limited to in all (`k8s.io/component-helpers/resource`).

use serde_json::Value;

use super::view::{ContainerView, List, Resources, SpecView};
use crate::quantity::Quantity;
use crate::resources::ResourceList;

/// Which half of a container's resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// `requests`
    Requests,
    /// `limits`
    Limits,
}

impl Half {
    /// The field's name.
    pub fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }

    /// This half of the resources of a container or pod.
    pub fn of<'a, L>(self, resources: &Resources<'a, L>) -> Option<&'a L> {
        match self {
            Self::Requests => resources.requests,
            Self::Limits => resources.limits,
        }
    }

    /// This half of the `resources` of a container or a claim, as JSON.
    pub fn list(self, holder: &Value) -> ResourceList {
        ResourceList::of(holder.get("resources").and_then(|resources| resources.get(self.field())))
    }
}

/// Amounts by resource that can be summed up.
pub trait Amounts: Default {
    /// There is so much of one resource.
    fn set(&mut self, name: &str, amount: Quantity);

    /// Adds each amount of `other`.
    fn add(&mut self, other: &Self);

    /// Raises each amount to that of `other`.
    fn raise(&mut self, other: &Self);
}

impl Amounts for ResourceList {
    fn set(&mut self, name: &str, amount: Quantity) {
        self.0.insert(name.to_owned(), amount);
    }

    fn add(&mut self, other: &Self) {
        ResourceList::add(self, other);
    }

    fn raise(&mut self, other: &Self) {
        ResourceList::raise(self, other);
    }
}

/// What a list says; none says nothing.
pub fn read<A: Amounts>(list: Option<&impl List>) -> A {
    let mut amounts = A::default();
    if let Some(list) = list {
        list.amounts().for_each(|(name, amount)| amounts.set(name, amount));
    }
    amounts
}

/// What the containers of a pod need together: the sum of containers and sidecars, or the most that is needed while the init
/// containers come and go, each beside the sidecars that started before it, if that is more (`AggregateContainerRequests`,
/// `AggregateContainerLimits`).
pub fn containers_together<S, A>(spec: &S, of: impl Fn(&ContainerView<'_, S::List>) -> A) -> A
where
    S: SpecView + ?Sized,
    A: Amounts,
{
    let mut sum = A::default();
    spec.containers().for_each(|container| sum.add(&of(&container)));
    let (mut sidecars, mut peak) = (A::default(), A::default());
    for container in spec.init_containers() {
        let mut needed = of(&container);
        if container.is_sidecar {
            sum.add(&needed);
            sidecars.add(&needed);
            peak.raise(&sidecars);
        } else {
            needed.add(&sidecars);
            peak.raise(&needed);
        }
    }
    sum.raise(&peak);
    sum
}

/// Whether a resource can be given for a pod as a whole (`IsSupportedPodLevelResource`).
fn is_of_whole(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Whether anything is given for a pod as a whole (`IsPodLevelResourcesSet`).
pub fn has_whole(spec: &(impl SpecView + ?Sized)) -> bool {
    let Some(whole) = spec.whole() else { return false };
    let mut lists = [whole.requests, whole.limits].into_iter().flatten();
    lists.any(|list| list.amounts().any(|(name, _)| is_of_whole(name)))
}

fn without_overhead<S, A>(spec: &S, half: Half, of: impl Fn(&ContainerView<'_, S::List>) -> A) -> A
where
    S: SpecView + ?Sized,
    A: Amounts,
{
    let mut sum = containers_together(spec, of);
    // What is given for the pod as a whole takes the place of what its containers come to.
    if let Some(list) = spec.whole().and_then(|whole| half.of(&whole)) {
        list.amounts().filter(|(name, _)| is_of_whole(name)).for_each(|(name, amount)| sum.set(name, amount));
    }
    sum
}

/// One half of the resources of a pod without its overhead.
pub fn amounts<S: SpecView + ?Sized, A: Amounts>(spec: &S, half: Half) -> A {
    without_overhead(spec, half, |container| read(half.of(&container.resources)))
}

/// What a pod asks for, its overhead included (`PodRequests`).
pub fn requests<S: SpecView + ?Sized, A: Amounts>(spec: &S) -> A {
    requests_with(spec, |container| read(container.resources.requests))
}

/// The same, but `of` says what a container asks for.
pub fn requests_with<S, A>(spec: &S, of: impl Fn(&ContainerView<'_, S::List>) -> A) -> A
where
    S: SpecView + ?Sized,
    A: Amounts,
{
    let mut sum = without_overhead(spec, Half::Requests, of);
    sum.add(&read(spec.overhead()));
    sum
}

/// What a pod is limited to. Its overhead raises only limits that there are (`PodLimits`).
pub fn limits(spec: &(impl SpecView + ?Sized)) -> ResourceList {
    let mut sum: ResourceList = amounts(spec, Half::Limits);
    let overhead: ResourceList = read(spec.overhead());
    let counted = overhead.only(|name| sum.0.get(name).is_some_and(|limit| !limit.is_zero()));
    sum.add(&counted);
    sum
}
