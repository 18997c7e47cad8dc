//! Clients that send too slowly, too much or nonsense, or do not read: each costs nobody else anything.

use std::time::Duration;

use apiserver::server::limits::Limits;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::harness::Server;
use crate::wire::{
    Connection, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RST_STREAM, WINDOW_UPDATE, Wire, frame, head,
};

const MAPS: &str = "/api/v1/namespaces/a/configmaps";
/// Longer than anything here takes, however slow the machine is.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

fn get(path: &str, user: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user}\r\n\r\n")
}

fn post(path: &str, user: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {user}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// With a namespace `a`, and in it so many maps of 10 kB.
async fn start(limits: Limits, maps: usize) -> Wire {
    let wire = Wire::start(limits).await;
    let server = Server(wire.server.clone());
    assert_eq!(server.post("/api/v1/namespaces", json!({"metadata": {"name": "a"}})).await.code, 201);
    for number in 0..maps {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"v": "v".repeat(10_000)}});
        assert_eq!(server.post(MAPS, map).await.code, 201);
    }
    wire
}

async fn is_closed(connection: &mut Connection) -> bool {
    tokio::time::timeout(LONG, connection.read_to_end()).await.is_ok()
}

#[tokio::test]
async fn unfinished_bodies_hold_no_place() {
    let wire = start(Limits::default(), 0).await;
    // More than there are places, on one connection.
    let mut slow = wire.http2(1 << 20).await;
    let begun = |stream: u32| {
        let fields = [("content-type", "application/json"), ("content-length", "1000")];
        frame(HEADERS, END_HEADERS, 2 * stream + 1, &head("POST", MAPS, "alice", &fields))
    };
    slow.send((0..400).flat_map(begun).collect::<Vec<u8>>()).await;
    assert!(slow.settle().await.iter().all(|frame| frame.kind != GOAWAY && frame.kind != RST_STREAM));
    for user in ["alice", "bob", "admin"] {
        let mut client = wire.http1().await;
        client.send(post(MAPS, user, &json!({"metadata": {"name": user}}).to_string())).await;
        assert_eq!(tokio::time::timeout(LONG / 10, client.code()).await, Ok(201), "{user}");
    }
}

#[tokio::test]
async fn an_early_answer_does_not_cost_the_stream() {
    let wire = start(Limits::default(), 0).await;
    /// `:status: 200` as HPACK writes it.
    const OK: u8 = 0x88;
    let cases =
        [("POST", MAPS, ""), ("POST", "/api/v1/nothing", "admin"), ("PUT", MAPS, "admin"), ("POST", MAPS, "admin")];
    for (method, path, user) in cases {
        let mut client = wire.http2(1 << 20).await;
        let fields = [("content-type", "a/b"), ("content-length", "350000")];
        client.send(frame(HEADERS, END_HEADERS, 1, &head(method, path, user, &fields))).await;
        let answered = client.until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0).await;
        assert_ne!(answered.iter().find(|frame| frame.kind == HEADERS).unwrap().data[0], OK, "{method} {path}");
        // Only now comes the body.
        for _ in 0..25 {
            client.send(frame(DATA, 0, 1, &[b' '; 10_000])).await;
        }
        let reads_on = |frame: &Frame| frame.stream == 1 && matches!(frame.kind, WINDOW_UPDATE | RST_STREAM);
        let mut later = client.until(reads_on).await;
        for part in 0..10 {
            client.send(frame(DATA, u8::from(part == 9), 1, &[b' '; 10_000])).await;
        }
        later.extend(client.settle().await);
        let resets = answered.iter().chain(&later).filter(|frame| frame.kind == RST_STREAM);
        assert_eq!(resets.count(), 0, "{method} {path}");
    }
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let limits = Limits {
        handshake_timeout: SHORT,
        headers_timeout: SHORT,
        preface_timeout: SHORT,
        idle_timeout: SHORT,
        ..Limits::default()
    };
    let wire = start(limits, 0).await;
    let mut byte = [0];
    let mut no_handshake = wire.tcp().await;
    assert!(matches!(tokio::time::timeout(LONG, no_handshake.read(&mut byte)).await, Ok(Ok(0) | Err(_))));
    assert!(is_closed(&mut wire.http1().await).await, "nothing after the handshake");
    let mut half = wire.http1().await;
    half.send("GET /version HTTP/1.1\r\nHost:").await;
    assert!(is_closed(&mut half).await, "half a head");
    let mut between = wire.http1().await;
    between.send(get("/version", "alice")).await;
    assert_eq!(between.code().await, 200);
    assert!(is_closed(&mut between).await, "between requests");
    assert!(is_closed(&mut wire.connect("h2").await).await, "no preface");
    assert!(is_closed(&mut wire.http2(1 << 20).await).await, "no stream");
    // A watch may be silent.
    let mut watch = wire.http1().await;
    watch.send(get(&format!("{MAPS}?watch=1"), "alice")).await;
    assert_eq!(watch.read(15).await, b"HTTP/1.1 200 OK");
    assert!(tokio::time::timeout(5 * SHORT, watch.read_to_end()).await.is_err());
}

