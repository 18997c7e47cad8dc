//! How many claims there are, counted when somebody asks (`customCollector` in `pkg/controller/resourceclaim`).

use std::collections::BTreeMap;

use client::Informer;
use client::resource_claims::{EXTENDED, POD_CLAIM, is_allocated};
use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::ResourceExt;
use metrics::{Collect, Text};

/// The claims of a cluster.
pub(super) struct Counts {
    pub(super) claims: Informer<ResourceClaim>,
}

/// Whether a claim asks for devices that others have, as a label.
pub(super) fn admin_access(claim: &ResourceClaim) -> &'static str {
    let requests = claim.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten());
    let mut exact = requests.filter_map(|request| request.exactly.as_ref());
    if exact.any(|exact| exact.admin_access == Some(true)) { "true" } else { "false" }
}

impl Collect for Counts {
    fn collect(&self, text: &mut Text) {
        let mut groups: BTreeMap<[&str; 3], u64> = BTreeMap::new();
        for claim in self.claims.list() {
            let annotations = claim.annotations();
            let source = if annotations.get(EXTENDED).is_some_and(|value| value == "true") {
                "extended_resource"
            } else if annotations.get(POD_CLAIM).is_some_and(|value| !value.is_empty()) {
                "resource_claim_template"
            } else {
                ""
            };
            let allocated = if is_allocated(&claim) { "true" } else { "false" };
            *groups.entry([allocated, admin_access(&claim), source]).or_default() += 1;
        }
        for ([allocated, admin, source], count) in groups {
            let labels = [("allocated", allocated), ("admin_access", admin), ("source", source)];
            text.value("resourceclaim_controller_resource_claims", &labels, count as f64);
        }
    }
}
