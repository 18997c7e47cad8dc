//! A definition whose two versions only its webhook can convert, through the whole server.

use std::time::{Duration, Instant};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::strategy::tests::Server;
use crate::webhooks::testing::{Hook, Reply, Seen};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/ex.com/v1/namespaces/a/gadgets";
const V2: &str = "/apis/ex.com/v2/namespaces/a/gadgets";

/// Two versions that call the same field differently.
fn definition(client: &Value, storage: &str, reviews: &[&str]) -> Value {
    let version = |name: &str, field: &str| {
        json!({"name": name, "served": true, "storage": name == storage,
        "selectableFields": [{"jsonPath": format!(".spec.{field}")}],
        "additionalPrinterColumns": [{"name": "Field", "type": "string", "jsonPath": format!(".spec.{field}")}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {field: {"type": "string"}, "size": {"type": "integer"}}}}}}})
    };
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.ex.com"},
        "spec": {"group": "ex.com", "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": reviews}},
            "versions": [version("v1", "one"), version("v2", "two")]}})
}

fn gadget(version: &str, name: &str, field: &str, value: &str) -> Value {
    json!({"apiVersion": format!("ex.com/{version}"), "kind": "Gadget", "metadata": {"name": name}, "spec": {field: value}})
}

/// What a good webhook makes of an object.
fn converted(object: &Value, wanted: &str) -> Value {
    let mut object = object.clone();
    let (from, to) = if wanted.ends_with("v2") { ("one", "two") } else { ("two", "one") };
    object["apiVersion"] = wanted.into();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && let Some(value) = spec.remove(from)
    {
        spec.insert(to.into(), value);
    }
    object
}

fn answer(asked: &Value, change: impl Fn(Value) -> Value) -> Reply {
    let request = &asked["request"];
    let wanted = request["desiredAPIVersion"].as_str().unwrap();
    let objects: Vec<Value> =
        request["objects"].as_array().unwrap().iter().map(|object| change(converted(object, wanted))).collect();
    Reply::Json(json!({"kind": "ConversionReview", "apiVersion": asked["apiVersion"], "response": {
        "uid": request["uid"], "convertedObjects": objects, "result": {"status": "Success"}}}))
}

struct Running {
    server: Server,
    hook: Hook,
    stop: CancellationToken,
    background: JoinHandle<()>,
}

impl Running {
    async fn start(reviews: &[&str], answer: impl Fn(&str, Value) -> Reply + Send + Sync + 'static) -> Self {
        let server = Server::new().await;
        let hook = Hook::start(&["127.0.0.1"], answer).await;
        let stop = CancellationToken::new();
        let (running, token) = (server.0.clone(), stop.clone());
        let background = tokio::spawn(async move { running.run(token).await });
        let client = hook.client_config("/convert");
        let (code, made) = server.send("POST", DEFINITIONS, definition(&client, "v1", reviews)).await;
        assert_eq!(code, 201, "{made}");
        let this = Self { server, hook, stop, background };
        this.until(V1, 200).await;
        this
    }

    async fn until(&self, path: &str, wanted: u16) {
        let started = Instant::now();
        while self.server.send("GET", path, Value::Null).await.0 != wanted {
            assert!(started.elapsed() < Duration::from_secs(20), "{path} is not {wanted}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.hook.seen();
    }

    async fn end(self) {
        self.stop.cancel();
        self.background.await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> (u16, String) {
        let mut request =
            Request::builder().method(method).uri(path).extension(api::UserInfo::new("admin", &["system:masters"]));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.server.0.handle(request.body(Body::from(body.to_string())).unwrap()).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn seen(&self) -> Vec<Seen> {
        self.hook.seen()
    }
}

#[tokio::test]
async fn nulls_that_a_webhook_makes_are_none() {
    let running = Running::start(&["v1"], |_, asked| {
        answer(&asked, |mut object| {
            object["spec"]["size"] = Value::Null;
            object
        })
    })
    .await;
    let server = &running.server;
    let (code, made) = server.send("POST", V2, gadget("v2", "a", "two", "x")).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"two": "x"})), "{made}");
    let stored = server.0.registry().get("ex.com", "gadgets", "a", "a").unwrap();
    assert_eq!(stored.at(&["spec"]), Some(&json!({"one": "x"})));
    let (_, list) = server.send("GET", V2, Value::Null).await;
    assert_eq!(list["items"][0]["spec"], json!({"two": "x"}));
    running.end().await;
}

