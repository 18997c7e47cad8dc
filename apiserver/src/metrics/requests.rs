//! Whole requests: how many, how long, how large, and how many at once (`MonitorRequest` in apiserver's
//! `endpoints/metrics`).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use metrics::{Collect, Counter, Family, Gauge, Histogram, Table, Tally, Text, Value, describe};

use crate::Registry;
use crate::chain::audit::Event;
use crate::chain::inflight;
use crate::request::{Query, RequestInfo};

/// How many groups of requests are kept apart, in places of two words each.
const SERIES_MAX: usize = 8_192;
/// How many pairs of code and client are kept apart in each.
const CODES_MAX: usize = 24;

const TOTAL: &str = "apiserver_request_total";
const DURATION: &str = "apiserver_request_duration_seconds";
const SLI: &str = "apiserver_request_sli_duration_seconds";
const SIZES: &str = "apiserver_response_sizes";
const INFLIGHT: &str = "apiserver_current_inflight_requests";

/// The names of the labels that every family of requests has; a dry run is the last.
const LABELS: [&str; 8] = ["verb", "group", "version", "resource", "subresource", "scope", "component", "dry_run"];

/// One group of requests.
struct Series {
    codes: Table<Tally, 2>,
    duration: Histogram,
    sli: Histogram,
    sizes: Histogram,
}

impl Series {
    fn new() -> Self {
        let histogram = |name| Histogram::new(describe(name).bounds);
        Self {
            codes: Table::new(CODES_MAX),
            duration: histogram(DURATION),
            sli: histogram(SLI),
            sizes: histogram(SIZES),
        }
    }
}

/// The most there were at once in a second, for the second under way and the one before.
#[derive(Debug, Default)]
pub(crate) struct Level {
    now: AtomicU64,
    /// The second in the upper half, the most in the lower.
    seconds: [AtomicU64; 2],
}

impl Level {
    pub(crate) fn enter(&self, second: u64) {
        let count = (self.now.fetch_add(1, Ordering::Relaxed) + 1).min(u64::from(u32::MAX));
        let packed = (second << 32) | count;
        // The second is in the upper half: a later one wins whatever its count is.
        self.seconds[(second & 1) as usize].fetch_max(packed, Ordering::Relaxed);
    }

    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn highest(&self, second: u64) -> u64 {
        let of = |second: u64| {
            let packed = self.seconds[(second & 1) as usize].load(Ordering::Relaxed);
            if packed >> 32 == second & u64::from(u32::MAX) { packed & u64::from(u32::MAX) } else { 0 }
        };
        self.now.load(Ordering::Relaxed).max(of(second)).max(of(second.wrapping_sub(1)))
    }
}

/// What is counted of requests.
pub struct Requests {
    series: Table<Series, 8>,
    long_running: Family<Gauge, 7>,
    own: Family<Counter, 4>,
    terminations: Family<Counter, 8>,
    reading: Level,
    mutating: Level,
}

impl Default for Requests {
    fn default() -> Self {
        let [verb, group, version, resource, subresource, scope, component, _] = LABELS;
        let labels = [verb, group, version, resource, subresource, scope, component];
        Self {
            series: Table::new(SERIES_MAX),
            long_running: Family::new("apiserver_longrunning_requests", labels, super::OPERATIONS_MAX),
            own: Family::new(
                "apiserver_selfrequest_total",
                [verb, group, resource, subresource],
                super::OPERATIONS_MAX,
            ),
            terminations: Family::new(
                "apiserver_request_terminations_total",
                [verb, group, version, resource, subresource, scope, component, "code"],
                super::OPERATIONS_MAX,
            ),
            reading: Level::default(),
            mutating: Level::default(),
        }
    }
}

/// A request under way, and what it is counted as.
pub struct Measured {
    registry: Registry,
    info: Arc<RequestInfo>,
    started: Instant,
    verb: &'static str,
    dry_run: &'static str,
    client: &'static str,
    reads: bool,
    long_running: bool,
}

impl Measured {
    /// Begins to measure a request.
    pub fn new(
        registry: &Registry,
        request: &Request<Body>,
        query: &Query,
        info: &Arc<RequestInfo>,
        started: Instant,
    ) -> Self {
        let reads = !inflight::changes(info);
        let measured = Self {
            verb: verb(request, info),
            dry_run: dry_run(query),
            client: system_client(request),
            registry: registry.clone(),
            info: info.clone(),
            started,
            reads,
            long_running: info.is_long_running(),
        };
        measured.begin();
        measured
    }

    fn level(&self) -> &Level {
        let requests = &self.registry.metrics().requests;
        if self.reads { &requests.reading } else { &requests.mutating }
    }

    fn begin(&self) {
        if self.long_running {
            self.change_long_running(1.0);
        } else {
            self.level().enter(self.registry.seconds(self.started));
        }
    }

    fn change_long_running(&self, change: f64) {
        let info = &self.info;
        let scope = match () {
            () if !info.name.is_empty() || info.verb == "create" => "resource",
            () if !info.namespace.is_empty() => "namespace",
            () if info.is_resource_request => "cluster",
            () => "",
        };
        let labels = [self.verb, &info.group, &info.version, &info.resource, &info.subresource, scope, "apiserver"];
        self.registry.metrics().requests.long_running.with(labels, |gauge| gauge.add(change));
    }

    /// The answer is there: what is counted of it is, once it has been sent where that takes a while.
    pub fn finish(self, response: Response<Body>, event: &Event) -> Response<Body> {
        let (code, counts) = (response.status(), event.counts);
        if event.terminated || event.refused_by_proxy {
            self.terminated(code, event.refused_by_proxy);
        }
        let size = response.body().size_hint().exact();
        match size {
            Some(size) if !self.long_running => {
                self.record(code, size, counts);
                response
            }
            _ => response.map(|body| Body::new(Sending { body, sent: 0, code, counts, measured: self })),
        }
    }

