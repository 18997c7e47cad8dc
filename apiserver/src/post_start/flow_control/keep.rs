//! Keeps the flow schemas and priority levels that every cluster has (`ensurer` in `pkg/registry/flowcontrol`): those that
//! are missing come back, the mandatory ones stay as they are, the suggested ones follow a new release until somebody
//! changes them, and what no release has any more goes. The reference looks each minute; here a change wakes whoever
//! keeps them, who writes the same object at most once a minute, so that two who disagree do not go round in circles.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use api::{Object, Status};
use http::Method;
use serde_json::Value;

use crate::flow_control::{CATCH_ALL, EXEMPT, GROUP};
use crate::state::Step;
use crate::{ApiServer, bootstrap};

/// Who the fields belong to.
const FIELD_MANAGER: &str = "api-priority-and-fairness-config-producer-v1";
/// Says whether an object follows the release or belongs to whoever changed it.
const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The same object is written once in this time at most.
pub(super) const PACE: Duration = Duration::from_secs(60);

/// A change to be made to one object.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    Create(Object),
    Replace(Object),
    Delete(String),
}

/// What every cluster has, and when each object of it was written last.
pub(super) struct Keeper {
    desired: Vec<(String, Object)>,
    written: HashMap<(String, String), Instant>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self { desired: bootstrap::of_group(GROUP), written: HashMap::new() }
    }
}

impl Keeper {
    /// Puts right what is not as it should be; how long until something can be that must wait.
    ///
    /// What cannot be written is tried again after that time, or with the next change.
    pub(super) async fn restore(
        &mut self,
        server: &ApiServer,
        schemas: &[Object],
        levels: &[Object],
    ) -> Option<Duration> {
        let registry = server.registry();
        if !registry.state().is_done(Step::Bootstrap) {
            return None;
        }
        let now = registry.clock().instant();
        self.written.retain(|_, last| now.saturating_duration_since(*last) < PACE);
        let mut again: Option<Duration> = None;
        // A schema is nothing without its level.
        for (resource, stored) in [("prioritylevelconfigurations", levels), ("flowschemas", schemas)] {
            let wanted = self.desired.iter().filter(|(of, _)| of == resource).map(|(_, object)| object);
            for change in changes(wanted, stored) {
                let place = (resource.to_string(), change.name().to_string());
                if let Some(last) = self.written.get(&place) {
                    let left = PACE.saturating_sub(now.saturating_duration_since(*last));
                    again = Some(again.map_or(left, |known| known.min(left)));
                    continue;
                }
                // Who was faster wrote something else, which is looked at anew.
                let written = write(server, resource, change).await;
                if !written.is_err_and(|status| matches!(status.code, 404 | 409)) {
                    self.written.insert(place, now);
                }
            }
        }
        again
    }
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Self::Create(object) | Self::Replace(object) => object.name(),
            Self::Delete(name) => name,
        }
    }
}

/// What has to happen for `stored` to be as `wanted` (`ensure` in `storage_flowcontrol.go`).
pub(super) fn changes<'o>(wanted: impl Iterator<Item = &'o Object>, stored: &[Object]) -> Vec<Change> {
    let mut left: HashMap<&str, &Object> = stored.iter().map(|object| (object.name(), object)).collect();
    let mut changes = Vec::new();
    for object in wanted {
        match left.remove(object.name()) {
            None => changes.push(Change::Create(object.clone())),
            Some(current) => changes.extend(revised(object, current).map(Change::Replace)),
        }
    }
    let unwanted = stored.iter().filter(|object| left.contains_key(object.name()) && follows(object) == Some(true));
    changes.extend(unwanted.map(|object| Change::Delete(object.name().into())));
    changes
}

/// The stored object as it should be, if it is not (`strategy.ReviseIfNeeded`).
fn revised(wanted: &Object, current: &Object) -> Option<Object> {
    let mandatory = [EXEMPT, CATCH_ALL].contains(&wanted.name());
    let is_untouched = || current.at(&["metadata", "generation"]) == Some(&Value::from(1));
    let updates = mandatory || follows(current).unwrap_or_else(is_untouched);
    let mut object = current.clone();
    if updates && !is_alike(wanted, current) {
        object.set(&["spec"], wanted.at(&["spec"]).cloned().unwrap_or_default());
    }
    if follows(current) != Some(updates) {
        object.set(&["metadata", "annotations", AUTO_UPDATE], updates.to_string());
    }
    (object != *current).then_some(object)
}

/// Whether the annotation says yes or no.
fn follows(object: &Object) -> Option<bool> {
    api::go::strconv::parse_bool(object.str_at(&["metadata", "annotations", AUTO_UPDATE]))
}

/// Whether the specs say the same; the places of the exempt level are for its owner to set (`plcSpecEqualish`).
fn is_alike(wanted: &Object, current: &Object) -> bool {
    let mut wanted = wanted.clone();
    if wanted.at(&["spec", "exempt"]).is_some() && current.at(&["spec", "exempt"]).is_some_and(Value::is_object) {
        for field in ["nominalConcurrencyShares", "lendablePercent"] {
            let path = ["spec", "exempt", field];
            match current.at(&path) {
                Some(value) => wanted.set(&path, value.clone()),
                None => _ = wanted.remove(&path),
            }
        }
    }
    wanted.at(&["spec"]) == current.at(&["spec"])
}

async fn write(server: &ApiServer, resource: &str, change: Change) -> Result<(), Status> {
    let name = change.name().to_string();
    let all = format!("/apis/{GROUP}/v1/{resource}");
    let of_manager = format!("fieldManager={FIELD_MANAGER}");
    let (method, url, body) = match change {
        Change::Create(object) => (Method::POST, format!("{all}?{of_manager}"), object.into_value().to_string()),
        Change::Replace(object) => (Method::PUT, format!("{all}/{name}?{of_manager}"), object.into_value().to_string()),
        Change::Delete(name) => (Method::DELETE, format!("{all}/{name}"), String::new()),
    };
    let written = server.ask_itself(&method, url, "application/json", body).await;
    match &written {
        Ok(_) => tracing::info!(resource, name, %method, "flow control's configuration was put right"),
        Err(error) => {
            tracing::warn!(resource, name, %method, %error, "flow control's configuration could not be put right");
        }
    }
    written.map(|_| ())
}

#[cfg(test)]
mod tests;
