//! The kinds of `policy`.

use super::{Kind, Through};
use crate::table::Cell::{Age, Int, Name, Text};
use crate::validation::policy;

pub(super) static KINDS: &[Kind] = &[Kind::named("poddisruptionbudgets")
    .validated(policy::disruption_budget)
    .through(&[Through::named("status").validated(policy::disruption_budget_status)])
    .cells(&[
        Name,
        Text("spec.minAvailable", "N/A"),
        Text("spec.maxUnavailable", "N/A"),
        Int("status.disruptionsAllowed"),
        Age,
    ])];
