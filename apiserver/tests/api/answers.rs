//! Single requests, and what the reference's answer to them has in it: one row a rule.

use api::UserInfo;
use axum::body::Body;
use http::Request;

use crate::harness::{Answer, Server};

/// `METHOD path`, then headers as `name: value`, each on a line of its own.
async fn ask(server: &Server, head: &str, body: &str) -> Answer {
    let mut lines = head.lines();
    let (method, path) = lines.next().and_then(|line| line.split_once(' ')).unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", "test/1")
        .extension(UserInfo::new("admin", &["system:masters"]));
    if !head.contains("content-type: ") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        request = request.header(name, value);
    }
    server.request(request.body(Body::from(body.to_string())).unwrap()).await
}

/// Sends requests to a new server; the answer to the last has this code, these texts in it, and not those after `!`.
async fn check(requests: &[(&str, &str)], code: u16, texts: &[&str]) {
    let server = Server::new();
    let mut last = None;
    for (head, body) in requests {
        last = Some(ask(&server, head, body).await);
    }
    let answer = last.unwrap();
    let headers: Vec<String> = answer.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    let shown = format!("{}\n{}", headers.join("\n"), String::from_utf8_lossy(&answer.bytes));
    let request = requests.last().unwrap().0;
    assert_eq!(answer.code, code, "{request}: {shown}");
    for text in texts {
        let (wanted, text) = text.strip_prefix('!').map_or((true, *text), |text| (false, text));
        assert_eq!(shown.contains(text), wanted, "{request}: {text}: {shown}");
    }
}

