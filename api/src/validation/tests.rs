//! One line a case: a kind, an object, and all that is wrong with it.

mod generated;
mod names;
mod recorded;
mod refused;

use crate::Object;
use crate::kinds;

/// The errors of an object (and of the one before it on an update) are exactly those expected.
fn check(kind: &str, yaml: &str, old: &str, expected: &[&str]) {
    let (group, resource) = kind.rsplit_once('/').unwrap_or(("", kind));
    let parse = |text: &str| {
        let value =
            crate::decode::decode_untyped(text.as_bytes(), crate::decode::Format::Yaml).expect("the case is YAML");
        Object::from_value(value).expect("the case is an object")
    };
    let before = (!old.is_empty()).then(|| parse(old));
    let errors = kinds::of(group, resource).errors("", &parse(yaml), before.as_ref());
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{kind}: {yaml}");
}

#[test]
fn creates() {
    const LONG: &str = "must be a standard resource type or fully qualified";
    let quota = format!("spec.hard[bogus]: Invalid value: \"bogus\": {LONG}");
    let cases: &[(&str, &str, &[&str])] = &[
        ("policy/poddisruptionbudgets", "spec: {minAvailable: 1}", &[]),
        (
            "policy/poddisruptionbudgets",
            "spec: {minAvailable: 101%}",
            &["spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"],
        ),
        (
            "policy/poddisruptionbudgets",
            "spec: {maxUnavailable: -1}",
            &["spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"],
        ),
        ("resourcequotas", "spec: {hard: {pods: 1, requests.cpu: 1500m, count/x.y: 3}}", &[]),
        (
            "resourcequotas",
            "spec: {hard: {bogus: 1}}",
            &[&quota, "spec.hard[bogus]: Invalid value: \"bogus\": must be a standard resource for quota"],
        ),
        (
            "resourcequotas",
            "spec: {hard: {pods: 500m}}",
            &["spec.hard[pods]: Invalid value: \"500m\": must be an integer"],
        ),
        (
            "resourcequotas",
            "spec: {scopes: [BestEffort, NotBestEffort]}",
            &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
        ),
        ("nodes", "spec: {taints: [{key: a, effect: NoSchedule}]}", &[]),
        ("nodes", "spec: {taints: [{key: a}]}", &["metadata.taints[0].effect: Required value"]),
        (
            "nodes",
            "spec: {podCIDRs: [10.0.0.0/24, 10.0.1.0/24]}",
            &["spec.podCIDRs: Invalid value: \
            [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family"],
        ),
        ("apps/controllerrevisions", "revision: 1", &["data: Required value: data is mandatory"]),
        ("apps/controllerrevisions", "{revision: 1, data: {}}", &[]),
        ("discovery.k8s.io/endpointslices", "{endpoints: []}", &["addressType: Required value"]),
        (
            "discovery.k8s.io/endpointslices",
            "{addressType: IPv4, endpoints: [{addresses: []}]}",
            &["endpoints[0].addresses: Required value: must contain at least 1 address"],
        ),
        ("networking.k8s.io/ingressclasses", "spec: {controller: a.io/b}", &[]),
        (
            "networking.k8s.io/ingressclasses",
            "spec: {controller: ab}",
            &["spec.controller: Invalid value: \"ab\": \
            must be a domain-prefixed path (such as \"acme.io/foo\")"],
        ),
        ("networking.k8s.io/ipaddresses", "spec: {}", &["spec.parentRef: Required value"]),
        ("networking.k8s.io/servicecidrs", "spec: {}", &["spec.cidrs: Required value: at least one CIDR required"]),
        (
            "storage.k8s.io/volumeattachments",
            "spec: {attacher: a, nodeName: node-1, source: {}}",
            &["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
        ),
        (
            "rbac.authorization.k8s.io/rolebindings",
            "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Rule, name: r}",
            &["roleRef.kind: Unsupported value: \"Rule\": supported values: \"Role\", \"ClusterRole\""],
        ),
        (
            "rbac.authorization.k8s.io/clusterrolebindings",
            "{roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r}, \
              subjects: [{kind: ServiceAccount, name: a}]}",
            &["subjects[0].namespace: Required value"],
        ),
        (
            "rbac.authorization.k8s.io/clusterroles",
            "aggregationRule: {}",
            &["aggregationRule.clusterRoleSelectors: \
            Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"],
        ),
        (
            "flowcontrol.apiserver.k8s.io/flowschemas",
            "spec: {matchingPrecedence: 5}",
            &["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
        ),
        (
            "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations",
            "spec: {type: Limited}",
            &["spec.limited: Required value: must not be empty when type is Limited"],
        ),
        (
            "admissionregistration.k8s.io/validatingwebhookconfigurations",
            "webhooks: [{name: a.b.c, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {}}]",
            &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
        ),
        (
            "admissionregistration.k8s.io/mutatingwebhookconfigurations",
            "webhooks: [{name: a, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: 'https://h'}}]",
            &[
                "webhooks[0].name: Invalid value: \"a\": should be a domain with at least three segments separated by dots",
            ],
        ),
        (
            "certificates.k8s.io/certificatesigningrequests",
            "spec: {signerName: a.b/c}",
            &[
                "spec.request: Invalid value: null: PEM block type must be CERTIFICATE REQUEST",
                "spec.usages: Required value",
            ],
        ),
        (
            "configmaps",
            "data: {'a/b': c}",
            &["data[a/b]: Invalid value: \"a/b\": a valid config key must consist of \
            alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for \
            validation is '[-._a-zA-Z0-9]+')"],
        ),
        ("node.k8s.io/runtimeclasses", "handler: ''", &["handler: Required value"]),
        (
            "coordination.k8s.io/leases",
            "spec: {leaseDurationSeconds: 0}",
            &["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
    ];
    for (kind, yaml, expected) in cases {
        check(kind, yaml, "", expected);
    }
}

#[test]
fn updates() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "resourcequotas",
            "spec: {scopes: [BestEffort]}",
            "spec: {}",
            &["spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable"],
        ),
        (
            "nodes",
            "spec: {providerID: b}",
            "spec: {providerID: a}",
            &["spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid"],
        ),
        ("nodes", "spec: {providerID: b}", "spec: {}", &[]),
        (
            "apps/controllerrevisions",
            "{revision: 1, data: {a: 1}}",
            "{revision: 1, data: {}}",
            &["data: Invalid value: {\"a\":1}: field is immutable"],
        ),
        (
            "discovery.k8s.io/endpointslices",
            "addressType: IPv6",
            "addressType: IPv4",
            &["addressType: Invalid value: \"IPv6\": field is immutable"],
        ),
        (
            "networking.k8s.io/ingressclasses",
            "spec: {controller: a.io/c}",
            "spec: {controller: a.io/b}",
            &["spec.controller: Invalid value: \"a.io/c\": field is immutable"],
        ),
        (
            "networking.k8s.io/servicecidrs",
            "spec: {cidrs: [10.0.0.0/8, fd00::/64]}",
            "spec: {cidrs: [10.0.0.0/8]}",
            &[],
        ),
    ];
    for (kind, yaml, old, expected) in cases {
        check(kind, yaml, old, expected);
    }
}
