//! The kinds of `apiregistration.k8s.io`.

use super::{Kind, Through};
use crate::table::Cell::{Age, Call, Name};
use crate::table::network::{api_available, api_service};
use crate::validation::services;

pub(super) static KINDS: &[Kind] = &[Kind::named("apiservices")
    .validated(services::api_service)
    .through(&[Through::named("status").validated(services::api_service_status)])
    .cells(&[Name, Call(api_service), Call(api_available), Age])];
