//! `AuthorizationConfiguration`: who is asked what users may do, and which webhooks are asked about what.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::aggregate_texts;
use crate::cel::identity::{Over, Variable};
use crate::decode::{ConfigurationError, configuration};
use crate::field::{ErrorList, FieldError, Path};
use crate::go::duration;
use crate::names;

/// The types of authorisers, in order of name (`modes.AuthorizationModeChoices`).
pub const TYPES: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];
/// The type that may stand in a configuration more than once.
pub const WEBHOOK: &str = "Webhook";
const CONDITIONS_MAX: usize = 64;
const SECOND: i64 = 1_000_000_000;
/// The longest that a webhook is waited for, in nanoseconds.
const TIMEOUT_MAX: i64 = 30 * SECOND;
/// How long answers are remembered if nothing else is said, in nanoseconds (`SetDefaults_WebhookConfiguration`).
const AUTHORIZED_TTL: i64 = 300 * SECOND;
const UNAUTHORIZED_TTL: i64 = 30 * SECOND;

/// `apiserver.config.k8s.io` `AuthorizationConfiguration`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthorizationConfiguration {
    /// Who is asked, in order.
    pub authorizers: Vec<AuthorizerConfiguration>,
}

/// One that is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthorizerConfiguration {
    /// One of [`TYPES`].
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is counted as.
    pub name: String,
    /// How it is asked, if it is a webhook.
    pub webhook: Option<WebhookConfiguration>,
}

/// How a webhook is asked. Durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WebhookConfiguration {
    /// How long it is remembered that something is allowed.
    #[serde(rename = "authorizedTTL", deserialize_with = "nanoseconds")]
    pub authorized_ttl: i64,
    /// Whether that is remembered; it is if nothing is said.
    pub cache_authorized_requests: Option<bool>,
    /// How long it is remembered that something is not allowed.
    #[serde(rename = "unauthorizedTTL", deserialize_with = "nanoseconds")]
    pub unauthorized_ttl: i64,
    /// Whether that is remembered; it is if nothing is said.
    pub cache_unauthorized_requests: Option<bool>,
    /// How long it is waited for.
    #[serde(deserialize_with = "nanoseconds")]
    pub timeout: i64,
    /// The version of the review that is sent.
    pub subject_access_review_version: String,
    /// The version of the review that conditions see.
    pub match_condition_subject_access_review_version: String,
    /// `NoOpinion` or `Deny`.
    pub failure_policy: String,
    /// Where it is.
    pub connection_info: ConnectionInfo,
    /// What must be true of a request for it to be asked.
    pub match_conditions: Vec<MatchCondition>,
}

/// Where a webhook is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConnectionInfo {
    /// `KubeConfigFile` or `InClusterConfig`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kubeconfig that says it.
    pub kube_config_file: Option<String>,
}

/// What must be true of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MatchCondition {
    /// The expression.
    pub expression: String,
}

/// What is wrong with a file by its path, if anything is: whoever may look at files says it.
pub type CheckFile<'a> = &'a dyn Fn(&str) -> Option<String>;

fn nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(0),
        Some(text) => duration::parse(&text).map_err(serde::de::Error::custom),
    }
}

/// The name of an authoriser that is no webhook (`GetNameForAuthorizerMode`).
pub fn name_of(kind: &str) -> String {
    kind.to_lowercase()
}

impl AuthorizationConfiguration {
    /// Reads and checks a file (`LoadAndValidateData`). It must still have authorisers of the types `required`.
    ///
    /// # Errors
    /// All that is wrong, as one text.
    pub fn load(file: &[u8], required: &[String], check_file: CheckFile<'_>) -> Result<Self, String> {
        let configuration = Self::read(file)
            .map_err(|error| format!("failed to load AuthorizationConfiguration from file: {error}"))?;
        if let Some(problems) = super::aggregate(&configuration.validate(check_file)) {
            return Err(problems);
        }
        let others = || configuration.authorizers.iter().filter(|authorizer| authorizer.kind != WEBHOOK);
        let misnamed = others().filter_map(|AuthorizerConfiguration { kind, name, .. }| {
            let expected = name_of(kind);
            (expected != *name).then(|| format!("expected name {expected} for authorizer {kind} instead of {name}"))
        });
        let mut problems: Vec<String> = misnamed.collect();
        let mut missing: Vec<&str> = required.iter().map(String::as_str).collect();
        missing.retain(|wanted| !others().any(|authorizer| authorizer.kind == *wanted));
        missing.sort_unstable();
        if !missing.is_empty() {
            problems.push(format!("missing required types: [{}]", missing.join(" ")));
        }
        aggregate_texts(problems).map_or(Ok(configuration), Err)
    }