#[tokio::test]
async fn objects_are_had_in_both_versions() {
    let running = Running::start(&["v1", "v1beta1"], |_, asked| answer(&asked, |object| object)).await;
    let server = &running.server;
    let (code, made) = server.send("POST", V1, gadget("v1", "a", "one", "x")).await;
    assert_eq!(code, 201, "{made}");
    assert!(running.seen().await.is_empty(), "nobody is asked where nothing is converted");
    let (code, other) = server.send("GET", &format!("{V2}/a"), Value::Null).await;
    assert_eq!((code, &other["spec"], &other["apiVersion"]), (200, &json!({"two": "x"}), &"ex.com/v2".into()));
    let asked = running.seen().await;
    assert_eq!((asked.len(), asked[0].path.as_str()), (1, "/convert?timeout=30s"));
    let review = asked[0].json();
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&"apiextensions.k8s.io/v1".into(), &"ConversionReview".into())
    );
    assert_eq!(review["request"]["desiredAPIVersion"], "ex.com/v2");
    // It is the stored object, which has no version of its own.
    let mut stored = made.clone();
    stored["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert_eq!(review["request"]["objects"][0], stored);
    assert_eq!(review["response"], json!({"uid": "", "convertedObjects": null, "result": {"metadata": {}}}));
    let (code, made) = server.send("POST", V2, gadget("v2", "b", "two", "y")).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"two": "y"})), "{made}");
    let stored = server.0.registry().get("ex.com", "gadgets", "a", "b").unwrap();
    assert_eq!((stored.api_version(), stored.str_at(&["spec", "one"])), ("ex.com/v1", "y"));
    running.seen().await;
    // A list asks once for all.
    let (_, list) = server.send("GET", V2, Value::Null).await;
    let fields: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["two"]).collect();
    assert_eq!(fields, ["x", "y"]);
    let asked = running.seen().await;
    assert_eq!((asked.len(), asked[0].json()["request"]["objects"].as_array().unwrap().len()), (1, 2));
    let (_, selected) = server.send("GET", &format!("{V2}?fieldSelector=spec.two=y"), Value::Null).await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let (_, table) = running.ask("GET", V2, &table, Value::Null).await;
    assert!(table.contains("[\"a\",\"x\"]"), "{table}");
    let (code, changed) = server.send("PATCH", &format!("{V2}/a"), json!({"spec": {"two": "z"}})).await;
    assert_eq!((code, &changed["spec"]["two"]), (200, &"z".into()));
    let (_, found) = server.send("GET", &format!("{V1}/a"), Value::Null).await;
    assert_eq!(found["spec"], json!({"one": "z"}));
    let (code, gone) = server.send("DELETE", &format!("{V2}/a"), Value::Null).await;
    assert_eq!((code, &gone["status"]), (200, &"Success".into()));
    let (code, all) = server.send("DELETE", V2, Value::Null).await;
    assert_eq!((code, all["items"].as_array().unwrap().len()), (200, 1));
    let text = crate::metrics::text(server.0.registry());
    let line = "apiserver_crd_conversion_webhook_duration_seconds_count{crd_name=\"gadgets.ex.com\",from_version=\"v1\",\
                succeeded=\"true\",to_version=\"v2\"}";
    assert!(text.contains(line), "{line}");
    running.end().await;
}

