//! Mutating policies over one request: one after the other, each sees what the ones before it made of the object
//! (`dispatcher.go` of apiserver's `policy/mutating`).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use api::admission::{Checks, Matched, MutatingPolicy, Reinvocation as Again, Subject};
use api::status::StatusCause;
use api::{Object, Status};

use super::super::forbidden;
use super::super::webhook::shown::versioned;
use super::case::{self, Case};
use super::loaded::{Binding, Hook, Hooks};
use super::matched::{Found, Invocation, Misconfigured, Step};
use super::patch::{self, Failure};
use super::settle::settle;
use super::validating::error_of;
use crate::plug::admission::{Attributes, Reinvocation};

pub(super) const NAME: &str = "MutatingAdmissionPolicy";

/// What tells an invocation from all others: policy, binding, and namespace and name of the parameter.
type Key = (String, String, Option<(String, String)>);

/// What is remembered of the first round until the second (`policyReinvokeContext`).
#[derive(Default)]
struct Rounds {
    /// What was invoked and may be invoked once more.
    invoked: BTreeSet<Key>,
    /// What will be.
    again: BTreeSet<Key>,
    /// The object as the policies left it.
    left: Option<Object>,
}

impl Rounds {
    fn of<R>(reinvocation: &Reinvocation, work: impl FnOnce(&mut Self) -> R) -> R {
        reinvocation.remembered(NAME, work)
    }

    /// The object has changed since they saw it.
    fn repeat_invoked(&mut self) {
        self.again.append(&mut self.invoked);
    }
}

/// Evaluates every policy that the request is for.
///
/// # Errors
/// What refuses it.
pub(super) async fn dispatch(
    hooks: Arc<Hooks<MutatingPolicy>>,
    attributes: &Attributes<'_>,
    object: Option<&mut Object>,
) -> Result<(), Status> {
    // All are matched with the object as it was before the first of them.
    let before = object.as_deref().cloned();
    let mut found = Found::new(&hooks, attributes, before.as_ref()).await;
    let mut run = Run { attributes, hooks: &hooks, checks: Checks::default(), errors: Vec::new() };
    for step in &found.steps {
        if let Step::Refuse(misconfigured) = step {
            run.misconfigured(misconfigured);
        }
    }
    let invocations: Vec<&Invocation<'_, MutatingPolicy>> = found
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Invoke(invocation) => Some(invocation),
            Step::Refuse(_) => None,
        })
        .collect();
    if !invocations.is_empty() {
        let namespace = case::namespace(attributes, before.as_ref())?;
        found.cases.iter_mut().for_each(|case| case.set_namespace(namespace.clone()));
        run.invoke(&invocations, &mut found.cases, object).await?;
    }
    run.refusal(before.as_ref()).map_or(Ok(()), Err)
}

/// One round over one request.
struct Run<'a> {
    attributes: &'a Attributes<'a>,
    hooks: &'a Arc<Hooks<MutatingPolicy>>,
    checks: Checks,
    /// What is wrong, with the reason of the status if it says one.
    errors: Vec<(String, &'static str)>,
}

