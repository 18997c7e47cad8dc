//! What mutating webhooks make of objects, in which order, and when they are called once more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn a_pod_is_changed_and_gets_defaults_again() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        let container = json!({"name": "init", "image": "webhook-image"});
        patch(&asked, json!([{"op": "add", "path": "/spec/initContainers", "value": [container]}]))
    })
    .await;
    let mut creates = rule(&["pods"]);
    creates["operations"] = json!(["CREATE"]);
    mutate(&server, "m", json!([hook(&at, "/m", json!([creates]), json!({}))])).await;
    let (code, made) = server.post(PODS, pod("p")).await;
    assert_eq!(code, 201, "{made}");
    let init = &made["spec"]["initContainers"][0];
    assert_eq!((&init["name"], &init["terminationMessagePolicy"]), (&"init".into(), &"File".into()));
    assert_eq!(init["imagePullPolicy"], "Always");
    // In-tree plugins came once more and left one volume with the token, which the new container has too.
    assert_eq!(made["spec"]["volumes"].as_array().unwrap().len(), 1);
    assert_eq!(init["volumeMounts"][0]["name"], made["spec"]["volumes"][0]["name"]);
    let (_, stored) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    assert_eq!(stored["spec"], made["spec"]);
}

#[tokio::test]
async fn each_sees_what_the_ones_before_it_did() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| {
        let data = &asked["request"]["object"]["data"];
        let stage = path.split('?').next().unwrap().trim_start_matches('/').to_string();
        let seen = data.as_object().unwrap().len();
        patch(&asked, json!([{"op": "add", "path": format!("/data/{stage}"), "value": seen.to_string()}]))
    })
    .await;
    let rules = json!([rule(&["configmaps"])]);
    // The order is that of the names of configurations, whenever they were made.
    mutate(
        &server,
        "b",
        json!([hook(&at, "/second", rules.clone(), json!({})), hook(&at, "/third", rules.clone(), json!({}))]),
    )
    .await;
    mutate(&server, "a", json!([hook(&at, "/first", rules.clone(), json!({}))])).await;
    let (_, made) = make(&server, config_map("m")).await;
    assert_eq!(made["data"], json!({"k": "v", "first": "1", "second": "2", "third": "3"}));
    let (_, changed) = server.send("PATCH", &format!("{CONFIG_MAPS}/m"), json!({"data": {"third": null}})).await;
    assert_eq!(changed["data"], json!({"k": "v", "first": "3", "second": "3", "third": "3"}));
}

#[tokio::test]
async fn who_wants_to_is_called_once_more_after_a_change() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| {
        let data = asked["request"]["object"]["data"].as_object().unwrap().clone();
        match path.split('?').next().unwrap() {
            // Counts what it sees.
            "/again" | "/never" => {
                let key = format!("/data/{}-{}", &path[1..6], data.len());
                patch(&asked, json!([{"op": "add", "path": key, "value": "x"}]))
            }
            _ if data.contains_key("late") => allow(&asked),
            _ => patch(&asked, json!([{"op": "add", "path": "/data/late", "value": "x"}])),
        }
    })
    .await;
    let rules = json!([rule(&["configmaps"])]);
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    mutate(
        &server,
        "a",
        json!([hook(&at, "/again", rules.clone(), again), hook(&at, "/never", rules.clone(), json!({}))]),
    )
    .await;
    mutate(&server, "b", json!([hook(&at, "/late", rules.clone(), json!({}))])).await;
    let (_, made) = make(&server, config_map("m")).await;
    assert_eq!(made["data"], json!({"k": "v", "again-1": "x", "never-2": "x", "late": "x", "again-4": "x"}));
    let paths: Vec<String> = at.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/again", "/never", "/late", "/again"].map(|path| format!("{path}?timeout=10s")));
}

