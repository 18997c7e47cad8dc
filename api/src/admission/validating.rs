//! A compiled ValidatingAdmissionPolicy (`validator.go` in apiserver).

use serde_json::Value;

use super::budget::{self, Effort, OUT_OF_BUDGET, POLICY_COST_MAX, Unfinished, Unsure, known};
use super::compiled::{Compiled, variables};
use super::conditions::{MatchConditions, Matched};
use super::subject::{Reading, Subject};
use super::{fails, has_params, items, text};
use crate::Object;
use crate::cel::admission::Wanted;
use crate::cel::{Activation, Bound, Failure, Names, Pace, Readable, Spent, Variable};

/// Longest message that a message expression may give, in bytes (`MaxEvaluatedMessageExpressionSizeBytes`).
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// A policy that can be evaluated.
#[derive(Debug)]
pub struct ValidatingPolicy {
    variables: Vec<Variable>,
    conditions: MatchConditions,
    validations: Vec<Validation>,
    annotations: Vec<AuditAnnotation>,
    fails: bool,
    reading: Reading,
}

#[derive(Debug)]
struct Validation {
    compiled: Compiled,
    message: String,
    message_expression: Option<Compiled>,
    reason: String,
}

#[derive(Debug)]
struct AuditAnnotation {
    key: String,
    compiled: Compiled,
}

/// What one expression led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evaluation {
    /// It holds.
    Admit,
    /// It does not.
    Deny,
    /// It could not be evaluated.
    Error,
}

/// What a policy says with one of its validations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request is refused. An error does that by the failure policy.
    pub denies: bool,
    /// How it came to that.
    pub evaluation: Evaluation,
    /// Why.
    pub message: String,
    /// The reason of the status; empty for errors.
    pub reason: String,
}

/// An audit annotation of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Annotation {
    /// Its key, without the name of the policy, and its value.
    Publish(String, String),
    /// It could not be evaluated, and the request is to be refused for it.
    Error(String),
}

/// What a policy says of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// By the index of the validation; one error if nothing could be evaluated, none if its conditions are not met.
    pub decisions: Vec<Decision>,
    /// What it notes.
    pub annotations: Vec<Annotation>,
    /// How many match conditions failed.
    pub condition_errors: usize,
}

impl ValidatingPolicy {
    /// Compiles a policy. What does not compile is an error of whatever is evaluated with it.
    pub fn compile(policy: &Object) -> Self {
        let fails = fails(policy);
        let (variables, scope) = variables(items(policy, "variables"), has_params(policy));
        let validation = |one: &Value| {
            let message = text(one, "messageExpression");
            Validation {
                compiled: Compiled::new(text(one, "expression"), Wanted::Bool, &scope),
                message: text(one, "message").trim().into(),
                message_expression: (!message.is_empty()).then(|| Compiled::new(message, Wanted::Text, &scope)),
                reason: Some(text(one, "reason")).filter(|reason| !reason.is_empty()).unwrap_or("Invalid").into(),
            }
        };
        let annotation = |one: &Value| AuditAnnotation {
            key: text(one, "key").into(),
            compiled: Compiled::new(text(one, "valueExpression"), Wanted::TextOrNull, &scope),
        };
        let mut compiled = Self {
            conditions: MatchConditions::new(items(policy, "matchConditions"), &scope, fails),
            validations: items(policy, "validations").iter().map(validation).collect(),
            annotations: items(policy, "auditAnnotations").iter().map(annotation).collect(),
            variables,
            fails,
            reading: Reading::default(),
        };
        let of_validations = compiled
            .validations
            .iter()
            .flat_map(|one| std::iter::once(&one.compiled).chain(&one.message_expression))
            .chain(compiled.annotations.iter().map(|one| &one.compiled));
        let all = of_validations.map(|one| &one.expression).chain(compiled.conditions.expressions());
        compiled.reading = Reading::of(all, &compiled.variables);
        compiled
    }

    /// What it reads of objects.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Whether it has match conditions.
    pub fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// What it says of a request with one parameter, or none.
    ///
    /// # Errors
    /// If it has to be evaluated once more.
    pub fn validate(
        &self,
        subject: &Subject<'_>,
        params: Option<&Object>,
        effort: Effort,
    ) -> Result<Verdict, Unfinished> {
        budget::run(effort, subject.checks(), |pace| {
            let params = Bound::object(params.map(|params| &params.0), &self.reading.params);
            Run { policy: self, inputs: subject.inputs(), params: &params, pace }.verdict()
        })
    }
}

/// One evaluation at one pace.
struct Run<'a> {
    policy: &'a ValidatingPolicy,
    inputs: &'a dyn Names,
    params: &'a dyn Readable,
    pace: Pace,
}

