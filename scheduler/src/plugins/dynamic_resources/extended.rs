//! Extended resources that stand for devices: a node that does not have them itself gives devices of their class, by a claim
//! that the scheduler makes (`extendeddynamicresources.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use client::resource_claims::EXTENDED;
use k8s_openapi::api::core::v1::ContainerExtendedResourceRequest;
use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceRequest, ExactDeviceRequest, ResourceClaim, ResourceClaimSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;

use super::super::Rejection;
use super::{PLUGIN, rejected};
use crate::device_claims::DeviceClaims;
use crate::node::NodeInfo;
use crate::pod::PodInfo;
use crate::pod_devices::{Asking, is_extended};

type Mapping = ContainerExtendedResourceRequest;

/// What a pod asks for of extended resources, one of which at least stands for devices.
pub(super) struct Extended {
    /// The claim of an earlier attempt, if there is one.
    pub(super) earlier: Option<Arc<ResourceClaim>>,
    asked: BTreeMap<String, i64>,
}

impl Extended {
    pub(super) fn new(pod: &PodInfo, devices: &DeviceClaims) -> Option<Self> {
        pod.extended.as_ref()?;
        let asked = pod.requests.exact.extended.iter().filter(|(name, amount)| **amount != 0 && is_extended(name));
        let asked: BTreeMap<String, i64> = asked.map(|(name, amount)| (name.clone(), *amount)).collect();
        asked.keys().any(|name| devices.class_of_resource(name).is_some()).then(|| {
            let earlier = devices.made_for(&pod.uid).into_iter();
            let is_extended =
                |claim: &Arc<ResourceClaim>| claim.annotations().get(EXTENDED).is_some_and(|v| v == "true");
            Self { earlier: earlier.into_iter().find(is_extended), asked }
        })
    }

    /// The claim that would have to be made on a node, and which container asks for which of its requests; nothing if the
    /// node has all of it itself.
    pub(super) fn on(
        &self,
        pod: &PodInfo,
        node: &NodeInfo,
        devices: &DeviceClaims,
    ) -> Result<Option<(ResourceClaim, Vec<Mapping>)>, Rejection> {
        if self.earlier.is_some() {
            return Err(rejected("cannot schedule extended resource claim"));
        }
        let mut classes = BTreeMap::new();
        for name in self.asked.keys() {
            let has = node.allocatable.extended.get(name);
            match devices.class_of_resource(name) {
                Some(class) if has.is_none_or(|has| *has == 0) => _ = classes.insert(name.as_str(), class.name_any()),
                None if has.is_none() => return Err(Rejection::final_(PLUGIN, "cannot fit resource")),
                _ => {}
            }
        }
        if classes.is_empty() {
            return Ok(None);
        }
        let asking = pod.extended.as_deref().unwrap_or_default();
        let (requests, mappings) = requests(asking, &classes);
        Ok(Some((claim(pod, requests), mappings)))
    }
}

fn claim(pod: &PodInfo, requests: Vec<DeviceRequest>) -> ResourceClaim {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: pod.name().into(),
        uid: pod.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    ResourceClaim {
        metadata: ObjectMeta {
            namespace: Some(pod.namespace().into()),
            generate_name: Some(format!("{}-extended-resources-", pod.name())),
            owner_references: Some(vec![owner]),
            annotations: Some(BTreeMap::from([(EXTENDED.to_owned(), "true".to_owned())])),
            ..ObjectMeta::default()
        },
        spec: ResourceClaimSpec { devices: Some(DeviceClaim { requests: Some(requests), ..DeviceClaim::default() }) },
        status: None,
    }
}

