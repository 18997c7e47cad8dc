//! The kinds of `flowcontrol.apiserver.k8s.io`.

use super::{Kind, Through};
use crate::table::Cell::{Age, Call, Int, Name, Text};
use crate::table::cells::{condition, number_or_none, or};
use crate::validation::flowcontrol;

pub(super) static KINDS: &[Kind] = &[
    Kind::named("flowschemas")
        .validated(flowcontrol::schema)
        .through(&[Through::named("status").validated(flowcontrol::status)])
        .cells(&[
            Name,
            Text("spec.priorityLevelConfiguration.name", ""),
            Int("spec.matchingPrecedence"),
            Text("spec.distinguisherMethod.type", "<none>"),
            Age,
            Call(|o, _| or(condition(o, "Dangling"), "?").into()),
        ]),
    Kind::named("prioritylevelconfigurations")
        .validated(flowcontrol::level)
        .through(&[Through::named("status").validated(flowcontrol::status)])
        .cells(&[
            Name,
            Text("spec.type", ""),
            Call(|o, _| number_or_none(o, "spec.limited.nominalConcurrencyShares")),
            Call(|o, _| number_or_none(o, "spec.limited.limitResponse.queuing.queues")),
            Call(|o, _| number_or_none(o, "spec.limited.limitResponse.queuing.handSize")),
            Call(|o, _| number_or_none(o, "spec.limited.limitResponse.queuing.queueLengthLimit")),
            Age,
        ]),
];
