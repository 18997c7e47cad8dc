//! The kinds of the core group.

use super::{Kind, Through};
use crate::quota;
use crate::table::Cell::{Age, Call, Count, Labels, Name, Text};
use crate::table::cells::{list, map, names};
use crate::table::network::{cluster_ip, endpoints, external_ip, ports};
use crate::table::nodes::{node_address, node_kernel, node_roles, node_status};
use crate::table::objects::{component, component_status, quota};
use crate::table::shared::{EVENT, NAME_AND_AGE, NAME_AND_CREATION, replicas};
use crate::table::{pods, volumes};
use crate::validation::{core, pod, workload};

pub(super) static KINDS: &[Kind] = &[
    Kind::named("componentstatuses").cells(&[
        Name,
        Call(component_status),
        Call(|o, _| component(o, "message")),
        Call(|o, _| component(o, "error")),
    ]),
    Kind::named("configmaps").counted(&quota::PLAIN).validated(core::configuration::config_map).cells(&[
        Name,
        Call(|o, _| (map(o, "data").map_or(0, |m| m.len()) + map(o, "binaryData").map_or(0, |m| m.len())).into()),
        Age,
    ]),
    Kind::named("endpoints").validated(core::endpoints::endpoints).cells(&[Name, Call(endpoints), Age]),
    Kind::named("events").validated(core::events::lenient).cells(EVENT),
    Kind::named("limitranges").validated(core::limits::limit_range).cells(NAME_AND_CREATION),
    Kind::named("namespaces")
        .validated(core::namespaces::namespace)
        .through(&[
            Through::named("finalize").validated(core::namespaces::finalize),
            Through::named("status").validated(core::namespaces::status),
        ])
        .cells(&[Name, Text("status.phase", ""), Age]),
    Kind::named("nodes")
        .validated(core::nodes::node)
        .through(&[Through::named("status").validated(core::nodes::update)])
        .warned(core::warnings::node)
        .cells(&[
            Name,
            Call(node_status),
            Call(node_roles),
            Age,
            Text("status.nodeInfo.kubeletVersion", ""),
            Call(|o, _| node_address(o, "InternalIP")),
            Call(|o, _| node_address(o, "ExternalIP")),
            Text("status.nodeInfo.osImage", "<unknown>"),
            Call(node_kernel),
            Text("status.nodeInfo.containerRuntimeVersion", "<unknown>"),
        ]),
    Kind::named("persistentvolumeclaims")
        .counted(&quota::CLAIMS)
        .validated(core::claims::claim)
        .through(&[Through::named("status").validated(core::claims::status)])
        .warned(core::warnings::claim)
        .cells(volumes::CLAIM),
    Kind::named("persistentvolumes")
        .validated(core::volumes::volume)
        .warned(core::warnings::volume)
        .cells(volumes::VOLUME),
    Kind::named("pods")
        .counted(&quota::PODS)
        .validated(pod::pod)
        .through(&[
            Through::named("ephemeralcontainers").validated(pod::ephemeral::pod),
            Through::named("resize").validated(pod::resize::pod),
            Through::named("status").validated(pod::status::pod).warned(core::warnings::pod_status),
        ])
        .warned(pod::warnings::pod)
        .cells(pods::CELLS),
    Kind::named("podtemplates").validated(pod::pod_template).template(|new| new.field("template")).cells(&[
        Name,
        Call(|o, _| names(list(o, "template.spec.containers"), "name")),
        Call(|o, _| names(list(o, "template.spec.containers"), "image")),
        Labels("template.metadata.labels"),
    ]),
    Kind::named("replicationcontrollers")
        .counted(&quota::PLAIN)
        .validated(workload::replication_controller)
        .through(&[Through::named("status").validated(workload::replication_controller_status)])
        .template(|new| new.at(&["spec", "template"]))
        .cells(&replicas(Labels("spec.selector"))),
    Kind::named("resourcequotas")
        .counted(&quota::PLAIN)
        .validated(core::quota::quota)
        .through(&[Through::named("status").validated(core::quota::status)])
        .warned(core::warnings::quota)
        .cells(&[Name, Call(|o, _| quota(o, false)), Call(|o, _| quota(o, true)), Age]),
    Kind::named("secrets").counted(&quota::PLAIN).validated(core::configuration::secret).cells(&[
        Name,
        Text("type", ""),
        Count("data"),
        Age,
    ]),
    Kind::named("serviceaccounts").cells(NAME_AND_AGE),
    Kind::named("services")
        .counted(&quota::SERVICES)
        .validated(core::services::service)
        .through(&[Through::named("status").validated(core::services::status).warned(core::warnings::service_status)])
        .warned(core::warnings::service)
        .cells(&[
            Name,
            Text("spec.type", ""),
            Call(cluster_ip),
            Call(external_ip),
            Call(ports),
            Age,
            Labels("spec.selector"),
        ]),
];
