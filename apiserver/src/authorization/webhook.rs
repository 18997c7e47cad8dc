//! Webhooks that are asked what users may do (`plugin/pkg/authorizer/webhook` in apiserver).

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::UserInfo;
use api::identity::{MatchConditions, WebhookConfiguration};
use api::selector::{FieldSelector, LabelSelector, Operator, Requirement};
use futures::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Attributes, Authorizer, Decision, Rules};
use crate::Registry;
use crate::clock::Clock;
use crate::metrics::identity::AuthorizationWebhooks;
use crate::outgoing::Kubeconfig;
use crate::remote::cache::Key;
use crate::remote::{Cache, Outcome, Reviewer};
use crate::workers::{self, UsersWorkers};

const GROUP: &str = "authorization.k8s.io";
/// What requesters write may be so long together for the answer to be remembered (`maxControlledAttrCacheSize`).
const REMEMBERED_BYTES_MAX: usize = 10_000;

/// What a webhook answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Said {
    allowed: bool,
    denied: bool,
    reason: String,
}

/// One webhook.
pub struct Webhook {
    name: String,
    reviewer: Reviewer,
    is_oldest: bool,
    conditions: Arc<MatchConditions>,
    remembered: Cache<Arc<Said>>,
    authorized_ttl: Duration,
    unauthorized_ttl: Duration,
    /// Whether what cannot be found out is refused.
    fails_closed: bool,
    metrics: Arc<AuthorizationWebhooks>,
    clock: Arc<dyn Clock>,
}

fn duration(nanoseconds: i64) -> Duration {
    Duration::from_nanos(nanoseconds.try_into().unwrap_or_default())
}

impl Webhook {
    /// A webhook as a configuration that was found good says.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn new(
        name: &str,
        config: &WebhookConfiguration,
        metrics: Arc<AuthorizationWebhooks>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let file = match (config.connection_info.kind.as_str(), &config.connection_info.kube_config_file) {
            ("KubeConfigFile", Some(file)) => file,
            (kind, _) => return Err(format!("connectionInfo.type {kind} is not allowed for kube-apiserver")),
        };
        let version = config.subject_access_review_version.as_str();
        if !matches!(version, "v1" | "v1beta1") {
            return Err(format!(
                "unsupported webhook authorizer version {version:?}, supported versions are \"v1\", \"v1beta1\""
            ));
        }
        let kubeconfig = Kubeconfig::read(file.as_ref()).map_err(|error| error.to_string())?;
        let conditions = MatchConditions::compile(&config.match_conditions, &api::field::Path::root());
        let conditions = conditions.map_err(|errors| api::identity::aggregate(&errors).unwrap_or_default())?;
        let kept =
            |ttl: i64, is_kept: Option<bool>| if is_kept == Some(false) { Duration::ZERO } else { duration(ttl) };
        Ok(Self {
            name: name.into(),
            reviewer: Reviewer::new(kubeconfig, GROUP, version, "SubjectAccessReview", duration(config.timeout)),
            is_oldest: version == "v1beta1",
            conditions: Arc::new(conditions),
            remembered: Cache::new(&*clock),
            authorized_ttl: kept(config.authorized_ttl, config.cache_authorized_requests),
            unauthorized_ttl: kept(config.unauthorized_ttl, config.cache_unauthorized_requests),
            fails_closed: config.failure_policy == "Deny",
            metrics,
            clock,
        })
    }

    fn failed(&self, why: String) -> Decision {
        Decision::Failed { why, denies: self.fails_closed }
    }

    /// Whether it is asked about this at all.
    fn is_asked(&self, spec: &Value) -> Result<bool, String> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let started = self.clock.instant();
        let matched = self.conditions.match_spec(spec);
        self.matched(matched, started)
    }

    /// The same on a thread that serves nobody else, where that may take more than a moment.
    async fn is_asked_elsewhere(&self, spec: &Value, threads: UsersWorkers) -> Result<bool, String> {
        let started = self.clock.instant();
        let (conditions, spec) = (self.conditions.clone(), spec.clone());
        let work = threads.run(async move { Ok(conditions.match_spec(&spec)) });
        // Who asks may be on such a thread, which must not be held while another is waited for.
        let matched = workers::wait(work).await.unwrap_or_else(|status| Err(status.message));
        self.matched(matched, started)
    }

    fn matched(&self, matched: Result<bool, String>, started: Instant) -> Result<bool, String> {
        let took = self.clock.instant().saturating_duration_since(started);
        self.metrics.matched(&self.name, &matched, took);
        matched
    }

    /// Its answer about something, once it is known whether it is asked about it.
    fn said(&self, matched: Result<bool, String>, spec: Value, may_be_remembered: bool) -> Answer<'_> {
        match matched {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(String::new()).into(),
            Err(why) => return self.failed(why).into(),
        }
        let key = self.key(&spec);
        if let Some(said) = self.remembered.get(&key, self.clock.instant()) {
            return decision(&said).into();
        }
        Answer::Later(self.ask(key, spec, may_be_remembered).boxed())
    }

    fn key(&self, spec: &Value) -> Key {
        self.remembered.key([spec.to_string().as_bytes()])
    }

    async fn ask(&self, key: Key, spec: Value, remember: bool) -> Decision {
        let sent = if self.is_oldest { oldest(spec) } else { spec };
        let counted = |outcome: Outcome, took| self.metrics.asked(&self.name, outcome.name(), took);
        let said = match self.reviewer.review(&sent, &*self.clock, &counted).await {
            Ok(status) => Said::deserialize(status).map_err(|error| (error.to_string(), Outcome::Error)),
            Err(error) => Err(error),
        };
        match said {
            Ok(said) => {
                if remember {
                    let ttl = if said.allowed { self.authorized_ttl } else { self.unauthorized_ttl };
                    self.remembered.put(key, Arc::new(said.clone()), ttl, self.clock.instant());
                }
                decision(&said)
            }
            Err((why, outcome)) => {
                tracing::error!(webhook = self.name, why, "failed to make webhook authorizer request");
                if !self.fails_closed {
                    self.metrics.failed_open(&self.name, outcome.name());
                }
                self.failed(why)
            }
        }
    }
}

