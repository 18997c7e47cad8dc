//! How much memory a hostile request may take, counted by the allocator. One test, since the count is the process's.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::UserInfo;
use apiserver::{ApiServer, Config};
use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::json;

#[path = "api/wire.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod wire;

use wire::{END_HEADERS, END_STREAM, HEADERS, Wire, frame, head};

const MIB: usize = 1 << 20;
const MAPS: &str = "/api/v1/namespaces/a/configmaps";

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn request(method: &str, url: &str, content: &str, body: Bytes) -> Request<Body> {
    let request = Request::builder().method(method).uri(url).header("content-type", content);
    request.extension(UserInfo::new("admin", &["system:masters"])).body(Body::from(body)).unwrap()
}

/// Runs `work` and fails if it took more than so many bytes at any time, beside what was there before.
async fn check<T>(what: &str, bytes_max: usize, work: impl Future<Output = T>) -> T {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work.await;
    let taken = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    println!("{what}: {:.1} MiB", taken as f64 / MIB as f64);
    assert!(taken <= bytes_max, "{what} takes {taken} bytes");
    result
}

async fn code(response: Response<Body>) -> u16 {
    let code = response.status().as_u16();
    response.into_body().collect().await.unwrap();
    code
}

#[tokio::test]
async fn hostile_requests_take_bounded_memory() {
    let mut config = Config::new(store::Memory::new());
    config.plugins.strategy_of = apiserver::strategy::of;
    wire::plug(&mut config);
    let server = ApiServer::new(config);
    let send = |method: &str, url: &str, content: &str, body: Bytes| {
        let answer = server.handle(request(method, url, content, body));
        async { code(answer.await).await }
    };
    let json = "application/json";
    assert_eq!(
        send("POST", "/api/v1/namespaces", json, json!({"metadata": {"name": "a"}}).to_string().into()).await,
        201
    );

    let deep: Bytes = "[".repeat(3 * MIB).into();
    let answer = check("deep JSON", 8 * MIB, send("POST", MAPS, json, deep)).await;
    assert_eq!(answer, 400);
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_string();
    for (name, before) in ('b'..='l').zip('a'..) {
        bomb.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(",")));
    }
    let answer = check("YAML aliases", 8 * MIB, send("POST", MAPS, "application/yaml", bomb.into())).await;
    assert_eq!(answer, 400);
    let lies: Bytes = b"k8s\0\x12\xff\xff\xff\xff\x0f".as_slice().into();
    let answer = check("protobuf", MIB, send("POST", MAPS, "application/vnd.kubernetes.protobuf", lies)).await;
    assert_eq!(answer, 400);
    // The densest body there is: half a value a byte.
    let dense: Bytes = format!("{{\"metadata\":{{\"name\":\"d\"}},\"x\":[{}0]}}", "0,".repeat(1_500_000)).into();
    let answer = check("dense JSON", 160 * MIB, send("POST", &format!("{MAPS}?dryRun=All"), json, dense.clone())).await;
    assert_eq!(answer, 201);
    // Many of them at once take no more than the two that fit into the room for large bodies.
    let dense: Vec<Request<Body>> =
        (0..24).map(|_| request("POST", &format!("{MAPS}?dryRun=All"), json, dense.clone())).collect();
    let all = futures::future::join_all(dense.into_iter().map(|request| server.handle(request)));
    let answers = check("dense JSON at once", 320 * MIB, all).await;
    assert!(answers.iter().all(|answer| answer.status() == 201));

    let value = "v".repeat(100_000);
    for number in 0..200 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"v": value}}).to_string();
        assert_eq!(send("POST", MAPS, json, map.into()).await, 201);
    }
    // Twenty megabytes that one client begins to read, and then no longer does.
    let slow = async {
        let response = server.handle(request("GET", MAPS, json, Bytes::new())).await;
        let mut body = response.into_body().into_data_stream();
        let first = body.next().await.unwrap().unwrap();
        assert!(first.len() < 2 * MIB);
        body
    };
    let body = check("a list that is read slowly", 2 * MIB, slow).await;
    let rest = body.fold(0, |sum, bytes| async move { sum + bytes.unwrap().len() });
    assert!(check("the rest of the list", 2 * MIB, rest).await > 15 * MIB);
    unread_answers(server).await;
}

/// Clients that do not read what they asked for: many connections, many requests on one, and many streams of one.
async fn unread_answers(server: ApiServer) {
    const LIST: &str = "GET /api/v1/namespaces/a/configmaps HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n";
    /// What a connection takes at both of its ends, here and in the client.
    const CONNECTION_BYTES: usize = 400 << 10;
    let wire = Wire::serve(server).await;
    let connections = async {
        let mut open = Vec::new();
        for _ in 0..40 {
            let mut client = wire.http1().await;
            client.send(LIST).await;
            client.read(1_000).await;
            open.push(client);
        }
        tokio::time::sleep(SETTLE).await;
        open
    };
    drop(check("40 lists of 20 MB that nobody reads", 40 * CONNECTION_BYTES, connections).await);
    for (what, request) in [("lists", LIST.to_string()), ("answers without a body", LIST.replace("GET", "HEAD"))] {
        let pipelined = async {
            let mut client = wire.http1().await;
            client.send(request.repeat(10)).await;
            let _ = tokio::time::timeout(SETTLE, client.send(request.repeat(20_000))).await;
            client
        };
        drop(check(&format!("20 000 {what} in a row that nobody reads"), 8 * MIB, pipelined).await);
    }
    let streams = async {
        let mut client = wire.http2(1 << 30).await;
        let get = |stream: u32| {
            let head = head("GET", "/api/v1/namespaces/a/configmaps", "admin", &[]);
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &head)
        };
        client.send((0..100).flat_map(get).collect::<Vec<u8>>()).await;
        tokio::time::sleep(SETTLE).await;
        client
    };
    drop(check("100 streams of 20 MB that nobody reads", 100 * CONNECTION_BYTES, streams).await);
}

/// How long what is asked for has to pile up, if it does.
const SETTLE: Duration = Duration::from_secs(2);
