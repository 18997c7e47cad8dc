//! Webhooks that are not there, that lie, and that want too much.

use bytes::Bytes;

use super::*;

/// Makes a map of each name, which is the path of the webhook too, and holds the answer against code and text.
async fn check(server: &Server, at: &Hook, mutating: bool, cases: &[(&str, u16, &str)]) {
    for (path, code, expected) in cases {
        let hooks = json!([hook(at, path, json!([rule(&["configmaps"])]), json!({}))]);
        if mutating {
            mutate(server, "w", hooks).await
        } else {
            validate(server, "w", hooks).await
        }
        let found = make(server, config_map("m")).await;
        let expected = expected.replace("WEBHOOK", &format!("webhook \"{}.example.com\"", &path[1..]));
        assert_eq!(told(&found), (*code, expected.as_str()), "{path}");
        let plural = if mutating { "mutatingwebhookconfigurations" } else { "validatingwebhookconfigurations" };
        server.send("DELETE", &format!("{GROUP}/{plural}/w"), Value::Null).await;
        server.send("DELETE", &format!("{CONFIG_MAPS}/m"), Value::Null).await;
    }
}

#[tokio::test]
async fn answers_that_cannot_be_believed_are_refused() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| {
        let raw = |code: u16, body: Bytes| Reply::Raw(code, vec![("content-type", "application/json".into())], body);
        match path.split('?').next().unwrap() {
            "/uid" => Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                "response": {"uid": "another", "allowed": true}})),
            "/kind" => Reply::Json(json!({"response": {"uid": asked["request"]["uid"], "allowed": true}})),
            "/none" => Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"})),
            "/patch" => patch(&asked, json!([])),
            "/moved" => Reply::Raw(307, vec![("location", "/good".into())], Bytes::new()),
            "/missing" => raw(404, Bytes::new()),
            "/long" => raw(200, vec![b' '; 10 << 20].into()),
            "/padded" => {
                // Three megabytes are long, and no more than that.
                let mut answer = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
                    "response": {"uid": asked["request"]["uid"], "allowed": true}})
                .to_string();
                answer.push_str(&" ".repeat(3 << 20));
                raw(200, answer.into())
            }
            _ => allow(&asked),
        }
    })
    .await;
    let failed = "Internal error occurred: failed calling WEBHOOK: ";
    let told = |why: &str| format!("{failed}{why}");
    for (path, code, why) in [
        ("/missing", 500, told("failed to call webhook: the server could not find the requested resource")),
        (
            "/moved",
            500,
            told(
                "failed to call webhook: the server responded with the status code 307 but did not return more information",
            ),
        ),
        ("/none", 500, told("received invalid webhook response: webhook response was absent")),
        (
            "/kind",
            500,
            told(
                "received invalid webhook response: expected webhook response of admission.k8s.io/v1, \
                 Kind=AdmissionReview, got /, Kind=",
            ),
        ),
        ("/patch", 500, told("received invalid webhook response: validating webhook may not return response.patch")),
        ("/padded", 201, String::new()),
        (
            "/long",
            500,
            told(
                "failed to call webhook: unexpected error when reading response body. Please retry. Original error: the \
                 answer is longer than 9437184 bytes",
            ),
        ),
    ] {
        check(&server, &at, false, &[(path, code, &why)]).await;
    }
    let hooks = json!([hook(&at, "/uid", json!([rule(&["configmaps"])]), json!({}))]);
    validate(&server, "w", hooks).await;
    let refused = make(&server, config_map("m")).await;
    let why = super::told(&refused).1;
    assert!(why.contains("received invalid webhook response: expected response.uid=\""), "{why}");
    assert!(why.ends_with("\", got \"another\""), "{why}");
    assert!(at.seen().iter().all(|seen| !seen.path.starts_with("/good")));
}

#[tokio::test]
async fn patches_make_no_other_object() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| {
        let set = |path: &str, value: Value| patch(&asked, json!([{"op": "replace", "path": path, "value": value}]));
        match path.split('?').next().unwrap() {
            "/kind" => set("/kind", "Secret".into()),
            "/version" => set("/apiVersion", "v9".into()),
            "/namespace" => set("/metadata/namespace", "b".into()),
            "/type" => set("/data", "text".into()),
            "/absent" => patch(&asked, json!([{"op": "remove", "path": "/data/nothing"}])),
            "/garbage" => answer(&asked, json!({"allowed": true, "patchType": "JSONPatch", "patch": "bm8="})),
            "/merge" => answer(&asked, json!({"allowed": true, "patchType": "Merge", "patch": "e30="})),
            "/typeless" => answer(&asked, json!({"allowed": true, "patch": "W10="})),
            "/managers" => set("/metadata/managedFields", json!([{"manager": "m"}])),
            "/fields" => patch(&asked, json!([{"op": "add", "path": "/unknown", "value": 1}])),
            "/empty" => patch(&asked, json!([])),
            _ => allow(&asked),
        }
    })
    .await;
    let failed = "Internal error occurred: failed calling WEBHOOK: ";
    for (path, code, why) in [
        (
            "/garbage",
            500,
            format!(
                "{failed}received undecodable patch in webhook response: invalid character 'o' in literal null (expecting 'u')"
            ),
        ),
        ("/merge", 500, format!("{failed}unsupported patch type \"Merge\"")),
        (
            "/typeless",
            500,
            format!(
                "{failed}received invalid webhook response: webhook returned response.patch but not response.patchType"
            ),
        ),
        (
            "/namespace",
            400,
            "the namespace of the provided object does not match the namespace sent on the request".into(),
        ),
        ("/managers", 201, String::new()),
        ("/fields", 201, String::new()),
        ("/empty", 201, String::new()),
    ] {
        check(&server, &at, true, &[(path, code, &why)]).await;
    }
    for path in ["/kind", "/version", "/type", "/absent"] {
        let hooks = json!([hook(&at, path, json!([rule(&["configmaps"])]), json!({"failurePolicy": "Ignore"}))]);
        mutate(&server, "w", hooks).await;
        let refused = make(&server, config_map("m")).await;
        assert_eq!(refused.0, 500, "{path}: {}", refused.1);
        server.send("DELETE", &format!("{GROUP}/mutatingwebhookconfigurations/w"), Value::Null).await;
    }
    // Nothing that is not created has a place for a patch.
    let mut deletes = rule(&["configmaps"]);
    deletes["operations"] = json!(["DELETE"]);
    make(&server, config_map("m")).await;
    mutate(&server, "w", json!([hook(&at, "/fields", json!([deletes]), json!({}))])).await;
    let refused = server.send("DELETE", &format!("{CONFIG_MAPS}/m"), Value::Null).await;
    let why = "Internal error occurred: admission webhook \"fields.example.com\" attempted to modify the object, which is \
               not supported for this operation";
    assert_eq!(told(&refused), (500, why));
}

