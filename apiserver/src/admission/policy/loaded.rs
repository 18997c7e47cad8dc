//! The policies that are stored, with their bindings, as they are evaluated (`policy_source.go` in apiserver).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use api::Object;
use api::admission::{MutatingPolicy, Reading, ValidatingPolicy};
use api::selector::LabelSelector;
use parking_lot::Mutex;
use serde_json::Value;
use store::Snapshot;

use super::is_exempt;
use crate::matching::Criteria;
use crate::plug::admission::Attributes;
use crate::registry::{self, Derived};

const GROUP: &str = "admissionregistration.k8s.io";

/// A kind of policies, as it is compiled.
pub(super) trait Evaluator: Send + Sync + Sized + 'static {
    /// Where the policies and their bindings are.
    const PREFIXES: &'static [&'static str];
    /// The resources of the two.
    const PLURALS: [&'static str; 2];

    /// Compiles a policy.
    fn compile(policy: &Object) -> Self;

    /// What it reads of objects.
    fn reading(&self) -> &Reading;
}

impl Evaluator for ValidatingPolicy {
    const PREFIXES: &'static [&'static str] = &[
        "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/",
        "/registry/admissionregistration.k8s.io/validatingadmissionpolicybindings/",
    ];
    const PLURALS: [&'static str; 2] = ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];

    fn compile(policy: &Object) -> Self {
        Self::compile(policy)
    }

    fn reading(&self) -> &Reading {
        self.reading()
    }
}

impl Evaluator for MutatingPolicy {
    const PREFIXES: &'static [&'static str] = &[
        "/registry/admissionregistration.k8s.io/mutatingadmissionpolicies/",
        "/registry/admissionregistration.k8s.io/mutatingadmissionpolicybindings/",
    ];
    const PLURALS: [&'static str; 2] = ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];

    fn compile(policy: &Object) -> Self {
        Self::compile(policy)
    }

    fn reading(&self) -> &Reading {
        self.reading()
    }
}

/// All policies of a kind that have bindings, in order of name.
pub(super) struct Hooks<E> {
    pub(super) all: Vec<Hook<E>>,
    /// What all together read of objects, which are converted once for all of them.
    pub(super) reading: Reading,
}

/// A policy with its bindings.
pub(super) struct Hook<E> {
    pub(super) name: String,
    pub(super) evaluator: Arc<E>,
    /// Which requests it is about; none if it does not say.
    pub(super) criteria: Option<Criteria>,
    /// Whether a request is refused if the policy is not in order.
    pub(super) fails: bool,
    pub(super) params: Option<ParamKind>,
    pub(super) bindings: Vec<Binding>,
}

/// The kind of a policy's parameters.
#[derive(Debug, Clone)]
pub(super) struct ParamKind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

/// Where a policy is in force.
pub(super) struct Binding {
    pub(super) name: String,
    /// Which of the policy's requests it is about, if not all.
    pub(super) criteria: Option<Criteria>,
    /// What is done where a validation fails, in order.
    pub(super) actions: Vec<String>,
    pub(super) params: Option<ParamRef>,
}

/// Which parameters a binding wants.
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<Result<LabelSelector, String>>,
    /// Whether a request is refused if there are none (`parameterNotFoundAction: Deny`).
    pub(super) must_exist: bool,
}

/// The policies of one store. What is compiled stays for as long as the policy's specification does.
pub(super) struct Source<E> {
    stored: Derived<Stored<E>>,
    compiled: Mutex<HashMap<Identity, Arc<E>>>,
}

/// A specification: a policy's uid and generation.
type Identity = (String, i64);

/// What is stored, and what became of it.
struct Stored<E> {
    policies: Vec<Object>,
    bindings: Vec<Object>,
    hooks: OnceLock<Arc<Hooks<E>>>,
}

