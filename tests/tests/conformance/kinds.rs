//! Kinds of which the conformance tests demand every operation and no more.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::operations::{Kind, check};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    let mut tests = flow_control();
    tests.extend(networking());
    tests.extend(storage());
    tests.extend(devices());
    tests.extend(others());
    tests
}

fn flow_control() -> Vec<Conformance> {
    vec![
        operations(
            "[sig-api-machinery] API priority and fairness should support FlowSchema API operations [Conformance]",
            || Kind {
                object: json!({"spec": {"matchingPrecedence": 10000,
                    "priorityLevelConfiguration": {"name": "global-default"}, "distinguisherMethod": {"type": "ByUser"},
                    "rules": [{"subjects": [{"kind": "User", "user": {"name": "nobody-at-all"}}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}}),
                change: json!({"spec": {"matchingPrecedence": 9000}}),
                status: Some(json!({"conditions": [a_condition()]})),
                status_takes_metadata: false,
                ..kind("flowcontrol.apiserver.k8s.io/v1", "flowschemas")
            },
        ),
        operations(
            "[sig-api-machinery] API priority and fairness should support PriorityLevelConfiguration API operations \
             [Conformance]",
            || Kind {
                object: json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2,
                    "limitResponse": {"type": "Reject"}}}}),
                change: json!({"spec": {"limited": {"nominalConcurrencyShares": 4}}}),
                status: Some(json!({"conditions": [a_condition()]})),
                status_takes_metadata: false,
                ..kind("flowcontrol.apiserver.k8s.io/v1", "prioritylevelconfigurations")
            },
        ),
    ]
}

