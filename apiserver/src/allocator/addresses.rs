//! Cluster addresses.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use api::field::{FieldError, Path};
use api::{Object, Status};
use ipnet::IpNet;
use serde_json::{Value, json};
use store::{Condition, Operation, Snapshot, Transaction};

use super::families::{family, is_headless, texts};
use super::invalid;
use crate::Context;
use crate::registry::{fill_metadata, key, prefix, read};

const GROUP: &str = "networking.k8s.io";
/// Addresses drawn at random before the range is searched from its start.
const RANDOM_TRIES_MAX: usize = 64;
/// The first so many addresses of a range (a sixteenth of it, at least and at most) are left to those who ask for one
/// by number (`calculateRangeOffset`).
const RESERVED_MIN: u128 = 16;
const RESERVED_MAX: u128 = 256;

fn holder(address: IpAddr) -> Arc<str> {
    key(GROUP, "ipaddresses", "", &address.to_string()).into()
}

fn held(service: &Object) -> Vec<IpAddr> {
    if service.str_at(&["spec", "type"]) == "ExternalName" {
        return Vec::new();
    }
    texts(service, "clusterIPs").iter().filter_map(|address| address.parse().ok()).collect()
}

pub(super) fn accompany(
    ctx: &Context,
    new: Option<&mut Object>,
    old: Option<&Object>,
    snapshot: &Snapshot,
    transaction: &mut Transaction,
) -> Result<(), Status> {
    let before = old.map(held).unwrap_or_default();
    let mut after = Vec::new();
    if let Some(service) = new {
        let is_external = service.str_at(&["spec", "type"]) == "ExternalName";
        if !is_external && !is_headless(service) {
            after = take(ctx, service, old, snapshot, transaction)?;
        }
    }
    for address in before.into_iter().filter(|address| !after.contains(address)) {
        transaction.operations.push(Operation::Delete(holder(address)));
    }
    Ok(())
}

/// Takes an address for each family; returns all that the service then has.
fn take(
    ctx: &Context,
    service: &mut Object,
    old: Option<&Object>,
    snapshot: &Snapshot,
    transaction: &mut Transaction,
) -> Result<Vec<IpAddr>, Status> {
    let before = old.map(held).unwrap_or_default();
    // What may not change is not looked at: validation says so.
    let fixed = old.filter(|old| old.str_at(&["spec", "type"]) != "ExternalName");
    let fixed = fixed.map_or(0, |old| texts(old, "clusterIPs").len());
    let ranges = ranges(ctx, snapshot);
    let asked = texts(service, "clusterIPs");
    let mut all: Vec<IpAddr> = Vec::new();
    for (index, wanted) in texts(service, "ipFamilies").iter().enumerate() {
        let of_family: Vec<IpNet> = ranges.iter().filter(|range| family(range.addr()) == wanted).copied().collect();
        let started = ctx.registry.clock().instant();
        let address = match asked.get(index).and_then(|asked| asked.parse::<IpAddr>().ok()) {
            Some(address) if before.contains(&address) || index < fixed => {
                all.push(address);
                continue;
            }
            Some(address) => {
                let checked = check(ctx, service, address, &of_family, snapshot);
                count(ctx, &of_family, Some(address), true, checked.is_ok(), started);
                checked?;
                address
            }
            None => {
                let picked = pick(ctx, &of_family, &all, snapshot);
                count(ctx, &of_family, picked, false, picked.is_some(), started);
                picked.ok_or_else(|| {
                    let why = format!("range is full: no {wanted} address is left");
                    Status::internal(format!("failed to allocate a serviceIP: {why}"))
                })?
            }
        };
        let held = holder(address);
        transaction.conditions.push(Condition::Absent(held.clone()));
        transaction.operations.push(Operation::Put(held, object(ctx, service, address).encode()));
        all.push(address);
    }
    let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
    if let Some(first) = shown.first() {
        service.set(&["spec", "clusterIP"], first.as_str());
        service.set(&["spec", "clusterIPs"], shown);
    }
    Ok(all)
}

