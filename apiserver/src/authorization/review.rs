//! Reviews: what would be allowed, answered and not stored.

use std::sync::Arc;

use api::field::{ErrorList, FieldError, Path};
use api::identity::aggregate_texts;
use api::validation::at::At;
use api::{Object, Status, UserInfo};
use futures::future::{BoxFuture, FutureExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Attributes, Decision, explain};
use crate::Context;
use crate::plug::{Creater, Endpoints};

const GROUP: &str = "authorization.k8s.io";

/// Plugs in the four reviews of `authorization.k8s.io`.
pub fn endpoints(endpoints: &mut Endpoints) {
    let kinds = [
        ("subjectaccessreviews", Whose::Anybody),
        ("localsubjectaccessreviews", Whose::AnybodyInNamespace),
        ("selfsubjectaccessreviews", Whose::Own),
    ];
    for (resource, whose) in kinds {
        endpoints.creater(GROUP, resource, "", Arc::new(AccessReview { whose }));
    }
    endpoints.creater(GROUP, "selfsubjectrulesreviews", "", Arc::new(RulesReview));
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Whose {
    Own,
    Anybody,
    AnybodyInNamespace,
}

struct AccessReview {
    whose: Whose,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    resource_attributes: Option<ResourceAttributes>,
    non_resource_attributes: Option<NonResourceAttributes>,
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ResourceAttributes {
    namespace: String,
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    name: String,
    field_selector: Option<FieldSelector>,
    label_selector: Option<LabelSelector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FieldSelector {
    raw_selector: String,
    requirements: Vec<FieldRequirement>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FieldRequirement {
    key: String,
    operator: String,
    values: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LabelSelector {
    raw_selector: String,
    requirements: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NonResourceAttributes {
    path: String,
    verb: String,
}

impl FieldSelector {
    fn text(&self) -> String {
        if !self.raw_selector.is_empty() {
            return self.raw_selector.clone();
        }
        let single = self.requirements.iter().filter_map(|requirement| {
            let negated = match requirement.operator.as_str() {
                "In" => false,
                "NotIn" => true,
                _ => return None,
            };
            let [value] = requirement.values.as_slice() else { return None };
            Some(api::selector::FieldRequirement { field: requirement.key.clone(), value: value.clone(), negated })
        });
        api::selector::FieldSelector { requirements: single.collect() }.to_string()
    }
}

impl LabelSelector {
    fn text(&self) -> String {
        if !self.raw_selector.is_empty() {
            return self.raw_selector.clone();
        }
        let expressions = json!({"matchExpressions": self.requirements});
        api::selector::LabelSelector::from_object(Some(&expressions)).map(|all| all.to_string()).unwrap_or_default()
    }
}

impl Creater for AccessReview {
    fn create<'a>(&'a self, ctx: &'a Context, _: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        self.review(ctx, object).boxed()
    }
}

impl AccessReview {
    async fn review(&self, ctx: &Context, mut review: Object) -> Result<Object, Status> {
        let spec = review.at(&["spec"]).cloned().unwrap_or_else(|| json!({}));
        let spec: Spec = serde_json::from_value(spec).map_err(|error| Status::bad_request(error.to_string()))?;
        let errors = self.errors(&review, &spec);
        if !errors.is_empty() {
            return Err(Status::invalid(GROUP, "", "", &errors));
        }
        let user = match self.whose {
            Whose::Own => (*ctx.user).clone(),
            _ => UserInfo { username: spec.user, uid: spec.uid, groups: spec.groups, extra: spec.extra },
        };
        let about = spec.resource_attributes.as_ref();
        let fields = about.and_then(|of| of.field_selector.as_ref()).map(FieldSelector::text).unwrap_or_default();
        let labels = about.and_then(|of| of.label_selector.as_ref()).map(LabelSelector::text).unwrap_or_default();
        let asked = match (&spec.resource_attributes, &spec.non_resource_attributes) {
            (Some(of), _) => Attributes {
                verb: &of.verb,
                namespace: &of.namespace,
                group: &of.group,
                version: if of.version.is_empty() { "*" } else { &of.version },
                resource: &of.resource,
                subresource: &of.subresource,
                name: &of.name,
                field_selector: &fields,
                label_selector: &labels,
                ..Attributes::of_resource(&user)
            },
            (None, of) => Attributes {
                verb: of.as_ref().map_or("", |of| &of.verb),
                path: of.as_ref().map_or("", |of| &of.path),
                ..Attributes::of_path(&user)
            },
        };
        let status = self.status(ctx, &asked).await;
        review.set(&["status"], status);
        Ok(review)
    }

    async fn status(&self, ctx: &Context, asked: &Attributes<'_>) -> Value {
        let mut status = Map::new();
        let (decision, reason) = explain(*asked, &ctx.registry).await;
        status.insert("allowed".into(), (decision == Decision::Allow).into());
        match decision {
            Decision::Deny(_) => {
                status.insert("denied".into(), true.into());
            }
            Decision::Failed { why, denies } => {
                if denies {
                    status.insert("denied".into(), true.into());
                }
                status.insert("evaluationError".into(), why.into());
            }
            Decision::Allow | Decision::NoOpinion(_) => {}
        }
        if !reason.is_empty() {
            status.insert("reason".into(), reason.into());
        }
        Value::Object(status)
    }

    fn errors(&self, review: &Object, spec: &Spec) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("spec");
        match (&spec.resource_attributes, &spec.non_resource_attributes) {
            (Some(_), Some(of)) => errors.push(FieldError::invalid(
                &path.child("nonResourceAttributes"),
                json!({"Path": of.path, "Verb": of.verb}),
                "cannot be specified in combination with resourceAttributes",
            )),
            (None, None) => errors.push(FieldError::invalid(
                &path.child("resourceAttributes"),
                Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            )),
            _ => {}
        }
        let attributes = At::root(review).at(&["spec", "resourceAttributes"]);
        api::validation::review_selectors(&attributes, &mut errors);
        if self.whose != Whose::Own && spec.user.is_empty() && spec.groups.is_empty() {
            let detail = "at least one of user or group must be specified";
            errors.push(FieldError::invalid(&path.child("user"), spec.user.as_str(), detail));
        }
        let mut metadata = review.at(&["metadata"]).and_then(Value::as_object).cloned().unwrap_or_default();
        metadata.remove("managedFields");
        metadata.retain(|_, value| !value.is_null());
        if self.whose == Whose::AnybodyInNamespace {
            self.namespace_errors(review.namespace(), spec, &mut metadata, &mut errors);
        } else if !metadata.is_empty() {
            errors.push(FieldError::invalid(&Path::new("metadata"), metadata, "must be empty"));
        }
        errors
    }

    fn namespace_errors(
        &self,
        namespace: &str,
        spec: &Spec,
        metadata: &mut Map<String, Value>,
        errors: &mut ErrorList,
    ) {
        metadata.remove("namespace");
        if !metadata.is_empty() {
            let detail = "must be empty except for namespace";
            errors.push(FieldError::invalid(&Path::new("metadata"), metadata.clone(), detail));
        }
        if let Some(of) = &spec.resource_attributes
            && of.namespace != namespace
        {
            let path = Path::new("spec.resourceAttributes.namespace");
            errors.push(FieldError::invalid(&path, of.namespace.as_str(), "must match metadata.namespace"));
        }
        if let Some(of) = &spec.non_resource_attributes {
            let shown = json!({"Path": of.path, "Verb": of.verb});
            let detail = "disallowed on this kind of request";
            errors.push(FieldError::invalid(&Path::new("spec.nonResourceAttributes"), shown, detail));
        }
    }
}

struct RulesReview;

impl Creater for RulesReview {
    fn create<'a>(&'a self, ctx: &'a Context, _: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        async move { self.review(ctx, object) }.boxed()
    }
}

impl RulesReview {
    fn review(&self, ctx: &Context, mut review: Object) -> Result<Object, Status> {
        let namespace = review.str_at(&["spec", "namespace"]).to_string();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let (mut rules, mut errors, mut incomplete) = (Vec::new(), Vec::new(), false);
        for one in ctx.registry.plugins().authorizers.current().iter() {
            if let Some(found) = one.authorizer.rules(&ctx.user, &namespace, &ctx.registry) {
                rules.extend(found.rules);
                incomplete |= found.incomplete;
                errors.extend(aggregate_texts(found.errors));
            }
        }
        let (mut resource_rules, mut other_rules) = (Vec::new(), Vec::new());
        for rule in rules {
            if !rule.resources.is_empty() {
                let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
                if !rule.resource_names.is_empty() {
                    shown["resourceNames"] = json!(rule.resource_names);
                }
                resource_rules.push(shown);
            }
            if !rule.non_resource_urls.is_empty() {
                other_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
            }
        }
        let mut status =
            json!({"resourceRules": resource_rules, "nonResourceRules": other_rules, "incomplete": incomplete});
        if let Some(why) = aggregate_texts(errors) {
            status["evaluationError"] = why.into();
        }
        review.set(&["status"], status);
        Ok(review)
    }
}
