//! What the store holds, counted when it is asked for.

use std::collections::BTreeMap;

use metrics::Text;

use super::RESOURCES_MAX;
use crate::Registry;

/// Objects and bytes of one resource.
#[derive(Default)]
struct Holding {
    objects: u64,
    bytes: u64,
}

/// Adds the number and size of the objects of each resource.
pub(super) fn collect(registry: &Registry, text: &mut Text) {
    let (catalogue, snapshot) = (registry.catalogue(), registry.snapshot());
    // Several versions and groups may show what is stored once.
    let stored = catalogue.iter().filter(|resource| resource.stored());
    let resources: BTreeMap<(String, String), String> = stored
        .map(|resource| ((resource.storage_group.clone(), resource.plural.clone()), resource.prefix("")))
        .take(RESOURCES_MAX)
        .collect();
    for ((group, resource), prefix) in &resources {
        let mut holding = Holding::default();
        for entry in snapshot.list(prefix, None) {
            holding.objects += 1;
            holding.bytes += entry.value().len() as u64;
        }
        let labels = [("group", group.as_str()), ("resource", resource.as_str())];
        text.value("apiserver_resource_objects", &labels, holding.objects as f64);
        text.value("apiserver_resource_size_estimate_bytes", &labels, holding.bytes as f64);
        text.value("apiserver_watch_cache_resource_version", &labels, revision(snapshot.revision()));
        let full = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        text.value("apiserver_storage_objects", &[("resource", &full)], holding.objects as f64);
    }
    registry.metrics().requests.collect_levels(registry.seconds(registry.clock().instant()), text);
}

/// A revision as a number that a float holds exactly: its fifteen last digits.
fn revision(revision: u64) -> f64 {
    const DIGITS: u64 = 1_000_000_000_000_000;
    (revision % DIGITS) as f64
}