    /// Reads a file, and fills in what it leaves out (`LoadFromData`).
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(file: &[u8]) -> Result<Self, ConfigurationError> {
        if file.is_empty() {
            return Ok(Self::default());
        }
        let value = configuration(file, "AuthorizationConfiguration")?;
        let mut read: Self =
            serde_json::from_value(value).map_err(|error| ConfigurationError::Unreadable(error.to_string()))?;
        for webhook in read.authorizers.iter_mut().filter_map(|authorizer| authorizer.webhook.as_mut()) {
            webhook.fill_in();
        }
        Ok(read)
    }

    /// What is wrong with it (`ValidateAuthorizationConfiguration`).
    pub fn validate(&self, check_file: CheckFile<'_>) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = Path::new("authorizers");
        if self.authorizers.is_empty() {
            errors.push(FieldError::required(&root, "at least one authorization mode must be defined"));
        }
        let (mut kinds, mut names) = (HashSet::new(), HashSet::new());
        for (place, authorizer) in self.authorizers.iter().enumerate() {
            let path = root.index(place);
            let (of_kind, kind) = (path.child("type"), authorizer.kind.as_str());
            if kind.is_empty() {
                errors.push(FieldError::required(&of_kind, ""));
                continue;
            }
            if !TYPES.contains(&kind) {
                errors.push(FieldError::not_supported(&of_kind, kind, &TYPES));
                continue;
            }
            if !kinds.insert(kind) && kind != WEBHOOK {
                errors.push(FieldError::duplicate(&of_kind, kind));
                continue;
            }
            name(&authorizer.name, &path.child("name"), &mut names, &mut errors);
            match &authorizer.webhook {
                Some(webhook) if kind == WEBHOOK => webhook.validate(&path, check_file, &mut errors),
                None if kind == WEBHOOK => {
                    errors.push(FieldError::required(&path.child("webhook"), "required when type=Webhook"));
                }
                Some(_) => {
                    let detail = "may only be specified when type=Webhook";
                    errors.push(FieldError::invalid(&path.child("webhook"), "non-null", detail));
                }
                None => {}
            }
        }
        errors
    }
}

fn name<'a>(name: &'a str, path: &Path, seen: &mut HashSet<&'a str>, errors: &mut ErrorList) {
    let is_new = seen.insert(name);
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !is_new {
        errors.push(FieldError::duplicate(path, name));
    } else {
        let problems = names::dns1123_subdomain(name);
        if !problems.is_empty() {
            let detail = format!("authorizer name is invalid: {}", problems.join(", "));
            errors.push(FieldError::invalid(path, name, detail));
        }
    }
}

