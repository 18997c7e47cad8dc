//! Validating policies over one request (`dispatcher.go` of apiserver's `policy/validating`).

use std::sync::Arc;
use std::time::Duration;

use api::admission::{Annotation, Checks, Decision, Evaluation, Subject, ValidatingPolicy, Verdict};
use api::status::StatusCause;
use api::{Object, Status};
use serde::Serialize;

use super::super::forbidden;
use super::case;
use super::loaded::{Binding, Hook, Hooks};
use super::matched::{Found, Invocation, Misconfigured, Step};
use super::settle::settle;
use crate::plug::admission::Attributes;

/// Longest value of an audit annotation, in bytes (`maxAuditAnnotationValueLength`).
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;
const FAILURE_ANNOTATION: &str = "validation.policy.admission.k8s.io/validation_failure";

/// Evaluates every policy that the request is for.
///
/// # Errors
/// What the first refuses it with.
pub(super) async fn dispatch(
    hooks: Arc<Hooks<ValidatingPolicy>>,
    attributes: &Attributes<'_>,
    object: Option<&Object>,
) -> Result<(), Status> {
    let mut found = Found::new(&hooks, attributes, object).await;
    if found.steps.is_empty() {
        return Ok(());
    }
    let namespace = match case::namespace(attributes, object) {
        Ok(namespace) => namespace,
        // Only who is evaluated needs it.
        Err(status) if found.steps.iter().any(|step| matches!(step, Step::Invoke(_))) => return Err(status),
        Err(_) => None,
    };
    found.cases.iter_mut().for_each(|case| case.set_namespace(namespace.clone()));
    let checks = Checks::default();
    let subjects: Vec<Subject<'_>> = found.cases.iter().map(|case| case.subject(&hooks.reading, &checks)).collect();
    let mut run = Run { attributes, object, refusal: None, annotations: Vec::new() };
    let mut last: Option<&str> = None;
    for step in &found.steps {
        let of = match step {
            Step::Invoke(invocation) => &invocation.hook.name,
            Step::Refuse(misconfigured) => &misconfigured.hook.name,
        };
        if last.is_some_and(|last| last != of) {
            run.publish(last.unwrap_or_default());
        }
        last = Some(of);
        match step {
            Step::Refuse(misconfigured) => run.misconfigured(misconfigured),
            Step::Invoke(invocation) => {
                let Invocation { hook, binding, case, params } = invocation;
                for params in params {
                    let (evaluator, params) = (hook.evaluator.clone(), params.clone());
                    let started = attributes.ctx.registry.clock().instant();
                    let evaluate =
                        move |subject: &Subject<'_>, effort| evaluator.validate(subject, params.as_deref(), effort);
                    let of = (&found.cases[*case], &hooks);
                    let verdict = settle(attributes, of, &subjects[*case], evaluate).await?;
                    let took = attributes.ctx.registry.clock().instant().saturating_duration_since(started);
                    run.act(hook, binding, verdict, took);
                }
            }
        }
    }
    run.publish(last.unwrap_or_default());
    run.refusal.map_or(Ok(()), Err)
}

/// A validation that failed, as it is noted (`ValidationFailureValue`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure<'a> {
    message: &'a str,
    policy: &'a str,
    binding: &'a str,
    expression_index: usize,
    validation_actions: &'a [String],
}

/// What has come of a request so far.
struct Run<'a> {
    attributes: &'a Attributes<'a>,
    object: Option<&'a Object>,
    refusal: Option<Status>,
    /// Those of the policy at hand: a key, and the values that its bindings gave.
    annotations: Vec<(String, Vec<String>)>,
}