#[tokio::test]
async fn a_name_that_a_webhook_gives_is_the_objects_name() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        patch(&asked, json!([{"op": "replace", "path": "/metadata/name", "value": "other"}]))
    })
    .await;
    mutate(&server, "m", json!([hook(&at, "/m", json!([rule(&["configmaps"])]), json!({}))])).await;
    let (code, made) = make(&server, config_map("m")).await;
    assert_eq!((code, &made["metadata"]["name"]), (201, &"other".into()));
    server.send("DELETE", &format!("{GROUP}/mutatingwebhookconfigurations/m"), Value::Null).await;
    make(&server, config_map("m")).await;
    mutate(&server, "m", json!([hook(&at, "/m", json!([rule(&["configmaps"])]), json!({}))])).await;
    let refused = server.send("PATCH", &format!("{CONFIG_MAPS}/m"), json!({"data": {"k": "w"}})).await;
    assert_eq!(refused.0, 422, "{}", refused.1);
}

#[tokio::test]
async fn who_cannot_be_called_is_needed_or_not() {
    let server = Server::new().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hooks = |policy: &str| {
        json!([{"name": "gone.example.com", "clientConfig": {"url": format!("https://{closed}/x")},
            "rules": [rule(&["configmaps"])], "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": policy}])
    };
    validate(&server, "v", hooks("Fail")).await;
    let refused = make(&server, config_map("m")).await;
    let why = format!(
        "Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post \
         \"https://{closed}/x?timeout=10s\": dial tcp {closed}: connect: connection refused"
    );
    assert_eq!(told(&refused), (500, why.as_str()));
    assert_eq!(refused.1["reason"], "InternalError");
    let path = format!("{GROUP}/validatingwebhookconfigurations/v");
    server.send("DELETE", &path, Value::Null).await;
    validate(&server, "v", hooks("Ignore")).await;
    mutate(&server, "v", hooks("Ignore")).await;
    assert_eq!(make(&server, config_map("m")).await.0, 201);
    let text = crate::metrics::text(server.0.registry());
    for line in [
        "apiserver_admission_webhook_fail_open_count{name=\"gone.example.com\",type=\"admit\"} 1",
        "apiserver_admission_webhook_fail_open_count{name=\"gone.example.com\",type=\"validating\"} 1",
        "apiserver_admission_webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"gone.example.com\",\
         operation=\"CREATE\",rejection_code=\"503\",type=\"validating\"} 1",
        "apiserver_admission_webhook_request_total{code=\"503\",name=\"gone.example.com\",operation=\"CREATE\",\
         rejected=\"false\",type=\"admit\"} 1",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

/// A webhook that asks the server for what it is asked about.
#[tokio::test]
async fn a_loop_ends() {
    let server = Server::new().await;
    let registry = server.0.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    let at = Hook::start(&["127.0.0.1"], move |_, asked| {
        let server = Server(registry.clone());
        let n = asked["request"]["name"].as_str().unwrap().len();
        handle.spawn(async move {
            let _ = make(&server, config_map(&"m".repeat(n + 1))).await;
        });
        Reply::Hang
    })
    .await;
    let hooks = json!([hook(&at, "/v", json!([rule(&["configmaps"])]), json!({"timeoutSeconds": 1}))]);
    validate(&server, "v", hooks).await;
    let refused = make(&server, config_map("m")).await;
    assert_eq!(refused.0, 500);
    assert!(told(&refused).1.ends_with("context deadline exceeded"), "{}", refused.1);
    runtime.shutdown_background();
}

#[tokio::test]
async fn a_client_that_waits_no_longer_is_told_so() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, _| Reply::Hang).await;
    for policy in ["Fail", "Ignore"] {
        let hooks = json!([hook(&at, "/v", json!([rule(&["configmaps"])]), json!({"failurePolicy": policy}))]);
        mutate(&server, "w", hooks).await;
        let (code, answer) = server.send("POST", &format!("{CONFIG_MAPS}?timeout=300ms"), config_map("m")).await;
        let told = (code, answer["reason"].as_str().unwrap(), answer["message"].as_str().unwrap());
        assert_eq!(told, (504, "Timeout", "Timeout: request did not complete within the allotted timeout"));
        assert_eq!(at.seen()[0].path, "/v?timeout=1s");
        server.send("DELETE", &format!("{GROUP}/mutatingwebhookconfigurations/w"), Value::Null).await;
    }
}
