//! The kinds of `autoscaling`.

use super::{Kind, Through};
use crate::table::Cell::{self, Age, Call, Int, Name, Text};
use crate::table::cells::text;
use crate::table::metrics;
use crate::validation::autoscaling;

const AUTOSCALER: &[Cell] = &[
    Name,
    Call(|o, _| format!("{}/{}", text(o, "spec.scaleTargetRef.kind"), text(o, "spec.scaleTargetRef.name")).into()),
    Call(|o, _| metrics::targets(o).into()),
    Text("spec.minReplicas", "<unset>"),
    Int("spec.maxReplicas"),
    Int("status.currentReplicas"),
    Age,
];

pub(super) static KINDS: &[Kind] = &[Kind::named("horizontalpodautoscalers")
    .validated(autoscaling::autoscaler)
    .through(&[Through::named("status").validated(autoscaling::autoscaler_status)])
    .cells(AUTOSCALER)];