fn one_of(path: &Path, value: &str, supported: &[&str], errors: &mut ErrorList) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !supported.contains(&value) {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

impl WebhookConfiguration {
    fn fill_in(&mut self) {
        if self.authorized_ttl == 0 {
            self.authorized_ttl = AUTHORIZED_TTL;
        }
        if self.unauthorized_ttl == 0 {
            self.unauthorized_ttl = UNAUTHORIZED_TTL;
        }
        self.cache_authorized_requests.get_or_insert(true);
        self.cache_unauthorized_requests.get_or_insert(true);
    }

    /// What is wrong with it (`ValidateWebhookConfiguration`).
    pub fn validate(&self, path: &Path, check_file: CheckFile<'_>, errors: &mut ErrorList) {
        let of_timeout = path.child("timeout");
        if self.timeout == 0 {
            errors.push(FieldError::required(&of_timeout, ""));
        } else if !(0..=TIMEOUT_MAX).contains(&self.timeout) {
            let shown = duration::format(self.timeout);
            errors.push(FieldError::invalid(&of_timeout, shown, "must be > 0s and <= 30s"));
        }
        for (field, ttl) in [("authorizedTTL", self.authorized_ttl), ("unauthorizedTTL", self.unauthorized_ttl)] {
            match ttl {
                0 => errors.push(FieldError::required(&path.child(field), "")),
                ..0 => {
                    errors.push(FieldError::invalid(&path.child(field), duration::format(ttl), "must be > 0s"));
                }
                _ => {}
            }
        }
        let versions = ["v1", "v1beta1"];
        one_of(&path.child("subjectAccessReviewVersion"), &self.subject_access_review_version, &versions, errors);
        let of_conditions = self.match_condition_subject_access_review_version.as_str();
        let of_version = path.child("matchConditionSubjectAccessReviewVersion");
        if !of_conditions.is_empty() {
            one_of(&of_version, of_conditions, &["v1"], errors);
        } else if !self.match_conditions.is_empty() {
            errors.push(FieldError::required(&of_version, "required if match conditions are specified"));
        }
        one_of(&path.child("failurePolicy"), &self.failure_policy, &["NoOpinion", "Deny"], errors);
        self.connection_info.validate(&path.child("connectionInfo"), check_file, errors);
        if let Err(found) = MatchConditions::compile(&self.match_conditions, path) {
            errors.extend(found);
        }
    }
}

impl ConnectionInfo {
    fn validate(&self, path: &Path, check_file: CheckFile<'_>, errors: &mut ErrorList) {
        let (of_kind, of_file) = (path.child("type"), path.child("kubeConfigFile"));
        let file = self.kube_config_file.as_deref();
        match self.kind.as_str() {
            "" => errors.push(FieldError::required(&of_kind, "")),
            "InClusterConfig" => {
                if let Some(file) = file {
                    errors.push(FieldError::invalid(&of_file, file, "can only be set when type=KubeConfigFile"));
                }
            }
            "KubeConfigFile" => match file.unwrap_or_default() {
                "" => errors.push(FieldError::required(&of_file, "")),
                file if !file.starts_with('/') => {
                    errors.push(FieldError::invalid(&of_file, file, "must be an absolute path"));
                }
                file => errors.extend(check_file(file).map(|why| FieldError::invalid(&of_file, file, why))),
            },
            _ => {
                // The whole of it is shown, under the names of Go's fields.
                let shown = serde_json::json!({"Type": self.kind, "KubeConfigFile": self.kube_config_file});
                errors.push(FieldError::not_supported(&of_kind, shown, &["InClusterConfig", "KubeConfigFile"]));
            }
        }
    }
}

/// Conditions that are ready to be looked at (`CELMatcher` in apiserver's `authorization/cel`).
#[derive(Debug, Default)]
pub struct MatchConditions(Vec<Over>);

impl MatchConditions {
    /// Compiles the conditions of a webhook, which is at `path`.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn compile(conditions: &[MatchCondition], path: &Path) -> Result<Self, ErrorList> {
        let root = path.child("matchConditions");
        if conditions.len() > CONDITIONS_MAX {
            return Err(FieldError::too_many(&root, conditions.len(), CONDITIONS_MAX).into());
        }
        let (mut errors, mut compiled, mut seen) = (ErrorList::new(), Vec::new(), HashSet::new());
        for (place, condition) in conditions.iter().enumerate() {
            let path = root.index(place).child("expression");
            let source = condition.expression.as_str();
            if source.trim().is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else if !seen.insert(source) {
                errors.push(FieldError::duplicate(&path, source));
            } else {
                match Over::compile(source, Variable::Request, true) {
                    Ok(condition) => compiled.push(condition),
                    Err(why) => errors.push(FieldError::invalid(&path, source, why)),
                }
            }
        }
        if errors.is_empty() { Ok(Self(compiled)) } else { Err(errors) }
    }

    /// Whether there are none, so that everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether to look at them for this `spec` may take more than a moment: not on a thread that serves others.
    pub fn take_long(&self, spec: &Value) -> bool {
        Over::take_long(self.0.iter(), spec)
    }

    /// Whether all hold of the `spec` of a review, version v1. One that is false decides, whatever others fail with.
    ///
    /// # Errors
    /// What those fail with that have no value.
    pub fn match_spec(&self, spec: &Value) -> Result<bool, String> {
        let spec = seen_by_conditions(spec);
        let mut failed = Vec::new();
        for condition in &self.0 {
            let source = condition.source();
            match condition.run(&spec) {
                Ok(cel::Value::Bool(true)) => {}
                Ok(cel::Value::Bool(false)) => return Ok(false),
                Ok(_) => failed.push(format!(
                    "cel evaluation error: expression '{source}' eval result type should be bool but is not"
                )),
                Err(why) => {
                    failed.push(format!("cel evaluation error: expression '{source}' resulted in error: {why}"))
                }
            }
        }
        aggregate_texts(failed).map_or(Ok(true), Err)
    }
}

/// A spec with the fields that Go leaves out when they are empty (`convertObjectToUnstructured`).
fn seen_by_conditions(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let mut fill = |at: &str, names: &[&str], with: Value| {
        if let Some(fields) = spec.pointer_mut(at).and_then(Value::as_object_mut) {
            for name in names {
                fields.entry(*name).or_insert_with(|| with.clone());
            }
        }
    };
    fill("", &["user", "uid"], "".into());
    fill("", &["groups"], Value::Array(Vec::new()));
    fill("", &["extra"], Value::Object(serde_json::Map::new()));
    let of_resource = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
    fill("/resourceAttributes", &of_resource, "".into());
    fill("/nonResourceAttributes", &["path", "verb"], "".into());
    spec
}

#[cfg(test)]
#[path = "tests/authorization.rs"]
mod tests;
