//! Requests to a server in this test.

use axum::{Router, http::StatusCode, response::Redirect, routing::get as on_get};

use super::*;

async fn serve() -> u16 {
    let many = |n: u32| async move { if n == 0 { "end".to_owned() } else { panic!("{n} is redirected") } };
    let app = Router::new()
        .route("/ok", on_get(|headers: HeaderMap| async move { format!("{:?}", headers.get("host")) }))
        .route("/fail", on_get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/local", on_get(|| async { Redirect::to("/ok") }))
        .route("/to-fail", on_get(|| async { Redirect::temporary("fail") }))
        .route("/elsewhere", on_get(|| async { (StatusCode::FOUND, [("location", "http://0.0.0.0/")], "moved") }))
        .route("/nowhere", on_get(|| async { StatusCode::FOUND }))
        .route("/round", on_get(|| async { Redirect::to("/round") }))
        .route("/other-scheme", on_get(|| async { Redirect::to("ftp://127.0.0.1/") }))
        .route("/not-modified", on_get(|| async { StatusCode::NOT_MODIFIED }))
        .route("/a%20b", on_get(move || many(0)))
        .route("/hangs", on_get(|| async { std::future::pending::<()>().await }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

async fn ask(port: u16, path: &str, host: Option<&str>) -> String {
    let headers =
        host.map(|host| vec![k8s_openapi::api::core::v1::HTTPHeader { name: "Host".into(), value: host.into() }]);
    let action = HTTPGetAction { path: Some(path.to_owned()), http_headers: headers, ..Default::default() };
    let timeout = Duration::from_secs(if path == "/hangs" { 1 } else { 20 });
    let answer = get(&action, Purpose::Probe, "127.0.0.1", port, timeout).await;
    answer.map_or_else(|error| format!("error {error}"), |answer| format!("{} {}", answer.status, answer.body))
}

#[tokio::test]
async fn redirects_on_the_same_host_are_followed() {
    let port = serve().await;
    let own = format!("200 Some(\"127.0.0.1:{port}\")");
    for (path, expected) in [
        ("/ok", own.as_str()),
        ("ok", &own),
        ("/ok#fragment", &own),
        ("/local", &own),
        ("/to-fail", "500 "),
        ("/elsewhere", "302 moved"),
        ("/nowhere", "302 "),
        ("/round", "error Get \"/round\": stopped after 10 redirects"),
        ("/not-modified", "304 "),
        ("/a b", "200 end"),
    ] {
        assert_eq!(ask(port, path, None).await, expected, "{path}");
    }
    assert!(ask(port, "/other-scheme", None).await.ends_with("unsupported protocol scheme \"ftp\""));
    let late = format!(
        "error Get \"http://127.0.0.1:{port}/hangs\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    );
    assert_eq!(ask(port, "/hangs", None).await, late);
    assert_eq!(ask(port, "/local", Some("example.com")).await, "200 Some(\"example.com\")");
}
