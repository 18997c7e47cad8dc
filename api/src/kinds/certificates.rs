//! The kinds of `certificates.k8s.io`.

use serde_json::Value;

use super::{Kind, Through};
use crate::table::Cell::{Age, Call, Name, Text};
use crate::table::cells::at;
use crate::table::objects::certificate_status;
use crate::time;
use crate::validation::certificates;

pub(super) static KINDS: &[Kind] = &[Kind::named("certificatesigningrequests")
    .validated(certificates::request)
    .through(&[
        Through::named("approval").validated(certificates::approval),
        Through::named("status").validated(certificates::signature),
    ])
    .cells(&[
        Name,
        Age,
        Text("spec.signerName", "<none>"),
        Text("spec.username", ""),
        Call(|o, _| match at(o, "spec.expirationSeconds").and_then(Value::as_i64) {
            Some(seconds) => time::human_duration(jiff::SignedDuration::from_secs(seconds)).into(),
            None => "<none>".into(),
        }),
        Call(certificate_status),
    ])];
