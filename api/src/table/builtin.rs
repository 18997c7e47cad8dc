//! Which cells each built-in resource has, in the order of its columns.

use serde_json::Value;

use super::cells::{Cell, at, condition, defaulted, either, joined, list, map, names, number_or_none, or, text};
use super::network::{
    api_available, api_service, class_parameters, cluster_ip, endpoints, external_ip, hosts, load_balancer, parent_ref,
    ports, slice_endpoints, slice_ports,
};
use super::nodes::{
    event_count, event_first, event_last, event_source, event_target, node_address, node_kernel, node_roles,
    node_status,
};
use super::objects::{
    certificate_status, claim_state, component, component_status, controller, job_completions, job_duration,
    job_status, param_kind, param_ref, quota, ready_of_wanted, subjects,
};
use super::{cells, metrics, pods, volumes};
use crate::selector::LabelSelector;
use crate::time;

use Cell::{Age, Bool, Call, Count, CreatedAt, Int, Labels, Name, Selector, Text};

const TEMPLATE: &str = "spec.template.spec.containers";
const TEMPLATE_NAMES: Cell = Call(|o, _| names(list(o, TEMPLATE), "name"));
const TEMPLATE_IMAGES: Cell = Call(|o, _| names(list(o, TEMPLATE), "image"));
const NAME_AND_AGE: &[Cell] = &[Name, Age];
const NAME_AND_CREATION: &[Cell] = &[Name, CreatedAt];
const BINDING: &[Cell] = &[
    Name,
    Call(|o, _| format!("{}/{}", text(o, "roleRef.kind"), text(o, "roleRef.name")).into()),
    Age,
    Call(|o, _| subjects(o, "User")),
    Call(|o, _| subjects(o, "Group")),
    Call(|o, _| subjects(o, "ServiceAccount")),
];
const WEBHOOKS: &[Cell] = &[Name, Count("webhooks"), Age];
const POLICY_BINDING: &[Cell] = &[Name, Text("spec.policyName", ""), Call(param_ref), Age];
const EVENT: &[Cell] = &[
    Call(|o, now| event_last(o, now).into()),
    Text("type", ""),
    Text("reason", ""),
    Call(event_target),
    Call(|o, _| either(o, "involvedObject.fieldPath", "regarding.fieldPath").into()),
    Call(event_source),
    Call(|o, _| either(o, "message", "note").trim().into()),
    Call(|o, now| event_first(o, now).into()),
    Call(event_count),
    Name,
];
const AUTOSCALER: &[Cell] = &[
    Name,
    Call(|o, _| format!("{}/{}", text(o, "spec.scaleTargetRef.kind"), text(o, "spec.scaleTargetRef.name")).into()),
    Call(|o, _| metrics::targets(o).into()),
    Text("spec.minReplicas", "<unset>"),
    Int("spec.maxReplicas"),
    Int("status.currentReplicas"),
    Age,
];
const REPLICAS: [Cell; 3] = [Int("spec.replicas"), Int("status.replicas"), Int("status.readyReplicas")];

