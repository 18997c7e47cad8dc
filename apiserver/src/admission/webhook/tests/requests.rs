//! What is asked, of whom, and what their answers do.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::*;
use crate::admission::{PluginFiles, Settings};

#[tokio::test]
async fn a_request_is_shown_as_the_reference_shows_it() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| allow(&asked)).await;
    validate(&server, "v", json!([hook(&at, "/v", json!([rule(&["configmaps"])]), json!({"timeoutSeconds": 7}))]))
        .await;
    let (code, made) = make(&server, config_map("m")).await;
    assert_eq!(code, 201, "{made}");
    let (code, _) = server.send("PATCH", &format!("{CONFIG_MAPS}/m?dryRun=All"), json!({"data": {"k": "w"}})).await;
    assert_eq!(code, 200);
    let seen = at.seen();
    assert_eq!(seen[0].path, "/v?timeout=7s");
    let review = seen[0].json();
    let uid = review["request"]["uid"].as_str().unwrap();
    let kind = r#"{"group":"","version":"v1","kind":"ConfigMap"}"#;
    let resource = r#"{"group":"","version":"v1","resource":"configmaps"}"#;
    let user = r#"{"username":"admin","groups":["system:masters","system:authenticated"]}"#;
    let head = format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"{uid}","kind":{kind},"resource":{resource},"requestKind":{kind},"requestResource":{resource},"name":"m","namespace":"a","operation":"CREATE","userInfo":{user},"object":{{"kind":"ConfigMap","apiVersion":"v1","metadata":"#
    );
    assert!(seen[0].text.starts_with(&head), "{}\n{head}", seen[0].text);
    let tail = r#""oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}"#;
    assert!(seen[0].text.ends_with(tail), "{}", seen[0].text);
    assert_eq!(review["request"]["object"]["metadata"]["uid"], made["metadata"]["uid"]);
    let changed = seen[1].json();
    let request = &changed["request"];
    assert_eq!((&request["operation"], &request["dryRun"]), (&"UPDATE".into(), &true.into()));
    assert_eq!((&request["object"]["data"]["k"], &request["oldObject"]["data"]["k"]), (&"w".into(), &"v".into()));
    let options = json!({"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions", "dryRun": ["All"]});
    assert_eq!(request["options"], options);
}

#[tokio::test]
async fn a_refusal_is_the_clients_answer() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |path, asked| match path.split('?').next().unwrap() {
        "/coded" => answer(&asked, json!({"allowed": false, "status": {"code": 418, "reason": "Teapot"}})),
        "/silent" => answer(&asked, json!({"allowed": false})),
        _ if asked["request"]["object"]["data"]["k"] == "bad" => deny(&asked, "the data is bad"),
        _ => allow(&asked),
    })
    .await;
    let rules = json!([rule(&["configmaps", "pods"])]);
    validate(&server, "v", json!([hook(&at, "/v", rules.clone(), json!({}))])).await;
    let mut bad = config_map("m");
    bad["data"]["k"] = "bad".into();
    let refused = make(&server, bad).await;
    let why = "admission webhook \"v.example.com\" denied the request: the data is bad";
    assert_eq!(told(&refused), (400, why));
    assert_eq!((&refused.1["status"], &refused.1["kind"]), (&"Failure".into(), &"Status".into()));
    assert_eq!(make(&server, config_map("m")).await.0, 201);
    let refused = server.send("PATCH", &format!("{CONFIG_MAPS}/m"), json!({"data": {"k": "bad"}})).await;
    assert_eq!(told(&refused), (400, why));
    let (_, kept) = server.send("GET", &format!("{CONFIG_MAPS}/m"), Value::Null).await;
    assert_eq!(kept["data"]["k"], "v");
    assert_eq!(server.post(PODS, pod("p")).await.0, 201);
    for (path, code, why) in [
        ("/coded", 418, "admission webhook \"coded.example.com\" denied the request: Teapot"),
        ("/silent", 400, "admission webhook \"silent.example.com\" denied the request without explanation"),
    ] {
        validate(&server, "w", json!([hook(&at, path, json!([rule(&["configmaps"])]), json!({}))])).await;
        assert_eq!(told(&make(&server, config_map("n")).await), (code, why));
        // What is no longer configured is no longer asked, at once.
        let (code, _) = server.send("DELETE", &format!("{GROUP}/validatingwebhookconfigurations/w"), Value::Null).await;
        assert_eq!(code, 200);
    }
    assert_eq!(make(&server, config_map("n")).await.0, 201);
}

