//! A pod as the rules see it, whether it is JSON or typed.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource;
use serde_json::{Map, Value};

use crate::Object;
use crate::conditions::Condition;
use crate::quantity::Quantity;

const PENDING: &str = "Pending";

/// Whether an init container of this restart policy goes on beside the others (`IsRestartableInitContainer`).
pub fn is_sidecar(restart_policy: Option<&str>) -> bool {
    restart_policy == Some("Always")
}

/// A list of amounts by resource. An amount that is no quantity is not there: validation tells of it.
pub trait List {
    /// The amount of one resource.
    fn amount(&self, name: &str) -> Option<Quantity>;

    /// All amounts.
    fn amounts(&self) -> impl Iterator<Item = (&str, Quantity)>;
}

impl List for Map<String, Value> {
    fn amount(&self, name: &str) -> Option<Quantity> {
        Quantity::from_json(self.get(name)?).ok()
    }

    fn amounts(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.iter().filter_map(|(name, value)| Some((name.as_str(), Quantity::from_json(value).ok()?)))
    }
}

impl List for BTreeMap<String, resource::Quantity> {
    fn amount(&self, name: &str) -> Option<Quantity> {
        Quantity::parse(&self.get(name)?.0).ok()
    }

    fn amounts(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.iter().filter_map(|(name, amount)| Some((name.as_str(), Quantity::parse(&amount.0).ok()?)))
    }
}

/// What a container, or a pod as a whole, asks for and is limited to.
#[derive(Debug)]
pub struct Resources<'a, L> {
    /// `requests`
    pub requests: Option<&'a L>,
    /// `limits`
    pub limits: Option<&'a L>,
}

/// A container.
#[derive(Debug)]
pub struct ContainerView<'a, L> {
    /// Its resources.
    pub resources: Resources<'a, L>,
    /// Whether it goes on beside the others, if it is an init container.
    pub is_sidecar: bool,
}

/// The specification of a pod.
pub trait SpecView {
    /// How it lists amounts.
    type List: List;

    /// The ordinary containers.
    fn containers(&self) -> impl Iterator<Item = ContainerView<'_, Self::List>>;

    /// The init containers, in order.
    fn init_containers(&self) -> impl Iterator<Item = ContainerView<'_, Self::List>>;

    /// The resources of the pod as a whole, if it has any of its own.
    fn whole(&self) -> Option<Resources<'_, Self::List>>;

    /// The cost of the pod beside its containers.
    fn overhead(&self) -> Option<&Self::List>;
}

/// A JSON object.
trait Fields {
    fn field(&self, name: &str) -> Option<&Value>;
}

impl Fields for Value {
    fn field(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl Fields for Map<String, Value> {
    fn field(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

impl<F: Fields> SpecView for F {
    type List = Map<String, Value>;

    fn containers(&self) -> impl Iterator<Item = ContainerView<'_, Self::List>> {
        json_containers(self.field("containers"))
    }

    fn init_containers(&self) -> impl Iterator<Item = ContainerView<'_, Self::List>> {
        json_containers(self.field("initContainers"))
    }

    fn whole(&self) -> Option<Resources<'_, Self::List>> {
        self.field("resources").filter(|resources| resources.is_object()).map(json_resources)
    }

    fn overhead(&self) -> Option<&Self::List> {
        self.field("overhead")?.as_object()
    }
}

fn json_containers(list: Option<&Value>) -> impl Iterator<Item = ContainerView<'_, Map<String, Value>>> {
    list.and_then(Value::as_array).into_iter().flatten().map(|container| ContainerView {
        resources: json_resources(container.get("resources").unwrap_or(&Value::Null)),
        is_sidecar: is_sidecar(container.get("restartPolicy").and_then(Value::as_str)),
    })
}

fn json_resources(resources: &Value) -> Resources<'_, Map<String, Value>> {
    let list = |half: &str| resources.get(half).and_then(Value::as_object);
    Resources { requests: list("requests"), limits: list("limits") }
}

type Typed = BTreeMap<String, resource::Quantity>;

impl SpecView for PodSpec {
    type List = Typed;

