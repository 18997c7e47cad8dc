//! The library `kubernetes.authz`: whether somebody may do something (`authz.go` in apiserver's `pkg/cel/library`).
//!
//! Nobody is asked while an expression runs. A question that has no answer yet is noted, and the run fails; who runs it
//! finds the answers out and runs it again ([`Checks`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cel::common::types::{DYN_TYPE, STRING_TYPE};
use cel::common::value::CowVal;
use cel::objects::Opaque;
use cel::{Env, ExecutionError, Value};

use super::library::{declare, error, inner, opaque, text};
use crate::{UserInfo, names};

/// What is asked of the authorisers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The namespace and name of the service account that it is about; none if it is about who sent the request.
    pub service_account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// What it is about.
    pub about: About,
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum About {
    /// A path that is none of resources.
    Path(String),
    /// A resource.
    Resource(ResourceQuestion),
}

/// A resource, an object of it, or a part of the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ResourceQuestion {
    /// The API group.
    pub group: String,
    /// The resource, plural.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name, or empty.
    pub name: String,
    /// The field selector as it was written, or empty.
    pub field_selector: String,
    /// The label selector as it was written, or empty.
    pub label_selector: String,
}

impl Question {
    /// Who it is about, where `requester` sent the request.
    pub fn user(&self, requester: &Arc<UserInfo>) -> Arc<UserInfo> {
        match &self.service_account {
            None => requester.clone(),
            // These are its groups where its user is made up from its name alone.
            Some((namespace, name)) => Arc::new(UserInfo {
                username: format!("system:serviceaccount:{namespace}:{name}"),
                groups: vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")],
                ..UserInfo::default()
            }),
        }
    }
}

/// What the authorisers say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong when they were asked.
    pub error: Option<String>,
}

/// The questions of one request and their answers, each asked once (`NewCachingAuthorizer`).
#[derive(Debug, Clone, Default)]
pub struct Checks(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    answers: HashMap<Question, Answer>,
    open: Vec<Question>,
}

impl Checks {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The questions that came up since they were last taken.
    pub fn take_open(&self) -> Vec<Question> {
        std::mem::take(&mut self.known().open)
    }

    /// Whether a question came up that has no answer.
    pub fn has_open(&self) -> bool {
        !self.known().open.is_empty()
    }

    /// Gives the answer to a question.
    pub fn answer(&self, question: Question, answer: Answer) {
        self.known().answers.insert(question, answer);
    }

    fn find(&self, question: Question) -> Option<Answer> {
        let mut known = self.known();
        if let Some(answer) = known.answers.get(&question) {
            return Some(answer.clone());
        }
        if !known.open.contains(&question) {
            known.open.push(question);
        }
        None
    }
}

/// Who is asked about; two of one request are the same.
#[derive(Debug, Clone)]
struct Authorizer {
    checks: Checks,
    service_account: Option<(String, String)>,
}

impl PartialEq for Authorizer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.checks.0, &other.checks.0) && self.service_account == other.service_account
    }
}

impl Eq for Authorizer {}

macro_rules! opaque_types {
    ($($name:ident = $cel:literal { $($field:ident: $ty:ty),* })*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq)]
        struct $name { $($field: $ty),* }

        impl Opaque for $name {
            fn runtime_type_name(&self) -> &str {
                $cel
            }
        }
    )*};
}

opaque_types! {
    PathCheck = "kubernetes.authorization.PathCheck" { of: Authorizer, path: String }
    GroupCheck = "kubernetes.authorization.GroupCheck" { of: Authorizer, group: String }
    ResourceCheck = "kubernetes.authorization.ResourceCheck" { of: Authorizer, about: ResourceQuestion }
    Decision = "kubernetes.authorization.Decision" { answer: Answer }
}

impl Opaque for Authorizer {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.authorization.Authorizer"
    }
}

/// The variable `authorizer`.
pub(crate) fn authorizer(checks: &Checks) -> Value {
    opaque(Authorizer { checks: checks.clone(), service_account: None })
}

/// The variable `authorizer.requestResource`.
pub(crate) fn request_resource(checks: &Checks, about: ResourceQuestion) -> Value {
    opaque(ResourceCheck { of: Authorizer { checks: checks.clone(), service_account: None }, about })
}