#[tokio::test]
async fn configurations_say_who_is_asked() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "no")).await;
    let labelled = json!({"objectSelector": {"matchLabels": {"checked": "yes"}}});
    let elsewhere = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}});
    let rules = json!([rule(&["configmaps"])]);
    validate(&server, "labelled", json!([hook(&at, "/l", rules.clone(), labelled)])).await;
    validate(&server, "elsewhere", json!([hook(&at, "/e", rules.clone(), elsewhere)])).await;
    assert_eq!(make(&server, config_map("m")).await.0, 201);
    let mut checked = config_map("n");
    checked["metadata"]["labels"] = json!({"checked": "yes"});
    assert_eq!(make(&server, checked).await.0, 400);
    server.post("/api/v1/namespaces", json!({"metadata": {"name": "b"}})).await;
    assert_eq!(server.send("POST", "/api/v1/namespaces/b/configmaps", config_map("m")).await.0, 400);
    at.seen();
    // Nobody is asked about configurations themselves, so that they can always be changed.
    let everything = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    validate(&server, "everything", json!([hook(&at, "/all", everything, json!({}))])).await;
    mutate(&server, "also", json!([])).await;
    let path = format!("{GROUP}/validatingwebhookconfigurations/everything");
    let (code, _) = server.send("PATCH", &path, json!({"metadata": {"labels": {"x": "y"}}})).await;
    assert_eq!(code, 200);
    assert!(at.seen().is_empty());
    assert_eq!(make(&server, config_map("o")).await.0, 400);
    assert_eq!(server.send("DELETE", &path, Value::Null).await.0, 200);
    assert_eq!(make(&server, config_map("o")).await.0, 201);
}

#[tokio::test]
async fn deletes_show_what_is_deleted() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        let kept = asked["request"]["oldObject"]["data"]["k"] == "kept";
        if kept { deny(&asked, "it is needed") } else { allow(&asked) }
    })
    .await;
    let mut deletes = rule(&["configmaps"]);
    deletes["operations"] = json!(["DELETE"]);
    validate(&server, "v", json!([hook(&at, "/d", json!([deletes]), json!({}))])).await;
    let mut kept = config_map("kept");
    kept["data"]["k"] = "kept".into();
    make(&server, kept).await;
    make(&server, config_map("m")).await;
    make(&server, config_map("n")).await;
    let one = |name: &str| format!("{CONFIG_MAPS}/{name}");
    let refused = server.send("DELETE", &one("kept"), Value::Null).await;
    assert_eq!(told(&refused), (400, "admission webhook \"d.example.com\" denied the request: it is needed"));
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
    assert_eq!(server.send("DELETE", &one("m"), options).await.0, 200);
    let seen = at.seen();
    let request = &seen[1].json()["request"];
    assert_eq!((&request["object"], &request["name"]), (&Value::Null, &"m".into()));
    assert_eq!(request["options"]["propagationPolicy"], "Background");
    assert!(request["oldObject"]["metadata"]["resourceVersion"].is_string());
    // All of them are asked about, and the first that is refused ends it.
    let refused = server.send("DELETE", &format!("{CONFIG_MAPS}?fieldSelector=metadata.name=kept"), Value::Null).await;
    assert_eq!(refused.0, 400);
    assert_eq!(server.send("GET", &one("kept"), Value::Null).await.0, 200);
    assert_eq!(server.send("GET", &one("n"), Value::Null).await.0, 200);
    assert!(at.seen()[0].json()["request"]["name"].is_null(), "what is deleted together has no name");
}

