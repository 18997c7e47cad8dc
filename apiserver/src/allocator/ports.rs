//! Node ports, and the health check port of a load balancer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::field::{FieldError, Path};
use api::{Object, Status};
use serde_json::{Value, json};
use store::{Condition, Operation, Snapshot, Transaction};

use super::invalid;
use crate::Context;
use crate::registry::create::plain_failure;
use crate::strategy::service::{
    has_node_ports, needs_health_port, needs_node_ports, node_port, ports, ports_mut, protocol,
};

/// The first node port.
pub const NODE_PORT_MIN: i64 = 30_000;
/// The last node port.
pub const NODE_PORT_MAX: i64 = 32_767;
/// Ports below this one are left to those who ask for one by number, while others are free.
const RESERVED_END: i64 = NODE_PORT_MIN + 86;
const RANDOM_TRIES_MAX: usize = 32;
/// What a dry run gives out, which nobody can have (`PortAllocationOperation.AllocateNext`).
const DRY_RUN_FIRST: i64 = 32_769;

/// What the keys of those that are held begin with.
pub(crate) const HELD: &str = "/registry/ranges/servicenodeports/";

fn holder(port: i64) -> Arc<str> {
    format!("{HELD}{port}").into()
}

fn held(service: &Object) -> Vec<i64> {
    let health = service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64);
    let numbers = named(service).filter(|_| has_node_ports(service));
    let health = health.filter(|port| *port != 0 && needs_health_port(service));
    let mut all: Vec<i64> = numbers.chain(health).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The node ports of a service, as its ports name them.
fn named(service: &Object) -> impl Iterator<Item = i64> {
    ports(service).iter().map(node_port).filter(|port| *port != 0)
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
        let mut taking = Taking { ctx, snapshot, taken: BTreeSet::new() };
        match old {
            _ if !has_node_ports(service) => {}
            None => taking.create(service)?,
            Some(old) => taking.update(service, old)?,
        }
        if needs_health_port(service) && !old.is_some_and(needs_health_port) {
            taking.health_port(service)?;
        }
        after = held(service);
        for port in after.iter().filter(|port| before.binary_search(port).is_err()) {
            let key = holder(*port);
            let value = json!({"apiVersion": "v1", "kind": "RangeAllocation",
                "metadata": {"name": port.to_string()}, "range": format!("{port}-{port}"),
                "data": format!("{}/{}", service.namespace(), service.name())});
            let value = Object::from_value(value).expect("written as an object").encode();
            transaction.conditions.push(Condition::Absent(key.clone()));
            transaction.operations.push(Operation::Put(key, value));
        }
    }
    for port in before.into_iter().filter(|port| after.binary_search(port).is_err()) {
        transaction.operations.push(Operation::Delete(holder(port)));
    }
    Ok(())
}

/// The ports that one request takes (`PortAllocationOperation`).
struct Taking<'a> {
    ctx: &'a Context,
    snapshot: &'a Snapshot,
    taken: BTreeSet<i64>,
}

