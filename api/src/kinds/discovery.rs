//! The kinds of `discovery.k8s.io`.

use super::Kind;
use crate::table::Cell::{Age, Call, Name, Text};
use crate::table::network::{slice_endpoints, slice_ports};
use crate::validation::{discovery, warnings};

pub(super) static KINDS: &[Kind] = &[Kind::named("endpointslices")
    .validated(discovery::slice)
    .warned(warnings::slice)
    .cells(&[Name, Text("addressType", ""), Call(slice_ports), Call(slice_endpoints), Age])];
