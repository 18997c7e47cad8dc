//! Addresses and ports of services (`ipallocator`, `portallocator`).

use std::time::Duration;

use metrics::{Counter, Histogram, families};

use super::FEW;

families! {
    /// What is counted when one is given away.
    pub struct Services {
        addresses: Counter = "kube_apiserver_clusterip_allocator_allocation_total" ["cidr", "scope"] FEW;
        address_errors: Counter = "kube_apiserver_clusterip_allocator_allocation_errors_total" ["cidr", "scope"] FEW;
        address_durations: Histogram = "kube_apiserver_clusterip_allocator_allocation_duration_seconds" ["cidr"] FEW;
        ports: Counter = "kube_apiserver_nodeport_allocator_allocation_total" ["scope"] FEW;
        port_errors: Counter = "kube_apiserver_nodeport_allocator_allocation_errors_total" ["scope"] FEW;
    }
}

impl Services {
    /// An address of a range was taken or refused: one that was asked for, or any.
    pub fn address(&self, range: &str, asked: bool, ok: bool, took: Duration) {
        let family = if ok { &self.addresses } else { &self.address_errors };
        family.with([range, scope(asked)], Counter::add_one);
        if !asked {
            self.address_durations.with([range], |durations| durations.observe(took.as_secs_f64()));
        }
    }

    /// A port was taken or refused: one that was asked for, or any.
    pub fn port(&self, asked: bool, ok: bool) {
        let family = if ok { &self.ports } else { &self.port_errors };
        family.with([scope(asked)], Counter::add_one);
    }
}

fn scope(asked: bool) -> &'static str {
    if asked { "static" } else { "dynamic" }
}