/// Requests, the code of the last answer, and texts.
type Row = (&'static [(&'static str, &'static str)], u16, &'static [&'static str]);

const MAPS: &str = "POST /api/v1/namespaces/a/configmaps";

#[tokio::test]
async fn what_is_accepted() {
    let one = (MAPS, r#"{"metadata": {"name": "one"}}"#);
    let get = |accept: &str| format!("GET /api/v1/namespaces/a/configmaps/one\naccept: {accept}");
    // What is named goes before a wildcard, whatever their qualities are.
    for (accept, code, text) in [
        ("*/*, application/yaml;q=0.1", 200, "content-type: application/yaml"),
        ("application/json;q=0.1, application/yaml;q=x", 200, "content-type: application/json"),
        ("application/json;broken, application/yaml;q=0.5", 200, "content-type: application/json"),
        ("application/json;as=\"Table\";g=meta.k8s.io;v=v1", 406, "only the following media types are accepted"),
        ("application/json;sv=v9, application/yaml", 200, "content-type: application/yaml"),
    ] {
        check(&[one, (&get(accept), "")], code, &[text]).await;
    }
}

#[tokio::test]
async fn documents() {
    const AGGREGATED: &str = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let v3 = "application/com.github.proto-openapi.spec.v3";
    for (path, accept, texts) in [
        ("/openapi/v3/apis/apps/v1", format!("{v3}@v1.0+protobuf"), vec![format!("content-type: {v3}.v1.0+protobuf")]),
        ("/openapi/v3/apis/apps/v1", "*/*".into(), vec!["content-type: application/json".into()]),
        ("/openapi/v3/apis/apps/v1", "nothing".into(), vec!["!content-type".into()]),
        (
            "/apis",
            format!("application/yaml;{AGGREGATED}"),
            vec![format!("content-type: application/yaml;{AGGREGATED}")],
        ),
        ("/apis", format!("application/json;{AGGREGATED};pretty=1"), vec!["{\n  \"".into()]),
        (
            "/api",
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList, application/json".into(),
            vec!["APIVersions".into()],
        ),
    ] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        check(&[(&format!("GET {path}\naccept: {accept}"), "")], 200, &texts).await;
    }
}

#[tokio::test]
async fn writes() {
    let rows: &[Row] = &[
        // A limit range may go without a name.
        (
            &[("POST /api/v1/namespaces/a/limitranges", r#"{"spec": {"limits": []}}"#)],
            201,
            &["\"name\":\"", "\"limits\":null"],
        ),
        // What is never stored comes out as what is stored.
        (
            &[(
                "POST /api/v1/namespaces/a/limitranges?dryRun=All",
                r#"{"metadata": {"name": "x"}, "spec": {"limits": []}}"#,
            )],
            201,
            &["\"limits\":null"],
        ),
        // Texts become data before anybody owns them.
        (
            &[("POST /api/v1/namespaces/a/secrets", r#"{"metadata": {"name": "x"}, "stringData": {"s": "t"}}"#)],
            201,
            &["\"s\":\"dA==\"", "\"f:s\":{}", "!tringData"],
        ),
        // Times that are not set are owned by nobody.
        (
            &[(
                "POST /api/v1/namespaces/a/events",
                r#"{"metadata": {"name": "x"}, "involvedObject": {"namespace": "a"}, "reason": "r"}"#,
            )],
            201,
            &["\"firstTimestamp\":null", "\"f:reason\":{}", "!f:firstTimestamp"],
        ),
        // A default that is never printed is none.
        (
            &[(
                "POST /api/v1/namespaces/a/replicationcontrollers",
                r#"{"metadata": {"name": "x"}, "spec": {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#,
            )],
            201,
            &["\"replicas\":1", "!minReadySeconds"],
        ),
        // Go quotes what cannot be printed.
        (
            &[("POST /api/v1/namespaces/a/configmaps?fieldManager=a%01b", r#"{"metadata": {"name": "x"}}"#)],
            422,
            &[r#"fieldManager: Invalid value: \"a\\x01b\": invalid character U+0001 (at position 1)"#],
        ),
        // A generation is the server's only where the kind has one.
        (
            &[(
                MAPS,
                r#"{"metadata": {"name": "x", "generation": 5, "deletionGracePeriodSeconds": 4, "selfLink": "/x"}}"#,
            )],
            201,
            &["\"generation\":5", "!selfLink", "!deletionGrace"],
        ),
        (
            &[("GET /api/v1/namespaces/a/configmaps?limit=", "")],
            400,
            &[r#"strconv.ParseInt: parsing \"\": invalid syntax"#],
        ),
        (&[("GET /api/v1/watch/pods/x", "")], 404, &["the server could not find the requested resource"]),
        (&[("GET /api/v1/proxy/pods", "")], 404, &["the server could not find the requested resource"]),
        (&[("GET //api/v1", "")], 404, &["404 page not found"]),
        // A query without a version states no precondition.
        (
            &[
                (MAPS, r#"{"metadata": {"name": "x"}}"#),
                ("DELETE /api/v1/namespaces/a/configmaps/x?resourceVersion=&uid=", ""),
            ],
            200,
            &["\"status\":\"Success\""],
        ),
        (
            &[(
                MAPS,
                r#"{"metadata": {"name": "x", "ownerReferences": [
                    {"uid": "u", "name": "p", "kind": "Pod", "controller": true, "apiVersion": "v1"},
                    {"uid": "v", "name": "q", "kind": "Pod", "controller": true, "apiVersion": "v1"}]}}"#,
            )],
            422,
            &[
                r#"Invalid value: [{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\",\"controller\":true},"#,
            ],
        ),
        // What nothing tells apart is compared with nothing, and owned by nobody.
        (
            &[("POST /api/v1/namespaces/a/serviceaccounts", r#"{"metadata": {"name": "x"}, "secrets": [{}]}"#)],
            201,
            &["!managedFields"],
        ),
        (
            &[(
                "POST /api/v1/nodes",
                r#"{"metadata": {"name": "x"}, "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": []}}"#,
            )],
            201,
            &[r#""podCIDRs":["10.0.0.0/24"]"#],
        ),
        (
            &[
                ("POST /apis/scheduling.k8s.io/v1/priorityclasses", r#"{"metadata": {"name": "x"}, "value": 1}"#),
                (
                    "PATCH /apis/scheduling.k8s.io/v1/priorityclasses/x\ncontent-type: application/merge-patch+json",
                    r#"{"description": "d"}"#,
                ),
            ],
            200,
            &["\"generation\":1"],
        ),
        (
            &[(
                "POST /api/v1/namespaces/a/secrets",
                r#"{"metadata": {"name": "x"}, "type": "kubernetes.io/tls", "data": {"tls.crt": "dg==", "tls.key": "dg=="}}"#,
            )],
            201,
            &["warning: 299 - \"tls: failed to find any PEM data in certificate input\""],
        ),
        (
            &[(
                "POST /api/v1/namespaces/a/configmaps\ncontent-type: Application/JSON",
                r#"{"metadata": {"name": "x"}}"#,
            )],
            201,
            &[],
        ),
        (
            &[("GET /apis/apps/v1/replicasets?fieldSelector=status.replicas%3D0", "")],
            400,
            &["is not a known field selector"],
        ),
        // An empty policy is one that is not known.
        (
            &[(
                "POST /api/v1/namespaces/a/services",
                r#"{"metadata": {"name": "x"}, "spec": {"ipFamilyPolicy": "", "ports": [{"port": 80}]}}"#,
            )],
            422,
            &[r#"spec.ipFamilyPolicy: Unsupported value: \"\""#],
        ),
        // A name that is too long for a label is no label of the job, but one of its template.
        (
            &[(
                "POST /apis/batch/v1/namespaces/a/jobs",
                r#"{"metadata": {"name": "-bad-"}, "spec": {"template": {"spec": {"restartPolicy": "Never",
                    "containers": [{"name": "c", "image": "i"}]}}}}"#,
            )],
            422,
            &["spec.template.labels", "!\"metadata.labels\""],
        ),
    ];
    for (requests, code, texts) in rows {
        check(requests, *code, texts).await;
    }
}

/// What is wrong with the metadata of an update is told as often as the reference comes upon it.
#[tokio::test]
async fn causes_repeat() {
    let bad = r#"{"metadata": {"name": "x", "labels": {"a": "-bad-"}, "finalizers": ["/bad"]}, "spec": {}}"#;
    for (path, labels, finalizers) in [
        ("/api/v1/namespaces/a/configmaps", 4, 2),
        ("/api/v1/namespaces/a/limitranges", 3, 2),
        ("/api/v1/namespaces/a/resourcequotas", 3, 1),
    ] {
        let server = Server::new();
        assert_eq!(ask(&server, &format!("POST {path}"), r#"{"metadata": {"name": "x"}, "spec": {}}"#).await.code, 201);
        let answer = ask(&server, &format!("PUT {path}/x"), bad).await;
        let causes = answer.at("details.causes");
        let count = |field: &str| causes.as_array().unwrap().iter().filter(|cause| cause["field"] == field).count();
        assert_eq!((count("metadata.labels"), count("metadata.finalizers")), (labels, finalizers), "{path}: {causes}");
    }
}

#[tokio::test]
async fn watches_over_a_websocket() {
    let watch = |headers: &str| {
        format!(
            "GET /api/v1/namespaces/a/configmaps?watch=1\nconnection: keep-alive, Upgrade\nupgrade: websocket{headers}"
        )
    };
    let key = "\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    for (headers, code, text) in [
        (String::new(), 400, "mismatch challenge/response"),
        (key.to_string(), 400, "sec-websocket-version: 13"),
        (format!("{key}\nsec-websocket-version: 13"), 403, ""),
        (format!("{key}\nsec-websocket-version: 13\norigin: http://a\nsec-websocket-protocol: a, b"), 400, ""),
    ] {
        check(&[(&watch(&headers), "")], code, &[text]).await;
    }
}

#[tokio::test]
async fn what_a_service_is_to_serve_is_unavailable() {
    const REGISTER: &str = "POST /apis/apiregistration.k8s.io/v1/apiservices";
    let of = |group: &str, version: &str, service: &str| {
        format!(
            r#"{{"metadata": {{"name": "{version}.{group}"}}, "spec": {{"group": "{group}", "version": "{version}",
            "groupPriorityMinimum": 100, "versionPriority": 100, {service}}}}}"#
        )
    };
    let service = r#""service": {"namespace": "kube-system", "name": "metrics"}, "insecureSkipTLSVerify": true"#;
    let remote = of("metrics.ex.com", "v1", service);
    let unavailable = &["service unavailable\n", "content-type: text/plain"][..];
    check(&[(REGISTER, &remote)], 201, &["metrics.ex.com"]).await;
    for (request, code, texts) in [
        ("GET /apis/metrics.ex.com/v1", 503, unavailable),
        ("GET /apis/metrics.ex.com/v1/nodes", 503, unavailable),
        ("DELETE /apis/metrics.ex.com/v1/namespaces/a/pods/p", 503, unavailable),
        ("GET /apis/metrics.ex.com/v2", 404, &["404 page not found"]),
        ("GET /apis/metrics.ex.com/v2/nodes", 404, &["404 page not found"]),
    ] {
        check(&[(REGISTER, &remote), (request, "")], code, texts).await;
    }
    // A service goes before what is served here, and what nobody is registered for stays.
    let taken = of("apps", "v1", service);
    check(&[(REGISTER, &taken), ("GET /apis/apps/v1/deployments", "")], 503, unavailable).await;
    check(&[(REGISTER, &taken), ("GET /apis/batch/v1/jobs", "")], 200, &["JobList"]).await;
    let local = of("metrics.ex.com", "v1", r#""caBundle": null"#);
    check(&[(REGISTER, &local), ("GET /apis/metrics.ex.com/v1/nodes", "")], 404, &["404 page not found"]).await;
}
