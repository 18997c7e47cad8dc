//! Defaults that depend on other fields: one function a definition, named after the reference's `SetDefaults_X`.
//!
//! Without an effect that anybody sees and so without a rule are `SetDefaults_ConfigMap`, whose maps print nothing when empty,
//! and `SetDefaults_PodLogOptions`, which states what an absent stream means; `SetDefaults_ClusterRoleBinding` is the default of
//! `RoleRef.apiGroup` too, which the overlay has.

use serde_json::{Map, Value, json};

use super::{images, resources};

type Fields = Map<String, Value>;

/// How init containers were once written down; the field has taken their place.
const INIT_CONTAINER_ANNOTATIONS: [&str; 4] = [
    "pod.beta.kubernetes.io/init-containers",
    "pod.alpha.kubernetes.io/init-containers",
    "pod.beta.kubernetes.io/init-container-statuses",
    "pod.alpha.kubernetes.io/init-container-statuses",
];

/// The rule of a definition, if it has one.
pub(super) fn apply(definition: &str, map: &mut Fields) {
    let Some(name) = definition.strip_prefix("io.k8s.") else { return };
    match name {
        "api.core.v1.Pod" => pod(map),
        "api.core.v1.Container" | "api.core.v1.EphemeralContainer" => container(map),
        "api.core.v1.PodSpec" => pod_spec(map),
        "api.core.v1.NodeSpec" => node(map),
        "api.core.v1.PodStatus" => pod_status(map),
        "api.core.v1.Volume" => volume(map),
        "api.core.v1.ImageVolumeSource" => pull_policy(map, "reference", "pullPolicy"),
        "api.core.v1.ServiceSpec" => service(map),
        "api.core.v1.Secret" => secret(map),
        "api.core.v1.Service" => load_balancer_status(map),
        "api.core.v1.Namespace" => namespace(map),
        // `SetDefaults_NodeStatus`
        "api.core.v1.NodeStatus" => {
            copy_if_absent(map, "capacity", "allocatable");
            resources::round(map, &["capacity", "allocatable"]);
        }
        "api.core.v1.ReplicationController" => replication_controller(map),
        "api.core.v1.LimitRangeItem" => {
            resources::limit_range_item(map);
            resources::round(map, resources::LIMITS);
        }
        "api.core.v1.ResourceRequirements" | "api.core.v1.VolumeResourceRequirements" => {
            resources::round(map, &["limits", "requests"]);
        }
        "api.core.v1.ResourceQuotaSpec" | "api.core.v1.ResourceQuotaStatus" => resources::round(map, &["hard", "used"]),
        "api.core.v1.PersistentVolumeSpec"
        | "api.core.v1.PersistentVolumeClaimStatus"
        | "api.core.v1.ContainerStatus" => resources::round(map, &["capacity", "allocatedResources"]),
        "api.apps.v1.DeploymentStrategy" | "api.apps.v1.DaemonSetUpdateStrategy" => rolling_update(map),
        "api.apps.v1.DaemonSet" => template_generation(map),
        "api.apps.v1.StatefulSetUpdateStrategy" => stateful_set(map),
        "api.batch.v1.Job" => job(map),
        "api.apps.v1.StatefulSetSpec" => claim_templates(map),
        "api.autoscaling.v2.HorizontalPodAutoscalerBehavior" => scaling_behavior(map),
        "api.networking.v1.NetworkPolicySpec" => network_policy(map),
        "api.rbac.v1.Subject" => subject(map),
        "api.resource.v1.ExactDeviceRequest" | "api.resource.v1.DeviceSubRequest" => device_count(map),
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition" => stored_versions(map),
        "apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec" => definition_names(map),
        _ => {}
    }
}

fn text<'a>(map: &'a Fields, name: &str) -> &'a str {
    map.get(name).and_then(Value::as_str).unwrap_or("")
}

fn is_absent(map: &Fields, name: &str) -> bool {
    map.get(name).is_none_or(Value::is_null)
}

