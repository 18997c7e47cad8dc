//! Tests of conversion: there, and back without loss.

use serde_json::{Value, json};

use super::convert;
use crate::Object;

/// Converts and compares, then converts back and compares with the beginning.
#[track_caller]
fn check(from: Value, expected: Value) {
    let mut object = Object::from_value(from.clone()).unwrap();
    convert(&mut object, expected["apiVersion"].as_str().unwrap()).unwrap();
    assert_eq!(object.clone().into_value(), expected);
    convert(&mut object, from["apiVersion"].as_str().unwrap()).unwrap();
    assert_eq!(object.into_value(), from);
}

#[test]
fn events() {
    check(
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"},
            "message": "m", "source": {"component": "k"}, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": null,
            "count": 2, "reportingComponent": "c", "reportingInstance": "i", "eventTime": null, "type": "Normal"}),
        json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": {"kind": "Pod"},
            "note": "m", "deprecatedSource": {"component": "k"}, "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
            "deprecatedLastTimestamp": null, "deprecatedCount": 2, "reportingController": "c", "reportingInstance": "i",
            "eventTime": null, "type": "Normal"}),
    );
}

#[test]
fn autoscalers() {
    let reference = json!({"kind": "Deployment", "name": "d"});
    check(
        json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 5, "minReplicas": 1, "scaleTargetRef": reference, "targetCPUUtilizationPercentage": 50},
            "status": {"currentReplicas": 0, "desiredReplicas": 0}}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 5, "minReplicas": 1, "scaleTargetRef": reference,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]},
            "status": {"currentMetrics": null, "desiredReplicas": 0}}),
    );
    let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h", "annotations": {"a": "b"}},
        "spec": {"maxReplicas": 5, "scaleTargetRef": reference,
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}},
            "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
                {"type": "Object", "object": {"describedObject": reference, "metric": {"name": "o", "selector": {"matchLabels": {"x": "y"}}},
                    "target": {"type": "Value", "value": "3"}}},
                {"type": "External", "external": {"metric": {"name": "e"}, "target": {"type": "AverageValue", "averageValue": "7"}}},
                {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "c", "target": {"type": "Utilization", "averageUtilization": 60}}}]},
        "status": {"currentMetrics": null, "desiredReplicas": 1}});
    let mut object = Object::from_value(v2.clone()).unwrap();
    convert(&mut object, "autoscaling/v1").unwrap();
    assert!(object.at(&["spec", "metrics"]).is_none());
    convert(&mut object, "autoscaling/v2").unwrap();
    assert_eq!(object.into_value(), v2);
    assert!(convert(&mut Object::from_value(json!({"kind": "Pod", "apiVersion": "v1"})).unwrap(), "v2").is_err());
}