pub(super) fn declare_all(env: &mut Env) {
    declare!(env;
        member "path" (DYN_TYPE, STRING_TYPE) => path;
        member "group" (DYN_TYPE, STRING_TYPE) => group;
        member "serviceAccount" (DYN_TYPE, STRING_TYPE, STRING_TYPE) => service_account;
        member "resource" (DYN_TYPE, STRING_TYPE) => resource;
        member "subresource" (DYN_TYPE, STRING_TYPE) => |args| narrowed(args, |about| &mut about.subresource);
        member "namespace" (DYN_TYPE, STRING_TYPE) => |args| narrowed(args, |about| &mut about.namespace);
        member "name" (DYN_TYPE, STRING_TYPE) => |args| narrowed(args, |about| &mut about.name);
        member "fieldSelector" (DYN_TYPE, STRING_TYPE) => |args| narrowed(args, |about| &mut about.field_selector);
        member "labelSelector" (DYN_TYPE, STRING_TYPE) => |args| narrowed(args, |about| &mut about.label_selector);
        member "check" (DYN_TYPE, STRING_TYPE) => check;
        member "allowed" (DYN_TYPE) => |args| Ok(Value::Bool(decision(&args[0])?.allowed));
        member "reason" (DYN_TYPE) => |args| Ok(Value::from(decision(&args[0])?.reason.as_str()));
        member "errored" (DYN_TYPE) => |args| Ok(Value::Bool(decision(&args[0])?.error.is_some()));
        member "error" (DYN_TYPE) => |args| Ok(Value::from(decision(&args[0])?.error.as_deref().unwrap_or("")));
    );
}

fn of<T: 'static>(value: &Value) -> Result<&T, ExecutionError> {
    inner::<T>(value).map_or_else(|| error("authorizer", "no such overload"), Ok)
}

fn decision(value: &Value) -> Result<&Answer, ExecutionError> {
    Ok(&of::<Decision>(value)?.answer)
}

fn path(args: &[Value]) -> Result<Value, ExecutionError> {
    let (of, path) = (of::<Authorizer>(&args[0])?.clone(), text(&args[1])?.to_string());
    if path.trim().is_empty() {
        return error("path", "path must not be empty");
    }
    Ok(opaque(PathCheck { of, path }))
}

fn group(args: &[Value]) -> Result<Value, ExecutionError> {
    let (of, group) = (of::<Authorizer>(&args[0])?.clone(), text(&args[1])?.to_string());
    Ok(opaque(GroupCheck { of, group }))
}

fn service_account(args: &[Value]) -> Result<Value, ExecutionError> {
    let (of, namespace, name) = (of::<Authorizer>(&args[0])?, text(&args[1])?, text(&args[2])?);
    if !names::dns1123_subdomain(name).is_empty() {
        return error("serviceAccount", "Invalid service account name");
    }
    if !names::dns1123_label(namespace).is_empty() {
        return error("serviceAccount", "Invalid service account namespace");
    }
    let service_account = Some((namespace.to_string(), name.to_string()));
    Ok(opaque(Authorizer { checks: of.checks.clone(), service_account }))
}

fn resource(args: &[Value]) -> Result<Value, ExecutionError> {
    let (of, resource) = (of::<GroupCheck>(&args[0])?, text(&args[1])?.to_string());
    if resource.trim().is_empty() {
        return error("resource", "resource must not be empty");
    }
    let about = ResourceQuestion { group: of.group.clone(), resource, ..ResourceQuestion::default() };
    Ok(opaque(ResourceCheck { of: of.of.clone(), about }))
}

fn narrowed(args: &[Value], field: fn(&mut ResourceQuestion) -> &mut String) -> Result<Value, ExecutionError> {
    let mut check = of::<ResourceCheck>(&args[0])?.clone();
    *field(&mut check.about) = text(&args[1])?.to_string();
    Ok(opaque(check))
}

fn check(args: &[Value]) -> Result<Value, ExecutionError> {
    let verb = text(&args[1])?.to_string();
    let (of, about) = match inner::<PathCheck>(&args[0]) {
        Some(check) => (&check.of, About::Path(check.path.clone())),
        None => {
            let check = of::<ResourceCheck>(&args[0])?;
            (&check.of, About::Resource(check.about.clone()))
        }
    };
    let question = Question { service_account: of.service_account.clone(), verb, about };
    match of.checks.find(question) {
        Some(answer) => Ok(opaque(Decision { answer })),
        None => error("check", "the authorizer has not answered yet"),
    }
}
