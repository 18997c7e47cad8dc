//! The kinds of `events.k8s.io`.

use super::Kind;
use crate::table::shared::EVENT;
use crate::validation::core;

pub(super) static KINDS: &[Kind] = &[Kind::named("events").validated(core::events::strict).cells(EVENT)];