#[tokio::test]
async fn a_silent_crowd_shuts_nobody_out() {
    let limits = Limits { connections_max: 8, strangers_per_address_max: 6, ..Limits::default() };
    let wire = start(limits, 0).await;
    let mut client = wire.http1().await;
    client.send(get(MAPS, "alice")).await;
    assert_eq!(client.code().await, 200);
    let mut watch = wire.http1().await;
    watch.send(get(&format!("{MAPS}?watch=1"), "alice")).await;
    assert_eq!(watch.read(15).await, b"HTTP/1.1 200 OK");
    let mut crowd = Vec::new();
    for _ in 0..30 {
        crowd.push(wire.tcp().await);
    }
    let mut late = wire.http1().await;
    for client in [&mut late, &mut client] {
        client.send(get(MAPS, "bob")).await;
        assert_eq!(tokio::time::timeout(LONG, client.code()).await, Ok(200));
    }
    let map = json!({"metadata": {"name": "seen"}}).to_string();
    late.send(post(MAPS, "bob", &map)).await;
    assert_eq!(late.code().await, 201);
    let mut event = String::new();
    while !event.contains("seen") {
        event.push(char::from(watch.0.read_u8().await.unwrap()));
    }
}

#[tokio::test]
async fn answers_that_are_not_read_end() {
    let wire = start(Limits { stall_timeout: SHORT, ..Limits::default() }, 40).await;
    let mut unread = wire.http1().await;
    // More than sockets take by themselves, so that something is left at the server.
    unread.send(get(MAPS, "alice").repeat(50)).await;
    tokio::time::sleep(5 * SHORT).await;
    let read = tokio::time::timeout(LONG, unread.read_to_end()).await.expect("it is closed");
    let whole = 50 * 40 * 10_000;
    assert!(read.len() < whole, "{} of {whole} bytes", read.len());
    // Over HTTP/2 only the stream ends.
    let mut unread = wire.http2(1).await;
    unread.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", MAPS, "alice", &[]))).await;
    let reset = unread.until(|frame| frame.kind == RST_STREAM);
    assert!(tokio::time::timeout(LONG, reset).await.unwrap().iter().all(|frame| frame.kind != GOAWAY));
    unread.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &head("HEAD", "/version", "alice", &[]))).await;
    unread.until(|frame| frame.stream == 3 && frame.kind == HEADERS).await;
}

#[tokio::test]
async fn what_is_no_request_gets_an_answer_before_the_end() {
    let wire = start(Limits::default(), 0).await;
    let headers = |count: usize| (0..count).map(|number| format!("X-{number}: a\r\n")).collect::<String>();
    let version = |more: &str| format!("GET /version HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let chunked = |chunks: &str| {
        let head = post(MAPS, "alice", "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
        format!("{head}{chunks}")
    };
    let cases = [
        (version(""), 200),
        (version(&headers(200)), 200),
        (version(&headers(300)), 431),
        (version(&format!("X: {}\r\n", "a".repeat(600_000))), 200),
        (version(&format!("X: {}\r\n", "a".repeat(2_000_000))), 431),
        (format!("GET /version?a={} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(60_000)), 200),
        (format!("GET /version?a={} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000)), 414),
        ("GET /version HTTP/1.1\r\n\r\n".into(), 400),
        ("GET /version HTTP/1.0\r\n\r\n".into(), 200),
        (version("Host: y\r\n"), 400),
        ("GET /version HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
        (version("A : b\r\n"), 400),
        (version("A: b\0c\r\n"), 400),
        (version("Content-Length: +4\r\n"), 400),
        (version("Content-Length: 4\r\nContent-Length: 5\r\n"), 400),
        (version("Transfer-Encoding: xchunked\r\n"), 501),
        (version("Transfer-Encoding: gzip, chunked\r\n"), 501),
        (version("Expect: cake\r\n"), 417),
        ("GET version HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n".into(), 200),
        ("G@T /version HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
        ("GET /version HTTP/2.0\r\nHost: x\r\n\r\n".into(), 505),
        ("GET  /version HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
        ("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n\r\n".into(), 404),
        ("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n".into(), 403),
        (chunked("zz\r\n{}\r\n0\r\n\r\n"), 500),
        (chunked("2\r\n{}0\r\n\r\n"), 500),
        (chunked("fffffffffffffffff\r\n{}\r\n0\r\n\r\n"), 500),
    ];
    for (request, code) in cases {
        let mut client = wire.http1().await;
        let sent = tokio::io::AsyncWriteExt::write_all(&mut client.0, request.as_bytes()).await;
        let shown = &request[..request.len().min(80)];
        let answered = tokio::time::timeout(LONG, client.code()).await;
        assert_eq!(answered, Ok(code), "{shown:?} {sent:?}");
        if !matches!(code, 200 | 403 | 404) {
            assert!(is_closed(&mut client).await, "{shown:?}");
        }
    }
    // What says its length in two ways is read as it says that it is in pieces, and the connection ends.
    let both = chunked("2\r\n{}\r\n0\r\n\r\n").replace("Transfer-", "Content-Length: 4\r\nTransfer-");
    let mut client = wire.http1().await;
    client.send(both + &get("/version", "alice")).await;
    assert_eq!(client.code().await, 422);
    assert!(client.read_to_end().await.is_empty());
}
