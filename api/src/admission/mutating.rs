//! A compiled MutatingAdmissionPolicy (`compilation.go` and `patch` of apiserver's `policy/mutating`).

use serde_json::Value;

use super::budget::{self, Effort, OUT_OF_BUDGET, POLICY_COST_MAX, Unfinished, Unsure, known};
use super::compiled::{Compiled, variables};
use super::conditions::{Evaluated, MatchConditions};
use super::patches::{self, Patch};
use super::subject::{Reading, Subject};
use super::{fails, has_params, items, text};
use crate::Object;
use crate::cel::admission::Wanted;
use crate::cel::{Activation, Bound, Failure, Spent, Variable};

/// Whether a policy is invoked once more when the object was changed after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reinvocation {
    /// Never.
    Never,
    /// If it was.
    IfNeeded,
}

/// A policy that can be evaluated.
#[derive(Debug)]
pub struct MutatingPolicy {
    variables: Vec<Variable>,
    conditions: MatchConditions,
    mutations: Vec<Mutation>,
    reinvocation: Reinvocation,
    reading: Reading,
}

/// One mutation of a policy.
#[derive(Debug)]
pub struct Mutation {
    is_configuration: bool,
    compiled: Compiled,
}

impl MutatingPolicy {
    /// Compiles a policy. What does not compile is an error of whatever is evaluated with it.
    pub fn compile(policy: &Object) -> Self {
        let (variables, scope) = variables(items(policy, "variables"), has_params(policy));
        let mutation = |one: &Value| {
            let is_configuration = text(one, "patchType") == "ApplyConfiguration";
            let (field, wanted) = match is_configuration {
                true => ("applyConfiguration", Wanted::Configuration),
                false => ("jsonPatch", Wanted::JsonPatch),
            };
            let source = one.get(field).map_or("", |patch| text(patch, "expression"));
            Mutation { is_configuration, compiled: Compiled::new(source, wanted, &scope) }
        };
        let mut compiled = Self {
            conditions: MatchConditions::new(items(policy, "matchConditions"), &scope, fails(policy)),
            mutations: items(policy, "mutations").iter().map(mutation).collect(),
            reinvocation: match policy.str_at(&["spec", "reinvocationPolicy"]) {
                "IfNeeded" => Reinvocation::IfNeeded,
                _ => Reinvocation::Never,
            },
            variables,
            reading: Reading::default(),
        };
        let of_mutations = compiled.mutations.iter().map(|one| &one.compiled.expression);
        let all = of_mutations.chain(compiled.conditions.expressions());
        compiled.reading = Reading::of(all, &compiled.variables);
        compiled
    }

    /// What it reads of objects.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Whether it is invoked once more when the object was changed after it.
    pub fn reinvocation(&self) -> Reinvocation {
        self.reinvocation
    }

    /// Whether it has match conditions.
    pub fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Its mutations, in order.
    pub fn mutations(&self) -> &[Mutation] {
        &self.mutations
    }

    /// Whether it is about a request, with one parameter or none.
    ///
    /// # Errors
    /// If it has to be evaluated once more.
    pub fn matches(
        &self,
        subject: &Subject<'_>,
        params: Option<&Object>,
        effort: Effort,
    ) -> Result<Evaluated, Unfinished> {
        if self.conditions.is_empty() {
            return self.conditions.matches(subject, effort);
        }
        self.run(subject, params, effort, |activation| self.conditions.evaluate(activation))
    }

    /// What a mutation of the policy makes of the request, or why it fails.
    ///
    /// # Errors
    /// If it has to be evaluated once more.
    pub fn mutate(
        &self,
        mutation: &Mutation,
        subject: &Subject<'_>,
        params: Option<&Object>,
        effort: Effort,
    ) -> Result<Result<Patch, String>, Unfinished> {
        if let Some(problem) = mutation.compiled.problem() {
            return Ok(Err(problem.to_string()));
        }
        self.run(subject, params, effort, |activation| {
            let mut spent = Spent::of(POLICY_COST_MAX);
            Ok(match mutation.compiled.evaluate(&activation, &mut spent) {
                Ok(value) if mutation.is_configuration => patches::configuration(&value),
                Ok(value) => patches::operations(&value),
                Err(Failure::OutOfBudget) => Err(OUT_OF_BUDGET.into()),
                Err(failure) => Err(known(failure)?),
            })
        })
    }

    fn run<T: Send>(
        &self,
        subject: &Subject<'_>,
        params: Option<&Object>,
        effort: Effort,
        evaluate: impl Fn(Activation<'_>) -> Result<T, Unsure> + Send + Sync,
    ) -> Result<T, Unfinished> {
        budget::run(effort, subject.checks(), |pace| {
            let params = Bound::object(params.map(|params| &params.0), &self.reading.params);
            evaluate(Activation::new(subject.inputs(), &params, &self.variables, pace))
        })
    }
}
