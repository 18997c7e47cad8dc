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
