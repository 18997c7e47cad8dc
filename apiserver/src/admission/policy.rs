//! Policies of admission: MutatingAdmissionPolicy and ValidatingAdmissionPolicy (apiserver's `admission/plugin/policy`).

mod case;
mod loaded;
mod matched;
mod mutating;
mod params;
mod patch;
mod settle;
#[cfg(test)]
mod tests;
mod validating;

use std::sync::Arc;

use api::admission::{Checks, Effort, Evaluated, MatchConditions, MutatingPolicy, Subject, ValidatingPolicy};
use api::{Object, Status};
use futures::FutureExt;

use super::Dispatched;
use crate::matching::Matched;
use crate::plug::Operation;
use crate::plug::admission::{Admission, Attributes};
use case::Case;
use loaded::Source;

/// Changes what is written, one policy after the other.
pub(super) fn mutating() -> impl Admission {
    let policies = Source::<MutatingPolicy>::default();
    Dispatched {
        name: mutating::NAME,
        // There is nothing to change where something is deleted.
        concerned: Box::new(move |attributes| match attributes.operation {
            Operation::Delete => None,
            _ => policies.relevant(attributes),
        }),
        admit: Some(|policies, attributes, object| mutating::dispatch(policies, attributes, object).boxed()),
        validate: None,
    }
}

/// Refuses what is written.
pub(super) fn validating() -> impl Admission {
    let policies = Source::<ValidatingPolicy>::default();
    Dispatched {
        name: "ValidatingAdmissionPolicy",
        concerned: Box::new(move |attributes| policies.relevant(attributes)),
        admit: None,
        validate: Some(|policies, attributes, object| validating::dispatch(policies, attributes, object).boxed()),
    }
}

/// The kinds whose own objects no policy is about, so that nobody locks himself out (`admissionResources`).
const OWN: [&str; 4] = [
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// What is not stored, and what the cluster needs to work (`exclusion.Excluded`).
const REVIEWS: [(&str, &str); 6] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
];

/// Whether no policy is about the request.
fn is_exempt(attributes: &Attributes<'_>) -> bool {
    let (group, plural) = (attributes.resource.group.as_str(), attributes.resource.plural.as_str());
    group == "admissionregistration.k8s.io" && OWN.contains(&plural) || REVIEWS.contains(&(group, plural))
}

/// What the match conditions of a webhook say of a request that matched as this.
///
/// # Errors
/// If the objects cannot be had in the version in which it matched, or no thread for what takes long.
pub(super) async fn conditions(
    conditions: &Arc<MatchConditions>,
    attributes: &Attributes<'_>,
    matched: &Matched,
    object: Option<&Object>,
) -> Result<Evaluated, Status> {
    let case = Case::new(attributes, matched, object).await?;
    let subject = case.subject(conditions.reading(), &Checks::default());
    let of = conditions.clone();
    let evaluate = move |subject: &Subject<'_>, effort: Effort| of.matches(subject, effort);
    settle::settle(attributes, (&case, conditions), &subject, evaluate).await
}
