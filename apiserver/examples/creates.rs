//! Creates pods in process, without TLS: `creates COUNT` sends each through the router from memory and prints the
//! rate of one thread. It is there to be profiled.

use std::time::Instant;

use apiserver::bootstrap::{Bootstrap, reconcile};
use apiserver::certificates::Pki;
use apiserver::clock::SystemClock;
use apiserver::{ApiServer, Config, assembly};
use axum::body::Body;
use tower::ServiceExt;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn pod(name: &str) -> String {
    let env: Vec<String> =
        (0..40).map(|i| format!("{{\"name\":\"VARIABLE_{i}\",\"value\":\"some value number {i} of many\"}}")).collect();
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"app\":\"load\"}}}},\
         \"spec\":{{\"containers\":[{{\"name\":\"c\",\"image\":\"busybox\",\"env\":[{}]}}]}}}}",
        env.join(",")
    )
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let count: usize = std::env::args().nth(1).ok_or("a number of pods")?.parse()?;
    let pki = Pki::in_memory(SystemClock::shared().now())?;
    let mut config = Config::new(store::Memory::new());
    config.service_cidrs = vec!["10.43.0.0/16".parse()?];
    config.advertised = "127.0.0.1:6443".into();
    config.plugins = assembly::assemble(&pki, &config.issuer, &config.advertised, None)?.plugins;
    let server = ApiServer::new(config);
    let bootstrap = Bootstrap {
        advertise_address: "127.0.0.1".parse()?,
        secure_port: 6443,
        client_ca_pem: pki.authority_pem().to_string(),
    };
    reconcile(server.registry(), &bootstrap).await?;
    server.set_ready();
    let router = server.router();
    let post = async |path: &str, body: String| -> Result<(), Failure> {
        let user = api::UserInfo::new("admin", &["system:masters"]);
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .extension(user)
            .body(Body::from(body))?;
        let answer = router.clone().oneshot(request).await?;
        let status = answer.status();
        let text = axum::body::to_bytes(answer.into_body(), usize::MAX).await?;
        if status.is_success() { Ok(()) } else { Err(String::from_utf8_lossy(&text).into_owned().into()) }
    };
    post("/api/v1/namespaces", "{\"metadata\":{\"name\":\"load\"}}".into()).await?;
    post("/api/v1/namespaces/load/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}".into()).await?;
    let started = Instant::now();
    for index in 0..count {
        post("/api/v1/namespaces/load/pods", pod(&format!("p{index:06}"))).await?;
    }
    let took = started.elapsed();
    println!("create: {count} in {took:?}: {:.0}/s", count as f64 / took.as_secs_f64());
    Ok(())
}
