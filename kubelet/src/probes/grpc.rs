//! gRPC health checks (`grpc.health.v1.Health/Check`).

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::{Code, Request, client::Grpc, transport::Endpoint};
use tonic_prost::ProstCodec;

use super::check::Outcome;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks a server for the health of a service.
pub async fn check(host: &str, port: u16, service: String, timeout: Duration) -> Outcome {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let limit = timeout.as_secs();
    let late = || Outcome::Failure(format!("timeout: failed to connect service {authority:?} within {limit}s"));
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{authority}")) else {
        return Outcome::Error(format!("invalid address {authority:?}"));
    };
    let exchange = async {
        let Ok(channel) = endpoint.connect_timeout(timeout).connect().await else { return late() };
        let mut client = Grpc::new(channel);
        if client.ready().await.is_err() {
            return late();
        }
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
        match client.unary(Request::new(HealthCheckRequest { service: service.clone() }), path, codec).await {
            Ok(answer) => match answer.into_inner().status {
                1 => Outcome::Success,
                status => Outcome::Failure(format!("service unhealthy (responded with {:?})", status_name(status))),
            },
            Err(status) if status.code() == Code::Unimplemented => Outcome::Failure(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
            ),
            Err(status) => Outcome::Failure(format!("error: health rpc failed: {}", status.message())),
        }
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| late())
}

fn status_name(status: i32) -> &'static str {
    match status {
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}
