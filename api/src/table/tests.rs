//! Tests of tables: an object in, its cells out.

use serde_json::json;

use super::*;
use crate::catalogue::Catalogue;

const NOW: &str = "2024-01-01T01:00:00Z";
const CREATED: &str = "2024-01-01T00:00:00Z";

fn check(group: &str, version: &str, plural: &str, mut object: Value, expect: Value) {
    let catalogue = Catalogue::builtin();
    let resource = catalogue.get(group, version, plural).unwrap();
    object["kind"] = resource.kind.clone().into();
    object["metadata"]["creationTimestamp"] = CREATED.into();
    let object = Object::from_value(object).unwrap();
    let cells = Printer::of(resource).cells(&object, NOW.parse().unwrap());
    assert_eq!(Value::Array(cells), expect, "{plural}");
}

#[test]
fn pods() {
    let pod = |spec: Value, status: Value| json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
    let one = json!({"containers": [{"name": "c"}], "nodeName": "n"});
    check(
        "",
        "v1",
        "pods",
        pod(
            one.clone(),
            json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}], "containerStatuses": [
                {"ready": true, "restartCount": 2, "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2024-01-01T00:58:00Z"}}}]}),
        ),
        json!(["p", "1/1", "Running", "2 (2m ago)", "60m", "10.0.0.1", "n", "<none>", "<none>"]),
    );
    let status = |pod: Value| {
        let object = Object::from_value(pod).unwrap();
        let cells = Printer::Builtin(Vec::new(), crate::kinds::of("", "pods").table_cells().unwrap())
            .cells(&object, NOW.parse().unwrap());
        format!("{} {}", cells[1].as_str().unwrap(), cells[2].as_str().unwrap())
    };
    let waiting =
        json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]});
    assert_eq!(status(pod(one.clone(), waiting)), "0/1 ImagePullBackOff");
    let done = json!({"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]});
    assert_eq!(status(pod(one.clone(), done)), "0/1 Completed");
    let with_init = json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]});
    let init = json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]});
    assert_eq!(status(pod(with_init.clone(), init)), "0/2 Init:0/2");
    let failed =
        json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 3}}}]});
    assert_eq!(status(pod(with_init.clone(), failed)), "0/2 Init:ExitCode:3");
    let sidecar = json!({"phase": "Running", "initContainerStatuses": [
        {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "s", "started": true, "ready": true, "state": {"running": {}}}],
        "containerStatuses": [{"ready": true, "state": {"running": {}}}]});
    assert_eq!(status(pod(with_init, sidecar)), "2/2 Running");
    let mut gone = pod(one, json!({"phase": "Running"}));
    gone["metadata"]["deletionTimestamp"] = CREATED.into();
    assert_eq!(status(gone), "0/1 Terminating");
}

