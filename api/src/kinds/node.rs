//! The kinds of `node.k8s.io`.

use super::Kind;
use crate::table::Cell::{Age, Name, Text};
use crate::validation::{scheduling, warnings};

pub(super) static KINDS: &[Kind] = &[Kind::named("runtimeclasses")
    .validated(scheduling::runtime_class)
    .warned(warnings::runtime_class)
    .cells(&[Name, Text("handler", ""), Age])];
