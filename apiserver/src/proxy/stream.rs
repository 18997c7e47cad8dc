//! Logs, exec, attach and port-forward: the node's server does it.

use std::sync::Arc;

use api::Status;
use api::field::{ErrorList, FieldError, Path};
use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use metrics::Counter;

use super::backend::BackendError;
use super::location::{self, NodeServer};
use crate::request::{Query, upgrade};
use crate::{Context, answer};

/// How much of a node's refusal is shown.
const REFUSAL_BYTES_MAX: usize = 50_000;
/// The parameters of a log that go to the node as they are.
const LOG_PARAMETERS: [&str; 8] =
    ["follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"];
/// Parameters of exec and attach, and what the node's server calls them.
const STREAM_PARAMETERS: [(&str, &str); 4] =
    [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

fn query(request: &Request<Body>) -> Query {
    Query::parse(request.uri().query().unwrap_or(""))
}

/// A query string of these parameters.
fn encode(parameters: &[(String, String)]) -> String {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// A text as part of a query.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// `pods/log`.
pub(super) async fn log(
    ctx: &Context,
    request: Request<Body>,
    kubelet: Arc<rustls::ClientConfig>,
) -> Result<Response<Body>, Status> {
    let (namespace, name) = (&ctx.info.namespace, &ctx.info.name);
    let query = query(&request);
    let errors = log_options(&query);
    if !errors.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", name, &errors));
    }
    let pod = location::find(ctx, "pods", namespace, name)?;
    let container = location::container(&pod, query.text("container"))?;
    let node = pod.str_at(&["spec", "nodeName"]);
    if node.is_empty() {
        // A pod without a node has said nothing yet.
        let mut response = answer::bytes(204, "text/plain", bytes::Bytes::new());
        response.headers_mut().remove(http::header::CONTENT_TYPE);
        return Ok(response);
    }
    let parameters: Vec<(String, String)> = LOG_PARAMETERS
        .iter()
        .filter_map(|name| query.get(name).map(|value| (name.to_string(), value.to_string())))
        .collect();
    let path = format!("/containerLogs/{namespace}/{name}/{container}{}", encode(&parameters));
    let backend = NodeServer::find(ctx, node).await?.backend(kubelet, path)?;
    let various = &ctx.registry.metrics().various;
    // The node's certificate counts, whatever the client would allow.
    various.log_backends.with(["enforce_tls"], Counter::add_one);
    let sent = backend.send(request).await;
    if sent.as_ref().is_err_and(BackendError::is_about_tls) {
        various.log_tls_failures.with([], Counter::add_one);
    }
    let response = sent.map_err(|error| Status::internal(format!("Get {:?}: {error}", backend.url())))?;
    // As WebSocket messages, the node's server sends the log itself.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    if response.status().is_success() {
        let (_, body) = response.into_parts();
        return Ok(plain(StatusCode::OK, body));
    }
    let code = response.status().as_u16();
    let refusal = Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await;
    let refusal = refusal.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    Err(match code {
        // A node may not lead anybody elsewhere (`PreventRedirects`).
        300..400 => Status::internal("the node's server redirects, which it may not"),
        500 => Status::internal(refusal),
        400 => Status::bad_request(refusal),
        404 => Status::failure(404, "NotFound", refusal),
        other => Status::failure(other, "Unknown", refusal),
    })
}

/// `ValidatePodLogOptions`
fn log_options(query: &Query) -> ErrorList {
    let mut errors = ErrorList::new();
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<i64>().ok());
    let mut refuse = |name: &str, value: i64, detail: &str| {
        errors.push(FieldError::invalid(&Path::new(name), value, detail));
    };
    if let Some(lines) = number("tailLines").filter(|lines| *lines < 0) {
        refuse("tailLines", lines, "must be greater than or equal to 0");
    }
    if let Some(bytes) = number("limitBytes").filter(|bytes| *bytes < 1) {
        refuse("limitBytes", bytes, "must be greater than 0");
    }
    match (number("sinceSeconds"), query.get("sinceTime")) {
        (Some(_), Some(_)) => {
            let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(FieldError::forbidden(&Path::unnamed(), detail));
        }
        (Some(seconds), None) if seconds < 1 => refuse("sinceSeconds", seconds, "must be greater than 0"),
        _ => {}
    }
    errors
}

fn plain(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

/// `pods/exec` and `pods/attach`.
pub(super) async fn stream(
    ctx: &Context,
    request: Request<Body>,
    path: &str,
    kubelet: Arc<rustls::ClientConfig>,
) -> Result<Response<Body>, Status> {
    let (namespace, name) = (&ctx.info.namespace, &ctx.info.name);
    let pod = location::find(ctx, "pods", namespace, name)?;
    let query = query(&request);
    let container = location::container(&pod, query.text("container"))?;
    assigned(&pod)?;
    let mut parameters: Vec<(String, String)> = STREAM_PARAMETERS
        .iter()
        // What is not said about the outputs means yes.
        .filter(|(asked, _)| query.optional_flag(asked).unwrap_or(asked.starts_with("stdo") || *asked == "stderr"))
        .map(|(_, told)| (told.to_string(), "1".to_string()))
        .collect();
    if parameters.is_empty() {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    if path == "exec" {
        let command: Vec<&str> = query.all("command").collect();
        if command.is_empty() {
            return Err(Status::bad_request("you must specify at least one command for the container"));
        }
        parameters.extend(command.into_iter().map(|word| ("command".to_string(), word.to_string())));
    }
    let path = format!("/{path}/{namespace}/{name}/{container}{}", encode(&parameters));
    to_node(ctx, &pod, request, path, kubelet).await
}

/// `pods/portforward`.
pub(super) async fn port_forward(
    ctx: &Context,
    request: Request<Body>,
    kubelet: Arc<rustls::ClientConfig>,
) -> Result<Response<Body>, Status> {
    let (namespace, name) = (&ctx.info.namespace, &ctx.info.name);
    let pod = location::find(ctx, "pods", namespace, name)?;
    let query = query(&request);
    let ports: Vec<(String, String)> = query.all("ports").map(|port| ("port".to_string(), port.to_string())).collect();
    let path = format!("/portForward/{namespace}/{name}{}", encode(&ports));
    to_node(ctx, &pod, request, path, kubelet).await
}

async fn to_node(
    ctx: &Context,
    pod: &api::Object,
    request: Request<Body>,
    path: String,
    kubelet: Arc<rustls::ClientConfig>,
) -> Result<Response<Body>, Status> {
    let backend = NodeServer::find(ctx, assigned(pod)?).await?.backend(kubelet, path)?;
    if !upgrade::is_wanted(request.headers()) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    if upgrade::is_websocket(request.headers()) {
        let labels = [&*ctx.info.subresource, "proxied_to_kubelet"];
        ctx.registry.metrics().various.websockets.with(labels, Counter::add_one);
    }
    let response =
        backend.send(request).await.map_err(|error| Status::internal(format!("error dialing backend: {error}")))?;
    let code = response.status();
    if code != StatusCode::SWITCHING_PROTOCOLS && code.as_u16() < 400 {
        return Err(Status::internal(format!("invalid upgrade response: status code {}", code.as_u16())));
    }
    Ok(response)
}

/// The node of a pod that has one.
fn assigned(pod: &api::Object) -> Result<&str, Status> {
    match pod.str_at(&["spec", "nodeName"]) {
        "" => Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name()))),
        node => Ok(node),
    }
}
