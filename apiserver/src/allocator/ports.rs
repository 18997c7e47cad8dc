//! Node ports, and the health check port of a load balancer.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::field::{FieldError, Path};
use api::{Object, Status};
use serde_json::{Value, json};
use store::{Condition, Operation, Snapshot, Transaction};

use super::invalid;
use crate::Context;
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

fn holder(port: i64) -> Arc<str> {
    format!("/registry/ranges/servicenodeports/{port}").into()
}

fn held(service: &Object) -> Vec<i64> {
    let health = service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64);
    let numbers = ports(service).iter().map(node_port).filter(|_| has_node_ports(service));
    let health = health.filter(|_| needs_health_port(service));
    let mut all: Vec<i64> = numbers.chain(health).filter(|port| *port != 0).collect();
    all.sort_unstable();
    all.dedup();
    all
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
        let mut taking = Taking { ctx, before: &before, snapshot, taken: Vec::new() };
        taking.node_ports(service)?;
        taking.health_port(service)?;
        after = held(service);
        for port in after.iter().filter(|port| !before.contains(port)) {
            let key = holder(*port);
            let value = json!({"apiVersion": "v1", "kind": "RangeAllocation",
                "metadata": {"name": port.to_string()}, "range": format!("{port}-{port}"),
                "data": format!("{}/{}", service.namespace(), service.name())});
            let value = Object::from_value(value).expect("written as an object").encode();
            transaction.conditions.push(Condition::Absent(key.clone()));
            transaction.operations.push(Operation::Put(key, value));
        }
    }
    for port in before.into_iter().filter(|port| !after.contains(port)) {
        transaction.operations.push(Operation::Delete(holder(port)));
    }
    Ok(())
}

struct Taking<'a> {
    ctx: &'a Context,
    before: &'a [i64],
    snapshot: &'a Snapshot,
    taken: Vec<i64>,
}

impl Taking<'_> {
    fn node_ports(&mut self, service: &mut Object) -> Result<(), Status> {
        if !has_node_ports(service) {
            return Ok(());
        }
        // Two protocols on one port share one node port.
        let mut shared: BTreeMap<i64, (i64, Vec<String>)> = BTreeMap::new();
        let mut numbers = vec![0; ports(service).len()];
        for (index, port) in ports(service).iter().enumerate().filter(|(_, port)| node_port(port) != 0) {
            let number = node_port(port);
            let path = Path::new("spec").child("ports").index(index).child("nodePort");
            self.check(number).map_err(|why| invalid(service, FieldError::invalid(&path, number, why)))?;
            numbers[index] = number;
            let entry = shared.entry(service_port(port)).or_insert((number, Vec::new()));
            entry.1.push(protocol(port).to_string());
        }
        if needs_node_ports(service) {
            for (index, port) in ports(service).iter().enumerate().filter(|(_, port)| node_port(port) == 0) {
                let number = match shared.get_mut(&service_port(port)) {
                    Some((number, protocols)) if !protocols.iter().any(|p| p == protocol(port)) => {
                        protocols.push(protocol(port).to_string());
                        *number
                    }
                    _ => {
                        let number = self.pick()?;
                        shared.insert(service_port(port), (number, vec![protocol(port).to_string()]));
                        number
                    }
                };
                numbers[index] = number;
            }
        }
        for (port, number) in ports_mut(service).into_iter().flatten().zip(numbers) {
            if number != 0 {
                port["nodePort"] = number.into();
            }
        }
        Ok(())
    }

    fn health_port(&mut self, service: &mut Object) -> Result<(), Status> {
        let asked = service.at(&["spec", "healthCheckNodePort"]).and_then(Value::as_i64).unwrap_or(0);
        if !needs_health_port(service) {
            return Ok(());
        }
        if asked != 0 {
            return self.check(asked).map_err(|why| {
                Status::internal(format!("failed to allocate requested HealthCheck NodePort {asked}: {why}"))
            });
        }
        let port = self.pick()?;
        service.set(&["spec", "healthCheckNodePort"], port);
        Ok(())
    }

    /// Takes a port that was asked for; why it cannot be had. A dry run takes none, and so misses none.
    fn check(&mut self, port: i64) -> Result<(), String> {
        if self.before.contains(&port) || self.taken.contains(&port) {
            return Ok(());
        }
        if self.ctx.options.dry_run {
            self.taken.push(port);
            return Ok(());
        }
        Err(if !(NODE_PORT_MIN..=NODE_PORT_MAX).contains(&port) {
            format!(
                "provided port is not in the valid range. The range of valid ports is {NODE_PORT_MIN}-{NODE_PORT_MAX}"
            )
        } else if self.snapshot.get(&holder(port)).is_some() {
            "provided port is already allocated".to_string()
        } else {
            self.taken.push(port);
            return Ok(());
        })
    }

    fn pick(&mut self) -> Result<i64, Status> {
        if self.ctx.options.dry_run {
            let port = self.taken.iter().max().map_or(DRY_RUN_FIRST, |last| last + 1);
            self.taken.push(port);
            return Ok(port);
        }
        let span = NODE_PORT_MAX - RESERVED_END + 1;
        let random = (0..RANDOM_TRIES_MAX).map(|_| {
            let mut bytes = [0; 4];
            self.ctx.registry.clock().random(&mut bytes);
            RESERVED_END + i64::from(u32::from_le_bytes(bytes)) % span
        });
        let searched = (RESERVED_END..=NODE_PORT_MAX).chain(NODE_PORT_MIN..RESERVED_END);
        let free = |port: &i64| {
            !self.taken.contains(port) && !self.before.contains(port) && self.snapshot.get(&holder(*port)).is_none()
        };
        let port = random.chain(searched).find(free);
        let port = port.ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
        self.taken.push(port);
        Ok(port)
    }
}

fn service_port(port: &Value) -> i64 {
    port.get("port").and_then(Value::as_i64).unwrap_or(0)
}
