//! The stored schemas and levels, read once for all requests until they are changed.

use std::sync::{Arc, OnceLock};

use api::{Object, UserInfo};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use store::{Revision, Snapshot};

use super::level::Level;
use super::matching::{Distinguisher, Spec};
use super::queue_set::FlowId;
use super::spec::LevelSpec;
use super::{CATCH_ALL, EXEMPT, GROUP};
use crate::RequestInfo;
use crate::registry::list;

pub(super) const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
pub(super) const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// What a request was found to be.
#[derive(Debug)]
pub struct Flow {
    /// The name of the flow schema.
    pub schema: String,
    /// The name of its priority level.
    pub level: String,
    /// Whether no limit holds for the level.
    pub exempt: bool,
    /// How the schema tells flows apart.
    pub(super) by: Option<Distinguisher>,
    /// Empty where the object is only imagined.
    schema_uid: String,
    level_uid: String,
    /// The level that gives out seats, and what the schema is called there.
    pub(super) bound: OnceLock<(Arc<Level>, FlowId)>,
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

    /// What tells the flow of a request from others of the schema.
    pub(super) fn distinguisher<'r>(&self, user: &'r UserInfo, info: &'r RequestInfo) -> &'r str {
        self.by.map_or("", |by| by.of(user, info))
    }

    fn new(schema: &str, schema_uid: &str, by: Option<Distinguisher>, level: &LevelSpec) -> Arc<Self> {
        Arc::new(Self {
            schema: schema.into(),
            level: level.name.clone(),
            exempt: level.is_exempt(),
            by,
            schema_uid: schema_uid.into(),
            level_uid: level.uid.clone(),
            bound: OnceLock::new(),
        })
    }
}

/// The flow schemas in the order in which they are tried, and the levels.
#[derive(Debug)]
pub struct FlowTable {
    pub(super) revision: Revision,
    pub(super) levels: Vec<LevelSpec>,
    schemas: Vec<(Spec, Arc<Flow>)>,
    catch_all: Arc<Flow>,
    /// Whether every flow has its level.
    pub(super) is_bound: OnceLock<()>,
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

    /// Every flow.
    pub(super) fn flows(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.schemas.iter().map(|(_, flow)| flow).chain([&self.catch_all])
    }

    /// `digestFlowSchemasLocked` in apiserver's `util/flowcontrol`: schemas without their level are passed over, and the
    /// mandatory ones are there in any case.
    pub(super) fn new(revision: Revision, schemas: &[Object], levels: &[Object]) -> Self {
        let mut levels: Vec<LevelSpec> = levels.iter().filter_map(LevelSpec::read).collect();
        for name in [EXEMPT, CATCH_ALL] {
            if !levels.iter().any(|level| level.name == name) {
                levels.push(LevelSpec::imagined(name));
            }
        }
        let level = |name: &str| levels.iter().find(|level| level.name == name);
        let mut compiled: Vec<(Spec, Arc<Flow>)> = schemas
            .iter()
            .filter_map(|schema| {
                let spec = Spec::read(schema)?;
                let flow = Flow::new(schema.name(), schema.uid(), spec.distinguisher(), level(spec.level())?);
                Some((spec, flow))
            })
            .collect();
        compiled.sort_by(|(a, of_a), (b, of_b)| {
            (a.matching_precedence, &of_a.schema).cmp(&(b.matching_precedence, &of_b.schema))
        });
        let imagined =
            |name: &str, by| Flow::new(name, "", by, &level(name).cloned().unwrap_or(LevelSpec::imagined(name)));
        let named = |name: &str| compiled.iter().find(|(_, flow)| flow.schema == name).map(|(_, flow)| flow.clone());
        let catch_all = named(CATCH_ALL).unwrap_or_else(|| imagined(CATCH_ALL, Some(Distinguisher::ByUser)));
        if named(EXEMPT).is_none() {
            compiled.insert(0, (Spec::of_group("system:masters"), imagined(EXEMPT, None)));
        }
        Self { revision, levels, schemas: compiled, catch_all, is_bound: OnceLock::new() }
    }
}