fn decision(said: &Said) -> Decision {
    match (said.denied, said.allowed) {
        (true, true) => Decision::Failed {
            why: "webhook subject access review returned both allow and deny response".into(),
            denies: true,
        },
        (true, false) => Decision::Deny(said.reason.clone()),
        (false, true) => Decision::Allow,
        (false, false) => Decision::NoOpinion(said.reason.clone()),
    }
}

impl Authorizer for Webhook {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, registry: &'a Registry) -> Answer<'a> {
        let (spec, may_be_remembered) = (spec(&attributes), may_be_remembered(&attributes));
        if !self.conditions.take_long(&spec) {
            return self.said(self.is_asked(&spec), spec, may_be_remembered);
        }
        let threads = registry.state().workers().of(Arc::new(attributes.user.clone()));
        let answer = async move {
            let matched = self.is_asked_elsewhere(&spec, threads).await;
            match self.said(matched, spec, may_be_remembered) {
                Answer::Now(decision) => decision,
                Answer::Later(decision) => decision.await,
            }
        };
        Answer::Later(answer.boxed())
    }

    fn reason(&self, attributes: &Attributes<'_>, _: &Registry) -> String {
        let said = self.remembered.get(&self.key(&spec(attributes)), self.clock.instant());
        said.map(|said| said.reason.clone()).unwrap_or_default()
    }

    fn rules(&self, _: &UserInfo, _: &str, _: &Registry) -> Option<Rules> {
        let errors = vec!["webhook authorizer does not support user rule resolution".into()];
        Some(Rules { errors, incomplete: true, ..Rules::default() })
    }
}

fn may_be_remembered(asked: &Attributes<'_>) -> bool {
    let written = [
        asked.namespace,
        asked.verb,
        asked.group,
        asked.version,
        asked.resource,
        asked.subresource,
        asked.name,
        asked.path,
    ];
    written.iter().map(|text| text.len()).sum::<usize>() < REMEMBERED_BYTES_MAX
}

/// The `spec` of a review, version v1, without what Go leaves out.
fn spec(asked: &Attributes<'_>) -> Value {
    let mut spec = Map::new();
    let mut about = Map::new();
    let mut put = |name: &str, text: &str| {
        if !text.is_empty() {
            about.insert(name.into(), text.into());
        }
    };
    put("verb", asked.verb);
    if asked.is_resource_request {
        put("namespace", asked.namespace);
        put("group", asked.group);
        put("version", asked.version);
        put("resource", asked.resource);
        put("subresource", asked.subresource);
        put("name", asked.name);
        for (name, requirements) in [("fieldSelector", fields(asked)), ("labelSelector", labels(asked))] {
            if !requirements.is_empty() {
                about.insert(name.into(), json!({"requirements": requirements}));
            }
        }
        spec.insert("resourceAttributes".into(), about.into());
    } else {
        put("path", asked.path);
        spec.insert("nonResourceAttributes".into(), about.into());
    }
    let UserInfo { username, uid, groups, extra } = asked.user;
    for (name, text) in [("user", username), ("uid", uid)] {
        if !text.is_empty() {
            spec.insert(name.into(), text.as_str().into());
        }
    }
    if !groups.is_empty() {
        spec.insert("groups".into(), groups.clone().into());
    }
    if !extra.is_empty() {
        spec.insert("extra".into(), json!(extra));
    }
    Value::Object(spec)
}

