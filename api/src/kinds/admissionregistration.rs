//! The kinds of `admissionregistration.k8s.io`.

use super::{Kind, Through};
use crate::table::Cell::{self, Age, Call, Count, Name, Text};
use crate::table::objects::{param_kind, param_ref};
use crate::validation::{admission_policies, warnings, webhooks};

const WEBHOOKS: &[Cell] = &[Name, Count("webhooks"), Age];
const POLICY_BINDING: &[Cell] = &[Name, Text("spec.policyName", ""), Call(param_ref), Age];

pub(super) static KINDS: &[Kind] = &[
    Kind::named("mutatingadmissionpolicies")
        .validated(admission_policies::mutating_policy)
        .warned(warnings::static_name)
        .cells(&[Name, Count("spec.mutations"), Call(param_kind), Age]),
    Kind::named("mutatingadmissionpolicybindings")
        .validated(admission_policies::mutating_binding)
        .warned(warnings::static_name)
        .cells(POLICY_BINDING),
    Kind::named("mutatingwebhookconfigurations")
        .validated(webhooks::mutating)
        .warned(warnings::static_name)
        .cells(WEBHOOKS),
    Kind::named("validatingadmissionpolicies")
        .validated(admission_policies::validating_policy)
        .through(&[Through::named("status")
            .validated(admission_policies::validating_policy_status)
            .warned(warnings::static_name)])
        .warned(warnings::static_name)
        .cells(&[Name, Count("spec.validations"), Call(param_kind), Age]),
    Kind::named("validatingadmissionpolicybindings")
        .validated(admission_policies::validating_binding)
        .warned(warnings::static_name)
        .cells(POLICY_BINDING),
    Kind::named("validatingwebhookconfigurations")
        .validated(webhooks::validating)
        .warned(warnings::static_name)
        .cells(WEBHOOKS),
];