type Row = (&'static str, &'static str, &'static [Cell]);

const ROWS: &[Row] = &[
    (
        "",
        "componentstatuses",
        &[Name, Call(component_status), Call(|o, _| component(o, "message")), Call(|o, _| component(o, "error"))],
    ),
    (
        "",
        "configmaps",
        &[
            Name,
            Call(|o, _| (map(o, "data").map_or(0, |m| m.len()) + map(o, "binaryData").map_or(0, |m| m.len())).into()),
            Age,
        ],
    ),
    ("", "endpoints", &[Name, Call(endpoints), Age]),
    ("", "events", EVENT),
    ("events.k8s.io", "events", EVENT),
    ("", "limitranges", NAME_AND_CREATION),
    ("", "namespaces", &[Name, Text("status.phase", ""), Age]),
    (
        "",
        "nodes",
        &[
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
        ],
    ),
    ("", "persistentvolumeclaims", volumes::CLAIM),
    ("", "persistentvolumes", volumes::VOLUME),
    ("", "pods", pods::CELLS),
    (
        "",
        "podtemplates",
        &[
            Name,
            Call(|o, _| names(list(o, "template.spec.containers"), "name")),
            Call(|o, _| names(list(o, "template.spec.containers"), "image")),
            Labels("template.metadata.labels"),
        ],
    ),
    (
        "",
        "replicationcontrollers",
        &[Name, REPLICAS[0], REPLICAS[1], REPLICAS[2], Age, TEMPLATE_NAMES, TEMPLATE_IMAGES, Labels("spec.selector")],
    ),
    ("", "resourcequotas", &[Name, Call(|o, _| quota(o, false)), Call(|o, _| quota(o, true)), Age]),
    ("", "secrets", &[Name, Text("type", ""), Count("data"), Age]),
    ("", "serviceaccounts", NAME_AND_AGE),
    (
        "",
        "services",
        &[Name, Text("spec.type", ""), Call(cluster_ip), Call(external_ip), Call(ports), Age, Labels("spec.selector")],
    ),
    ("apiregistration.k8s.io", "apiservices", &[Name, Call(api_service), Call(api_available), Age]),
    ("apps", "controllerrevisions", &[Name, Call(controller), Int("revision"), Age]),
    (
        "apps",
        "daemonsets",
        &[
            Name,
            Int("status.desiredNumberScheduled"),
            Int("status.currentNumberScheduled"),
            Int("status.numberReady"),
            Int("status.updatedNumberScheduled"),
            Int("status.numberAvailable"),
            Labels("spec.template.spec.nodeSelector"),
            Age,
            TEMPLATE_NAMES,
            TEMPLATE_IMAGES,
            Selector("spec.selector"),
        ],
    ),
    (
        "apps",
        "deployments",
        &[
            Name,
            Call(ready_of_wanted),
            Int("status.updatedReplicas"),
            Int("status.availableReplicas"),
            Age,
            TEMPLATE_NAMES,
            TEMPLATE_IMAGES,
            Call(|o, _| {
                let selector = LabelSelector::from_object(at(o, "spec.selector"));
                selector.map_or("<invalid>".into(), |s| s.to_string()).into()
            }),
        ],
    ),
    (
        "apps",
        "replicasets",
        &[Name, REPLICAS[0], REPLICAS[1], REPLICAS[2], Age, TEMPLATE_NAMES, TEMPLATE_IMAGES, Selector("spec.selector")],
    ),
    ("apps", "statefulsets", &[Name, Call(ready_of_wanted), Age, TEMPLATE_NAMES, TEMPLATE_IMAGES]),
    ("autoscaling", "horizontalpodautoscalers", AUTOSCALER),
    (
        "batch",
        "cronjobs",
        &[
            Name,
            Text("spec.schedule", ""),
            Text("spec.timeZone", "<none>"),
            Call(|o, _| {
                at(o, "spec.suspend")
                    .and_then(Value::as_bool)
                    .map_or("<unset>", |s| if s { "True" } else { "False" })
                    .into()
            }),
            Count("status.active"),
            Call(|o, now| match text(o, "status.lastScheduleTime") {
                "" => "<none>".into(),
                last => time::age(Some(last), now).into(),
            }),
            Age,
            Call(|o, _| names(list(o, "spec.jobTemplate.spec.template.spec.containers"), "name")),
            Call(|o, _| names(list(o, "spec.jobTemplate.spec.template.spec.containers"), "image")),
            Selector("spec.jobTemplate.spec.selector"),
        ],
    ),
    (
        "batch",
        "jobs",
        &[
            Name,
            Call(job_status),
            Call(job_completions),
            Call(job_duration),
            Age,
            TEMPLATE_NAMES,
            TEMPLATE_IMAGES,
            Selector("spec.selector"),
        ],
    ),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        &[
            Name,
            Age,
            Text("spec.signerName", "<none>"),
            Text("spec.username", ""),
            Call(|o, _| match at(o, "spec.expirationSeconds").and_then(Value::as_i64) {
                Some(seconds) => time::human_duration(jiff::SignedDuration::from_secs(seconds)).into(),
                None => "<none>".into(),
            }),
            Call(certificate_status),
        ],
    ),
    (
        "networking.k8s.io",
        "ingressclasses",
        &[
            Call(|o, _| defaulted(o, "ingressclass.kubernetes.io/is-default-class")),
            Text("spec.controller", ""),
            Call(class_parameters),
            Age,
        ],
    ),
    (
        "networking.k8s.io",
        "ingresses",
        &[
            Name,
            Text("spec.ingressClassName", "<none>"),
            Call(hosts),
            Call(|o, _| load_balancer(o).into()),
            Call(|o, _| if list(o, "spec.tls").is_empty() { "80" } else { "80, 443" }.into()),
            Age,
        ],
    ),
    ("networking.k8s.io", "ipaddresses", &[Name, Call(parent_ref)]),
    (
        "networking.k8s.io",
        "networkpolicies",
        &[
            Name,
            Call(|o, _| {
                cells::selector(Some(at(o, "spec.podSelector").unwrap_or(&Value::Object(Default::default())))).into()
            }),
            Age,
        ],
    ),
    ("networking.k8s.io", "servicecidrs", &[Name, Call(|o, _| joined(list(o, "spec.cidrs"), ",").into()), Age]),
    (
        "policy",
        "poddisruptionbudgets",
        &[
            Name,
            Text("spec.minAvailable", "N/A"),
            Text("spec.maxUnavailable", "N/A"),
            Int("status.disruptionsAllowed"),
            Age,
        ],
    ),
    ("rbac.authorization.k8s.io", "clusterrolebindings", BINDING),
    ("rbac.authorization.k8s.io", "clusterroles", NAME_AND_CREATION),
    ("rbac.authorization.k8s.io", "rolebindings", BINDING),
    ("rbac.authorization.k8s.io", "roles", NAME_AND_CREATION),
    (
        "storage.k8s.io",
        "csidrivers",
        &[
            Name,
            Bool("spec.attachRequired", true),
            Bool("spec.podInfoOnMount", false),
            Bool("spec.storageCapacity", false),
            Call(|o, _| match at(o, "spec.tokenRequests").and_then(Value::as_array) {
                Some(requests) => names(requests, "audience"),
                None => "<unset>".into(),
            }),
            Bool("spec.requiresRepublish", false),
            Call(|o, _| or(&joined(list(o, "spec.volumeLifecycleModes"), ","), "<none>").into()),
            Age,
        ],
    ),
    ("storage.k8s.io", "csinodes", &[Name, Count("spec.drivers"), Age]),
    ("storage.k8s.io", "csistoragecapacities", NAME_AND_CREATION),
    (
        "storage.k8s.io",
        "storageclasses",
        &[
            Call(|o, _| defaulted(o, "storageclass.kubernetes.io/is-default-class")),
            Text("provisioner", ""),
            Text("reclaimPolicy", "Delete"),
            Text("volumeBindingMode", "Immediate"),
            Bool("allowVolumeExpansion", false),
            Age,
        ],
    ),
    (
        "storage.k8s.io",
        "volumeattachments",
        &[
            Name,
            Text("spec.attacher", ""),
            Text("spec.source.persistentVolumeName", ""),
            Text("spec.nodeName", ""),
            Bool("status.attached", false),
            Age,
        ],
    ),
    ("storage.k8s.io", "volumeattributesclasses", &[Name, Text("driverName", ""), Age]),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicies",
        &[Name, Count("spec.mutations"), Call(param_kind), Age],
    ),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", POLICY_BINDING),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", WEBHOOKS),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        &[Name, Count("spec.validations"), Call(param_kind), Age],
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", POLICY_BINDING),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", WEBHOOKS),
    ("apiextensions.k8s.io", "customresourcedefinitions", NAME_AND_CREATION),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        &[Name, Int("value"), Bool("globalDefault", false), Age, Text("preemptionPolicy", "")],
    ),
    ("coordination.k8s.io", "leases", &[Name, Text("spec.holderIdentity", ""), Age]),
    ("node.k8s.io", "runtimeclasses", &[Name, Text("handler", ""), Age]),
    (
        "discovery.k8s.io",
        "endpointslices",
        &[Name, Text("addressType", ""), Call(slice_ports), Call(slice_endpoints), Age],
    ),
    ("resource.k8s.io", "deviceclasses", NAME_AND_AGE),
    ("resource.k8s.io", "resourceclaims", &[Name, Call(claim_state), Age]),
    ("resource.k8s.io", "resourceclaimtemplates", NAME_AND_AGE),
    (
        "resource.k8s.io",
        "resourceslices",
        &[Name, Text("spec.nodeName", ""), Text("spec.driver", ""), Text("spec.pool.name", ""), Age],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "flowschemas",
        &[
            Name,
            Text("spec.priorityLevelConfiguration.name", ""),
            Int("spec.matchingPrecedence"),
            Text("spec.distinguisherMethod.type", "<none>"),
            Age,
            Call(|o, _| or(condition(o, "Dangling"), "?").into()),
        ],
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        &[
            Name,
            Text("spec.type", ""),
            Call(|o, _| number_or_none(o, "spec.limited.nominalConcurrencyShares")),
            Call(|o, _| number_or_none(o, "spec.limited.limitResponse.queuing.queues")),
            Call(|o, _| number_or_none(o, "spec.limited.limitResponse.queuing.handSize")),
            Call(|o, _| number_or_none(o, "spec.limited.limitResponse.queuing.queueLengthLimit")),
            Age,
        ],
    ),
];

/// The cells of a resource.
pub(super) fn cells_of(group: &str, plural: &str) -> Option<&'static [Cell]> {
    ROWS.iter().find(|(g, p, _)| *g == group && *p == plural).map(|(_, _, cells)| *cells)
}
