//! Priority and fairness: who gets seats, who waits, who is refused, and what is told of it.

use std::time::Duration;

use api::UserInfo;
use axum::body::Body;
use futures::{FutureExt, StreamExt};
use http::Request;
use serde_json::{Value, json};

use crate::levels::{DUMPS, GROUP, MAPS, ask, figure, get, hold, level, made, queues, row, server, text, wait};

#[tokio::test]
async fn a_level_that_is_full_refuses_and_others_do_not() {
    let (server, clock) = server(8, true).await;
    let reject = || json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}});
    let (level_uid, schema_uid) = level(&server, "own", &["alice"], reject()).await;
    let held = hold(&server, "alice", 4).await;
    let refused = get(&server, "alice").await;
    assert_eq!(refused.status(), 429);
    let header = |name: &str| refused.headers()[name].to_str().unwrap().to_string();
    assert_eq!((header("retry-after"), header("content-type")), ("1".into(), "text/plain; charset=utf-8".into()));
    assert_eq!(header("x-kubernetes-pf-prioritylevel-uid"), level_uid);
    assert_eq!(header("x-kubernetes-pf-flowschema-uid"), schema_uid);
    let body = axum::body::to_bytes(refused.into_body(), 1_000).await.unwrap();
    assert_eq!(&body[..], b"Too many requests, please try again later.\n");
    // Others have what is theirs, and no limit holds for administrators.
    let _others = hold(&server, "bob", 4).await;
    assert_eq!(get(&server, "bob").await.status(), 429, "the level of everybody else is full too");
    assert_eq!(server.get(MAPS).await.code, 200);
    let of_own = "{flow_schema=\"own\",priority_level=\"own\"";
    assert_eq!(figure(&server, &format!("rejected_requests_total{of_own},reason=\"concurrency-limit\"}}")).await, 1.0);
    assert_eq!(figure(&server, &format!("current_executing_seats{of_own}}}")).await, 4.0);
    // Who goes on is told to stay away for longer.
    for _ in 0..3 {
        clock.forward(1);
        for _ in 0..9 {
            get(&server, "alice").await;
        }
    }
    let later: u32 = get(&server, "alice").await.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(later > 1, "{later}");
    drop(held);
    assert_eq!(get(&server, "alice").await.status(), 200);
    assert_eq!(figure(&server, &format!("current_executing_requests{of_own}}}")).await, 0.0);
}

#[tokio::test]
async fn one_user_does_not_stand_before_another() {
    let (server, _) = server(4, true).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": queues(64, 50)});
    level(&server, "own", &["alice", "bob"], limited).await;
    let mut held = hold(&server, "alice", 2).await;
    let mut alices = wait(&server, "alice", 30);
    let mut bobs = wait(&server, "bob", 1);
    for round in 1..=3 {
        held.remove(0);
        if let Some(answer) = bobs[0].as_mut().now_or_never() {
            assert_eq!(answer.status(), 200);
            break;
        }
        assert!(round < 3, "bob waits behind alice");
        let served = alices.iter_mut().find_map(|request| request.now_or_never()).expect("somebody is served");
        held.push(served);
    }
    // Who leaves is gone.
    drop((alices, bobs, held));
    let row = row(&server, "own").await.unwrap();
    assert_eq!(row[1..6], ["0", "true", "false", "0", "0"], "{row:?}");
    assert_eq!(figure(&server, "current_inqueue_seats{flow_schema=\"own\",priority_level=\"own\"}").await, 0.0);
}

#[tokio::test]
async fn who_waits_too_long_or_finds_its_queue_full_is_refused() {
    let (server, _) = server(4, true).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": queues(1, 2)});
    level(&server, "own", &["alice"], limited).await;
    let held = hold(&server, "alice", 2).await;
    let waiting = wait(&server, "alice", 2);
    let refused = get(&server, "alice").now_or_never().expect("an answer at once");
    assert_eq!(refused.status(), 429);
    drop(waiting);
    let refused = ask(&server, "alice", "GET", &format!("{MAPS}?timeout=40ms")).await;
    assert_eq!(refused.status(), 429, "a quarter of its time is over");
    drop(held);
    assert_eq!(get(&server, "alice").await.status(), 200);
    let rejected = async |reason: &str| {
        let labels = format!("{{flow_schema=\"own\",priority_level=\"own\",reason=\"{reason}\"}}");
        figure(&server, &format!("rejected_requests_total{labels}")).await
    };
    assert_eq!((rejected("queue-full").await, rejected("time-out").await), (1.0, 3.0));
}

