//! The kinds of `apiextensions.k8s.io`.

use super::Kind;
use crate::table::shared::NAME_AND_CREATION;

pub(super) static KINDS: &[Kind] = &[Kind::named("customresourcedefinitions").cells(NAME_AND_CREATION)];
