//! The kinds of `scheduling.k8s.io`.

use super::Kind;
use crate::table::Cell::{Age, Bool, Int, Name, Text};
use crate::validation::scheduling;

pub(super) static KINDS: &[Kind] = &[Kind::named("priorityclasses").validated(scheduling::priority_class).cells(&[
    Name,
    Int("value"),
    Bool("globalDefault", false),
    Age,
    Text("preemptionPolicy", ""),
])];