#[tokio::test]
async fn a_watch_has_its_seat_until_the_state_is_sent() {
    let (server, _) = server(2, true).await;
    made(&server, MAPS, json!({"metadata": {"name": "m"}})).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": queues(1, 9)});
    level(&server, "own", &["alice"], limited).await;
    let watch = ask(
        &server,
        "alice",
        "GET",
        &format!("{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"),
    )
    .await;
    assert_eq!(watch.status(), 200);
    assert!(watch.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
    let mut waiting = wait(&server, "alice", 1);
    let mut events = watch.into_body().into_data_stream();
    for expected in ["ADDED", "BOOKMARK"] {
        let event = events.next().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&event).contains(expected));
    }
    assert_eq!(waiting.remove(0).await.status(), 200);
    let type_watch = "request_execution_seconds_count{flow_schema=\"own\",priority_level=\"own\",type=\"watch\"}";
    assert_eq!(figure(&server, type_watch).await, 1.0);
    let of_others = ask(&server, "alice", "GET", "/api/v1/namespaces/a/pods/p/log").await;
    assert!(!of_others.headers().contains_key("x-kubernetes-pf-flowschema-uid"), "what lasts belongs to no flow");
}

/// A client that does not read what it asked for gives its seats to those who wait, though not its answer.
#[tokio::test]
async fn an_answer_that_stands_still_gives_way() {
    let (server, clock) = server(2, true).await;
    made(&server, MAPS, json!({"metadata": {"name": "m"}})).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": queues(1, 9)});
    level(&server, "own", &["alice"], limited).await;
    let watch = ask(&server, "alice", "GET", &format!("{MAPS}?watch=1")).await;
    let mut waiting = wait(&server, "alice", 1);
    let moves = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            clock.forward(1);
        }
    };
    let answer = tokio::select! {
        answer = waiting.remove(0) => answer,
        () = moves => unreachable!("time does not end"),
    };
    assert_eq!(answer.status(), 200);
    let event = watch.into_body().into_data_stream().next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&event).contains("ADDED"));
}

#[tokio::test]
async fn levels_lend_what_they_do_not_need_and_get_it_back() {
    let (server, clock) = server(30, true).await;
    let limited = |lendable: usize, borrowing: usize| {
        json!({"nominalConcurrencyShares": 5, "lendablePercent": lendable, "borrowingLimitPercent": borrowing,
            "limitResponse": queues(1, 100)})
    };
    level(&server, "idle", &["alice"], limited(80, 100)).await;
    level(&server, "busy", &["bob"], limited(0, 50)).await;
    let limit =
        async |level: &str| figure(&server, &format!("current_limit_seats{{priority_level=\"{level}\"}}")).await;
    let seats = async |family: &str| figure(&server, &format!("{family}_limit_seats{{priority_level=\"idle\"}}")).await;
    assert_eq!((seats("nominal").await, seats("lower").await, seats("upper").await), (10.0, 2.0, 20.0));
    let first = limit("busy").await as usize;
    let held = hold(&server, "bob", first).await;
    let mut waiting = wait(&server, "bob", 20);
    clock.forward(10);
    // Whoever comes finds that it is due.
    assert_eq!(get(&server, "alice").await.status(), 200);
    assert_eq!(limit("busy").await, 15.0, "no more than half of its own");
    // What is left is divided by what the others aim at: two of it, which others may not have, and ten.
    assert_eq!(limit("idle").await, 3.0);
    let granted: Vec<_> = waiting.iter_mut().filter_map(|request| request.now_or_never()).collect();
    assert_eq!(granted.len(), 15 - first);
    let fraction = figure(&server, "seat_fair_frac").await;
    assert!(fraction > 0.0, "{fraction}");
    // What the other needs comes back as it needs it, and seats that are taken are not taken away.
    drop((waiting, granted));
    let _alices = hold(&server, "alice", 3).await;
    let _more = wait(&server, "alice", 9);
    clock.forward(10);
    server.get("/metrics").await;
    // One seat is gone to whoever looks at the figures, and no limit holds for them.
    assert_eq!(limit("idle").await, 9.0);
    assert_eq!(figure(&server, "demand_seats_high_watermark{priority_level=\"idle\"}").await, 12.0);
    drop(held);
}