    /// The request was cut short, with this code, for the server's own sake.
    fn terminated(&self, code: StatusCode, by_proxy: bool) {
        let [verb, group, version, resource, subresource, scope, component] = self.labels();
        let component = if by_proxy { "aggregator" } else { component };
        let labels = [verb, group, version, resource, subresource, scope, component, code.as_str()];
        self.registry.metrics().requests.terminations.with(labels, Counter::add_one);
    }

    fn labels(&self) -> [&str; 7] {
        let info = &self.info;
        if info.is_resource_request {
            let component = "apiserver";
            let scope = scope(info);
            return [self.verb, &info.group, &info.version, &info.resource, &info.subresource, scope, component];
        }
        let (resource, subresource, component) = match info.path.as_str() {
            "/statusz" => ("statusz", "", "apiserver"),
            "/flagz" => ("flagz", "", "apiserver"),
            "/api" | "/apis" => ("", &info.path[1..], "apiserver"),
            path if path.starts_with("/openapi/v3") => ("", "openapi/v3", ""),
            path => ("", path, ""),
        };
        [self.verb, "", "", resource, subresource, "", component]
    }

    fn record(&self, code: StatusCode, size: u64, counts: bool) {
        let requests = &self.registry.metrics().requests;
        // A method that a path does not have leads to nothing that counts.
        let routed = code != StatusCode::METHOD_NOT_ALLOWED || self.verb == "WATCH";
        if !counts || !routed {
            return;
        }
        let [verb, group, version, resource, subresource, scope, component] = self.labels();
        if self.client == "kube-apiserver" {
            requests.own.with([verb, group, resource, subresource], Counter::add_one);
        }
        let labels = [verb, group, version, resource, subresource, scope, component, self.dry_run];
        let Some(series) = requests.series.get(labels, Series::new) else { return };
        if let Some(counter) = series.codes.get([code.as_str(), self.client], Tally::default) {
            counter.add_one();
        }
        let took = self.registry.clock().instant().saturating_duration_since(self.started).as_secs_f64();
        series.duration.observe(took);
        if self.dry_run.is_empty() {
            series.sli.observe(took);
        }
        if matches!(verb, "GET" | "LIST" | "WATCH") {
            series.sizes.observe(size as f64);
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if self.long_running {
            self.change_long_running(-1.0);
        } else {
            self.level().leave();
        }
    }
}

/// The body of an answer that is sent bit by bit; it is counted when that ends.
struct Sending {
    body: Body,
    sent: u64,
    code: StatusCode,
    counts: bool,
    measured: Measured,
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.measured.record(self.code, self.sent, self.counts);
    }
}

/// `CleanVerb` in apiserver's `endpoints/metrics`: the method, but for what is done in another way.
fn verb(request: &Request<Body>, info: &RequestInfo) -> &'static str {
    let connects = matches!(info.subresource.as_str(), "log" | "exec" | "portforward" | "attach" | "proxy");
    if info.is_resource_request && connects {
        return "CONNECT";
    }
    match *request.method() {
        Method::GET | Method::HEAD if info.verb == "watch" => "WATCH",
        Method::GET | Method::HEAD if info.is_resource_request && info.parts.len() == 1 => "LIST",
        Method::GET | Method::HEAD => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => {
            let applies = request.headers().get(CONTENT_TYPE).is_some_and(|v| v == "application/apply-patch+yaml");
            if applies { "APPLY" } else { "PATCH" }
        }
        _ => "other",
    }
}

/// What a path is about: one object, those of a namespace, or all of them.
pub(crate) fn scope(info: &RequestInfo) -> &'static str {
    match () {
        () if info.parts.len() > 1 || info.verb == "create" => "resource",
        () if !info.namespace.is_empty() => "namespace",
        () => "cluster",
    }
}

fn dry_run(query: &Query) -> &'static str {
    let mut values = query.all("dryRun").peekable();
    if values.peek().is_none() {
        return "";
    }
    if values.all(|value| value == "All") { "All" } else { "invalid" }
}

/// The components of the control plane are told apart by their agents.
fn system_client(request: &Request<Body>) -> &'static str {
    let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let name = agent.split('/').next().unwrap_or("");
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or("")
}

impl Requests {
    /// Writes how many there were at once in the last second.
    pub fn collect_levels(&self, second: u64, text: &mut Text) {
        for (kind, level) in [("mutating", &self.mutating), ("readOnly", &self.reading)] {
            text.value(INFLIGHT, &[("request_kind", kind)], level.highest(second) as f64);
        }
    }
}

impl Collect for Requests {
    fn collect(&self, text: &mut Text) {
        use metrics::Labels;
        let without = &LABELS[..7];
        for (values, series) in self.series.iter() {
            let all = Labels::new(&LABELS, &values);
            for ([code, client], counter) in series.codes.iter() {
                let names: Vec<&str> = LABELS.into_iter().chain(["code", "system_client"]).collect();
                let values: Vec<&str> = values.into_iter().chain([code, client]).collect();
                counter.write(TOTAL, &Labels::new(&names, &values), text);
            }
            series.duration.write(DURATION, &all, text);
            let shared = Labels::new(without, &values[..7]);
            if values[7].is_empty() {
                series.sli.write(SLI, &shared, text);
                if series.sizes.count() > 0 {
                    series.sizes.write(SIZES, &shared, text);
                }
            }
        }
        self.long_running.collect(text);
        self.own.collect(text);
        self.terminations.collect(text);
    }
}
