//! The kinds of `resource.k8s.io`.

use super::{Kind, Through};
use crate::quota;
use crate::table::Cell::{Age, Call, Name, Text};
use crate::table::objects::claim_state;
use crate::table::shared::NAME_AND_AGE;
use crate::validation::{devices, warnings};

pub(super) static KINDS: &[Kind] = &[
    Kind::named("deviceclasses").validated(devices::class).cells(NAME_AND_AGE),
    Kind::named("resourceclaims")
        .counted(&quota::DEVICE_CLAIMS)
        .validated(devices::claim)
        .through(&[Through::named("status").validated(devices::claim_status)])
        .cells(&[Name, Call(claim_state), Age]),
    Kind::named("resourceclaimtemplates").validated(devices::template).cells(NAME_AND_AGE),
    Kind::named("resourceslices").validated(devices::slice).warned(warnings::devices).cells(&[
        Name,
        Text("spec.nodeName", ""),
        Text("spec.driver", ""),
        Text("spec.pool.name", ""),
        Age,
    ]),
];
