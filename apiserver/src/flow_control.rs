//! Which flow schema and priority level a request belongs to, as the stored configuration says it.
//!
//! Requests read the schemas compiled in a [`FlowTable`]; [`crate::post_start`] keeps those that every cluster has. Every request is classified right after it is known who asks, before it is authorised, and its answer
//! carries the uids of what it was found to be (`setResponseHeaders` in apiserver's `server/filters`).

mod matching;

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Object, UserInfo};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use store::Snapshot;

use crate::RequestInfo;
use crate::registry::{Derived, list};
use matching::Spec;

/// The group of both kinds.
pub(crate) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// What the keys of both kinds begin with.
pub(crate) const KEYS: &str = "/registry/flowcontrol.apiserver.k8s.io/";
const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// The schema, and its level of the same name, that no limit holds for.
pub(crate) const EXEMPT: &str = "exempt";
/// The schema, and its level of the same name, of what no other schema matches.
pub(crate) const CATCH_ALL: &str = "catch-all";

/// What a request was found to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Flow {
    /// The name of the flow schema.
    pub schema: String,
    /// The name of its priority level.
    pub level: String,
    /// Whether no limit holds for the level.
    pub exempt: bool,
    /// Empty where the object is only imagined.
    schema_uid: String,
    level_uid: String,
}

impl Flow {
    /// Tells the client which schema and level its request belongs to: by uid, as their names are nobody's business.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        // Values of its own for each answer: shared ones are counted, in memory that all threads would write to.
        for (name, uid) in [(LEVEL_UID, &self.level_uid), (SCHEMA_UID, &self.schema_uid)] {
            if let Ok(value) = HeaderValue::from_str(uid) {
                headers.insert(name, value);
            }
        }
    }

    /// One of the two that there always are, also while they are not stored.
    fn imagined(name: &str) -> Self {
        let exempt = name == EXEMPT;
        Self { schema: name.into(), level: name.into(), exempt, schema_uid: String::new(), level_uid: String::new() }
    }
}

/// The flow schemas in the order in which they are tried.
#[derive(Debug)]
pub struct FlowTable {
    schemas: Vec<(Spec, Arc<Flow>)>,
    catch_all: Arc<Flow>,
    /// The share of each priority level.
    shares: BTreeMap<String, u64>,
}

/// The table of what is stored.
pub fn table() -> Derived<FlowTable> {
    Derived::new(&[KEYS], |snapshot| FlowTable::new(&schemas(snapshot), &levels(snapshot)))
}

/// The schemas of a state.
pub(crate) fn schemas(snapshot: &Snapshot) -> Vec<Object> {
    list(snapshot, GROUP, "flowschemas", "")
}

/// The priority levels of a state.
pub(crate) fn levels(snapshot: &Snapshot) -> Vec<Object> {
    list(snapshot, GROUP, "prioritylevelconfigurations", "")
}

impl FlowTable {
    /// The first schema that matches a request of this user.
    pub fn classify(&self, user: &UserInfo, info: &RequestInfo) -> Arc<Flow> {
        let found = self.schemas.iter().find(|(spec, _)| spec.matches(user, info));
        found.map_or(&self.catch_all, |(_, flow)| flow).clone()
    }

    /// How many of `seats` places each priority level has nominally, by its share of all (`finishQueueSetReconfigsLocked`
    /// in apiserver's `util/flowcontrol`).
    pub fn nominal_seats(&self, seats: usize) -> Vec<(String, f64)> {
        let sum: u64 = self.shares.values().sum();
        let of = |share: u64| (seats as f64 * share as f64 / (sum.max(1)) as f64).ceil();
        self.shares.iter().map(|(level, share)| (level.clone(), of(*share))).collect()
    }

    /// `digestFlowSchemasLocked` in apiserver's `util/flowcontrol`: schemas without their level are passed over, and the
    /// mandatory ones are there in any case.
    fn new(schemas: &[Object], levels: &[Object]) -> Self {
        let share = |level: &Object| {
            let place = if level.str_at(&["spec", "type"]) == "Exempt" { "exempt" } else { "limited" };
            level.at(&["spec", place, "nominalConcurrencyShares"]).and_then(Value::as_u64).unwrap_or(0)
        };
        let shares = levels.iter().map(|level| (level.name().to_string(), share(level))).collect();
        let levels: BTreeMap<&str, &Object> = levels.iter().map(|level| (level.name(), level)).collect();
        let mut compiled: Vec<(Spec, Arc<Flow>)> = schemas
            .iter()
            .filter_map(|schema| {
                let spec = Spec::read(schema)?;
                let level = levels.get(spec.level())?;
                let flow = Flow {
                    schema: schema.name().into(),
                    level: level.name().into(),
                    exempt: level.str_at(&["spec", "type"]) == "Exempt",
                    schema_uid: schema.uid().into(),
                    level_uid: level.uid().into(),
                };
                Some((spec, Arc::new(flow)))
            })
            .collect();
        compiled.sort_by(|(a, of_a), (b, of_b)| {
            (a.matching_precedence, &of_a.schema).cmp(&(b.matching_precedence, &of_b.schema))
        });
        let named = |name: &str| compiled.iter().find(|(_, flow)| flow.schema == name).map(|(_, flow)| flow.clone());
        let catch_all = named(CATCH_ALL).unwrap_or_else(|| Arc::new(Flow::imagined(CATCH_ALL)));
        if named(EXEMPT).is_none() {
            compiled.insert(0, (Spec::of_group("system:masters"), Arc::new(Flow::imagined(EXEMPT))));
        }
        Self { schemas: compiled, catch_all, shares }
    }
}

#[cfg(test)]
mod tests;