impl Taking<'_> {
    /// Node ports of a new service: entries of one port share a node port, whatever their protocols, and entries of
    /// different ports share none (`initNodePorts`).
    fn create(&mut self, service: &mut Object) -> Result<(), Status> {
        let allocates = needs_node_ports(service);
        let mut numbers: Vec<i64> = ports(service).iter().map(node_port).collect();
        let mut first_asked: BTreeMap<i64, i64> = BTreeMap::new();
        for (port, number) in ports(service).iter().zip(&numbers).filter(|(_, number)| **number != 0) {
            first_asked.entry(service_port(port)).or_insert(*number);
        }
        let mut shared: BTreeMap<i64, i64> = BTreeMap::new();
        for (index, port) in ports(service).iter().map(service_port).enumerate() {
            let asked = numbers[index];
            if asked == 0 && !allocates {
                continue;
            }
            numbers[index] = match (shared.get(&port), first_asked.get(&port)) {
                (Some(number), _) if asked == 0 || asked == *number => *number,
                (Some(_), _) => self.asked(service, index, asked)?,
                (None, Some(first)) => self.asked(service, index, *first)?,
                (None, None) => self.pick("a nodePort")?,
            };
            shared.entry(port).or_insert(numbers[index]);
        }
        set(service, &numbers);
        Ok(())
    }

    /// Node ports of a changed service: those that it had are its own, and new ones may be shared (`updateNodePorts`).
    fn update(&mut self, service: &mut Object, old: &Object) -> Result<(), Status> {
        let allocates = needs_node_ports(service);
        let before: Vec<i64> = if has_node_ports(old) { named(old).collect() } else { Vec::new() };
        let mut numbers: Vec<i64> = ports(service).iter().map(node_port).collect();
        let mut seen: BTreeSet<(&str, i64)> = BTreeSet::new();
        let mut own: BTreeSet<i64> = before.into_iter().collect();
        for (index, port) in ports(service).iter().enumerate() {
            let asked = numbers[index];
            if asked == 0 && !allocates {
                continue;
            }
            if asked == 0 {
                numbers[index] = self.pick("a nodePort")?;
            } else if !own.contains(&asked) {
                self.asked(service, index, asked)?;
                own.insert(asked);
            }
            if !seen.insert((protocol(port), numbers[index])) {
                return Err(plain_failure(format!("duplicate nodePort: {{{} {}}}", protocol(port), numbers[index])));
            }
        }
        set(service, &numbers);
        Ok(())
    }

    fn health_port(&mut self, service: &mut Object) -> Result<(), Status> {
        let asked = service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64).unwrap_or(0);
        if asked != 0 {
            return self.take(asked).map_err(|why| {
                Status::internal(format!("failed to allocate requested HealthCheck NodePort {asked}: {why}"))
            });
        }
        let port = self.pick("a HealthCheck NodePort 0")?;
        service.set(&["spec", "healthCheckNodePort"], port);
        Ok(())
    }

    /// Takes the port that an entry asks for.
    fn asked(&mut self, service: &Object, index: usize, number: i64) -> Result<i64, Status> {
        let path = Path::new("spec").child("ports").index(index).child("nodePort");
        self.take(number).map_err(|why| invalid(service, FieldError::invalid(&path, number, why)))?;
        Ok(number)
    }

    /// Takes a port that was asked for; why it cannot be had. A dry run does not look at the range.
    fn take(&mut self, port: i64) -> Result<(), String> {
        let taken = self.try_take(port);
        self.count(true, taken.is_ok());
        taken
    }

    /// Counts a port that was given away or refused. A dry run takes none.
    fn count(&self, asked: bool, ok: bool) {
        if !self.ctx.options.dry_run {
            self.ctx.registry.metrics().services.port(asked, ok);
        }
    }

    fn try_take(&mut self, port: i64) -> Result<(), String> {
        let in_range = (NODE_PORT_MIN..=NODE_PORT_MAX).contains(&port);
        if !in_range && !self.ctx.options.dry_run {
            return Err(format!(
                "provided port is not in the valid range. The range of valid ports is {NODE_PORT_MIN}-{NODE_PORT_MAX}"
            ));
        }
        if self.taken.contains(&port) || in_range && self.snapshot.get(&holder(port)).is_some() {
            return Err("provided port is already allocated".into());
        }
        self.taken.insert(port);
        Ok(())
    }

    fn pick(&mut self, what: &str) -> Result<i64, Status> {
        if self.ctx.options.dry_run {
            let port = self.taken.last().map_or(DRY_RUN_FIRST, |last| last + 1);
            self.taken.insert(port);
            return Ok(port);
        }
        let span = NODE_PORT_MAX - RESERVED_END + 1;
        let random = (0..RANDOM_TRIES_MAX).map(|_| {
            let mut bytes = [0; 4];
            self.ctx.registry.clock().random(&mut bytes);
            RESERVED_END + i64::from(u32::from_le_bytes(bytes)) % span
        });
        let searched = (RESERVED_END..=NODE_PORT_MAX).chain(NODE_PORT_MIN..RESERVED_END);
        let free = |port: &i64| !self.taken.contains(port) && self.snapshot.get(&holder(*port)).is_none();
        let port = random.chain(searched).find(free);
        self.count(false, port.is_some());
        let port = port.ok_or_else(|| Status::internal(format!("failed to allocate {what}: range is full")))?;
        self.taken.insert(port);
        Ok(port)
    }
}

fn set(service: &mut Object, numbers: &[i64]) {
    for (port, number) in ports_mut(service).into_iter().flatten().zip(numbers).filter(|(_, number)| **number != 0) {
        port["nodePort"] = (*number).into();
    }
}

fn service_port(port: &Value) -> i64 {
    port.get("port").and_then(Value::as_i64).unwrap_or(0)
}