#[tokio::test]
async fn a_dry_run_asks_only_those_without_effects() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| allow(&asked)).await;
    let old = json!({"sideEffects": "Some"});
    // Only what was stored before says so.
    validate(&server, "v", json!([hook(&at, "/v", json!([rule(&["configmaps"])]), json!({}))])).await;
    let key = "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/v";
    let registry = server.0.registry();
    let mut stored = registry.get("admissionregistration.k8s.io", "validatingwebhookconfigurations", "", "v").unwrap();
    stored.0["webhooks"][0]["sideEffects"] = old["sideEffects"].clone();
    let operations = vec![store::Operation::Put(key.into(), stored.encode())];
    registry.store().commit(store::Transaction { operations, ..Default::default() }).await.unwrap();
    let refused = server.send("POST", &format!("{CONFIG_MAPS}?dryRun=All"), config_map("m")).await;
    assert_eq!(told(&refused), (400, "admission webhook \"v.example.com\" does not support dry run"));
    assert!(at.seen().is_empty());
    assert_eq!(make(&server, config_map("m")).await.0, 201);
}

#[tokio::test]
async fn warnings_reach_the_client() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        answer(
            &asked,
            json!({"allowed": true, "warnings": ["mind the gap", "mind the gap", ""],
            "auditAnnotations": {"k": "v"}}),
        )
    })
    .await;
    validate(&server, "v", json!([hook(&at, "/v", json!([rule(&["configmaps"])]), json!({}))])).await;
    let request = http::Request::builder()
        .method("POST")
        .uri(CONFIG_MAPS)
        .header("content-type", "application/json")
        .extension(api::UserInfo::new("admin", &["system:masters"]))
        .body(axum::body::Body::from(config_map("m").to_string()))
        .unwrap();
    let response = server.0.handle(request).await;
    let warnings: Vec<_> = response.headers().get_all("warning").iter().map(|w| w.to_str().unwrap()).collect();
    assert_eq!(warnings, ["299 - \"mind the gap\""]);
}

#[tokio::test]
async fn an_old_review_is_spoken_too() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| {
        // Of the old version neither kind nor number was ever looked at.
        assert_eq!(asked["apiVersion"], "admission.k8s.io/v1beta1");
        Reply::Json(json!({"response": {"allowed": false, "status": {"message": "old"}}}))
    })
    .await;
    let versions = json!({"admissionReviewVersions": ["v2", "v1beta1", "v1"]});
    validate(&server, "v", json!([hook(&at, "/v", json!([rule(&["configmaps"])]), versions)])).await;
    let refused = make(&server, config_map("m")).await;
    assert_eq!(told(&refused), (400, "admission webhook \"v.example.com\" denied the request: old"));
}