/// One request a container and resource. Init containers that end use what later ones ask for, and one request more for
/// the one of them that needs most beside (`createRequestsAndMappings`).
fn requests(asking: &[Asking], classes: &BTreeMap<&str, String>) -> (Vec<DeviceRequest>, Vec<Mapping>) {
    let (mut all, mut mappings) = (Vec::new(), Vec::new());
    for (resource, class) in classes {
        let mut long: Vec<Option<DeviceRequest>> = vec![None; asking.len()];
        for container in asking.iter().filter(|container| !container.is_short) {
            let (request, mapped) = of_container(container, resource, class, &[]);
            long[container.index] = request;
            mappings.extend(mapped);
        }
        let mut most: Option<DeviceRequest> = None;
        let (mut names, mut short) = (Vec::new(), Vec::new());
        for container in asking.iter().filter(|container| container.is_short) {
            let (request, mapped) = of_container(container, resource, class, &long[container.index..]);
            short.extend(mapped);
            let Some(request) = request else { continue };
            names.push(request.name.clone());
            if most.as_ref().is_none_or(|most| count(most) < count(&request)) {
                most = Some(request);
            }
        }
        if let Some(most) = &most {
            let own = |mapping: &&mut Mapping| names.contains(&mapping.request_name);
            short.iter_mut().filter(own).for_each(|mapping| mapping.request_name = most.name.clone());
        }
        all.extend(most);
        all.extend(long.into_iter().flatten());
        mappings.extend(short);
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    (all, mappings)
}

fn count(request: &DeviceRequest) -> i64 {
    request.exactly.as_ref().and_then(|exactly| exactly.count).unwrap_or(0)
}

/// What a container asks for beside what it can use of `others`.
fn of_container(
    container: &Asking,
    resource: &str,
    class: &str,
    others: &[Option<DeviceRequest>],
) -> (Option<DeviceRequest>, Vec<Mapping>) {
    let asked = container.requests.iter().enumerate().find(|(_, (name, _))| name == resource);
    let Some((place, amount)) = asked.and_then(|(place, (_, amount))| Some((place, (*amount)?))) else {
        return (None, Vec::new());
    };
    let (mut mappings, mut sum) = (Vec::new(), 0);
    let mapping = |request: &str| Mapping {
        container_name: container.container.clone(),
        resource_name: resource.into(),
        request_name: request.into(),
    };
    if amount == 0 {
        return (None, mappings);
    }
    for other in others.iter().flatten() {
        sum += count(other);
        mappings.push(mapping(&other.name));
        if sum >= amount {
            return (None, mappings);
        }
    }
    let name = format!("container-{}-request-{place}", container.index);
    mappings.push(mapping(&name));
    let exactly = ExactDeviceRequest {
        device_class_name: class.into(),
        allocation_mode: Some("ExactCount".into()),
        count: Some(amount - sum),
        ..ExactDeviceRequest::default()
    };
    (Some(DeviceRequest { name, exactly: Some(exactly), first_available: None }), mappings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_end_share_what_others_ask_for() {
        let asking = |index: usize, is_short: bool, amount: i64| Asking {
            index,
            container: format!("c{index}"),
            is_short,
            requests: vec![("cpu".into(), None), ("e.x/gpu".into(), Some(amount))],
        };
        let classes = BTreeMap::from([("e.x/gpu", "gpus".to_string())]);
        let check = |asked: &[Asking], counts: &[(&str, i64)], mapped: &[(&str, &str)]| {
            let (found, mappings) = requests(asked, &classes);
            let found: Vec<_> = found.iter().map(|request| (request.name.as_str(), count(request))).collect();
            let mappings: Vec<_> =
                mappings.iter().map(|m| (m.container_name.as_str(), m.request_name.as_str())).collect();
            assert_eq!((found.as_slice(), mappings.as_slice()), (counts, mapped));
        };
        check(&[asking(0, false, 2)], &[("container-0-request-1", 2)], &[("c0", "container-0-request-1")]);
        let two = [asking(0, true, 2), asking(1, false, 3)];
        let of = "container-1-request-1";
        check(&two, &[(of, 3)], &[("c1", of), ("c0", of)]);
        let more = [asking(0, true, 3), asking(1, true, 5), asking(2, false, 2)];
        let (long, most) = ("container-2-request-1", "container-1-request-1");
        let mapped = [("c2", long), ("c0", long), ("c0", most), ("c1", long), ("c1", most)];
        check(&more, &[(most, 3), (long, 2)], &mapped);
    }
}