impl<'a> Run<'a> {
    fn activation(&self) -> Activation<'a> {
        Activation::new(self.inputs, self.params, &self.policy.variables, self.pace)
    }

    fn error(&self, message: String) -> Decision {
        Decision { denies: self.policy.fails, evaluation: Evaluation::Error, message, reason: String::new() }
    }

    fn one_error(&self, message: String, condition_errors: usize) -> Verdict {
        Verdict { decisions: vec![self.error(message)], annotations: Vec::new(), condition_errors }
    }

    fn verdict(&self) -> Result<Verdict, Unsure> {
        let mut condition_errors = 0;
        if !self.policy.conditions.is_empty() {
            let found = self.policy.conditions.evaluate(self.activation())?;
            condition_errors = found.errors;
            match found.outcome {
                Matched::Yes => {}
                Matched::No(_) => return Ok(Verdict { condition_errors, ..Verdict::default() }),
                Matched::Failed(why) => return Ok(self.one_error(why, condition_errors)),
            }
        }
        let mut spent = Spent::of(POLICY_COST_MAX);
        let activation = self.activation();
        let mut found = Vec::with_capacity(self.policy.validations.len());
        for validation in &self.policy.validations {
            found.push(match validation.compiled.evaluate(&activation, &mut spent) {
                Ok(value) => Ok(value == cel::Value::Bool(true)),
                Err(Failure::OutOfBudget) => return Ok(self.one_error(OUT_OF_BUDGET.into(), condition_errors)),
                Err(failure) => Err(known(failure)?),
            });
        }
        let messages = self.messages(&activation, &found, &mut spent)?;
        let decisions = self.decisions(found, messages);
        let Ok(annotations) = self.annotations()? else {
            return Ok(self.one_error(OUT_OF_BUDGET.into(), condition_errors));
        };
        Ok(Verdict { decisions, annotations, condition_errors })
    }

    /// What the message expressions give, by validation; an error if there was no budget for them.
    fn messages(
        &self,
        of_validations: &Activation<'_>,
        found: &[Result<bool, String>],
        spent: &mut Spent,
    ) -> Result<Result<Vec<Option<String>>, ()>, Unsure> {
        let mut activation = self.activation();
        activation.shows_authorizer = false;
        let mut messages = Vec::with_capacity(found.len());
        for (validation, found) in self.policy.validations.iter().zip(found) {
            let mut message = None;
            match &validation.message_expression {
                None => {}
                // Nobody asks what it says; what it costs counts all the same.
                Some(compiled) if self.pace != Pace::Counted && *found != Ok(false) && compiled.problem().is_none() => {
                    of_validations.pass(&compiled.expression, spent).map_err(|_| Unsure)?;
                }
                Some(compiled) => match compiled.evaluate(&activation, spent) {
                    Ok(cel::Value::String(text)) => message = usable(&text),
                    Ok(_) => {}
                    Err(Failure::OutOfBudget) => return Ok(Err(())),
                    Err(failure) => {
                        known(failure)?;
                    }
                },
            }
            messages.push(message);
        }
        Ok(Ok(messages))
    }

    fn decisions(&self, found: Vec<Result<bool, String>>, messages: Result<Vec<Option<String>>, ()>) -> Vec<Decision> {
        let mut messages = messages.map(Vec::into_iter);
        let decide = |(validation, found): (&Validation, Result<bool, String>)| {
            let message = messages.as_mut().map(|messages| messages.next().flatten());
            match (found, message) {
                (Err(why), _) => self.error(why),
                (Ok(_), Err(())) => self.error(format!("failed messageExpression: {OUT_OF_BUDGET}")),
                (Ok(true), _) => Decision {
                    denies: false,
                    evaluation: Evaluation::Admit,
                    message: String::new(),
                    reason: String::new(),
                },
                (Ok(false), Ok(message)) => Decision {
                    denies: true,
                    evaluation: Evaluation::Deny,
                    message: message.unwrap_or_else(|| validation.own_message()),
                    reason: validation.reason.clone(),
                },
            }
        };
        self.policy.validations.iter().zip(found).map(decide).collect()
    }

    /// What the audit annotations give; an error if there was no budget for them.
    fn annotations(&self) -> Result<Result<Vec<Annotation>, ()>, Unsure> {
        let mut activation = self.activation();
        activation.shows_authorizer = false;
        let mut spent = Spent::of(POLICY_COST_MAX);
        let mut annotations = Vec::new();
        for annotation in &self.policy.annotations {
            match annotation.compiled.evaluate(&activation, &mut spent) {
                Ok(cel::Value::String(value)) if !value.trim().is_empty() => {
                    annotations.push(Annotation::Publish(annotation.key.clone(), value.trim().into()));
                }
                Ok(_) => {}
                Err(Failure::OutOfBudget) => return Ok(Err(())),
                Err(failure) => {
                    let why = known(failure)?;
                    if self.policy.fails {
                        annotations.push(Annotation::Error(why));
                    }
                }
            }
        }
        Ok(Ok(annotations))
    }
}

impl Validation {
    fn own_message(&self) -> String {
        match self.message.as_str() {
            "" => format!("failed expression: {}", self.compiled.expression.source().trim()),
            message => message.into(),
        }
    }
}

/// A message that can be shown: one line, and not too long.
fn usable(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n')).then(|| text.to_string())
}