#[tokio::test]
async fn connections_are_asked_about_with_their_options() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "attaching to this pod is not allowed")).await;
    let rules = json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["pods/attach", "pods/exec", "pods/proxy"]}]);
    validate(&server, "v", json!([hook(&at, "/c", rules.clone(), json!({}))])).await;
    server.post(PODS, pod("p")).await;
    let why = "admission webhook \"c.example.com\" denied the request: attaching to this pod is not allowed";
    let refused = server.send("POST", &format!("{PODS}/p/attach?stdin=true&tty=1&container=c"), Value::Null).await;
    assert_eq!(told(&refused), (400, why));
    let request = at.seen()[0].json()["request"].clone();
    let kind = json!({"group": "", "version": "v1", "kind": "PodAttachOptions"});
    assert_eq!((&request["kind"], &request["subResource"]), (&kind, &"attach".into()));
    assert_eq!((&request["operation"], &request["name"]), (&"CONNECT".into(), &"p".into()));
    let object = json!({"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": true, "tty": true,
        "container": "c"});
    assert_eq!((&request["object"], &request["options"]), (&object, &Value::Null));
    let refused = server.send("POST", &format!("{PODS}/p/exec?command=ls&command=-l"), Value::Null).await;
    assert_eq!(told(&refused), (400, why));
    assert_eq!(at.seen()[0].json()["request"]["object"]["command"], json!(["ls", "-l"]));
    let refused = server.send("GET", &format!("{PODS}/p/proxy/a/b/?x=y"), Value::Null).await;
    assert_eq!(told(&refused), (400, why));
    let object = json!({"kind": "PodProxyOptions", "apiVersion": "v1", "path": "/a/b/"});
    assert_eq!(at.seen()[0].json()["request"]["object"], object);
    // A log is read.
    let (code, _) = server.send("GET", &format!("{PODS}/p/log"), Value::Null).await;
    assert_eq!((code, at.seen().len()), (204, 0));
}

#[tokio::test]
async fn subresources_are_of_their_own_kinds() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| allow(&asked)).await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
        "resources": ["deployments/scale", "pods/eviction", "pods/binding", "pods/status"]}]);
    validate(&server, "v", json!([hook(&at, "/s", rules.clone(), json!({}))])).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let deployments = "/apis/apps/v1/namespaces/a/deployments";
    assert_eq!(server.send("POST", deployments, deployment).await.0, 201);
    let scale = format!("{deployments}/d/scale");
    assert_eq!(server.send("PATCH", &scale, json!({"spec": {"replicas": 3}})).await.0, 200);
    let request = at.seen()[0].json()["request"].clone();
    assert_eq!(request["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(request["resource"], json!({"group": "apps", "version": "v1", "resource": "deployments"}));
    let shown = |object: &str| request[object]["spec"]["replicas"].clone();
    assert_eq!(
        (shown("oldObject"), shown("object"), &request["object"]["kind"]),
        (1.into(), 3.into(), &"Scale".into())
    );
    server.post("/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    server.post(PODS, pod("p")).await;
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    assert_eq!(server.send("POST", &format!("{PODS}/p/binding"), binding).await.0, 201);
    server.send("PATCH", &format!("{PODS}/p/status"), json!({"status": {"phase": "Running"}})).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(server.send("POST", &format!("{PODS}/p/eviction"), eviction).await.0, 201);
    let kinds: Vec<Value> = at.seen().iter().map(|seen| seen.json()["request"]["kind"]["kind"].clone()).collect();
    assert_eq!(kinds, ["Binding", "Pod", "Eviction"]);
}

#[tokio::test]
async fn an_eviction_asks_about_no_delete() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "no")).await;
    let rules = json!([{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    validate(&server, "v", json!([hook(&at, "/v", rules.clone(), json!({}))])).await;
    server.post(PODS, pod("p")).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let (code, answer) = server.send("POST", &format!("{PODS}/p/eviction"), eviction).await;
    assert_eq!((code, at.seen().len()), (201, 0), "{answer}");
}

#[tokio::test]
async fn conditions_say_what_is_not_asked_about() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "no")).await;
    let refused = "admission webhook \"v.example.com\" denied the request: no";
    let failed =
        "configmaps \"m\" is forbidden: expression 'object.nope.x == 'm'' resulted in error: no such key: nope";
    for (expression, policy, code, why) in [
        ("object.metadata.name != 'm'", "Fail", 201, ""),
        ("object.metadata.name == 'm'", "Fail", 400, refused),
        ("object.nope.x == 'm'", "Fail", 403, failed),
        ("object.nope.x == 'm'", "Ignore", 201, ""),
        (
            "oldObject == null && request.operation == 'CREATE' && request.userInfo.username == 'admin'",
            "Fail",
            400,
            refused,
        ),
        ("authorizer.group('').resource('configmaps').namespace('a').check('create').allowed()", "Fail", 400, refused),
        ("!authorizer.group('').resource('configmaps').namespace('a').check('create').allowed()", "Fail", 201, ""),
        ("authorizer.serviceAccount('a', 'default').path('/nowhere').check('get').allowed()", "Fail", 201, ""),
    ] {
        let conditions = json!([{"name": "c", "expression": expression}]);
        let more = json!({"matchConditions": conditions, "failurePolicy": policy});
        for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
            configure(&server, kind, "w", json!([hook(&at, "/v", json!([rule(&["configmaps"])]), more.clone())])).await;
            let found = make(&server, config_map("m")).await;
            assert_eq!(told(&found), (code, why), "{expression} {policy}: {}", found.1);
            server.send("DELETE", &format!("{GROUP}/{}s/w", kind.to_lowercase()), Value::Null).await;
            server.send("DELETE", &format!("{CONFIG_MAPS}/m"), Value::Null).await;
        }
    }
    let text = crate::metrics::text(server.0.registry());
    for line in [
        "apiserver_admission_match_condition_exclusions_total{kind=\"webhook\",name=\"v.example.com\",operation=\"CREATE\",\
         type=\"validate\"} ",
        "apiserver_admission_match_condition_evaluation_errors_total{kind=\"webhook\",name=\"v.example.com\",\
         operation=\"CREATE\",type=\"admit\"} 2",
    ] {
        assert!(text.contains(line), "{line}");
    }
}