#[test]
fn other_kinds() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
    check(
        "apps",
        "v1",
        "deployments",
        json!({"metadata": {"name": "d"}, "spec": {"replicas": 3, "template": template, "selector": {"matchLabels": {"app": "x"}}}, "status": {"readyReplicas": 2, "updatedReplicas": 3}}),
        json!(["d", "2/3", 3, 0, "60m", "a,b", "x,y", "app=x"]),
    );
    check(
        "",
        "v1",
        "services",
        json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "clusterIPs": ["10.43.0.1"], "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}}),
        json!(["s", "NodePort", "10.43.0.1", "<none>", "80:30080/TCP", "60m", "<none>"]),
    );
    check(
        "",
        "v1",
        "nodes",
        json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"unschedulable": true}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.1", "architecture": "amd64"}}}),
        json!([
            "n",
            "Ready,SchedulingDisabled",
            "control-plane",
            "60m",
            "v1.36.0",
            "1.2.3.4",
            "<none>",
            "<unknown>",
            "6.1 (amd64)",
            "<unknown>"
        ]),
    );
    check(
        "",
        "v1",
        "events",
        json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "Pulled", "message": " ok ", "involvedObject": {"kind": "Pod", "name": "p"}, "lastTimestamp": "2024-01-01T00:59:00Z", "count": 3, "source": {"component": "kubelet", "host": "n"}}),
        json!(["60s", "Normal", "Pulled", "pod/p", "", "kubelet, n", "ok", "<unknown>", 3, "e"]),
    );
    check(
        "",
        "v1",
        "configmaps",
        json!({"metadata": {"name": "c"}, "data": {"a": ""}, "binaryData": {"b": ""}}),
        json!(["c", 2, "60m"]),
    );
    check("rbac.authorization.k8s.io", "v1", "roles", json!({"metadata": {"name": "r"}}), json!(["r", CREATED]));
    check(
        "batch",
        "v1",
        "jobs",
        json!({"metadata": {"name": "j"}, "spec": {"completions": 2, "template": {}}, "status": {"succeeded": 1, "startTime": "2024-01-01T00:59:30Z"}}),
        json!(["j", "Running", "1/2", "30s", "60m", "", "", "<none>"]),
    );
    check(
        "",
        "v1",
        "persistentvolumeclaims",
        json!({"metadata": {"name": "c"}, "spec": {"volumeName": "v", "storageClassName": "local", "volumeMode": "Filesystem"}, "status": {"phase": "Bound", "capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteOnce"]}}),
        json!(["c", "Bound", "v", "1Gi", "RWO", "local", "<unset>", "60m", "Filesystem"]),
    );
    check(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        json!({"metadata": {"name": "s"}, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["1", "2"]}, {"addresses": ["3", "4"]}]}),
        json!(["s", "IPv4", "80", "1,2,3 + 1 more...", "60m"]),
    );
    check(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}]}}),
        json!(["h", "Deployment/d", "cpu: <unknown>/80%", "<unset>", 5, 0, "60m"]),
    );
}

/// Every built-in resource that the reference has columns for has as many cells, on an empty object too.
#[test]
fn every_resource_fills_its_columns() {
    for resource in Catalogue::builtin().iter().filter(|r| !r.list_kind.is_empty()) {
        let printer = Printer::of(resource);
        let cells = printer.cells(&Object::default(), NOW.parse().unwrap());
        assert_eq!(cells.len(), printer.columns().len(), "{}", resource.qualified_name());
        let known = catalogue::columns(&resource.group, &resource.version, &resource.plural).is_some();
        assert_eq!(known, !matches!(printer, Printer::Fallback), "{}", resource.qualified_name());
    }
}

#[test]
fn custom_columns_and_the_envelope() {
    let column = |name: &str, kind: &str, path: &str| PrinterColumn {
        name: name.into(),
        kind: kind.into(),
        path: crate::jsonpath::Path::parse(path).unwrap(),
        ..Default::default()
    };
    let columns = [
        column("Size", "integer", ".spec.size"),
        column("Mode", "string", ".spec.list"),
        column("On", "boolean", ".spec.on"),
        column("Age", "date", ".metadata.creationTimestamp"),
        column("None", "string", ".x"),
    ];
    let object =
        json!({"metadata": {"name": "w", "creationTimestamp": CREATED}, "spec": {"size": 3, "list": [1], "on": true}});
    let object = Object::from_value(object).unwrap();
    let printer = Printer::Custom(&columns);
    let now = NOW.parse().unwrap();
    let table = super::table(&printer, [&object], now, Include::Metadata, Some(json!({"resourceVersion": "5"})), true);
    assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 6);
    assert_eq!(table["rows"][0]["cells"], json!(["w", 3, "[1]", true, "60m", null]));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["metadata"]["resourceVersion"], "5");
}

#[test]
fn a_plain_table_of_nothing_has_no_rows() {
    let now = NOW.parse().unwrap();
    let empty = |printer: &Printer<'_>| super::table(printer, [], now, Include::None, None, false)["rows"].clone();
    assert_eq!(empty(&Printer::Fallback), Value::Null);
    assert_eq!(empty(&Printer::Custom(&[])), json!([]));
}
