//! The OpenAPI documents of servers of aggregated APIs: the part of each that is of the group and version that is asked for, kept
//! when the server goes, and merged with this server's own (kube-openapi's `aggregator`, and kube-aggregator's
//! `controllers/openapi` and `openapiv3`).

mod merge;
mod part;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;

pub(crate) use merge::merge;
pub(crate) use part::part;

use crate::group_versions::{GroupVersions, ServiceReference};

/// The documents of each APIService of a service, by its name.
pub(crate) type Described = BTreeMap<String, Arc<Description>>;

/// What a server says how its group and version look.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// Who said it.
    pub(crate) service: ServiceReference,
    /// Of version 2: paths, definitions and parameters, as JSON.
    pub(crate) v2: Option<Tagged>,
    /// Of version 3, as it came.
    pub(crate) v3: Option<Tagged>,
}

/// A document with what tells it from others.
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    /// The document.
    pub(crate) bytes: Bytes,
    /// What its server, or its hash, calls it.
    pub(crate) tag: String,
}

impl Description {
    /// How much room it takes.
    pub(crate) fn size(&self) -> usize {
        [&self.v2, &self.v3].into_iter().flatten().map(|document| document.bytes.len()).sum()
    }
}

/// The documents of what services serve now, in the order in which they are merged (`sortByPriority`): the higher group first, then by
/// name.
pub(crate) fn ordered(table: &GroupVersions, described: &Described) -> Vec<(String, Arc<Description>)> {
    let of_services = || table.all().iter().filter(|found| found.remote.is_some());
    let mut highest: BTreeMap<&str, i64> = BTreeMap::new();
    for found in of_services() {
        let known = highest.entry(&found.group).or_default();
        *known = found.priorities.group.max(*known);
    }
    let mut all: Vec<_> = of_services()
        .filter_map(|found| {
            let description = described.get(&found.name)?;
            let is_own = found.remote.as_ref().is_some_and(|remote| remote.service == description.service);
            is_own.then(|| (found, description.clone()))
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| {
        let by_group = highest[b.group.as_str()].cmp(&highest[a.group.as_str()]);
        let by_version = || {
            if a.group == b.group { b.priorities.version.cmp(&a.priorities.version) } else { std::cmp::Ordering::Equal }
        };
        by_group.then_with(by_version).then_with(|| a.name.cmp(&b.name))
    });
    all.into_iter().map(|(found, description)| (found.name.clone(), description)).collect()
}