#[tokio::test]
async fn what_is_configured_counts_for_the_next_request() {
    let (server, clock) = server(10, true).await;
    let limited = |shares: usize| json!({"nominalConcurrencyShares": shares, "limitResponse": queues(4, 50)});
    level(&server, "own", &["alice"], limited(5)).await;
    let held = hold(&server, "alice", 5).await;
    let mut waiting = wait(&server, "alice", 3);
    let url = format!("{GROUP}/prioritylevelconfigurations/own");
    assert_eq!(server.merge(&url, json!({"spec": {"limited": limited(20)}})).await.code, 200);
    assert_eq!(get(&server, "bob").await.status(), 200);
    assert!(waiting.iter_mut().all(|request| request.now_or_never().is_some()), "there are eight seats now");
    // A level that goes drains: who has seats keeps them, and new requests go elsewhere.
    assert_eq!(server.delete(&url, Value::Null).await.code, 200);
    let answer = get(&server, "alice").await;
    assert_eq!((answer.status().as_u16(), answer.headers()["x-kubernetes-pf-prioritylevel-uid"].len()), (200, 0));
    let quiescing = row(&server, "own").await.unwrap();
    assert_eq!((quiescing[3].as_str(), quiescing[5].as_str()), ("true", "5"), "{quiescing:?}");
    drop(held);
    clock.forward(10);
    server.get("/metrics").await;
    assert_eq!(row(&server, "own").await, None);
    assert_eq!(figure(&server, "nominal_limit_seats{priority_level=\"catch-all\"}").await, 10.0);
}

#[tokio::test]
async fn wide_requests_have_many_seats() {
    let (server, _) = server(100, true).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Queue",
        "queuing": {"queues": 8, "handSize": 2, "queueLengthLimit": 50}}});
    level(&server, "own", &["alice"], limited).await;
    for number in 0..4 {
        let map = json!({"metadata": {"name": format!("m{number}")}, "data": {"a": "x".repeat(200_000)}});
        made(&server, MAPS, map).await;
    }
    let list = ask(&server, "alice", "GET", MAPS).await;
    let seats = "current_executing_seats{flow_schema=\"own\",priority_level=\"own\"}";
    // 800 kB are eight seats, which is as much as fifteen percent of fifty.
    assert_eq!(figure(&server, seats).await, 8.0);
    let one = ask(&server, "alice", "GET", &format!("{MAPS}?limit=1")).await;
    assert_eq!(figure(&server, seats).await, 8.0 + 3.0);
    let get = ask(&server, "alice", "GET", &format!("{MAPS}/m0")).await;
    assert_eq!(figure(&server, seats).await, 8.0 + 3.0 + 1.0);
    drop((list, one, get));
    // Those who watch cost a change something after it is answered.
    let mut watches = Vec::new();
    for _ in 0..20 {
        watches.push(ask(&server, "admin", "GET", &format!("{MAPS}?watch=1&resourceVersion=1")).await);
    }
    assert_eq!(ask(&server, "alice", "DELETE", &format!("{MAPS}/m0")).await.status(), 200);
    let sum = "watch_count_samples_sum{flow_schema=\"own\",priority_level=\"own\"}";
    assert_eq!(figure(&server, sum).await, 20.0);
}

#[tokio::test]
async fn unfinished_bodies_hold_no_seat() {
    let (server, _) = server(2, true).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}});
    level(&server, "own", &["alice", "bob"], limited).await;
    let post = |user: &str, body: Body| {
        let request = Request::post(MAPS).header("content-type", "application/json");
        let request = request.extension(UserInfo::new(user, &[])).body(body).unwrap();
        let server = server.0.clone();
        async move { server.handle(request).await.status().as_u16() }.boxed()
    };
    let endless = || Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>());
    let mut unfinished: Vec<_> = (0..5).map(|_| post("alice", endless())).collect();
    assert!(unfinished.iter_mut().all(|request| request.now_or_never().is_none()));
    let map = |name: &str| Body::from(json!({"metadata": {"name": name}}).to_string());
    assert_eq!(post("bob", map("first")).await, 201);
    let held = hold(&server, "alice", 1).await;
    assert_eq!(post("bob", map("second")).await, 429, "when it is there it needs a seat");
    drop(held);
    assert_eq!(post("bob", map("second")).await, 201);
}

