//! Match conditions: whether a webhook or a policy is about a request (`matchconditions` in apiserver).

use serde_json::Value;

use super::budget::{self, CONDITIONS_COST_MAX, Effort, OUT_OF_BUDGET, Unfinished, Unsure, known};
use super::compiled::Compiled;
use super::subject::{Reading, Subject};
use super::text;
use crate::cel::admission::{Scope, Wanted};
use crate::cel::{Activation, Bound, Expression, Failure, Spent};

/// The match conditions of one webhook or policy.
#[derive(Debug, Default)]
pub struct MatchConditions {
    conditions: Vec<Condition>,
    fails: bool,
    reading: Reading,
}

#[derive(Debug)]
struct Condition {
    name: String,
    compiled: Compiled,
}

/// What match conditions say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matched {
    /// It is about the request.
    Yes,
    /// It is not: the condition of this name is false, or, if it is empty, one fails and failures are ignored.
    No(String),
    /// They cannot be evaluated, and the request is to be refused for it.
    Failed(String),
}

/// The outcome, and what is counted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluated {
    /// What they say.
    pub outcome: Matched,
    /// How many conditions failed (`ObserveMatchConditionEvalError`).
    pub errors: usize,
}

impl MatchConditions {
    /// The conditions of a webhook (`matchConditions`); `fails` is whether its failure policy is `Fail`.
    pub fn of_webhook(list: &Value, fails: bool) -> Self {
        let list = list.as_array().map_or(&[][..], Vec::as_slice);
        let mut conditions = Self::new(list, &Scope::default(), fails);
        conditions.reading = Reading::of(conditions.expressions(), &[]);
        conditions
    }

    pub(super) fn new(list: &[Value], scope: &Scope, fails: bool) -> Self {
        let one = |condition: &Value| Condition {
            name: text(condition, "name").into(),
            compiled: Compiled::new(text(condition, "expression"), Wanted::Bool, scope),
        };
        Self { conditions: list.iter().map(one).collect(), fails, reading: Reading::default() }
    }

    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.conditions.iter().map(|condition| &condition.compiled.expression)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// What they read of objects.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What they say of a request.
    ///
    /// # Errors
    /// If they have to be evaluated once more.
    pub fn matches(&self, subject: &Subject<'_>, effort: Effort) -> Result<Evaluated, Unfinished> {
        if self.is_empty() {
            return Ok(Evaluated { outcome: Matched::Yes, errors: 0 });
        }
        budget::run(effort, subject.checks(), |pace| {
            let params = Bound::null();
            self.evaluate(Activation::new(subject.inputs(), &params, &[], pace))
        })
    }

    /// What they say, with the variables of a policy.
    pub(super) fn evaluate(&self, mut activation: Activation<'_>) -> Result<Evaluated, Unsure> {
        activation.of_conditions = true;
        let mut spent = Spent::of(CONDITIONS_COST_MAX);
        let (mut failed, mut refused): (Vec<String>, Option<String>) = (Vec::new(), None);
        for condition in &self.conditions {
            match condition.compiled.evaluate(&activation, &mut spent) {
                Ok(cel::Value::Bool(false)) if refused.is_none() => refused = Some(condition.name.clone()),
                Ok(_) => {}
                Err(Failure::OutOfBudget) => return Ok(self.failed(OUT_OF_BUDGET.into(), 0)),
                Err(failure) if refused.is_none() => failed.push(known(failure)?),
                Err(failure) => {
                    known(failure)?;
                }
            }
        }
        let errors = failed.len();
        if let Some(name) = refused {
            return Ok(Evaluated { outcome: Matched::No(name), errors });
        }
        if errors > 0 {
            return Ok(self.failed(aggregate(failed), errors));
        }
        Ok(Evaluated { outcome: Matched::Yes, errors })
    }

    fn failed(&self, why: String, errors: usize) -> Evaluated {
        let outcome = if self.fails { Matched::Failed(why) } else { Matched::No(String::new()) };
        Evaluated { outcome, errors }
    }
}

/// Errors as `NewAggregate` of `util/errors` joins them: each once.
fn aggregate(errors: Vec<String>) -> String {
    let mut unique: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        if !unique.contains(&error) {
            unique.push(error);
        }
    }
    if unique.len() == 1 { unique.swap_remove(0) } else { format!("[{}]", unique.join(", ")) }
}
