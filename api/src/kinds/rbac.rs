//! The kinds of `rbac.authorization.k8s.io`.

use super::Kind;
use crate::table::Cell::{self, Age, Call, Name};
use crate::table::cells::text;
use crate::table::objects::subjects;
use crate::table::shared::NAME_AND_CREATION;
use crate::validation::rbac;

const BINDING: &[Cell] = &[
    Name,
    Call(|o, _| format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name")).into()),
    Age,
    Call(|o, _| subjects(o, "User")),
    Call(|o, _| subjects(o, "Group")),
    Call(|o, _| subjects(o, "ServiceAccount")),
];

pub(super) static KINDS: &[Kind] = &[
    Kind::named("clusterrolebindings").validated(rbac::cluster_role_binding).cells(BINDING),
    Kind::named("clusterroles").validated(rbac::cluster_role).cells(NAME_AND_CREATION),
    Kind::named("rolebindings").validated(rbac::role_binding).cells(BINDING),
    Kind::named("roles").cells(NAME_AND_CREATION),
];
