//! The kinds of `coordination.k8s.io`.

use super::Kind;
use crate::table::Cell::{Age, Name, Text};
use crate::validation::scheduling;

pub(super) static KINDS: &[Kind] =
    &[Kind::named("leases").validated(scheduling::lease).cells(&[Name, Text("spec.holderIdentity", ""), Age])];
