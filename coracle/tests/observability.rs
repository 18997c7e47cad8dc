//! What a cluster tells of itself: health, parts, lease, figures and the flow of a request.

use std::time::Duration;

use api::UserInfo;
use coracle::{Cluster, ClusterConfig};
use futures::StreamExt;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

async fn send(client: &kube::Client, method: &str, url: &str, body: Value) -> (u16, HeaderMap, String) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string().into_bytes()) };
    let request = Request::builder().method(method).uri(url).header("content-type", "application/json");
    let (parts, body) = client.send(request.body(body).unwrap()).await.unwrap().into_parts();
    let chunks: Vec<_> = body.into_data_stream().map(|chunk| chunk.unwrap()).collect().await;
    (parts.status.as_u16(), parts.headers, String::from_utf8(chunks.concat()).unwrap())
}

async fn get(client: &kube::Client, url: &str) -> String {
    let (code, _, text) = send(client, "GET", url, Value::Null).await;
    assert_eq!(code, 200, "{url}: {text}");
    text
}

/// Asks until the answer is as wanted.
async fn until(client: &kube::Client, url: &str, wanted: impl Fn(&str) -> bool) -> String {
    let asked = async {
        loop {
            let (_, _, text) = send(client, "GET", url, Value::Null).await;
            if wanted(&text) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{url} is never as wanted"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_ready_when_it_has_started_and_its_parts_are_healthy() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let client = cluster.client();
    for endpoint in ["healthz", "livez", "readyz"] {
        let text = get(&client, &format!("/{endpoint}?verbose")).await;
        assert!(text.ends_with(&format!("{endpoint} check passed\n")) && !text.contains("[-]"), "{text}");
    }
    let parts: Value = serde_json::from_str(&get(&client, "/api/v1/componentstatuses").await).unwrap();
    let names: Vec<&str> = parts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| {
            assert_eq!(part["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
            part["metadata"]["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(names, ["scheduler", "controller-manager", "etcd-0"]);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?labelSelector=apiserver.kubernetes.io/identity=kube-apiserver";
    let found = until(&client, leases, |text| text.contains("\"holderIdentity\":\"apiserver-")).await;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["items"][0]["spec"]["leaseDurationSeconds"], 3600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_do_not_run_are_not_healthy() {
    let cluster = Cluster::start(ClusterConfig { controllers: false, ..ClusterConfig::in_memory() }).await.unwrap();
    let text = get(&cluster.client(), "/api/v1/componentstatuses/scheduler").await;
    let part: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(part["conditions"][0]["status"], "False");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_tells_which_flow_its_request_belongs_to() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let admin = cluster.client();
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let level = json!({"metadata": {"name": "own"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}});
    let (code, _, level) = send(&admin, "POST", &format!("{group}/prioritylevelconfigurations"), level).await;
    assert_eq!(code, 201, "{level}");
    let schema = json!({"metadata": {"name": "own"}, "spec": {"matchingPrecedence": 1000,
        "priorityLevelConfiguration": {"name": "own"}, "distinguisherMethod": {"type": "ByUser"}, "rules": [{
            "subjects": [{"kind": "User", "user": {"name": "noxu"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    let (code, _, schema) = send(&admin, "POST", &format!("{group}/flowschemas"), schema).await;
    assert_eq!(code, 201, "{schema}");
    until(&admin, &format!("{group}/flowschemas/own"), |text| text.contains("\"reason\":\"Found\"")).await;
    let uid =
        |text: &str| serde_json::from_str::<Value>(text).unwrap()["metadata"]["uid"].as_str().unwrap().to_string();
    let flow = async |user: &str| {
        let (_, headers, _) = send(&cluster.client_as(UserInfo::new(user, &[])), "GET", "/version", Value::Null).await;
        ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"]
            .map(|name| headers[name].to_str().unwrap().to_string())
    };
    assert_eq!(flow("noxu").await, [uid(&schema), uid(&level)]);
    let other = flow("foo").await;
    assert!(other.iter().all(|uid| !uid.is_empty()) && other[0] != uid(&schema));
    // What is refused is classified too.
    let figures = get(&admin, "/metrics").await;
    assert!(figures.contains("apiserver_flowcontrol_nominal_limit_seats{priority_level=\"own\"} 3\n"), "{figures}");
    let (code, headers, _) = send(&cluster.client_as(UserInfo::new("foo", &[])), "GET", "/metrics", Value::Null).await;
    assert!(code == 403 && headers.contains_key("x-kubernetes-pf-flowschema-uid"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_of_the_process_is_counted() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let client = cluster.client();
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let (code, _, text) = send(&client, "POST", "/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert_eq!(code, 201, "{text}");
    let wanted = "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"unschedulable\"} ";
    let text = until(&client, "/metrics", |text| text.contains(wanted)).await;
    for line in [
        "apiserver_request_total{code=\"201\",component=\"apiserver\",dry_run=\"\",group=\"apps\",resource=\"deployments\",scope=\"resource\",subresource=\"\",system_client=\"\",verb=\"POST\",version=\"v1\"} 1\n",
        "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"pods\",scope=\"cluster\",subresource=\"\",verb=\"WATCH\",version=\"v1\"} ",
        "apiserver_resource_objects{group=\"apps\",resource=\"deployments\"} 1\n",
        "apiserver_storage_objects{resource=\"deployments.apps\"} 1\n",
        "etcd_requests_total{group=\"apps\",operation=\"create\",resource=\"deployments\"} 1\n",
        "workqueue_adds_total{name=\"deployment\"} ",
        "rest_client_requests_total{code=\"201\",host=\"",
        "scheduler_pending_pods{queue=\"unschedulable\"} ",
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    let levels = get(&client, "/metrics/slis").await;
    assert!(levels.starts_with("# HELP process_start_time_seconds"), "nothing has looked at the health yet: {levels}");
    get(&client, "/livez").await;
    let levels = get(&client, "/metrics/slis").await;
    assert!(levels.contains("kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1\n"), "{levels}");
    assert!(levels.contains("kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"livez\"} 1\n"));
}

/// The value of a series, if it is told of.
fn value(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_is_counted() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let client = cluster.client();
    let create = async |url: &str, body: Value| {
        let (code, _, text) = send(&client, "POST", url, body).await;
        assert_eq!(code, 201, "{url}: {text}");
    };
    let namespace = "/api/v1/namespaces/default";
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "selector": {"a": "b"},
        "trafficDistribution": "PreferSameNode", "ports": [{"port": 80}]}});
    create(&format!("{namespace}/services"), service).await;
    let taken = json!({"metadata": {"name": "t"}, "spec": {"clusterIP": "10.43.0.1", "ports": [{"port": 80}]}});
    let (code, ..) = send(&client, "POST", &format!("{namespace}/services"), taken).await;
    assert_eq!(code, 422);
    let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "9"},
        "conditions": [{"type": "Ready", "status": "True"}]}});
    create("/api/v1/nodes", node).await;
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": template}});
    create("/apis/batch/v1/namespaces/default/jobs", job).await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"a": {"type": "integer"}}, "x-kubernetes-validations": [{"rule": "self.a > 1"}]}}});
    let definition = json!({"metadata": {"name": "foos.example.com"}, "spec": {"group": "example.com",
        "scope": "Cluster", "names": {"plural": "foos", "singular": "foo", "kind": "Foo"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}});
    create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition).await;
    until(&client, "/apis/example.com/v1", |text| text.contains("\"foos\"")).await;
    let foo = json!({"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}, "spec": {"a": 2}});
    create("/apis/example.com/v1/foos", foo).await;
    let initial =
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    get(&client, &format!("{namespace}/services?{initial}")).await;
    get(&client, &format!("{namespace}/services")).await;
    let request = Request::get("/api").header("impersonate-user", "somebody").body(Body::empty()).unwrap();
    assert_eq!(client.send(request).await.unwrap().status().as_u16(), 200);
    let bound = "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"}";
    let text = until(&client, "/metrics", |text| value(text, bound) == Some(1.0)).await;
    for (series, least) in [
        ("kube_apiserver_nodeport_allocator_allocated_ports", 1.0),
        ("kube_apiserver_nodeport_allocator_allocation_total{scope=\"dynamic\"}", 1.0),
        ("kube_apiserver_clusterip_allocator_allocation_total{cidr=\"10.43.0.0/16\",scope=\"dynamic\"}", 1.0),
        ("kube_apiserver_clusterip_allocator_allocation_errors_total{cidr=\"10.43.0.0/16\",scope=\"static\"}", 1.0),
        ("apiserver_storage_events_received_total{group=\"batch\",resource=\"jobs\"}", 2.0),
        (
            "apiserver_watch_cache_consistent_read_total{fallback=\"false\",group=\"\",resource=\"services\",success=\"true\"}",
            1.0,
        ),
        (
            "apiserver_watch_list_duration_seconds_count{group=\"\",resource=\"services\",scope=\"namespace\",version=\"v1\"}",
            1.0,
        ),
        ("apiserver_impersonation_attempts_total{decision=\"allowed\",mode=\"user-info\"}", 1.0),
        ("apiserver_impersonation_authorization_attempts_total{decision=\"allowed\",mode=\"user-info\"}", 2.0),
        ("apiserver_cel_compilation_duration_seconds_count", 1.0),
        ("apiserver_cel_evaluation_duration_seconds_count", 1.0),
        (
            "apiserver_admission_step_admission_duration_seconds_summary_count{operation=\"CREATE\",rejected=\"false\",type=\"admit\"}",
            5.0,
        ),
        ("registered_metrics_total{deprecated_version=\"\",stability_level=\"STABLE\"}", 20.0),
        (
            "job_controller_job_syncs_total{action=\"pods_created\",completion_mode=\"NonIndexed\",result=\"success\"}",
            1.0,
        ),
        ("job_controller_job_pods_creation_total{reason=\"new\",status=\"succeeded\"}", 1.0),
        ("endpoint_slice_controller_changes{operation=\"create\"}", 1.0),
        (
            "endpoint_slice_controller_services_count_by_traffic_distribution{traffic_distribution=\"PreferSameNode\"}",
            1.0,
        ),
        ("root_ca_cert_publisher_sync_total{code=\"200\"}", 4.0),
        ("running_managed_controllers{manager=\"kube-controller-manager\",name=\"job-controller\"}", 1.0),
        ("node_collector_zone_size{zone=\"\"}", 1.0),
        ("node_collector_zone_health{zone=\"\"}", 100.0),
        ("scheduler_cache_size{type=\"nodes\"}", 1.0),
        ("scheduler_queue_incoming_pods_total{event=\"UnscheduledPodAdd\",queue=\"active\"}", 1.0),
        (
            "scheduler_plugin_evaluation_total{extension_point=\"Filter\",plugin=\"InterPodAffinity\",profile=\"default-scheduler\"}",
            1.0,
        ),
        (
            "scheduler_framework_extension_point_duration_seconds_count{extension_point=\"Bind\",profile=\"default-scheduler\",status=\"Success\"}",
            1.0,
        ),
        ("scheduler_event_handling_duration_seconds_count{event=\"NodeAdd\"}", 1.0),
        ("scheduler_pod_scheduling_attempts_count", 1.0),
        (
            "informer_store_resource_version{group=\"batch\",name=\"kube-controller-manager\",resource=\"jobs\",version=\"v1\"}",
            1.0,
        ),
    ] {
        let found = value(&text, series);
        assert!(found.is_some_and(|found| found >= least), "{series} is {found:?} in {text}");
    }
}
