//! Webhooks of admission: MutatingAdmissionWebhook and ValidatingAdmissionWebhook (apiserver's `admission/plugin/webhook`).

mod call;
mod conditions;
mod hooks;
mod mutating;
mod review;
pub(super) mod shown;
#[cfg(test)]
mod tests;
mod validating;

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};

use crate::matching;
use crate::plug::admission::{Admission, Attributes};
use crate::registry::Derived;
use hooks::Hook;

/// Calls the mutating webhooks, one after the other.
pub(super) struct Mutating(Derived<Vec<Hook>>);

/// Calls the validating webhooks, all at once.
pub(super) struct Validating(Derived<Vec<Hook>>);

impl Default for Mutating {
    fn default() -> Self {
        Self(Derived::new(&[hooks::MUTATING], hooks::mutating))
    }
}

impl Default for Validating {
    fn default() -> Self {
        Self(Derived::new(&[hooks::VALIDATING], hooks::validating))
    }
}

impl Admission for Mutating {
    fn name(&self) -> &'static str {
        mutating::NAME
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        match relevant(&self.0, attributes) {
            Some(hooks) => mutating::dispatch(hooks, attributes, object).boxed(),
            None => ready(Ok(())).boxed(),
        }
    }
}

impl Admission for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        match relevant(&self.0, attributes) {
            Some(hooks) => validating::dispatch(hooks, attributes, object).boxed(),
            None => ready(Ok(())).boxed(),
        }
    }
}

/// The webhooks that there are, if there is one whose rules name the request.
fn relevant(all: &Derived<Vec<Hook>>, attributes: &Attributes<'_>) -> Option<Vec<Hook>> {
    let held = all.get(&**attributes.ctx.registry.store());
    if held.is_empty() || matching::is_exempt(attributes) {
        return None;
    }
    // They are called for longer than what is derived may be held.
    let found: Vec<Hook> = held.iter().filter(|hook| hook.may_match(attributes)).cloned().collect();
    if found.is_empty() { None } else { Some(found) }
}
