//! Devices: the claims of pods are prepared by their drivers before anything of the pod starts, and given back when nothing
//! of it runs any more (`pkg/kubelet/cm/dra`).

pub mod calls;
pub mod cdi;
pub mod claims;
pub mod drivers;
pub mod figures;
pub mod health;
pub mod status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use client::Clock;
use client::resource_claims::{self, Named, extended_name, foreign, is_reserved_for};
use k8s_openapi::api::core::v1::{Container, Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::{Api, Client};
use metrics::{Collect, Metrics, Text};
use tokio_util::sync::CancellationToken;

use crate::pod;
use calls::{Claim, PreparedDevice};
use claims::{ClaimInfo, Claims};
use drivers::{Driver, Drivers};
use figures::Figures;
use health::Health;

/// The type under which drivers register.
pub const PLUGIN_TYPE: &str = "DRAPlugin";
/// The pause between attempts to give back what pods have that are gone (`defaultReconcilePeriod`).
const RECONCILE: Duration = Duration::from_secs(60);

/// The devices of this node.
#[derive(Clone)]
pub struct Devices {
    client: Client,
    clock: Clock,
    claims: Arc<Claims>,
    /// Their drivers.
    pub drivers: Drivers,
    health: Health,
    figures: Arc<Figures>,
}

/// What is known of a claim that a pod needs.
struct Needed {
    info: ClaimInfo,
    drivers: BTreeMap<String, Arc<Driver>>,
}

impl Devices {
    /// What the agent before knew of the claims of pods. `wake` wakes the worker of a pod.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn load(
        directory: &Path,
        client: Client,
        node: &str,
        clock: Clock,
        metrics: &Metrics,
        wake: Arc<dyn Fn(&str) + Send + Sync>,
        end: CancellationToken,
    ) -> Result<Self, String> {
        let claims = Arc::new(Claims::load(directory)?);
        let figures: Arc<Figures> = metrics.families();
        metrics.register(Arc::new(InUse(claims.clone())));
        let of = claims.clone();
        let health = Health::new(clock.clone(), move |driver, changed| {
            let uses = |info: &&ClaimInfo| {
                let devices = info.drivers.get(driver).into_iter().flatten();
                devices.into_iter().any(|d| changed.iter().any(|(p, n)| *p == d.pool_name && *n == d.device_name))
            };
            let pods: BTreeSet<String> =
                of.read(|all| all.values().filter(uses).flat_map(|i| i.pods.clone()).collect());
            pods.iter().for_each(|uid| wake(uid));
        });
        let drivers =
            Drivers::new(client.clone(), node.to_owned(), clock.clone(), health.clone(), figures.clone(), end);
        Ok(Self { client, clock, claims, drivers, health, figures })
    }

    /// Has the claims of a pod prepared, those that are not.
    ///
    /// # Errors
    /// Why the pod cannot start, for people.
    pub async fn prepare(&self, pod: &Pod) -> Result<(), String> {
        if resource_claims::of_pod(pod).is_empty() && extended_name(pod).is_none() {
            return Ok(());
        }
        let begun = self.clock.elapsed();
        let outcome = self.try_prepare(pod).await;
        self.figures.worked("PrepareResources", outcome.is_ok(), self.clock.elapsed().saturating_sub(begun));
        outcome.map_err(|why| format!("prepare dynamic resources: {why}"))
    }

    async fn try_prepare(&self, pod: &Pod) -> Result<(), String> {
        // First all is looked at, so that a pod that cannot start leaves nothing to be given back.
        let mut needed = Vec::new();
        for claim in resource_claims::of_pod(pod) {
            let named = resource_claims::name(pod, claim).map_err(|why| why.to_string())?;
            if let Some(named) = named {
                needed.push(self.look(pod, named).await?);
            }
        }
        if let Some(name) = extended_name(pod) {
            needed.push(self.look(pod, Named { name, is_made: false }).await?);
        }
        let mut batches: BTreeMap<String, (Arc<Driver>, Vec<Claim>)> = BTreeMap::new();
        let mut fresh = Vec::new();
        self.claims.change(|all| {
            for Needed { info, drivers } in needed {
                let known = all.entry(info.key()).or_insert_with(|| info.clone());
                if known.uid != info.uid {
                    let of = format!("old ResourceClaim with same name {} and different UID {}", info.name, known.uid);
                    return Err(format!("{of} still exists (previous pod force-deleted?!)"));
                }
                known.pods.insert(pod::uid(pod).to_owned());
                if known.is_prepared {
                    continue;
                }
                fresh.push(info.key());
                for (name, driver) in drivers {
                    let (_, claims) = batches.entry(name).or_insert_with(|| (driver, Vec::new()));
                    claims.push(Claim {
                        namespace: info.namespace.clone(),
                        uid: info.uid.clone(),
                        name: info.name.clone(),
                    });
                }
            }
            Ok(())
        })?;
        for (driver, claims) in batches.into_values() {
            self.prepare_by(&driver, claims).await?;
        }
        if fresh.is_empty() {
            return Ok(());
        }
        self.claims.change(|all| {
            fresh.iter().for_each(|key| all.get_mut(key).into_iter().for_each(|info| info.is_prepared = true));
            Ok(())
        })
    }

    /// A claim as the API server has it now: the pod must own it if it was made for it, and it must be reserved for the pod.
    async fn look(&self, pod: &Pod, named: Named<'_>) -> Result<Needed, String> {
        let api: Api<ResourceClaim> = Api::namespaced(self.client.clone(), pod::namespace(pod));
        let said = |error: kube::Error| match error {
            kube::Error::Api(status) => status.message,
            other => other.to_string(),
        };
        let name = named.name;
        let claim = api.get(name).await.map_err(|error| format!("fetch ResourceClaim {name}: {}", said(error)))?;
        if let Some(why) = foreign(pod, &claim).filter(|_| named.is_made) {
            return Err(why);
        }
        let uid = pod::uid(pod);
        if !is_reserved_for(&claim, uid) {
            let of_claim = claim.metadata.uid.as_deref().unwrap_or_default();
            let pod = pod::name(pod);
            return Err(format!("pod {pod} ({uid}) is not allowed to use ResourceClaim {name} ({of_claim})"));
        }
        let info = ClaimInfo::new(&claim).map_err(|why| format!("ResourceClaim {name}: {why}"))?;
        let drivers = info.drivers.keys().map(|driver| Ok((driver.clone(), self.drivers.get(driver)?)));
        Ok(Needed { drivers: drivers.collect::<Result<_, String>>()?, info })
    }

    async fn prepare_by(&self, driver: &Driver, claims: Vec<Claim>) -> Result<(), String> {
        let asked = calls::Claims { claims: claims.clone() };
        let answer = self.drivers.prepare(driver, asked).await;
        let answer = answer.map_err(|status| format!("NodePrepareResources: {}", shown(&status)))?;
        let known = answered("NodePrepareResources", &claims, &answer.claims, |claim| &claim.error)?;
        self.claims.change(|all| {
            for (claim, prepared) in known {
                let info = all.get_mut(&(claim.namespace.clone(), claim.name.clone())).ok_or_else(|| {
                    let (name, namespace) = (&claim.name, &claim.namespace);
                    format!(
                        "internal error: unable to get claim info for ResourceClaim {name} in namespace {namespace}"
                    )
                })?;
                let devices: Vec<PreparedDevice> = prepared.devices.clone();
                info.drivers.insert(driver.name.clone(), devices);
            }
            Ok(())
        })
    }

    /// Has the claims of a pod given back that no other pod uses.
    ///
    /// # Errors
    /// Why that is not done, for people.
    pub async fn unprepare(&self, pod: &Pod) -> Result<(), String> {
        let uid = pod::uid(pod);
        if !self.claims.read(|all| all.values().any(|info| info.pods.contains(uid))) {
            return Ok(());
        }
        let begun = self.clock.elapsed();
        let outcome = self.give_back(uid).await;
        self.figures.worked("UnprepareResources", outcome.is_ok(), self.clock.elapsed().saturating_sub(begun));
        outcome.map_err(|why| format!("unprepare dynamic resources: {why}"))
    }

    async fn give_back(&self, uid: &str) -> Result<(), String> {
        let mut batches: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
        let mut last = Vec::new();
        self.claims.change(|all| {
            for info in all.values_mut().filter(|info| info.pods.contains(uid)) {
                if info.pods.len() > 1 {
                    info.pods.remove(uid);
                    continue;
                }
                last.push(info.key());
                for driver in info.drivers.keys() {
                    let claim =
                        Claim { namespace: info.namespace.clone(), uid: info.uid.clone(), name: info.name.clone() };
                    batches.entry(driver.clone()).or_default().push(claim);
                }
            }
            Ok(())
        })?;
        for (name, claims) in batches {
            let driver = self.drivers.get(&name)?;
            let answer = self.drivers.unprepare(&driver, calls::Claims { claims: claims.clone() }).await;
            let answer = answer.map_err(|status| format!("NodeUnprepareResources: {}", shown(&status)))?;
            answered("NodeUnprepareResources", &claims, &answer.claims, |claim| &claim.error)?;
        }
        self.claims.change(|all| {
            last.iter().for_each(|key| drop(all.remove(key)));
            Ok(())
        })
    }

    /// Gives back what pods have that are not on this node any more, until nothing is left of it. `is_known` tells of a uid.
    pub async fn reconcile(&self, is_known: impl Fn(&str) -> bool) {
        loop {
            let gone: BTreeSet<String> = self
                .claims
                .read(|all| all.values().flat_map(|i| i.pods.clone()).filter(|uid| !is_known(uid)).collect());
            for uid in gone {
                if let Err(error) = self.give_back(&uid).await {
                    tracing::info!(uid, error, "devices of a pod that is gone are not given back, trying again");
                }
            }
            self.clock.sleep(RECONCILE).await;
        }
    }

    /// What the runtime knows the devices of a container by.
    ///
    /// # Errors
    /// If one of its claims is not prepared.
    pub fn cdi_ids(&self, pod: &Pod, container: &Container) -> Result<Vec<String>, String> {
        let mut ids = Vec::new();
        for (claim, request) in requests(pod, container)? {
            self.claims.read(|all| {
                let info = all.get(&(pod::namespace(pod).to_owned(), claim.clone())).ok_or_else(|| {
                    let namespace = pod::namespace(pod);
                    format!(
                        "internal error: unable to get claim info for ResourceClaim {claim} in namespace {namespace}"
                    )
                })?;
                for id in info.cdi_ids(&request) {
                    if !ids.iter().any(|known| known == id) {
                        ids.push(id.to_owned());
                    }
                }
                Ok::<(), String>(())
            })?;
        }
        Ok(ids)
    }
}