fn is_empty(map: &Fields, name: &str) -> bool {
    match map.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

fn set_if_absent(map: &mut Fields, name: &str, value: impl Into<Value>) {
    if is_absent(map, name) {
        map.insert(name.to_string(), value.into());
    }
}

fn copy_if_absent(map: &mut Fields, from: &str, to: &str) {
    if let Some(value) = map.get(from).filter(|v| !v.is_null()).cloned() {
        set_if_absent(map, to, value);
    }
}

/// What only pods have done to them, and pod templates do not (`Convert_v1_Pod_To_core_Pod`).
fn pod(map: &mut Fields) {
    if let Some(Value::Object(annotations)) = map.get_mut("metadata").and_then(|at| at.get_mut("annotations")) {
        annotations.retain(|key, _| !INIT_CONTAINER_ANNOTATIONS.contains(&key.as_str()));
    }
    let period = map.get_mut("spec").and_then(|spec| spec.get_mut("terminationGracePeriodSeconds"));
    if let Some(period) = period.filter(|period| period.as_i64().is_some_and(|seconds| seconds < 0)) {
        *period = 1.into();
    }
    resources::pod(map);
}

/// The deprecated name of the service account follows the one it stands for (`Convert_v1_PodSpec_To_core_PodSpec`).
fn pod_spec(map: &mut Fields) {
    resources::round(map, &["overhead"]);
    let (account, deprecated) = (text(map, "serviceAccountName"), text(map, "serviceAccount"));
    if account == deprecated {
        return;
    }
    let account = if account.is_empty() { deprecated } else { account }.to_string();
    map.insert("serviceAccount".to_string(), account.as_str().into());
    map.insert("serviceAccountName".to_string(), account.into());
}

fn pod_status(map: &mut Fields) {
    resources::round(map, &["allocatedResources"]);
    agree(map, ["podIP", "podIPs", "/0/ip"], |ip| json!({"ip": ip}));
}

fn node(map: &mut Fields) {
    agree(map, ["podCIDR", "podCIDRs", "/0"], |cidr| cidr.into());
}

/// A field for one and a field for several say the same: the one counts where they differ (`Convert_v1_NodeSpec_To_core_NodeSpec`
/// and its like).
fn agree(map: &mut Fields, [one, several, first]: [&str; 3], item: fn(&str) -> Value) {
    let first = map.get(several).and_then(|list| list.pointer(first)).and_then(Value::as_str);
    let first = first.unwrap_or("").to_string();
    let stated = text(map, one).to_string();
    if stated == first {
        return;
    }
    if stated.is_empty() {
        map.insert(one.to_string(), first.into());
    } else {
        map.insert(several.to_string(), vec![item(&stated)].into());
    }
}

fn container(map: &mut Fields) {
    pull_policy(map, "image", "imagePullPolicy");
    // A signal that cannot be chosen takes hooks along that say nothing else (`dropContainerStopSignals`).
    let Some(Value::Object(lifecycle)) = map.get("lifecycle") else { return };
    if lifecycle.len() == 1 && lifecycle.contains_key("stopSignal") {
        map.remove("lifecycle");
    }
}

fn pull_policy(map: &mut Fields, image: &str, policy: &str) {
    if text(map, policy).is_empty() {
        let latest = images::is_latest(text(map, image));
        map.insert(policy.to_string(), if latest { "Always" } else { "IfNotPresent" }.into());
    }
}

/// What is given as text becomes data (`Convert_v1_Secret_To_core_Secret`).
fn secret(map: &mut Fields) {
    let Some(Value::Object(texts)) = map.remove("stringData") else { return };
    let texts =
        texts.iter().filter_map(|(key, text)| Some((key, crate::go::base64::encode(text.as_str()?.as_bytes()))));
    let data = map.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        data.extend(texts.map(|(key, text)| (key.clone(), text.into())));
    }
}

/// `SetDefaults_Volume`
fn volume(map: &mut Fields) {
    if map.iter().all(|(name, value)| name == "name" || value.is_null()) {
        map.insert("emptyDir".to_string(), json!({}));
    }
}

fn service(map: &mut Fields) {
    match text(map, "sessionAffinity") {
        "None" => {
            map.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = map.get("sessionAffinityConfig");
            if config.and_then(|c| c.pointer("/clientIP/timeoutSeconds")).is_none_or(Value::is_null) {
                map.insert("sessionAffinityConfig".to_string(), json!({"clientIP": {"timeoutSeconds": 10800}}));
            }
        }
        _ => {}
    }
    for port in map.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let Value::Object(port) = port else { continue };
        let unset = match port.get("targetPort") {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(other) => other.as_i64() == Some(0),
        };
        if unset {
            let number = port.get("port").cloned().unwrap_or(json!(0));
            port.insert("targetPort".to_string(), number);
        }
    }
    let kind = text(map, "type").to_string();
    let external =
        matches!(kind.as_str(), "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && !is_empty(map, "externalIPs"));
    if external && text(map, "externalTrafficPolicy").is_empty() {
        map.insert("externalTrafficPolicy".to_string(), "Cluster".into());
    }
    if matches!(kind.as_str(), "LoadBalancer" | "NodePort" | "ClusterIP") {
        set_if_absent(map, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_if_absent(map, "allocateLoadBalancerNodePorts", true);
    }
}

fn load_balancer_status(map: &mut Fields) {
    if map.get("spec").and_then(|spec| spec.get("type")).and_then(Value::as_str) != Some("LoadBalancer") {
        return;
    }
    let ingress = map.get_mut("status").and_then(|status| status.pointer_mut("/loadBalancer/ingress"));
    for item in ingress.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        if !text(item, "ip").is_empty() {
            set_if_absent(item, "ipMode", "VIP");
        }
    }
}

/// `SetDefaults_Namespace`
fn namespace(map: &mut Fields) {
    let Some(Value::Object(metadata)) = map.get_mut("metadata") else { return };
    let name = text(metadata, "name").to_string();
    if name.is_empty() {
        return;
    }
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if let Value::Object(labels) = labels {
        labels.insert("kubernetes.io/metadata.name".to_string(), name.into());
    }
}

fn template_labels(map: &Fields) -> Option<Value> {
    let labels = map.get("spec")?.pointer("/template/metadata/labels")?;
    labels.as_object().filter(|labels| !labels.is_empty()).map(|labels| Value::Object(labels.clone()))
}