impl Run<'_> {
    fn misconfigured(&mut self, found: &Misconfigured<'_, ValidatingPolicy>) {
        if found.hook.fails {
            self.refuse(found.hook, found.binding, &found.why, "");
        }
    }

    /// The first to refuse says why.
    fn refuse(&mut self, hook: &Hook<ValidatingPolicy>, binding: Option<&Binding>, why: &str, reason: &str) {
        if self.refusal.is_some() {
            return;
        }
        let of_binding = binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
        let message = format!("ValidatingAdmissionPolicy '{}'{of_binding} denied request: {why}", hook.name);
        let mut status = forbidden(self.attributes, self.object, &message);
        let (reason, code) = match reason {
            "Forbidden" => ("Forbidden", 403),
            "Unauthorized" => ("Unauthorized", 401),
            "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
            _ => ("Invalid", 422),
        };
        (status.reason, status.code) = (reason.into(), code);
        let cause = StatusCause { message, ..StatusCause::default() };
        status.details.get_or_insert_default().causes.push(cause);
        self.refusal = Some(status);
    }

    fn act(&mut self, hook: &Hook<ValidatingPolicy>, binding: &Binding, verdict: Verdict, took: Duration) {
        let Verdict { decisions, annotations, condition_errors } = verdict;
        let metrics = self.attributes.ctx.registry.metrics();
        let policies = &metrics.policies;
        let operation = self.attributes.operation.as_str();
        if hook.evaluator.has_conditions() {
            metrics.webhooks.conditions([&hook.name, "policy", "validate", operation], condition_errors, took);
        }
        // They are not told apart by the clock: each took its share.
        let each = took / u32::try_from(decisions.len().max(1)).unwrap_or(u32::MAX);
        for (index, decision) in decisions.iter().enumerate() {
            let count = |action: &str| {
                policies.validated([&hook.name, &binding.name, error_type(decision), action], each);
            };
            if !decision.denies {
                if decision.evaluation == Evaluation::Error {
                    count("allow");
                }
                continue;
            }
            for action in &binding.actions {
                match action.as_str() {
                    "Deny" => {
                        self.refuse(hook, Some(binding), &decision.message, &decision.reason);
                        count("deny");
                    }
                    "Audit" => {
                        self.note_failure(hook, binding, index, decision);
                        count("audit");
                    }
                    "Warn" => {
                        self.attributes.ctx.warn(format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                            hook.name, binding.name, decision.message
                        ));
                        count("warn");
                    }
                    _ => {}
                }
            }
        }
        for annotation in annotations {
            match annotation {
                Annotation::Publish(key, value) => self.annotate(key, value),
                Annotation::Error(why) => {
                    self.refuse(hook, Some(binding), &why, "");
                    policies.validated([&hook.name, &binding.name, error_of(&why), "deny"], each);
                }
            }
        }
    }

    /// Notes what a validation found for the audit event (`publishValidationFailureAnnotation`).
    fn note_failure(&self, hook: &Hook<ValidatingPolicy>, binding: &Binding, index: usize, decision: &Decision) {
        let failure = [Failure {
            message: &decision.message,
            policy: &hook.name,
            binding: &binding.name,
            expression_index: index,
            validation_actions: &binding.actions,
        }];
        let value = || api::go::json::in_html(serde_json::to_string(&failure).unwrap_or_default());
        self.attributes.ctx.annotate(|| FAILURE_ANNOTATION.into(), value);
    }

    fn annotate(&mut self, key: String, value: String) {
        let value = cut(value);
        match self.annotations.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) if values.contains(&value) => {}
            Some((_, values)) => values.push(value),
            None => self.annotations.push((key, vec![value])),
        }
    }

    /// Notes what a policy said with all its bindings.
    fn publish(&mut self, policy: &str) {
        for (key, values) in std::mem::take(&mut self.annotations) {
            self.attributes.ctx.annotate(|| format!("{policy}/{key}"), || values.join(", "));
        }
    }
}

fn cut(mut value: String) -> String {
    if value.len() > ANNOTATION_BYTES_MAX {
        let end = (0..=ANNOTATION_BYTES_MAX).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
        value.truncate(end);
    }
    value
}

/// What the metrics call a decision (`ErrorType`).
fn error_type(decision: &Decision) -> &'static str {
    if decision.evaluation == Evaluation::Admit { "no_error" } else { error_of(&decision.message) }
}

/// What the metrics call an error.
pub(super) fn error_of(message: &str) -> &'static str {
    if message.starts_with("compilation") {
        "compile_error"
    } else if message.starts_with("validation failed due to running out of cost budget") {
        "out_of_budget"
    } else {
        "invalid_error"
    }
}
