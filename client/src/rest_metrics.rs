//! What is counted of the requests that components make (`rest_client_…`).

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use metrics::{Collect, Counter, Family, Histogram, Text};
use tower::Service;

use crate::Clock;

/// How many pairs of code and method there may be; methods and hosts are few.
const SERIES_MAX: usize = 1_024;

/// The families, for requests to one host.
#[derive(Debug)]
pub struct RestMetrics {
    host: String,
    requests: Family<Counter, 3>,
    durations: Family<Histogram, 2>,
    request_sizes: Family<Histogram, 2>,
    response_sizes: Family<Histogram, 2>,
}

impl RestMetrics {
    /// For requests to `host`, with its port.
    pub fn new(host: impl Into<String>) -> Self {
        let labels = ["verb", "host"];
        Self {
            host: host.into(),
            requests: Family::new("rest_client_requests_total", ["code", "method", "host"], SERIES_MAX),
            durations: Family::new("rest_client_request_duration_seconds", labels, SERIES_MAX),
            request_sizes: Family::new("rest_client_request_size_bytes", labels, SERIES_MAX),
            response_sizes: Family::new("rest_client_response_size_bytes", labels, SERIES_MAX),
        }
    }

    fn sent(&self, method: &str, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.request_sizes.with([method, &self.host], |sizes| sizes.observe(bytes as f64));
        }
    }

    fn answered(&self, method: &str, code: &str, bytes: Option<u64>, took: Duration) {
        self.requests.with([code, method, &self.host], Counter::add_one);
        self.durations.with([method, &self.host], |durations| durations.observe(took.as_secs_f64()));
        if let Some(bytes) = bytes {
            self.response_sizes.with([method, &self.host], |sizes| sizes.observe(bytes as f64));
        }
    }
}

impl Collect for RestMetrics {
    fn collect(&self, text: &mut Text) {
        self.requests.collect(text);
        self.durations.collect(text);
        self.request_sizes.collect(text);
        self.response_sizes.collect(text);
    }
}

/// A service whose calls are counted. Sizes are those of bodies that are there as a whole, which a watch's is not.
#[derive(Clone)]
pub struct Counted<S> {
    service: S,
    metrics: Arc<RestMetrics>,
    clock: Clock,
}

impl<S> Counted<S> {
    /// Counts the calls of `service`.
    pub fn new(service: S, metrics: Arc<RestMetrics>, clock: Clock) -> Self {
        Self { service, metrics, clock }
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: http_body::Body,
    R: http_body::Body,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (metrics, clock, started) = (self.metrics.clone(), self.clock.clone(), self.clock.elapsed());
        let method = request.method().clone();
        metrics.sent(method.as_str(), request.body().size_hint().exact());
        let answer = self.service.call(request);
        async move {
            let response = answer.await?;
            let took = clock.elapsed().saturating_sub(started);
            let size = response.body().size_hint().exact();
            metrics.answered(method.as_str(), response.status().as_str(), size, took);
            Ok(response)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn a_call_is_counted_with_its_code_and_sizes() {
        let metrics = Arc::new(RestMetrics::new("a:1"));
        let answer = |_: Request<Full<bytes::Bytes>>| async {
            let body = Full::new(bytes::Bytes::from_static(b"seven b"));
            Ok::<_, std::convert::Infallible>(Response::builder().status(201).body(body).unwrap())
        };
        let service = Counted::new(service_fn(answer), metrics.clone(), Clock::manual(jiff::Timestamp::UNIX_EPOCH));
        let request = Request::post("/x").body(Full::new(bytes::Bytes::from_static(b"four"))).unwrap();
        service.oneshot(request).await.unwrap();
        let mut text = Text::default();
        metrics.collect(&mut text);
        let text = text.finish();
        for line in [
            "rest_client_requests_total{code=\"201\",host=\"a:1\",method=\"POST\"} 1\n",
            "rest_client_request_size_bytes_sum{host=\"a:1\",verb=\"POST\"} 4\n",
            "rest_client_response_size_bytes_sum{host=\"a:1\",verb=\"POST\"} 7\n",
            "rest_client_request_duration_seconds_count{host=\"a:1\",verb=\"POST\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
