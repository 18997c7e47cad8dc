//! Which policies and bindings a request is for, with their parameters, before any of them is evaluated
//! (`policy_dispatcher.go` in apiserver).

use std::sync::Arc;

use api::{Object, Status};

use super::case::Case;
use super::loaded::{Binding, Evaluator, Hook, Hooks};
use super::params;
use crate::matching::Matched;
use crate::plug::admission::Attributes;

/// A policy with a binding, to be evaluated with parameters.
pub(super) struct Invocation<'h, E> {
    pub(super) hook: &'h Hook<E>,
    pub(super) binding: &'h Binding,
    /// The index of the case in which it matched.
    pub(super) case: usize,
    pub(super) params: Vec<Option<Arc<Object>>>,
}

/// A policy, or one of its bindings, that is not in order; the message says so.
pub(super) struct Misconfigured<'h, E> {
    pub(super) hook: &'h Hook<E>,
    pub(super) binding: Option<&'h Binding>,
    pub(super) why: String,
}

/// What comes of a policy and a binding.
pub(super) enum Step<'h, E> {
    Invoke(Invocation<'h, E>),
    Refuse(Misconfigured<'h, E>),
}

/// A request and everything that it is for.
pub(super) struct Found<'a, 'h, E> {
    pub(super) steps: Vec<Step<'h, E>>,
    /// The request in each version in which something matched.
    pub(super) cases: Vec<Case<'a>>,
}

impl<'a, 'h, E: Evaluator> Found<'a, 'h, E> {
    /// Everything that a request is for, in the order of the policies.
    pub(super) async fn new(hooks: &'h Hooks<E>, attributes: &'a Attributes<'a>, object: Option<&'a Object>) -> Self {
        let mut found = Self { steps: Vec::new(), cases: Vec::new() };
        for hook in &hooks.all {
            if let Err(why) = found.policy(hook, attributes, object).await {
                found.refuse(hook, None, why);
            }
        }
        found
    }

    fn refuse(&mut self, hook: &'h Hook<E>, binding: Option<&'h Binding>, why: String) {
        let what = if binding.is_some() { "binding" } else { "policy" };
        let why = format!("failed to configure {what}: {why}");
        self.steps.push(Step::Refuse(Misconfigured { hook, binding, why }));
    }

    async fn policy(
        &mut self,
        hook: &'h Hook<E>,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> Result<(), String> {
        let Some(criteria) = &hook.criteria else {
            return Err("policy contained no match constraints, a required field".into());
        };
        let said = |status: Status| status.message;
        let Some(matched) = criteria.matches(attributes, object).map_err(said)? else { return Ok(()) };
        let registry = &attributes.ctx.registry;
        let row = hook.params.as_ref().map(|kind| params::row(registry, kind)).transpose()?;
        for binding in &hook.bindings {
            match binding.criteria.as_ref().map(|criteria| criteria.matches(attributes, object)).transpose() {
                Ok(None | Some(Some(_))) => {}
                Ok(Some(None)) => continue,
                Err(status) => {
                    self.refuse(hook, Some(binding), status.message);
                    continue;
                }
            }
            let namespace = attributes.request_namespace(object);
            let found = match params::collect(registry, row.as_ref(), binding.params.as_ref(), namespace).await {
                Ok(found) if found.is_empty() => continue,
                Ok(params) => self.case(attributes, &matched, object).await.map(|case| (params, case)),
                Err(why) => Err(why),
            };
            match found {
                Ok((params, case)) => self.steps.push(Step::Invoke(Invocation { hook, binding, case, params })),
                Err(why) => self.refuse(hook, Some(binding), why),
            }
        }
        Ok(())
    }

    /// The index of the case for what matched.
    async fn case(
        &mut self,
        attributes: &'a Attributes<'a>,
        matched: &Matched,
        object: Option<&'a Object>,
    ) -> Result<usize, String> {
        let is_same = |case: &Case<'_>| {
            case.matched.kind == matched.kind && case.matched.resource.group == matched.resource.group
        };
        if let Some(place) = self.cases.iter().position(is_same) {
            return Ok(place);
        }
        let case = Case::new(attributes, matched, object).await;
        self.cases.push(case.map_err(|status| format!("failed to convert object version: {}", status.message))?);
        Ok(self.cases.len() - 1)
    }
}