/// Gives an object the labels of its pod template if it has none of its own.
fn own_labels(map: &mut Fields, labels: Value) {
    if let Some(Value::Object(metadata)) = map.get_mut("metadata")
        && is_empty(metadata, "labels")
    {
        metadata.insert("labels".to_string(), labels);
    }
}

/// `SetDefaults_ReplicationController`
fn replication_controller(map: &mut Fields) {
    let Some(labels) = template_labels(map) else { return };
    if let Some(Value::Object(spec)) = map.get_mut("spec")
        && is_empty(spec, "selector")
    {
        spec.insert("selector".to_string(), labels.clone());
    }
    own_labels(map, labels);
}

fn rolling_update(map: &mut Fields) {
    if text(map, "type") == "RollingUpdate" {
        set_if_absent(map, "rollingUpdate", json!({}));
    }
}

fn stateful_set(map: &mut Fields) {
    if text(map, "type").is_empty() {
        map.insert("type".to_string(), "RollingUpdate".into());
        set_if_absent(map, "rollingUpdate", json!({}));
    }
    if text(map, "type") == "RollingUpdate"
        && let Some(Value::Object(update)) = map.get_mut("rollingUpdate")
    {
        set_if_absent(update, "partition", 0);
    }
}

/// Conversion writes the kind into claim templates, whatever they state.
fn claim_templates(map: &mut Fields) {
    for claim in map.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(claim) = claim {
            claim.insert("apiVersion".to_string(), "v1".into());
            claim.insert("kind".to_string(), "PersistentVolumeClaim".into());
        }
    }
}

fn job(map: &mut Fields) {
    if let Some(labels) = template_labels(map) {
        own_labels(map, labels);
    }
    let Some(Value::Object(spec)) = map.get_mut("spec") else { return };
    if is_absent(spec, "parallelism") {
        set_if_absent(spec, "completions", 1);
        set_if_absent(spec, "parallelism", 1);
    }
    let per_index = !is_absent(spec, "backoffLimitPerIndex");
    set_if_absent(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    set_if_absent(spec, "completionMode", "NonIndexed");
    set_if_absent(spec, "suspend", false);
    let with_policy = !is_absent(spec, "podFailurePolicy");
    set_if_absent(spec, "podReplacementPolicy", if with_policy { "Failed" } else { "TerminatingOrFailed" });
    set_if_absent(spec, "manualSelector", false);
}

fn scaling_behavior(map: &mut Fields) {
    if let Some(Value::Object(up)) = map.get_mut("scaleUp") {
        set_if_absent(up, "stabilizationWindowSeconds", 0);
        set_if_absent(up, "selectPolicy", "Max");
        let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        set_if_absent(up, "policies", policies);
    }
    if let Some(Value::Object(down)) = map.get_mut("scaleDown") {
        set_if_absent(down, "selectPolicy", "Max");
        set_if_absent(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}

/// `SetDefaults_NetworkPolicy`
fn network_policy(map: &mut Fields) {
    if is_empty(map, "policyTypes") {
        let egress = !is_empty(map, "egress");
        map.insert("policyTypes".to_string(), if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

/// `SetDefaults_Subject`
fn subject(map: &mut Fields) {
    if text(map, "apiGroup").is_empty() && matches!(text(map, "kind"), "User" | "Group") {
        map.insert("apiGroup".to_string(), "rbac.authorization.k8s.io".into());
    }
}

fn device_count(map: &mut Fields) {
    let unset = map.get("count").and_then(Value::as_i64).unwrap_or(0) == 0;
    if text(map, "allocationMode") == "ExactCount" && unset {
        map.insert("count".to_string(), 1.into());
    }
}

fn definition_names(map: &mut Fields) {
    let Some(Value::Object(names)) = map.get_mut("names") else { return };
    let kind = text(names, "kind").to_string();
    if kind.is_empty() {
        return;
    }
    if text(names, "singular").is_empty() {
        names.insert("singular".to_string(), kind.to_lowercase().into());
    }
    if text(names, "listKind").is_empty() {
        names.insert("listKind".to_string(), format!("{kind}List").into());
    }
}

fn stored_versions(map: &mut Fields) {
    let versions = map.get("spec").and_then(|spec| spec.get("versions")).and_then(Value::as_array);
    let storage = versions.into_iter().flatten().find(|v| v.get("storage").and_then(Value::as_bool) == Some(true));
    let Some(name) = storage.and_then(|v| v.get("name")).cloned() else { return };
    if let Some(Value::Object(status)) = map.get_mut("status")
        && is_empty(status, "storedVersions")
    {
        status.insert("storedVersions".to_string(), Value::Array(vec![name]));
    }
}

/// The generation of the template is a field of the reference's internal type, and every version it is read from or
/// written in has it as an annotation (`Convert_apps_DaemonSet_To_v1_DaemonSet`).
fn template_generation(map: &mut Fields) {
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.entry(crate::workloads::TEMPLATE_GENERATION).or_insert_with(|| "0".into());
    }
}