/// The claims and requests that a container uses, those made for its extended resources too.
fn requests(pod: &Pod, container: &Container) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    let own = container.resources.as_ref();
    for used in own.and_then(|resources| resources.claims.as_deref()).unwrap_or_default() {
        let is_it = |claim: &&PodResourceClaim| claim.name == used.name;
        let Some(claim) = resource_claims::of_pod(pod).iter().find(is_it) else { continue };
        if let Some(named) = resource_claims::name(pod, claim).map_err(|why| why.to_string())? {
            found.push((named.name.to_owned(), used.request.clone().unwrap_or_default()));
        }
    }
    let status = pod.status.as_ref().and_then(|status| status.extended_resource_claim_status.as_ref());
    for mapping in status.into_iter().flat_map(|status| status.request_mappings.iter()) {
        let asks = own.and_then(|resources| resources.requests.as_ref());
        if mapping.container_name == container.name && asks.is_some_and(|all| all.contains_key(&mapping.resource_name))
        {
            let name = status.map(|status| status.resource_claim_name.clone()).unwrap_or_default();
            found.push((name, mapping.request_name.clone()));
        }
    }
    Ok(found)
}

/// The answers for claims: each must have one, and there must be no other.
fn answered<'a, T>(
    call: &str,
    asked: &'a [Claim],
    answers: &'a HashMap<String, T>,
    error: impl Fn(&T) -> &String,
) -> Result<Vec<(&'a Claim, &'a T)>, String> {
    let mut known = Vec::with_capacity(asked.len());
    for (uid, answer) in answers {
        let Some(claim) = asked.iter().find(|claim| claim.uid == *uid) else {
            return Err(format!("{call} returned result for unknown claim UID {uid}"));
        };
        if !error(answer).is_empty() {
            return Err(format!("{call} failed for ResourceClaim {}: {}", claim.name, error(answer)));
        }
        known.push((claim, answer));
    }
    match asked.len() - known.len() {
        0 => Ok(known),
        skipped => Err(format!("{call} skipped {skipped} ResourceClaims")),
    }
}

/// An error of gRPC, as Go's library words it.
fn shown(status: &tonic::Status) -> String {
    format!("rpc error: code = {:?} desc = {}", status.code(), status.message())
}

/// How many claims are in use, by driver, counted when somebody asks (`claimInfoCollector`).
struct InUse(Arc<Claims>);

impl Collect for InUse {
    fn collect(&self, text: &mut Text) {
        let mut counts: BTreeMap<String, u64> = BTreeMap::from([("<any>".to_owned(), 0)]);
        self.0.read(|all| {
            for info in all.values().filter(|info| info.is_prepared) {
                *counts.entry("<any>".to_owned()).or_default() += 1;
                info.drivers.keys().for_each(|driver| *counts.entry(driver.clone()).or_default() += 1);
            }
        });
        for (driver, count) in counts {
            text.value("dra_resource_claims_in_use", &[("driver_name", driver.as_str())], count as f64);
        }
    }
}

#[cfg(test)]
mod tests;