/// Counts an address that was given away or refused, in the range that it is of. A dry run takes none.
fn count(ctx: &Context, ranges: &[IpNet], address: Option<IpAddr>, asked: bool, ok: bool, started: Instant) {
    let range = ranges.iter().find(|range| address.is_none_or(|address| range.contains(&address)));
    if let Some(range) = range.or(ranges.first()).filter(|_| !ctx.options.dry_run) {
        let took = ctx.registry.clock().instant().saturating_duration_since(started);
        ctx.registry.metrics().services.address(&range.trunc().to_string(), asked, ok, took);
    }
}

fn check(
    ctx: &Context,
    service: &Object,
    address: IpAddr,
    ranges: &[IpNet],
    snapshot: &Snapshot,
) -> Result<(), Status> {
    let fits = ranges.iter().any(|range| range.contains(&address) && is_assignable(range, address));
    let why = match ranges.first() {
        // A dry run asks one range and not all of them.
        Some(range) if !fits && ctx.options.dry_run => {
            format!("the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}")
        }
        _ if !fits => "the provided network does not match the current range".to_string(),
        _ if snapshot.get(&holder(address)).is_some() && !ctx.options.dry_run => {
            "provided IP is already allocated".to_string()
        }
        _ => return Ok(()),
    };
    let path = Path::new("spec").child("clusterIPs");
    let shown = json!([address.to_string()]);
    Err(invalid(service, FieldError::invalid(&path, shown, format!("failed to allocate IP {address}: {why}"))))
}

/// The first and, with IPv4, the last address of a range stand for the range.
fn is_assignable(range: &IpNet, address: IpAddr) -> bool {
    address != range.network() && (address.is_ipv6() || range.prefix_len() >= 31 || address != range.broadcast())
}

/// The ranges of every `ServiceCIDR` that is not going away; the configured ones while there is none.
fn ranges(ctx: &Context, snapshot: &Snapshot) -> Vec<IpNet> {
    let stored = prefix(GROUP, "servicecidrs", "");
    let mut ranges: Vec<IpNet> = snapshot
        .list(&stored, None)
        .filter_map(read)
        .filter(|range| range.at(&["metadata", "deletionTimestamp"]).is_none_or(Value::is_null))
        .flat_map(|range| texts(&range, "cidrs"))
        .filter_map(|cidr| cidr.parse().ok())
        .collect();
    if ranges.is_empty() {
        ranges = ctx.registry.config().service_cidrs.clone();
    }
    ranges
}

fn pick(ctx: &Context, ranges: &[IpNet], taken: &[IpAddr], snapshot: &Snapshot) -> Option<IpAddr> {
    let is_free = |address: &IpAddr| !taken.contains(address) && snapshot.get(&holder(*address)).is_none();
    ranges.iter().find_map(|range| {
        let count = size(range);
        let reserved = (count / 16).clamp(RESERVED_MIN, RESERVED_MAX);
        // A small range reserves nothing.
        let first = if count / 16 < RESERVED_MIN { 1 } else { reserved };
        let span = count.checked_sub(first + 1).filter(|span| *span > 0)?;
        let random = (0..RANDOM_TRIES_MAX).map(|_| {
            let mut bytes = [0; 8];
            ctx.registry.clock().random(&mut bytes);
            nth(range, first + u128::from(u64::from_le_bytes(bytes)) % span)
        });
        let searched = (first..count.min(first + u128::from(u32::MAX))).chain(1..first).map(|index| nth(range, index));
        random.chain(searched).filter(|address| is_assignable(range, *address)).find(is_free)
    })
}

fn size(range: &IpNet) -> u128 {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len());
    1u128.checked_shl(bits).unwrap_or(u128::MAX)
}

fn nth(range: &IpNet, index: u128) -> IpAddr {
    match range.network() {
        IpAddr::V4(base) => IpAddr::V4(u32::from(base).wrapping_add(index as u32).into()),
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).wrapping_add(index).into()),
    }
}

fn object(ctx: &Context, service: &Object, address: IpAddr) -> Object {
    let mut object = Object::from_value(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": address.to_string(), "labels": {
            "ipaddress.kubernetes.io/ip-family": family(address),
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }},
        "spec": {"parentRef": {"resource": "services", "namespace": service.namespace(), "name": service.name()}},
    }))
    .expect("written as an object");
    fill_metadata(ctx.registry.clock(), &mut object);
    object
}