#[tokio::test]
async fn an_object_is_shown_in_the_version_that_is_asked_for() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        let request = &asked["request"];
        assert_eq!(request["kind"]["version"], "v1");
        assert_eq!(request["requestKind"]["version"], "v2");
        assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
        assert_eq!(request["object"]["spec"]["targetCPUUtilizationPercentage"], 50);
        if request["oldObject"].is_object() {
            assert_eq!(request["oldObject"]["apiVersion"], "autoscaling/v1");
        }
        patch(&asked, json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 9}]))
    })
    .await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"]}]);
    mutate(&server, "m", json!([hook(&at, "/m", rules.clone(), json!({}))])).await;
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}});
    let place = "/apis/autoscaling/v2/namespaces/a/horizontalpodautoscalers";
    let (code, made) = server.send("POST", place, scaler).await;
    assert_eq!((code, &made["spec"]["maxReplicas"]), (201, &9.into()), "{made}");
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let (code, changed) = server.send("PATCH", &format!("{place}/h"), json!({"spec": {"maxReplicas": 4}})).await;
    assert_eq!((code, &changed["spec"]["maxReplicas"]), (200, &9.into()), "{changed}");
    assert!(at.seen().len() >= 2);
}

/// A webhook that answers only once another is asked too.
#[tokio::test]
async fn validating_webhooks_are_asked_at_once() {
    let server = Server::new().await;
    let barrier = Arc::new(std::sync::Barrier::new(2));
    let meeting = barrier.clone();
    let at = Hook::start(&["127.0.0.1"], move |_, asked| {
        tokio::task::block_in_place(|| meeting.wait());
        allow(&asked)
    });
    // Each has threads of its own to wait on.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let at = runtime.spawn(at).await.unwrap();
    let rules = json!([rule(&["configmaps"])]);
    validate(
        &server,
        "v",
        json!([hook(&at, "/one", rules.clone(), json!({})), hook(&at, "/two", rules.clone(), json!({}))]),
    )
    .await;
    assert_eq!(make(&server, config_map("m")).await.0, 201);
    runtime.shutdown_background();
}

#[tokio::test]
async fn what_hangs_costs_its_own_time_only() {
    let server = Arc::new(Server::new().await);
    let at = Hook::start(&["127.0.0.1"], |_, _| Reply::Hang).await;
    let slow = json!({"timeoutSeconds": 1, "objectSelector": {"matchLabels": {"slow": "yes"}}});
    validate(&server, "v", json!([hook(&at, "/v", json!([rule(&["configmaps"])]), slow)])).await;
    let mut hanging = config_map("slow");
    hanging["metadata"]["labels"] = json!({"slow": "yes"});
    // Longer than what is done on the threads that serve: there are only few of the others.
    hanging["data"]["long"] = "x".repeat(100 << 10).into();
    let started = Instant::now();
    let waiting: Vec<_> = (0..8)
        .map(|n| {
            let (server, mut object) = (server.clone(), hanging.clone());
            object["metadata"]["name"] = format!("slow-{n}").into();
            tokio::spawn(async move { make(&server, object).await })
        })
        .collect();
    let long = |name: &str| {
        let mut object = config_map(name);
        object["data"]["long"] = "x".repeat(100 << 10).into();
        object
    };
    let done = AtomicUsize::new(0);
    for n in 0..20 {
        assert_eq!(make(&server, long(&format!("quick-{n}"))).await.0, 201);
        done.fetch_add(usize::from(!waiting[0].is_finished()), Ordering::Relaxed);
    }
    assert!(done.into_inner() > 0, "others are served while webhooks hang");
    let why = format!(
        "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: Post \
         \"https://{}/v?timeout=1s\": context deadline exceeded",
        at.address
    );
    for refused in waiting {
        assert_eq!(told(&refused.await.unwrap()), (500, why.as_str()));
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

/// What a webhook beside the server adds to a create: `cargo test --release -- --ignored --nocapture what_a_webhook_adds`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a quiet machine"]
async fn what_a_webhook_adds() {
    const CREATES: usize = 1_000;
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| allow(&asked)).await;
    let mut medians = Vec::new();
    for round in ["without", "with", "without", "with"] {
        if round == "with" {
            let creates =
                json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
            validate(&server, "v", json!([hook(&at, "/v", creates, json!({}))])).await;
        }
        let mut times = Vec::with_capacity(CREATES);
        for n in 0..CREATES {
            let started = Instant::now();
            let (code, _) = server.post(PODS, pod(&format!("{round}-{}-{n}", medians.len()))).await;
            times.push(started.elapsed());
            assert_eq!(code, 201);
        }
        times.sort();
        medians.push((round, times[CREATES / 2]));
        server.send("DELETE", &format!("{GROUP}/validatingwebhookconfigurations/v"), Value::Null).await;
    }
    println!("p50 of a create: {medians:?}");
}
