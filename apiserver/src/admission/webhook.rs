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

use futures::FutureExt;

use super::Dispatched;
use crate::matching;
use crate::plug::admission::{Admission, Attributes};
use crate::registry::Derived;
use hooks::Hook;

/// Calls the mutating webhooks, one after the other.
pub(super) fn mutating() -> impl Admission {
    let all = Derived::new(&[hooks::MUTATING], hooks::mutating);
    Dispatched {
        name: mutating::NAME,
        concerned: Box::new(move |attributes| relevant(&all, attributes)),
        admit: Some(|hooks, attributes, object| mutating::dispatch(hooks, attributes, object).boxed()),
        validate: None,
    }
}

/// Calls the validating webhooks, all at once.
pub(super) fn validating() -> impl Admission {
    let all = Derived::new(&[hooks::VALIDATING], hooks::validating);
    Dispatched {
        name: "ValidatingAdmissionWebhook",
        concerned: Box::new(move |attributes| relevant(&all, attributes)),
        admit: None,
        validate: Some(|hooks, attributes, object| validating::dispatch(hooks, attributes, object).boxed()),
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