impl Run<'_> {
    fn misconfigured(&mut self, found: &Misconfigured<'_, MutatingPolicy>) {
        if found.hook.fails {
            let message = denied(found.hook, found.binding, &found.why);
            self.errors.push((message, ""));
        }
    }

    async fn invoke(
        &mut self,
        invocations: &[&Invocation<'_, MutatingPolicy>],
        cases: &mut [Case<'_>],
        mut object: Option<&mut Object>,
    ) -> Result<(), Status> {
        let reinvocation = self.attributes.reinvocation;
        if reinvocation.is_under_way() {
            Rounds::of(reinvocation, |rounds| {
                if rounds.left.as_ref() != object.as_deref() {
                    rounds.repeat_invoked();
                }
            });
        }
        let mut is_dirty = false;
        let mut of_case = None;
        for invocation in invocations {
            // Another version sees what was made of the object in the one before.
            if let (Some(object), true) = (object.as_deref_mut(), of_case.is_some_and(|last| last != invocation.case)) {
                let last: usize = of_case.unwrap_or_default();
                self.write_back(&cases[last], object).await?;
                cases[invocation.case].object =
                    Some(Cow::Owned(self.in_version(&cases[invocation.case], object).await?));
            }
            of_case = Some(invocation.case);
            for params in &invocation.params {
                is_dirty |= self.one(invocation, params.as_ref(), &mut cases[invocation.case]).await?;
            }
        }
        if let (Some(object), Some(last)) = (object.as_deref_mut(), of_case)
            && is_dirty
        {
            self.write_back(&cases[last], object).await?;
            reinvocation.ask();
        }
        Rounds::of(reinvocation, |rounds| {
            if is_dirty {
                rounds.repeat_invoked();
            }
            let may_repeat = !(rounds.again.is_empty() && rounds.invoked.is_empty());
            rounds.left = object.as_deref().filter(|_| may_repeat).cloned();
        });
        Ok(())
    }

    /// The object of a case in the version of the request.
    async fn write_back(&self, case: &Case<'_>, object: &mut Object) -> Result<(), Status> {
        let Some(made) = &case.object else { return Ok(()) };
        let version = object.api_version().to_string();
        let made = versioned(self.attributes, self.attributes.resource, &version, made).await;
        let failed = |status: Status| Status::internal(format!("failed to convert object: {}", status.message));
        *object = made.map_err(failed)?.into_owned();
        Ok(())
    }

    async fn in_version(&self, case: &Case<'_>, object: &Object) -> Result<Object, Status> {
        let version = case.matched.kind.api_version();
        let found = versioned(self.attributes, &case.matched.resource, &version, object).await;
        found.map(Cow::into_owned).map_err(|status| Status::internal(status.message))
    }

    /// Invokes one policy with one parameter. Whether one of its mutations was applied.
    async fn one(
        &mut self,
        invocation: &Invocation<'_, MutatingPolicy>,
        params: Option<&Arc<Object>>,
        case: &mut Case<'_>,
    ) -> Result<bool, Status> {
        let Invocation { hook, binding, .. } = invocation;
        let reinvocation = self.attributes.reinvocation;
        if !self.matches(hook, binding, params, case).await? {
            return Ok(false);
        }
        let of_params = params.map(|params| (params.namespace().to_string(), params.name().to_string()));
        let key: Key = (hook.name.clone(), binding.name.clone(), of_params);
        if reinvocation.is_under_way() && !Rounds::of(reinvocation, |rounds| rounds.again.contains(&key)) {
            return Ok(false);
        }
        let before = case.object.as_deref().cloned();
        let mut is_dirty = false;
        for place in 0..hook.evaluator.mutations().len() {
            if case.object.is_some() {
                is_dirty |= self.mutation(hook, binding, params, place, case).await?;
            }
        }
        let has_changed = before.as_ref() != case.object.as_deref();
        Rounds::of(reinvocation, |rounds| {
            if has_changed {
                rounds.repeat_invoked();
                reinvocation.ask();
            }
            if hook.evaluator.reinvocation() == Again::IfNeeded {
                rounds.invoked.insert(key);
            }
        });
        Ok(is_dirty)
    }

    async fn matches(
        &mut self,
        hook: &Hook<MutatingPolicy>,
        binding: &Binding,
        params: Option<&Arc<Object>>,
        case: &Case<'_>,
    ) -> Result<bool, Status> {
        if !hook.evaluator.has_conditions() {
            return Ok(true);
        }
        let (evaluator, params) = (hook.evaluator.clone(), params.cloned());
        let clock = self.attributes.ctx.registry.clock();
        let started = clock.instant();
        let found = {
            let subject = case.subject(&self.hooks.reading, &self.checks);
            let evaluate = move |subject: &Subject<'_>, effort| evaluator.matches(subject, params.as_deref(), effort);
            settle(self.attributes, (case, self.hooks), &subject, evaluate).await?
        };
        let took = clock.instant().saturating_duration_since(started);
        let operation = self.attributes.operation.as_str();
        let metrics = &self.attributes.ctx.registry.metrics().webhooks;
        // The reference calls this phase so, too.
        metrics.conditions([&hook.name, "policy", "validate", operation], found.errors, took);
        Ok(match found.outcome {
            Matched::Yes => true,
            Matched::No(_) => false,
            Matched::Failed(why) => {
                self.fail(hook, binding, &why);
                false
            }
        })
    }

    fn fail(&mut self, hook: &Hook<MutatingPolicy>, binding: &Binding, why: &str) {
        if hook.fails {
            self.errors.push((denied(hook, Some(binding), why), "Invalid"));
        }
    }

    /// Applies one mutation of a policy, if it can be. Whether it was.
    async fn mutation(
        &mut self,
        hook: &Hook<MutatingPolicy>,
        binding: &Binding,
        params: Option<&Arc<Object>>,
        place: usize,
        case: &mut Case<'_>,
    ) -> Result<bool, Status> {
        let (evaluator, params) = (hook.evaluator.clone(), params.cloned());
        let clock = self.attributes.ctx.registry.clock();
        let started = clock.instant();
        let patch = {
            let subject = case.subject(&self.hooks.reading, &self.checks);
            let evaluate = move |subject: &Subject<'_>, effort| {
                evaluator.mutate(&evaluator.mutations()[place], subject, params.as_deref(), effort)
            };
            settle(self.attributes, (case, self.hooks), &subject, evaluate).await?
        };
        let made = match patch {
            Ok(patch) => patch::apply(self.attributes, case, patch),
            Err(why) => Err(Failure::Policy(why)),
        };
        let took = clock.instant().saturating_duration_since(started);
        let count = |error: &str| {
            let policies = &self.attributes.ctx.registry.metrics().policies;
            policies.mutated([&hook.name, &binding.name, error], took);
        };
        match made {
            Ok(made) => {
                count("no_error");
                case.object = Some(Cow::Owned(made));
                Ok(true)
            }
            Err(Failure::Policy(why)) => {
                count(error_of(&why));
                self.fail(hook, binding, &why);
                Ok(false)
            }
            Err(Failure::Request(status)) => {
                count("invalid_error");
                Err(status)
            }
        }
    }

    /// What the request is refused with.
    fn refusal(self, object: Option<&Object>) -> Option<Status> {
        let (first, reason) = self.errors.first()?.clone();
        let mut status = forbidden(self.attributes, object, "");
        status.message = first;
        if !reason.is_empty() {
            status.reason = reason.into();
        }
        let causes = self.errors.into_iter().map(|(message, _)| StatusCause { message, ..StatusCause::default() });
        status.details.get_or_insert_default().causes.extend(causes);
        Some(status)
    }
}

/// What is said of an error (`PolicyError.Error`).
fn denied(hook: &Hook<MutatingPolicy>, binding: Option<&Binding>, why: &str) -> String {
    match binding {
        Some(binding) => format!("policy '{}' with binding '{}' denied request: {why}", hook.name, binding.name),
        None => format!("policy {} denied request: {why}", api::go::strconv::quote(&hook.name)),
    }
}
