//! What a pod asks for of devices: by claims, and by extended resources that stand for them.

use api::pods::is_sidecar;
use api::quantity::Quantity;
use api::resources;
use client::resource_claims;
use k8s_openapi::api::core::v1::{Container, Pod, PodResourceClaim, PodSpec};

/// What extended resources begin with that stand for the devices of the class of the rest (`ResourceDeviceClassPrefix`).
pub(crate) const CLASS_PREFIX: &str = "deviceclass.resource.kubernetes.io/";

/// A claim of devices, as a pod names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodClaim {
    /// It is there, or should be.
    Named {
        /// Its name.
        name: String,
        /// Whether it was made for the pod.
        is_made: bool,
    },
    /// It turned out that none is needed.
    NotNeeded,
    /// It is not known yet; why.
    Unnamed(String),
}

impl PodClaim {
    /// The claims of a pod.
    pub(crate) fn all(pod: &Pod) -> Vec<Self> {
        resource_claims::of_pod(pod).iter().map(|claim| Self::new(pod, claim)).collect()
    }

    fn new(pod: &Pod, claim: &PodResourceClaim) -> Self {
        match resource_claims::name(pod, claim) {
            Ok(Some(named)) => Self::Named { name: named.name.to_owned(), is_made: named.is_made },
            Ok(None) => Self::NotNeeded,
            Err(why) => Self::Unnamed(why.to_string()),
        }
    }
}

/// What a container asks for, in a pod that asks for extended resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asking {
    /// Its place among all containers, init containers first.
    pub index: usize,
    /// Its name.
    pub container: String,
    /// Whether it ends before the others start.
    pub is_short: bool,
    /// The names of all resources that it asks for, in their order, and the amounts of extended ones.
    pub requests: Vec<(String, Option<i64>)>,
}

impl Asking {
    /// What the containers of a pod ask for, if any asks for extended resources.
    pub(crate) fn all(spec: &PodSpec) -> Option<Box<[Self]>> {
        let init = spec.init_containers.as_deref().unwrap_or_default();
        let containers = || init.iter().chain(&spec.containers);
        let requests = |container: &Container| container.resources.as_ref().and_then(|r| r.requests.clone());
        if !containers().any(|container| requests(container).iter().flatten().any(|(name, _)| is_extended(name))) {
            return None;
        }
        let of = |(index, container): (usize, &Container)| {
            let amount = |name: &str, text: &str| {
                is_extended(name).then(|| Quantity::parse(text).ok()).flatten().map(|amount| amount.value())
            };
            let asked = requests(container).unwrap_or_default().into_iter();
            Self {
                index,
                container: container.name.clone(),
                is_short: index < init.len() && !is_sidecar(container.restart_policy.as_deref()),
                requests: asked.map(|(name, text)| (name.clone(), amount(&name, &text.0))).collect(),
            }
        };
        Some(containers().enumerate().map(of).collect())
    }
}

/// Whether a resource may stand for devices (`IsDRAExtendedResourceName`).
pub(crate) fn is_extended(name: &str) -> bool {
    name.starts_with(CLASS_PREFIX) || resources::is_extended(name)
}
