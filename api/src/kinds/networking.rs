//! The kinds of `networking.k8s.io`.

use serde_json::Value;

use super::{Kind, Through};
use crate::table::Cell::{Age, Call, Name, Text};
use crate::table::cells;
use crate::table::cells::{at, defaulted, joined, list};
use crate::table::network::{class_parameters, hosts, load_balancer, parent_ref};
use crate::validation::{network_policies, networking, networking_classes, warnings};

pub(super) static KINDS: &[Kind] = &[
    Kind::named("ingressclasses").validated(networking_classes::ingress_class).cells(&[
        Call(|o, _| defaulted(o, "ingressclass.kubernetes.io/is-default-class")),
        Text("spec.controller", ""),
        Call(class_parameters),
        Age,
    ]),
    Kind::named("ingresses")
        .validated(networking::ingress)
        .through(&[Through::named("status").validated(networking::ingress_status).warned(warnings::ingress_status)])
        .warned(warnings::ingress)
        .cells(&[
            Name,
            Text("spec.ingressClassName", "<none>"),
            Call(hosts),
            Call(|o, _| load_balancer(o).into()),
            Call(|o, _| if list(o, "spec.tls").is_empty() { "80" } else { "80, 443" }.into()),
            Age,
        ]),
    Kind::named("ipaddresses").validated(networking_classes::ip_address).cells(&[Name, Call(parent_ref)]),
    Kind::named("networkpolicies").validated(network_policies::policy).warned(warnings::policy).cells(&[
        Name,
        Call(|o, _| {
            cells::selector(Some(at(o, "spec.podSelector").unwrap_or(&Value::Object(Default::default())))).into()
        }),
        Age,
    ]),
    Kind::named("servicecidrs").validated(networking_classes::service_cidr).cells(&[
        Name,
        Call(|o, _| joined(list(o, "spec.cidrs"), ",").into()),
        Age,
    ]),
];
