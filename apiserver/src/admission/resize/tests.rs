//! Resizes on nodes that cannot do them, and on one that can.

use serde_json::{Value, json};

use super::same;
use crate::strategy::tests::{PODS, Server, pod};

const NODE: &str = "/api/v1/nodes/n";

/// Asks for so much processor time for the container of a list, and answers with the code, message and cause.
async fn resize(server: &Server, list: &str, cpu: &str) -> (u16, String, String) {
    let (_, mut wanted) = server.send("GET", &format!("{PODS}/p"), Value::Null).await;
    let holder = if list.is_empty() { &mut wanted["spec"] } else { &mut wanted["spec"][list][0] };
    holder["resources"]["requests"]["cpu"] = cpu.into();
    let (code, answer) = server.send("PUT", &format!("{PODS}/p/resize"), wanted).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let message = if code == 200 { String::new() } else { text(&answer["message"]) };
    (code, message, text(&answer["details"]["causes"][0]["reason"]))
}

async fn on_a_node() -> Server {
    let server = Server::new().await;
    let status = json!({"allocatable": {"cpu": "2", "memory": "1Gi"}});
    assert_eq!(server.post("/api/v1/nodes", json!({"metadata": {"name": "n"}, "status": status})).await.0, 201);
    let mut pod = pod("p");
    let resources = json!({"requests": {"cpu": "500m"}});
    pod["spec"]["nodeName"] = "n".into();
    pod["spec"]["resources"] = json!({"requests": {"cpu": "1"}});
    pod["spec"]["containers"][0]["resources"] = resources.clone();
    pod["spec"]["initContainers"] = json!([{"name": "i", "image": "i", "resources": resources}]);
    let (code, made) = server.post(PODS, pod).await;
    assert_eq!(code, 201, "{made}");
    server
}

fn refusal(why: &str, cause: &str) -> (u16, String, String) {
    (403, format!("pods \"p\" is forbidden: {why}"), cause.to_owned())
}

#[tokio::test]
async fn a_node_must_declare_what_an_update_needs() {
    let server = on_a_node().await;
    let done = || (200, String::new(), String::new());
    assert_eq!(resize(&server, "containers", "600m").await, done());
    let missing = |feature: &str| {
        refusal(&format!("pod update requires features {feature} which are not available on node \"n\""), "")
    };
    let init = "InPlacePodVerticalScalingInitContainers";
    assert_eq!(resize(&server, "initContainers", "600m").await, missing(init));
    assert_eq!(resize(&server, "", "1500m").await, missing("InPlacePodLevelResourcesVerticalScaling"));
    assert_eq!(resize(&server, "", "1000m").await, done(), "the same amount in other words");
    let declared = json!({"status": {"declaredFeatures": [init]}});
    assert_eq!(server.send("PATCH", &format!("{NODE}/status"), declared).await.0, 200);
    assert_eq!(resize(&server, "initContainers", "600m").await, done());
}

#[tokio::test]
async fn nothing_is_resized_that_its_node_could_never_hold() {
    let server = on_a_node().await;
    let declared = json!({"status": {"declaredFeatures": ["InPlacePodLevelResourcesVerticalScaling"]}});
    assert_eq!(server.send("PATCH", &format!("{NODE}/status"), declared).await.0, 200);
    let why = "node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000";
    assert_eq!(resize(&server, "", "3").await, refusal(why, "NodeCapacity"));
    assert_eq!(resize(&server, "", "2").await.0, 200);
    let other = json!({"metadata": {"labels": {"kubernetes.io/os": "windows"}}});
    assert_eq!(server.send("PATCH", NODE, other).await.0, 200);
    let why = "pod resize is only supported on linux nodes, node \"n\" is \"windows\"";
    assert_eq!(resize(&server, "containers", "700m").await, refusal(why, "UnsupportedPlatform"));
    assert_eq!(server.send("DELETE", NODE, Value::Null).await.0, 200);
    assert_eq!(resize(&server, "containers", "700m").await, refusal("node \"n\" not found", ""));
}

#[test]
fn amounts_are_compared_and_not_their_text() {
    let check = |old: Value, new: Value, expected: bool| assert_eq!(same(&old, &new), expected, "{old} {new}");
    let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
    check(cpu("1"), cpu("1000m"), true);
    check(cpu("1"), cpu("2"), false);
    check(cpu("1"), json!({"requests": {"memory": "1"}}), false);
    check(cpu("1"), Value::Null, false);
    check(json!({"claims": [{"name": "a"}]}), json!({"claims": [{"name": "b"}]}), false);
}