#[tokio::test]
async fn applying_goes_across_versions() {
    let running = Running::start(&["v1"], |_, asked| answer(&asked, |object| object)).await;
    let apply = [("content-type", "application/apply-patch+yaml")];
    let (code, made) =
        running.ask("PATCH", &format!("{V1}/a?fieldManager=m"), &apply, gadget("v1", "a", "one", "x")).await;
    assert_eq!(code, 201, "{made}");
    let (code, refused) =
        running.ask("PATCH", &format!("{V2}/a?fieldManager=n"), &apply, gadget("v2", "a", "two", "y")).await;
    assert_eq!(code, 409, "{refused}");
    assert!(refused.contains("conflict with \\\"m\\\": .spec.one"), "{refused}");
    let (code, changed) =
        running.ask("PATCH", &format!("{V2}/a?fieldManager=m"), &apply, gadget("v2", "a", "two", "y")).await;
    assert_eq!(code, 200, "{changed}");
    let (_, found) = running.server.send("GET", &format!("{V1}/a"), Value::Null).await;
    assert_eq!(found["spec"], json!({"one": "y"}));
    running.end().await;
}

#[tokio::test]
async fn many_watches_ask_once() {
    const WATCHES: usize = 8;
    let running = Running::start(&["v1"], |_, asked| answer(&asked, |object| object)).await;
    let mut watches = Vec::new();
    for _ in 0..WATCHES {
        let server = running.server.0.clone();
        watches.push(tokio::spawn(async move {
            let request = Request::builder()
                .uri(format!("{V2}?watch=1&timeoutSeconds=20"))
                .extension(api::UserInfo::new("admin", &["system:masters"]))
                .body(Body::empty())
                .unwrap();
            let mut body = server.handle(request).await.into_body();
            let mut text = String::new();
            while text.lines().count() < 3 || !text.ends_with('\n') {
                let Some(Ok(frame)) = body.frame().await else { break };
                text.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
            }
            text
        }));
    }
    // They are there when the first event comes.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let server = &running.server;
    server.send("POST", V1, gadget("v1", "a", "one", "x")).await;
    server.send("PATCH", &format!("{V1}/a"), json!({"spec": {"one": "y"}})).await;
    server.send("DELETE", &format!("{V1}/a"), Value::Null).await;
    for watch in watches {
        let text = watch.await.unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let shown: Vec<_> = events.iter().map(|event| (&event["type"], &event["object"]["spec"]["two"])).collect();
        let (x, y) = (Value::from("x"), Value::from("y"));
        assert_eq!(shown, [(&"ADDED".into(), &x), (&"MODIFIED".into(), &y), (&"DELETED".into(), &y)]);
    }
    let asked = running.seen().await.len();
    assert!(asked <= 3, "the webhook was asked {asked} times for {WATCHES} watches of three events");
    running.end().await;
}