fn fields(asked: &Attributes<'_>) -> Vec<Value> {
    if asked.field_selector.is_empty() {
        return Vec::new();
    }
    let selector = FieldSelector::parse(asked.field_selector).unwrap_or_default();
    let requirement = |term: &api::selector::FieldRequirement| json!({"key": term.field, "operator": if term.negated { "NotIn" } else { "In" }, "values": [term.value]});
    selector.requirements.iter().map(requirement).collect()
}

fn labels(asked: &Attributes<'_>) -> Vec<Value> {
    if asked.label_selector.is_empty() {
        return Vec::new();
    }
    let selector = LabelSelector::parse(asked.label_selector).unwrap_or_default();
    let requirement = |term: &Requirement| {
        let operator = match term.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => "In",
            Operator::NotIn | Operator::NotEquals => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            // Selectors only narrow: without this one more is asked for, and not less.
            Operator::GreaterThan | Operator::LessThan => return None,
        };
        let mut shown = json!({"key": term.key, "operator": operator});
        if !term.values.is_empty() {
            shown["values"] = term.values.clone().into();
        }
        Some(shown)
    };
    selector.requirements.iter().filter_map(requirement).collect()
}

/// The same in the oldest version, which calls groups otherwise.
fn oldest(mut spec: Value) -> Value {
    if let Some(fields) = spec.as_object_mut()
        && let Some(groups) = fields.remove("groups")
    {
        fields.insert("group".into(), groups);
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserInfo {
        let mut user = UserInfo::new("jane", &["dev"]);
        user.extra.insert("scopes".into(), vec!["a".into()]);
        user
    }

    #[test]
    fn reviews_say_what_is_asked() {
        let user = user();
        let who = json!({"user": "jane", "groups": ["dev", "system:authenticated"], "extra": {"scopes": ["a"]}});
        let check = |asked: Attributes<'_>, field: &str, about: Value| {
            let mut expected = who.clone();
            expected[field] = about;
            assert_eq!(spec(&asked), expected);
        };
        let list = Attributes {
            verb: "list",
            namespace: "ns",
            group: "apps",
            version: "v1",
            resource: "deployments",
            field_selector: "metadata.name=a,spec.x!=b",
            label_selector: "app in (a,b),!c",
            ..Attributes::of_resource(&user)
        };
        let selectors = json!({
            "verb": "list", "namespace": "ns", "group": "apps", "version": "v1", "resource": "deployments",
            "fieldSelector": {"requirements": [
                {"key": "metadata.name", "operator": "In", "values": ["a"]},
                {"key": "spec.x", "operator": "NotIn", "values": ["b"]},
            ]},
            "labelSelector": {"requirements": [
                {"key": "app", "operator": "In", "values": ["a", "b"]},
                {"key": "c", "operator": "DoesNotExist"},
            ]},
        });
        check(list, "resourceAttributes", selectors);
        let path = Attributes { verb: "get", path: "/healthz", ..Attributes::of_path(&user) };
        check(path, "nonResourceAttributes", json!({"verb": "get", "path": "/healthz"}));
        let old = oldest(spec(&path));
        assert_eq!((&old["group"], old.get("groups")), (&who["groups"], None));
    }

    #[test]
    fn answers_are_decisions() {
        let check = |status: Value, expected: Decision| {
            let said = Said::deserialize(&status).unwrap();
            assert_eq!(decision(&said), expected, "{status}");
        };
        check(json!({"allowed": true, "reason": "r"}), Decision::Allow);
        check(json!({"allowed": false, "reason": "r"}), Decision::NoOpinion("r".into()));
        check(json!({"allowed": false, "denied": true, "reason": "r"}), Decision::Deny("r".into()));
        let both = "webhook subject access review returned both allow and deny response";
        check(json!({"allowed": true, "denied": true}), Decision::Failed { why: both.into(), denies: true });
        check(json!({}), Decision::NoOpinion(String::new()));
    }

    #[test]
    fn long_names_are_not_remembered() {
        let (user, long) = (user(), "x".repeat(REMEMBERED_BYTES_MAX));
        let asked = Attributes { name: &long, ..Attributes::of_resource(&user) };
        assert!(!may_be_remembered(&asked));
        assert!(may_be_remembered(&Attributes { name: "x", ..asked }));
    }
}