impl<E: Evaluator> Default for Source<E> {
    fn default() -> Self {
        let read = |snapshot: &Snapshot| {
            let [policies, bindings] = E::PLURALS.map(|plural| registry::list(snapshot, GROUP, plural, ""));
            Stored { policies, bindings, hooks: OnceLock::new() }
        };
        Self { stored: Derived::new(E::PREFIXES, read), compiled: Mutex::default() }
    }
}

impl<E: Evaluator> Source<E> {
    /// The policies that there are, if a rule of one of them names the request.
    pub(super) fn relevant(&self, attributes: &Attributes<'_>) -> Option<Arc<Hooks<E>>> {
        let stored = self.stored.get(&**attributes.ctx.registry.store());
        if stored.bindings.is_empty() || is_exempt(attributes) {
            return None;
        }
        let hooks = stored.hooks.get_or_init(|| Arc::new(self.hooks(&stored.policies, &stored.bindings)));
        // A policy that says nothing of what it is about is an error of every request.
        let may_match = |hook: &Hook<E>| hook.criteria.as_ref().is_none_or(|criteria| criteria.may_match(attributes));
        hooks.all.iter().any(may_match).then(|| hooks.clone())
    }

    fn hooks(&self, policies: &[Object], bindings: &[Object]) -> Hooks<E> {
        let mut of_policy: HashMap<&str, Vec<Binding>> = HashMap::new();
        for binding in bindings {
            of_policy.entry(binding.str_at(&["spec", "policyName"])).or_default().push(Binding::new(binding));
        }
        let mut compiled = HashMap::new();
        let mut before = self.compiled.lock();
        let mut hooks = Hooks { all: Vec::new(), reading: Reading::default() };
        for policy in policies {
            let Some(bindings) = of_policy.remove(policy.name()) else { continue };
            let generation = policy.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
            let identity = (policy.uid().to_string(), generation);
            let known = before.get(&identity).cloned();
            let evaluator = known.unwrap_or_else(|| Arc::new(E::compile(policy)));
            compiled.insert(identity, evaluator.clone());
            hooks.reading.add(evaluator.reading());
            hooks.all.push(Hook::new(policy, evaluator, bindings));
        }
        *before = compiled;
        hooks
    }
}

impl<E> Hook<E> {
    fn new(policy: &Object, evaluator: Arc<E>, bindings: Vec<Binding>) -> Self {
        let constraints = policy.at(&["spec", "matchConstraints"]).filter(|constraints| !constraints.is_null());
        Self {
            name: policy.name().to_string(),
            evaluator,
            criteria: constraints.map(Criteria::of_policy),
            fails: policy.str_at(&["spec", "failurePolicy"]) != "Ignore",
            params: policy.at(&["spec", "paramKind"]).filter(|kind| !kind.is_null()).map(ParamKind::new),
            bindings,
        }
    }
}

impl ParamKind {
    fn new(kind: &Value) -> Self {
        let text = |name: &str| kind[name].as_str().unwrap_or("").to_string();
        let api_version = text("apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        Self { group: group.into(), version: version.into(), kind: text("kind") }
    }
}

impl Binding {
    fn new(binding: &Object) -> Self {
        let given = |name: &str| binding.at(&["spec", name]).filter(|value| !value.is_null());
        let actions = given("validationActions").and_then(Value::as_array).into_iter().flatten();
        Self {
            name: binding.name().to_string(),
            criteria: given("matchResources").map(Criteria::of_policy),
            actions: actions.filter_map(Value::as_str).map(str::to_string).collect(),
            params: given("paramRef").map(ParamRef::new),
        }
    }
}

impl ParamRef {
    fn new(reference: &Value) -> Self {
        let text = |name: &str| reference[name].as_str().unwrap_or("").to_string();
        let selector = reference.get("selector").filter(|selector| !selector.is_null());
        Self {
            name: text("name"),
            namespace: text("namespace"),
            selector: selector.map(|s| LabelSelector::from_object(Some(s)).map_err(|error| error.to_string())),
            must_exist: text("parameterNotFoundAction") == "Deny",
        }
    }
}