#[tokio::test]
async fn an_object_stays_what_it_is() {
    let running = Running::start(&["v1"], |_, asked| {
        let name = asked["request"]["objects"][0]["metadata"]["name"].as_str().unwrap().to_string();
        match name.as_str() {
            "renamed" => answer(&asked, |mut object| {
                object["metadata"]["name"] = "other".into();
                object
            }),
            "labelled" => answer(&asked, |mut object| {
                object["metadata"]["labels"] = json!({"from": "webhook"});
                object["metadata"]["finalizers"] = json!(["ex.com/f"]);
                object["unknown"] = 1.into();
                object
            }),
            "kind" => answer(&asked, |mut object| {
                object["kind"] = "Other".into();
                object
            }),
            "version" => answer(&asked, |mut object| {
                object["apiVersion"] = "ex.com/v1".into();
                object
            }),
            "none" => Reply::Json(json!({"kind": "ConversionReview", "apiVersion": asked["apiVersion"],
                "response": {"uid": asked["request"]["uid"], "convertedObjects": [], "result": {"status": "Success"}}})),
            "failed" => Reply::Json(json!({"kind": "ConversionReview", "apiVersion": asked["apiVersion"],
                "response": {"uid": asked["request"]["uid"], "result": {"status": "Failed", "message": "not today"}}})),
            "uid" => Reply::Json(json!({"kind": "ConversionReview", "apiVersion": asked["apiVersion"],
                "response": {"uid": "z", "convertedObjects": [], "result": {"status": "Success"}}})),
            "code" => Reply::Raw(500, Vec::new(), "broken".into()),
            _ => answer(&asked, |object| object),
        }
    })
    .await;
    let server = &running.server;
    let (uid, about) = ("UID", "conversion webhook for ex.com/v1, Kind=Gadget");
    for (name, why) in [
        ("renamed", "returned invalid object: must have the same name: renamed != other"),
        ("kind", "returned invalid object at index 0: invalid kind (expected Gadget, received Other)"),
        (
            "version",
            "returned invalid object at index 0: invalid groupVersion (expected ex.com/v2, received ex.com/v1)",
        ),
        ("none", "returned 0 objects, expected 1"),
        ("failed", "failed: not today"),
        ("uid", "failed: expected response.uid=\"UID\", got \"z\""),
        ("code", "failed: an error on the server (\"broken\") has prevented the request from succeeding"),
    ] {
        server.send("POST", V1, gadget("v1", name, "one", "x")).await;
        let (code, refused) = server.send("GET", &format!("{V2}/{name}"), Value::Null).await;
        let asked = running.seen().await.last().map(|seen| seen.json()["request"]["uid"].clone()).unwrap();
        let why = why.replace(uid, asked.as_str().unwrap());
        assert_eq!((code, refused["message"].as_str().unwrap()), (500, format!("{about} {why}").as_str()));
        // One that cannot be had keeps all from being listed, and loses nothing.
        assert_eq!(server.send("GET", V2, Value::Null).await.0, 500);
        // A watch may come again.
        let (code, refused) = server.send("GET", &format!("{V2}?watch=1"), Value::Null).await;
        assert_eq!((code, &refused["message"]), (429, &"storage is (re)initializing".into()));
        assert_eq!(refused["details"], json!({"retryAfterSeconds": 1}));
        assert_eq!(server.send("GET", &format!("{V1}/{name}"), Value::Null).await.0, 200);
        assert_eq!(server.send("DELETE", &format!("{V1}/{name}"), Value::Null).await.0, 200);
    }
    server.send("POST", V1, gadget("v1", "labelled", "one", "x")).await;
    let (code, found) = server.send("GET", &format!("{V2}/labelled"), Value::Null).await;
    assert_eq!((code, &found["metadata"]["labels"]), (200, &json!({"from": "webhook"})));
    assert_eq!((&found["metadata"]["finalizers"], &found["unknown"]), (&Value::Null, &Value::Null));
    running.end().await;
}

#[tokio::test]
async fn stored_versions_move_on() {
    let running = Running::start(&["v1beta1"], |_, asked| {
        assert_eq!(asked["apiVersion"], "apiextensions.k8s.io/v1beta1");
        answer(&asked, |object| object)
    })
    .await;
    let server = &running.server;
    server.send("POST", V1, gadget("v1", "a", "one", "x")).await;
    let path = format!("{DEFINITIONS}/gadgets.ex.com");
    let (_, mut changed) = server.send("GET", &path, Value::Null).await;
    for version in changed["spec"]["versions"].as_array_mut().unwrap() {
        version["storage"] = (version["name"] == "v2").into();
    }
    let (code, changed) = server.send("PUT", &path, changed).await;
    assert_eq!((code, &changed["status"]["storedVersions"]), (200, &json!(["v1", "v2"])));
    let started = Instant::now();
    loop {
        // Any write stores it anew.
        let (code, written) = server
            .send("PUT", &format!("{V1}/a"), {
                let (_, object) = server.send("GET", &format!("{V1}/a"), Value::Null).await;
                object
            })
            .await;
        assert_eq!(code, 200, "{written}");
        tokio::time::sleep(Duration::from_millis(2)).await;
        let stored = server.0.registry().get("ex.com", "gadgets", "a", "a").unwrap();
        if stored.api_version() == "ex.com/v2" {
            assert_eq!(stored.str_at(&["spec", "two"]), "x");
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "it is stored in the old version: {stored:?} {written}");
    }
    let status = json!({"status": {"storedVersions": ["v2"]}});
    let (code, changed) = server.send("PATCH", &format!("{path}/status"), status).await;
    assert_eq!((code, &changed["status"]["storedVersions"]), (200, &json!(["v2"])));
    assert_eq!(server.send("GET", &format!("{V1}/a"), Value::Null).await.1["spec"], json!({"one": "x"}));
    running.end().await;
}
