//! Ranges of service addresses say whether they are ready, and go only once no address is left that nothing else covers
//! (`pkg/controller/servicecidrs`).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::{Action, EventType, Informer, ObjectKey};
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};

/// Ranges worked on at a time.
const WORKERS: usize = 5;
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// For so long a range stays after its deletion, for allocators to hear of it (`deletionGracePeriod`).
const GRACE: Duration = Duration::from_secs(10);
/// Who writes the conditions.
const FIELD_MANAGER: &str = "service-cidr-controller";
/// The addresses that the API server gave away.
const MANAGED_BY: (&str, &str) = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io");

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let ranges = context.informers.of::<ServiceCIDR>();
    let addresses = context.informers.of::<IPAddress>();
    let (to, all) = (queue.clone(), ranges.clone());
    ranges.on_change(move |change| {
        let range = change.object();
        to.add(ObjectKey::of(&**range));
        // One more or one less may decide whether another can go.
        if change.old().is_none() {
            let touched = |other: &ServiceCIDR| nets(range).any(|net| nets(other).any(|of| overlap(&net, &of)));
            all.list().iter().filter(|other| touched(other)).for_each(|other| to.add(ObjectKey::of(&**other)));
        }
    });
    let (to, all) = (queue.clone(), ranges.clone());
    addresses.on_change(move |change| {
        if change.old().is_none()
            && let Some(address) = managed(change.object())
        {
            holding(&all, address).for_each(|name| to.add(ObjectKey::cluster(name)));
        }
    });
    ranges.wait_synced().await;
    addresses.wait_synced().await;
    let of = context.clone();
    context
        .run("service-cidr", queue, WORKERS, move |key| {
            let (context, range) = (of.clone(), ranges.get_key(&key));
            let (ranges, addresses) = (ranges.clone(), addresses.clone());
            async move {
                let Some(range) = range else { return Ok::<_, Error>(Action::Done) };
                match &range.metadata.deletion_timestamp {
                    None => keep(&context, &range).await,
                    Some(since) => {
                        let since = context.clock.now().duration_since(since.0);
                        let left = GRACE.saturating_sub(Duration::try_from(since).unwrap_or_default());
                        let addresses = addresses.list();
                        let is_free = can_go(&range, &ranges.list(), addresses.iter().filter_map(|a| managed(a)));
                        let_go(&context, &range, is_free, left).await
                    }
                }
            }
        })
        .await;
}

async fn keep(context: &Context, range: &ServiceCIDR) -> Result<Action> {
    if !range.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        patch(context, range, json!({"metadata": {"finalizers": [FINALIZER]}})).await?;
    }
    let ready = condition("True", "", "Kubernetes Service CIDR is ready");
    if let Err(error) = publish(context, range, ready).await {
        let said = "The ServiceCIDR Status can not be set to Ready=True";
        context.events.event(range, EventType::Warning, "KubernetesServiceCIDRError", said);
        return Err(error);
    }
    Ok(Action::Done)
}

async fn let_go(context: &Context, range: &ServiceCIDR, is_free: bool, left: Duration) -> Result<Action> {
    if !is_free {
        let why =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        publish(context, range, condition("False", "Terminating", why)).await?;
        return Ok(Action::Done);
    }
    if !left.is_zero() {
        return Ok(Action::RequeueAfter(left));
    }
    if range.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        patch(context, range, json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}})).await?;
    }
    Ok(Action::Done)
}

async fn patch(context: &Context, range: &ServiceCIDR, patch: serde_json::Value) -> Result<()> {
    let api = context.api_all::<ServiceCIDR>();
    ignore_not_found(api.patch(&range.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await)?;
    Ok(())
}

fn condition(status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: "Ready".into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
        observed_generation: None,
        last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
    }
}

/// Writes the condition unless it is there.
async fn publish(context: &Context, range: &ServiceCIDR, mut wanted: Condition) -> Result<()> {
    let conditions = range.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let said = |c: &Condition| (c.status.clone(), c.reason.clone(), c.message.clone());
    if conditions.iter().any(|c| c.type_ == wanted.type_ && said(c) == said(&wanted)) {
        return Ok(());
    }
    wanted.last_transition_time.0 = context.clock.now();
    let status = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": range.name_any()}, "status": {"conditions": [wanted]}});
    let params = PatchParams::apply(FIELD_MANAGER).force();
    context.api_all::<ServiceCIDR>().patch_status(&range.name_any(), &params, &Patch::Apply(status)).await?;
    Ok(())
}

/// Whether no address loses the last range that covers it (`canDeleteCIDR`).
fn can_go(range: &ServiceCIDR, ranges: &[Arc<ServiceCIDR>], mut addresses: impl Iterator<Item = IpAddr>) -> bool {
    let others: Vec<IpNet> =
        ranges.iter().filter(|other| other.name_any() != range.name_any()).flat_map(|other| nets(other)).collect();
    if nets(range).all(|net| others.iter().any(|other| other.contains(&net))) {
        return true;
    }
    let own: Vec<IpNet> = nets(range).collect();
    addresses.all(|address| !own.iter().any(|net| holds(net, address)) || others.iter().any(|net| holds(net, address)))
}

/// The address of an object that the API server made for a service.
fn managed(address: &IPAddress) -> Option<IpAddr> {
    let is_ours = address.labels().get(MANAGED_BY.0).is_some_and(|by| by == MANAGED_BY.1);
    address.metadata.name.as_deref().filter(|_| is_ours)?.parse().ok()
}

/// The names of the ranges that cover an address.
fn holding(ranges: &Informer<ServiceCIDR>, address: IpAddr) -> impl Iterator<Item = String> {
    ranges.list().into_iter().filter(move |range| nets(range).any(|net| holds(&net, address))).map(|r| r.name_any())
}

fn nets(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    cidrs.iter().filter_map(|cidr| cidr.parse().ok())
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Whether a range gives the address away: not its first and, with IPv4, not its last (`PrefixContainsIP`).
fn holds(net: &IpNet, address: IpAddr) -> bool {
    net.contains(&address) && address != net.network() && (address.is_ipv6() || address != net.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_once_nothing_needs_it() {
        let range = |name: &str, cidrs: &[&str]| -> Arc<ServiceCIDR> {
            Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"cidrs": cidrs}})).unwrap())
        };
        let check = |others: &[(&str, &[&str])], addresses: &[&str], expected: bool| {
            let going = range("going", &["10.1.0.0/24"]);
            let mut all = vec![going.clone()];
            all.extend(others.iter().map(|(name, cidrs)| range(name, cidrs)));
            let found = can_go(&going, &all, addresses.iter().map(|address| address.parse().unwrap()));
            assert_eq!(found, expected, "{others:?} {addresses:?}");
        };
        check(&[], &[], true);
        check(&[], &["10.1.0.7"], false);
        check(&[], &["10.2.0.7"], true);
        check(&[("whole", &["10.1.0.0/16"])], &["10.1.0.7"], true);
        check(&[("same", &["10.1.0.0/24"])], &["10.1.0.7"], true);
        // A part of it covers some addresses, and not its own first and last.
        check(&[("part", &["10.1.0.0/28"])], &["10.1.0.7"], true);
        check(&[("part", &["10.1.0.0/28"])], &["10.1.0.15"], false);
        check(&[("part", &["10.1.0.0/28"])], &["10.1.0.70"], false);
    }
}