    fn containers(&self) -> impl Iterator<Item = ContainerView<'_, Typed>> {
        self.containers.iter().map(typed_container)
    }

    fn init_containers(&self) -> impl Iterator<Item = ContainerView<'_, Typed>> {
        self.init_containers.iter().flatten().map(typed_container)
    }

    fn whole(&self) -> Option<Resources<'_, Typed>> {
        self.resources.as_ref().map(|resources| typed_resources(Some(resources)))
    }

    fn overhead(&self) -> Option<&Typed> {
        self.overhead.as_ref()
    }
}

fn typed_container(container: &Container) -> ContainerView<'_, Typed> {
    ContainerView {
        resources: typed_resources(container.resources.as_ref()),
        is_sidecar: is_sidecar(container.restart_policy.as_deref()),
    }
}

fn typed_resources(resources: Option<&ResourceRequirements>) -> Resources<'_, Typed> {
    let (requests, limits) = (resources.and_then(|r| r.requests.as_ref()), resources.and_then(|r| r.limits.as_ref()));
    Resources { requests, limits }
}

/// A pod.
pub trait PodView {
    /// Its specification.
    type Spec: SpecView;
    /// One of its conditions.
    type Condition: Condition;

    /// The specification; every pod that the API serves has one.
    fn spec(&self) -> Option<&Self::Spec>;

    /// The phase; `Pending` if there is none yet.
    fn phase(&self) -> &str;

    /// The quality of service that the status tells; empty if it tells none.
    fn told_quality(&self) -> &str;

    /// The conditions.
    fn conditions(&self) -> impl Iterator<Item = &Self::Condition>;

    /// Whether it is being deleted.
    fn is_deleted(&self) -> bool;
}

impl PodView for Pod {
    type Spec = PodSpec;
    type Condition = PodCondition;

    fn spec(&self) -> Option<&PodSpec> {
        self.spec.as_ref()
    }

    fn phase(&self) -> &str {
        self.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or(PENDING)
    }

    fn told_quality(&self) -> &str {
        self.status.as_ref().and_then(|status| status.qos_class.as_deref()).unwrap_or_default()
    }

    fn conditions(&self) -> impl Iterator<Item = &PodCondition> {
        self.status.iter().flat_map(|status| status.conditions.iter().flatten())
    }

    fn is_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
}

impl PodView for Map<String, Value> {
    type Spec = Value;
    type Condition = Value;

    fn spec(&self) -> Option<&Value> {
        self.get("spec")
    }

    fn phase(&self) -> &str {
        status(self, "phase").and_then(Value::as_str).unwrap_or(PENDING)
    }

    fn told_quality(&self) -> &str {
        status(self, "qosClass").and_then(Value::as_str).unwrap_or_default()
    }

    fn conditions(&self) -> impl Iterator<Item = &Value> {
        status(self, "conditions").and_then(Value::as_array).into_iter().flatten()
    }

    fn is_deleted(&self) -> bool {
        self.get("metadata").and_then(|metadata| metadata.get("deletionTimestamp")).is_some_and(|at| !at.is_null())
    }
}

fn status<'a>(pod: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    pod.get("status")?.get(name)
}

/// The same pod behind another type.
macro_rules! behind {
    ([$($generics:tt)*] $outer:ty, $inner:ty, |$this:ident| $pod:expr) => {
        impl<$($generics)*> PodView for $outer {
            type Spec = <$inner as PodView>::Spec;
            type Condition = <$inner as PodView>::Condition;

            fn spec(&self) -> Option<&Self::Spec> {
                let $this = self;
                <$inner as PodView>::spec($pod)
            }

            fn phase(&self) -> &str {
                let $this = self;
                <$inner as PodView>::phase($pod)
            }

            fn told_quality(&self) -> &str {
                let $this = self;
                <$inner as PodView>::told_quality($pod)
            }

            fn conditions(&self) -> impl Iterator<Item = &Self::Condition> {
                let $this = self;
                <$inner as PodView>::conditions($pod)
            }

            fn is_deleted(&self) -> bool {
                let $this = self;
                <$inner as PodView>::is_deleted($pod)
            }
        }
    };
}

behind!([] Object, Map<String, Value>, |object| &object.0);
behind!([P: PodView] &P, P, |pod| *pod);
behind!([P: PodView] Arc<P>, P, |pod| &**pod);
