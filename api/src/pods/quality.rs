//! The quality of service of a pod (`pkg/apis/core/v1/helper/qos`).

use super::resources::Half;
use super::view::{List, PodView, Resources, SpecView};
use crate::quantity::Quantity;

/// The resources that count.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// How a pod is treated when a node runs short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container is limited to what it asks for, in cpu and memory.
    Guaranteed,
    /// Some container asks for something, or is limited.
    Burstable,
    /// No container is.
    BestEffort,
}

impl QosClass {
    /// The name in `status.qosClass`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Guaranteed, Self::Burstable, Self::BestEffort].into_iter().find(|class| class.name() == name)
    }
}

/// The class that a pod has: the one that its status tells, as it is for life (`GetPodQOS`).
pub fn effective_quality(pod: &(impl PodView + ?Sized)) -> QosClass {
    let told = QosClass::of_name(pod.told_quality());
    told.or_else(|| pod.spec().map(quality)).unwrap_or(QosClass::BestEffort)
}

/// The class of a pod of this specification (`ComputePodQOS`). The resources of the pod as a whole count alone if there are
/// any, else those of all its containers but ephemeral ones, which have none.
pub fn quality(spec: &(impl SpecView + ?Sized)) -> QosClass {
    let mut sums = Sums::default();
    match spec.whole() {
        Some(whole) => sums.add(&whole),
        None => spec.containers().chain(spec.init_containers()).for_each(|container| sums.add(&container.resources)),
    }
    sums.class()
}

/// What all containers ask for and are limited to; what is zero is as good as not said.
#[derive(Default)]
struct Sums {
    requests: [Option<Quantity>; COUNTED.len()],
    limits: [Option<Quantity>; COUNTED.len()],
    /// Whether some container is not limited in everything that counts.
    has_gap: bool,
}

impl Sums {
    fn add<L: List>(&mut self, resources: &Resources<'_, L>) {
        for (i, name) in COUNTED.into_iter().enumerate() {
            let above_zero = |half: Half| half.of(resources)?.amount(name).filter(|amount| amount.sign() > 0);
            let (request, limit) = (above_zero(Half::Requests), above_zero(Half::Limits));
            self.has_gap |= limit.is_none();
            add(&mut self.requests[i], request);
            add(&mut self.limits[i], limit);
        }
    }

    fn class(&self) -> QosClass {
        if self.requests.iter().chain(&self.limits).all(Option::is_none) {
            QosClass::BestEffort
        } else if !self.has_gap && self.requests == self.limits {
            QosClass::Guaranteed
        } else {
            QosClass::Burstable
        }
    }
}

fn add(sum: &mut Option<Quantity>, more: Option<Quantity>) {
    let Some(more) = more else { return };
    *sum = Some(sum.as_ref().and_then(|sum| sum.checked_add(&more)).unwrap_or(more));
}