#[tokio::test]
async fn requests_are_shown_with_their_queues() {
    let (server, _) = server(4, true).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": queues(1, 9)});
    level(&server, "own", &["alice"], limited).await;
    let _held = hold(&server, "alice", 2).await;
    let _waiting = wait(&server, "alice", 1);
    let rows = async |what: &str| -> Vec<Vec<String>> {
        let text = text(&server, &format!("{DUMPS}/{what}")).await;
        text.lines().map(|line| line.split(',').map(|cell| cell.trim().to_string()).collect()).collect()
    };
    let levels = rows("dump_priority_levels").await;
    assert_eq!(levels.iter().map(|row| row[0].as_str()).collect::<Vec<_>>()[1..], ["catch-all", "exempt", "own"]);
    assert_eq!(levels[3][1..], ["1", "false", "false", "1", "2", "2", "0", "0", "0"]);
    let queues = rows("dump_queues").await;
    assert_eq!((queues.len(), &queues[1][..5]), (2, &["own", "0", "1", "2", "2"].map(String::from)[..]));
    assert!(queues[1][5].ends_with("ss") && queues[1][6..] == ["1", "1", "0.00300000ss"], "{:?}", queues[1]);
    let requests = rows("dump_requests?includeRequestDetails=1").await;
    let own: Vec<_> = requests.iter().filter(|row| row[0] == "own").collect();
    assert_eq!(own.iter().map(|row| row[3].as_str()).collect::<Vec<_>>(), ["0", "-1", "-1"]);
    assert_eq!(own[0][9], "0001-01-01T00:00:00Z");
    assert_eq!(own[0][10..], ["alice", "list", MAPS, "a", "", "v1", "configmaps", ""]);
    assert_eq!((own[0][4].as_str(), own[0][8].as_str()), ("alice", "0s"));
    assert_eq!(rows("dump_requests").await[0].len(), 10);
    assert_eq!(ask(&server, "alice", "GET", &format!("{DUMPS}/dump_all")).now_or_never().map(|a| a.status()), None);
    assert_eq!(server.get(&format!("{DUMPS}/dump_all")).await.code, 404);
}

/// Every family that is declared is written, but for those of what happens seldom.
#[tokio::test]
async fn every_figure_is_told() {
    let (server, _) = server(4, true).await;
    let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": queues(1, 1)});
    level(&server, "own", &["alice"], limited).await;
    let _held = hold(&server, "alice", 2).await;
    let _waiting = wait(&server, "alice", 1);
    assert_eq!(get(&server, "alice").await.status(), 429);
    ask(&server, "alice", "DELETE", &format!("{MAPS}/none")).now_or_never();
    ask(&server, "bob", "DELETE", &format!("{MAPS}/none")).await;
    let text = text(&server, "/metrics").await;
    let families = metrics::Book::Components.all().keys().filter(|name| name.starts_with("apiserver_flowcontrol_"));
    let seldom =
        ["apiserver_flowcontrol_epoch_advance_total", "apiserver_flowcontrol_request_dispatch_no_accommodation_total"];
    let missing: Vec<_> =
        families.filter(|name| !seldom.contains(name) && !text.contains(&format!("# TYPE {name} "))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(text.contains("apiserver_current_inqueue_requests{request_kind=\"readOnly\"} 1\n"), "{text}");
}

#[tokio::test]
async fn without_fairness_nobody_waits() {
    let (server, _) = server(3, false).await;
    made(&server, MAPS, json!({"metadata": {"name": "m"}})).await;
    let held = hold(&server, "alice", 2).await;
    for user in ["alice", "bob"] {
        let refused = get(&server, user).now_or_never().expect("an answer at once");
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));
        assert!(!refused.headers().contains_key("x-kubernetes-pf-flowschema-uid"));
    }
    assert_eq!(server.get(MAPS).await.code, 200, "administrators always get an answer");
    assert_eq!(
        ask(&server, "bob", "DELETE", &format!("{MAPS}/m")).await.status(),
        200,
        "who writes has places of its own"
    );
    assert_eq!(ask(&server, "bob", "GET", &format!("{MAPS}?watch=1")).await.status(), 200, "what lasts needs none");
    assert_eq!(server.get(&format!("{DUMPS}/dump_queues")).await.code, 404);
    drop(held);
    assert_eq!(get(&server, "bob").await.status(), 200);
}
