//! What expressions see of one request.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{Checks, Request, ResourceQuestion};
use crate::Object;
use crate::cel::{Bound, Expression, Inputs, Reads, Variable, authorizer};

/// What some expressions read of objects: the rest of them need not be converted.
#[derive(Debug, Default)]
pub struct Reading {
    object: Reads,
    pub(super) params: Reads,
}

impl Reading {
    pub(super) fn of<'e>(expressions: impl Iterator<Item = &'e Expression>, variables: &'e [Variable]) -> Self {
        let expressions: Vec<&Expression> = expressions.collect();
        let all = || expressions.iter().copied().chain(variables.iter().map(|variable| &variable.expression));
        Self {
            object: Expression::reads(all(), &["object", "oldObject"]),
            params: Expression::reads(all(), &["params"]),
        }
    }

    /// Everything.
    pub fn all() -> Self {
        Self { object: Reads::all(), params: Reads::all() }
    }

    /// Adds what others read, so that an object is converted once for all.
    pub fn add(&mut self, other: &Self) {
        self.object.add(&other.object);
    }
}

/// What expressions see of one request, with its objects in one version. Each variable is converted when it is first read.
pub struct Subject<'a> {
    inputs: Inputs<'a>,
    checks: Checks,
}

impl Default for Subject<'_> {
    /// Nothing but the authoriser.
    fn default() -> Self {
        let checks = Checks::default();
        let inputs = Inputs {
            object: Bound::null(),
            old_object: Bound::null(),
            request: Bound::null(),
            asked: Bound::null(),
            namespace: Bound::null(),
            authorizer: Bound::made(authorizer::authorizer(&checks)),
            request_resource: Bound::made(authorizer::request_resource(&checks, ResourceQuestion::default())),
        };
        Self { inputs, checks }
    }
}

/// What metadata shows of a namespace (`CreateNamespaceObject`).
const OF_NAMESPACE: [&str; 12] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "finalizers",
];

impl<'a> Subject<'a> {
    /// A request. Questions about it and their answers are in `checks`, which all subjects of a request share. `resource` is
    /// the one that was asked for; of the objects no more than `reading` is converted.
    pub fn new(request: &'a Request<'a>, checks: &Checks, resource: ResourceQuestion) -> Self {
        let inputs = Inputs {
            request: Bound::later(|| request.shown(&request.resource)),
            asked: Bound::later(|| request.shown(&request.request_resource)),
            authorizer: Bound::made(authorizer::authorizer(checks)),
            request_resource: Bound::made(authorizer::request_resource(checks, resource)),
            ..Self::default().inputs
        };
        Self { inputs, checks: checks.clone() }
    }

    /// With the whole object as it will be.
    pub fn with_object(self, object: Option<&'a Object>) -> Self {
        static ALL: LazyLock<Reading> = LazyLock::new(Reading::all);
        self.with_objects(object, None, &ALL)
    }

    /// With what is read of the object as it will be, and as it was.
    pub fn with_objects(self, object: Option<&'a Object>, old: Option<&'a Object>, reading: &'a Reading) -> Self {
        let bound = |object: Option<&'a Object>| Bound::object(object.map(|object| &object.0), &reading.object);
        let inputs = Inputs { object: bound(object), old_object: bound(old), ..self.inputs };
        Self { inputs, ..self }
    }

    /// With the namespace that the object is in.
    pub fn with_namespace(self, namespace: Option<&'a Object>) -> Self {
        let Some(namespace) = namespace else { return self };
        let shown = move || {
            let mut metadata = Map::new();
            for name in OF_NAMESPACE {
                if let Some(value) = namespace.at(&["metadata", name]) {
                    metadata.insert(name.into(), value.clone());
                }
            }
            let part = |name: &str| namespace.0.get(name).cloned().unwrap_or_else(|| Map::new().into());
            Value::Object(Map::from_iter([
                ("metadata".into(), Value::Object(metadata)),
                ("spec".into(), part("spec")),
                ("status".into(), part("status")),
            ]))
        };
        Self { inputs: Inputs { namespace: Bound::later(shown), ..self.inputs }, ..self }
    }

    /// The questions of the request.
    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    pub(super) fn inputs(&self) -> &Inputs<'a> {
        &self.inputs
    }
}