fn networking() -> Vec<Conformance> {
    let backend = |name: &str| json!({"service": {"name": name, "port": {"number": 8080}}});
    let path = json!({"path": "/", "pathType": "ImplementationSpecific", "backend": backend("some")});
    let spec =
        json!({"defaultBackend": backend("rest"), "rules": [{"host": "a.example.com", "http": {"paths": [path]}}]});
    vec![
        operations(
            "[sig-network] Ingress API should support creating Ingress API operations [Conformance]",
            move || Kind {
                namespaced: true,
                object: json!({"spec": spec}),
                change: json!({"spec": {"rules": [{"host": "b.example.com", "http": spec["rules"][0]["http"]}]}}),
                status: Some(json!({"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}})),
                ..kind("networking.k8s.io/v1", "ingresses")
            },
        ),
        operations(
            "[sig-network] IngressClass API should support creating IngressClass API operations [Conformance]",
            || Kind {
                object: json!({"spec": {"controller": "example.com/controller"}}),
                ..kind("networking.k8s.io/v1", "ingressclasses")
            },
        ),
        operations(
            "[sig-network] EndpointSlice should support creating EndpointSlice API operations [Conformance]",
            || Kind {
                namespaced: true,
                object: json!({"addressType": "IPv4", "endpoints": [{"addresses": ["1.2.3.4", "5.6.7.8"]}]}),
                change: json!({"ports": [{"name": "web", "port": 80, "protocol": "TCP"}]}),
                ..kind("discovery.k8s.io/v1", "endpointslices")
            },
        ),
    ]
}

fn storage() -> Vec<Conformance> {
    const STORAGE: &str = "storage.k8s.io/v1";
    vec![
        operations(
            "[sig-storage] CSIInlineVolumes should run through the lifecycle of a CSIDriver [Conformance]",
            || Kind {
                object: json!({"spec": {"volumeLifecycleModes": ["Ephemeral"], "fsGroupPolicy": "ReadWriteOnceWithFSType"}}),
                ..kind(STORAGE, "csidrivers")
            },
        ),
        operations(
            "[sig-storage] CSINodes CSI Conformance should run through the lifecycle of a csinode [Conformance]",
            || Kind { object: json!({"spec": {"drivers": []}}), ..kind(STORAGE, "csinodes") },
        ),
        operations(
            "[sig-storage] CSIStorageCapacity should support CSIStorageCapacities API operations [Conformance]",
            || Kind {
                namespaced: true,
                object: json!({"storageClassName": "some", "capacity": "1Gi"}),
                change: json!({"capacity": "2Gi"}),
                ..kind(STORAGE, "csistoragecapacities")
            },
        ),
        operations(
            "[sig-storage] StorageClasses CSI Conformance should run through the lifecycle of a StorageClass [Conformance]",
            || Kind { object: json!({"provisioner": "example.com/none"}), ..kind(STORAGE, "storageclasses") },
        ),
        operations(
            "[sig-storage] VolumeAttributesClass [FeatureGate:VolumeAttributesClass] should run through the lifecycle of a \
             VolumeAttributesClass [Conformance]",
            || Kind {
                object: json!({"driverName": "example.com", "parameters": {"a": "b"}}),
                ..kind(STORAGE, "volumeattributesclasses")
            },
        ),
        operations(
            "[sig-storage] VolumeAttachment Conformance should run through the lifecycle of a VolumeAttachment [Conformance]",
            || attachment(false),
        ),
        operations(
            "[sig-storage] VolumeAttachment Conformance should apply changes to a volumeattachment status [Conformance]",
            || attachment(true),
        ),
    ]
}

fn attachment(attached: bool) -> Kind {
    Kind {
        object: json!({"spec": {"attacher": "example.com", "nodeName": "node-1",
            "source": {"persistentVolumeName": "some"}}}),
        status: Some(json!({"attached": attached})),
        status_takes_metadata: false,
        ..kind("storage.k8s.io/v1", "volumeattachments")
    }
}

fn devices() -> Vec<Conformance> {
    const RESOURCE: &str = "resource.k8s.io/v1";
    let claim = json!({"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": "example.com"}}]}});
    let template = json!({"spec": {"spec": claim}});
    vec![
        operations("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 DeviceClass [Conformance]", || Kind {
            object: json!({"spec": {"selectors": [{"cel": {"expression": "false"}}]}}),
            change: json!({"spec": {"selectors": [{"cel": {"expression": "1 == 0"}}]}}),
            ..kind(RESOURCE, "deviceclasses")
        }),
        operations("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaim [Conformance]", move || Kind {
            namespaced: true,
            object: json!({"spec": claim}),
            status: Some(json!({"allocation": {"devices": {}}})),
            status_takes_metadata: false,
            ..kind(RESOURCE, "resourceclaims")
        }),
        operations("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceClaimTemplate [Conformance]", move || {
            Kind { namespaced: true, object: template.clone(), ..kind(RESOURCE, "resourceclaimtemplates") }
        }),
        operations("[sig-node] [DRA] CRUD Tests resource.k8s.io/v1 ResourceSlice [Conformance]", || Kind {
            object: json!({"spec": {"driver": "dra.example.com", "nodeName": "node-1",
                "pool": {"name": "pool", "generation": 1, "resourceSliceCount": 1}}}),
            change: json!({"spec": {"pool": {"generation": 2}}}),
            ..kind(RESOURCE, "resourceslices")
        }),
    ]
}

fn others() -> Vec<Conformance> {
    vec![
        operations("[sig-node] RuntimeClass should support RuntimeClasses API operations [Conformance]", || Kind {
            object: json!({"handler": "some-handler"}),
            ..kind("node.k8s.io/v1", "runtimeclasses")
        }),
        operations("[sig-apps] CronJob should support CronJob API operations [Conformance]", || Kind {
            namespaced: true,
            object: json!({"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure", "containers": [{"name": "c", "image": "a:1"}]}}}}}}),
            change: json!({"spec": {"suspend": true}}),
            status: Some(json!({"lastScheduleTime": "2026-01-01T00:00:00Z"})),
            ..kind("batch/v1", "cronjobs")
        }),
    ]
}

fn operations(codename: &'static str, kind: impl Fn() -> Kind + Send + Sync + 'static) -> Conformance {
    test(codename, move |plane| check(plane, kind()))
}

/// A kind without namespaces and status, of which nothing but metadata is changed.
fn kind(version: &'static str, resource: &'static str) -> Kind {
    Kind {
        version,
        resource,
        namespaced: false,
        object: Value::Null,
        change: json!({}),
        status: None,
        status_takes_metadata: true,
    }
}

fn a_condition() -> Value {
    json!({"type": "Pretended", "status": "True", "reason": "Test", "message": "it is set",
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}