#[tokio::test]
async fn webhooks_know_who_asks_as_a_file_says() {
    let at = Hook::start(&["127.0.0.1"], |_, asked| allow(&asked)).await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let [certificate, key] = &at.client;
    std::fs::write(directory.path().join("certificate"), certificate).unwrap();
    std::fs::write(directory.path().join("key"), key).unwrap();
    let users = json!({"users": [
        {"name": at.address.to_string(), "user": {"token": "t", "client-certificate": "certificate", "client-key": "key"}},
        {"name": "*", "user": {"token": "other"}}]});
    std::fs::write(&kubeconfig, users.to_string()).unwrap();
    let told = |field: &str, value: &str| {
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: WebhookAdmission\n{field}: {value}\n")
    };
    let files = |file: String| PluginFiles::default().with("ValidatingAdmissionWebhook", file);
    let file = told("kubeConfigFile", &kubeconfig.display().to_string());
    let settings = Settings { files: files(file), ..Settings::default() };
    let server = Server::with(&settings).await;
    let rules = json!([rule(&["configmaps"])]);
    mutate(&server, "m", json!([hook(&at, "/m", rules.clone(), json!({}))])).await;
    validate(&server, "v", json!([hook(&at, "/v", rules, json!({}))])).await;
    assert_eq!(make(&server, config_map("m")).await.0, 201);
    let seen = at.seen();
    assert_eq!(
        (seen[0].authorization.as_str(), seen[0].certificate.is_empty()),
        ("", true),
        "each plugin has its own file"
    );
    let shown = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    assert_eq!((seen[1].authorization.as_str(), seen[1].certificate.as_slice()), ("Bearer t", shown.as_ref()));
    for (file, expected) in [
        (told("kubeConfigFile", "x"), "kubeConfigFile: Invalid value: \"x\": must be an absolute file path"),
        (told("kubeConfigFile", "/nowhere/x"), "open /nowhere/x: No such file or directory (os error 2)"),
        (
            told("staticManifestsDir", "/x"),
            "staticManifestsDir: Forbidden: staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature \
             gate to be enabled",
        ),
        (told("x", "y"), "strict decoding error: unknown field \"x\""),
    ] {
        let found = super::super::validating(&files(file)).err().unwrap();
        assert_eq!(found, expected);
    }
}
