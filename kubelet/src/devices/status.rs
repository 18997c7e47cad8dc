//! The devices of containers and their health, as the status of a pod tells them (`UpdateAllocatedResourcesStatus`).

use std::collections::BTreeMap;

use client::resource_claims::{self, base_request};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus, ResourceHealth, ResourceStatus};

use super::Devices;
use super::claims::ClaimInfo;
use crate::pod;

impl Devices {
    /// Writes the devices of each container into its status.
    pub fn report(&self, pod: &Pod, status: &mut PodStatus) {
        if resource_claims::of_pod(pod).is_empty() {
            return;
        }
        let lists = [&mut status.container_statuses, &mut status.init_container_statuses];
        for own in lists.into_iter().flatten().flatten() {
            self.report_container(pod, own);
        }
    }

    /// The claims that a container uses as they are known, whole, also that for its extended resources
    /// (`GetContainerClaimInfos`).
    ///
    /// # Errors
    /// If it is not known which they are, or one is not prepared.
    pub fn claims_of(&self, pod: &Pod, container: &Container) -> Result<Vec<ClaimInfo>, String> {
        let used = container.resources.as_ref().and_then(|resources| resources.claims.as_deref()).unwrap_or_default();
        let mut names = Vec::new();
        for claim in resource_claims::of_pod(pod) {
            if used.iter().any(|used| used.name == claim.name) {
                names.extend(resource_claims::name(pod, claim).map_err(|why| why.to_string())?.map(|named| named.name));
            }
        }
        let status = pod.status.as_ref().and_then(|status| status.extended_resource_claim_status.as_ref());
        let extended =
            status.filter(|status| status.request_mappings.iter().any(|m| m.container_name == container.name));
        names.extend(extended.map(|status| status.resource_claim_name.as_str()));
        self.claims.read(|all| {
            let known = names.into_iter().map(|name| {
                let info = all.get(&(pod::namespace(pod).to_owned(), name.to_owned())).cloned();
                info.ok_or_else(|| format!("unable to get information for ResourceClaim {name}"))
            });
            known.collect()
        })
    }

    fn report_container(&self, pod: &Pod, status: &mut ContainerStatus) {
        let containers = pod::containers(pod);
        let Some((_, container)) = containers.iter().find(|(_, container)| container.name == status.name) else {
            return;
        };
        let used = container.resources.as_ref().and_then(|resources| resources.claims.as_deref()).unwrap_or_default();
        if used.is_empty() {
            return;
        }
        let mut found: BTreeMap<String, Vec<ResourceHealth>> = BTreeMap::new();
        for used in used {
            let claim = resource_claims::of_pod(pod).iter().find(|claim| claim.name == used.name);
            let named = claim.and_then(|claim| resource_claims::name(pod, claim).ok().flatten());
            let Some(named) = named else { continue };
            let request = used.request.as_deref().filter(|request| !request.is_empty());
            let devices = self.claims.read(|all| {
                let info = all.get(&(pod::namespace(pod).to_owned(), named.name.to_owned()));
                info.map(|info| self.health_of(info, request)).unwrap_or_default()
            });
            let name = match request {
                Some(request) => format!("claim:{}/{request}", used.name),
                None => format!("claim:{}", used.name),
            };
            if !devices.is_empty() {
                found.insert(name, devices);
            }
        }
        let found = found.into_iter().map(|(name, all)| ResourceStatus { name, resources: Some(all) });
        status.allocated_resources_status = Some(found.collect()).filter(|all: &Vec<_>| !all.is_empty());
    }

    fn health_of(&self, info: &ClaimInfo, request: Option<&str>) -> Vec<ResourceHealth> {
        let mut found: Vec<ResourceHealth> = Vec::new();
        for (driver, devices) in &info.drivers {
            for device in devices {
                let names = &device.request_names;
                if request.is_some_and(|r| !names.is_empty() && !names.iter().any(|name| name == base_request(r))) {
                    continue;
                }
                let own = || format!("{driver}/{}/{}", device.pool_name, device.device_name);
                let resource_id = device.cdi_device_ids.first().cloned().unwrap_or_else(own);
                if found.iter().any(|known| known.resource_id == resource_id) {
                    continue;
                }
                let told = self.health.of(driver, &device.pool_name, &device.device_name);
                found.push(ResourceHealth { health: Some(told.health.into()), message: told.message, resource_id });
            }
        }
        found
    }
}
