//! The paths, and who answers at each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use k8s_cri::v1::{AttachRequest, ContainerState, ExecRequest, PortForwardRequest};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tonic::Code;

use super::logs::{self, Options};
use super::query::{Query, decode};
use super::{Node, figures, identity, pages, stats, system_logs};
use crate::directory::{ContainerRecord, PodRecord};
use crate::streaming::{self, Streams};

/// How long a command of `/run` may take.
const RUN_SECONDS_MAX: u64 = 120;

/// How many ports one WebSocket may forward: a channel has one byte for its number, and a port has two channels.
const FORWARDED_PORTS_MAX: usize = 128;

/// A failure as the client sees it: a status and a line of text.
pub(super) struct Failure(pub(super) StatusCode, pub(super) String);

pub(super) type Answer = Result<Response<Body>, Failure>;

/// A handler's failure becomes a response.
impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        text(self.0, &self.1)
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let code = match status.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(code, status.message().to_owned())
    }
}

impl From<streaming::Error> for Failure {
    fn from(error: streaming::Error) -> Self {
        Self(error.status(), error.to_string())
    }
}

/// A response of text.
pub(super) fn text(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// An answer of a media type.
pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// All routes, behind the check of who asks.
pub(super) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { typed("text/plain; charset=utf-8", "ok") }))
        .route("/pods", get(pods))
        .route("/runningpods", get(running_pods))
        .route("/runningpods/", get(running_pods))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(container_logs))
        .route("/exec/{namespace}/{pod}/{container}", any(exec))
        .route("/exec/{namespace}/{pod}/{uid}/{container}", any(exec_uid))
        .route("/attach/{namespace}/{pod}/{container}", any(attach))
        .route("/attach/{namespace}/{pod}/{uid}/{container}", any(attach_uid))
        .route("/portForward/{namespace}/{pod}", any(port_forward))
        .route("/portForward/{namespace}/{pod}/{uid}", any(port_forward_uid))
        .route("/run/{namespace}/{pod}/{container}", post(run))
        .route("/stats/summary", get(stats_summary))
        .route("/metrics", get(pages::metrics))
        .route("/metrics/cadvisor", get(pages::cadvisor))
        .route("/metrics/probes", get(pages::probes))
        .route("/metrics/resource", get(pages::resource))
        .route("/configz", get(pages::configz))
        .route("/flagz", get(pages::flagz))
        .route("/statusz", get(pages::statusz))
        .route("/logs", get(system_logs))
        .route("/logs/", get(system_logs))
        .route("/logs/{*path}", get(system_logs))
        .layer(from_fn_with_state(node.clone(), identity::check))
        .layer(from_fn_with_state(node.clone(), figures::count))
        .with_state(node)
}

impl Node {
    fn pod(&self, namespace: &str, name: &str) -> Result<Arc<PodRecord>, Failure> {
        let found = self.directory.find(namespace, name);
        found.ok_or_else(|| Failure(StatusCode::NOT_FOUND, format!("pod {name:?} does not exist")))
    }

    /// The instance of a container that can run a command.
    fn container(&self, namespace: &str, pod: &str, name: &str) -> Result<ContainerRecord, Failure> {
        let record = self.pod(namespace, pod)?;
        let missing = || Failure(StatusCode::NOT_FOUND, format!("container not found ({name:?})"));
        record.container(name).cloned().ok_or_else(missing)
    }
}

async fn pods(State(node): State<Arc<Node>>) -> Answer {
    let items: Vec<Arc<Pod>> = node.directory.list().iter().map(|record| record.pod.clone()).collect();
    let items: Vec<&Pod> = items.iter().map(|pod| &**pod).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    Ok(typed("application/json", list.to_string()))
}

/// What runs, as the runtime knows it: names, UIDs and images, and nothing of the API's (`getRunningPods` in
/// pkg/kubelet/server, `ToAPIPod` in pkg/kubelet/container).
async fn running_pods(State(node): State<Arc<Node>>) -> Answer {
    let records = node.directory.list();
    let items: Vec<Value> = records.iter().filter_map(|record| running_pod(record)).collect();
    let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
    Ok(typed("application/json", list.to_string()))
}

/// A pod of which the sandbox or a container runs.
fn running_pod(record: &PodRecord) -> Option<Value> {
    let running = record.containers.iter().filter(|container| container.running);
    let containers: Vec<Value> = running.map(|container| running_container(record, container)).collect();
    if containers.is_empty() && !record.sandbox_ready {
        return None;
    }
    let metadata = &record.pod.metadata;
    Some(json!({
        "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "spec": {"containers": containers},
        "status": {},
    }))
}

fn running_container(record: &PodRecord, container: &ContainerRecord) -> Value {
    json!({"name": container.name, "image": logs::image_of(&record.pod, &container.name), "resources": {}})
}

type ContainerPath = Path<(String, String, String)>;
type ContainerUidPath = Path<(String, String, String, String)>;

async fn container_logs(
    State(node): State<Arc<Node>>,
    Path((namespace, pod, container)): ContainerPath,
    request: Request,
) -> Answer {
    let bad = |message: String| Failure(StatusCode::BAD_REQUEST, message);
    let query = Query::parse(request.uri().query());
    let now = node.clock.now();
    let options = Options::parse(|name| query.get(name).map(str::to_owned), now)
        .map_err(|message| Failure(StatusCode::UNPROCESSABLE_ENTITY, message))?;
    let record = node.pod(&namespace, &pod)?;
    if !logs::has_container(&record.pod, &container) {
        return Err(Failure(StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {pod:?}")));
    }
    let instance = if options.previous { record.previous(&container) } else { record.container(&container) };
    let instance = instance.cloned().ok_or_else(|| bad(logs::missing(&record.pod, &container, options.previous)))?;
    let cri = node.cri.clone();
    let id = instance.id.clone();
    let running = move || {
        let (cri, id) = (cri.clone(), id.clone());
        async move {
            let status = cri.container_status(&id).await;
            status.is_ok_and(|status| {
                matches!(status.state(), ContainerState::ContainerRunning | ContainerState::ContainerCreated)
            })
        }
    };
    let content = logs::read(instance.log_path, options, running).map_err(|error| bad(error.to_string()))?;
    if streaming::is_websocket(request.headers()) {
        return Ok(streaming::send_stream(request, content)?);
    }
    Ok(typed("text/plain", Body::from_stream(content)))
}

/// The streams that the parameters ask for, in the kubelet's spelling or that of the Pod subresources.
fn streams(query: &Query) -> Result<Streams, Failure> {
    let tty = query.flag("tty");
    let streams = Streams {
        stdin: query.flag("input") || query.flag("stdin"),
        stdout: query.flag("output") || query.flag("stdout"),
        stderr: (query.flag("error") || query.flag("stderr")) && !tty,
        tty,
    };
    if !(streams.stdin || streams.stdout || streams.stderr) {
        let message = "you must specify at least 1 of stdin, stdout, stderr".to_owned();
        return Err(Failure(StatusCode::BAD_REQUEST, message));
    }
    Ok(streams)
}

async fn exec(node: State<Arc<Node>>, Path((namespace, pod, container)): ContainerPath, request: Request) -> Answer {
    run_exec(node, &namespace, &pod, &container, request).await
}

async fn exec_uid(
    node: State<Arc<Node>>,
    Path((namespace, pod, _, container)): ContainerUidPath,
    request: Request,
) -> Answer {
    run_exec(node, &namespace, &pod, &container, request).await
}

async fn run_exec(
    State(node): State<Arc<Node>>,
    namespace: &str,
    pod: &str,
    container: &str,
    request: Request,
) -> Answer {
    let query = Query::parse(request.uri().query());
    let streams = streams(&query)?;
    let container = node.container(namespace, pod, container)?;
    let exec = ExecRequest {
        container_id: container.id,
        cmd: query.all("command"),
        tty: streams.tty,
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
    };
    let url = node.cri.runtime().exec(exec).await?.into_inner().url;
    Ok(streaming::remote_command(request, &url, streams).await?)
}

async fn attach(node: State<Arc<Node>>, Path((namespace, pod, container)): ContainerPath, request: Request) -> Answer {
    run_attach(node, &namespace, &pod, &container, request).await
}

async fn attach_uid(
    node: State<Arc<Node>>,
    Path((namespace, pod, _, container)): ContainerUidPath,
    request: Request,
) -> Answer {
    run_attach(node, &namespace, &pod, &container, request).await
}

async fn run_attach(
    State(node): State<Arc<Node>>,
    namespace: &str,
    pod: &str,
    container: &str,
    request: Request,
) -> Answer {
    let query = Query::parse(request.uri().query());
    let mut streams = streams(&query)?;
    // Whether there is a terminal is the container's affair, not the client's.
    let spec = node.pod(namespace, pod)?;
    streams.tty = logs::container_spec(&spec.pod, container).is_some_and(|spec| spec.tty == Some(true));
    streams.stderr &= !streams.tty;
    let container = node.container(namespace, pod, container)?;
    let attach = AttachRequest {
        container_id: container.id,
        tty: streams.tty,
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
    };
    let url = node.cri.runtime().attach(attach).await?.into_inner().url;
    Ok(streaming::remote_command(request, &url, streams).await?)
}

async fn port_forward(
    node: State<Arc<Node>>,
    Path((namespace, pod)): Path<(String, String)>,
    request: Request,
) -> Answer {
    run_port_forward(node, &namespace, &pod, request).await
}

async fn port_forward_uid(
    node: State<Arc<Node>>,
    Path((namespace, pod, _)): ContainerPath,
    request: Request,
) -> Answer {
    run_port_forward(node, &namespace, &pod, request).await
}

async fn run_port_forward(State(node): State<Arc<Node>>, namespace: &str, pod: &str, request: Request) -> Answer {
    let ports = match streaming::wants_port_channels(request.headers()) {
        true => forwarded_ports(&Query::parse(request.uri().query()))
            .map_err(|message| Failure(StatusCode::BAD_REQUEST, message))?,
        false => Vec::new(),
    };
    let record = node.pod(namespace, pod)?;
    let sandbox = record.sandbox_id.clone().filter(|_| record.sandbox_ready);
    let missing = || Failure(StatusCode::INTERNAL_SERVER_ERROR, format!("pod {pod:?} has no running sandbox"));
    let forward = PortForwardRequest { pod_sandbox_id: sandbox.ok_or_else(missing)?, port: ports };
    let url = node.cri.runtime().port_forward(forward).await?.into_inner().url;
    Ok(streaming::port_forward(request, &url).await?)
}

/// The ports of a port-forward whose streams do not name them (`NewV4Options` in k8s.io/cri-streaming).
fn forwarded_ports(query: &Query) -> Result<Vec<i32>, String> {
    let given = query.all("port");
    if given.is_empty() {
        return Err("query parameter \"port\" is required".to_owned());
    }
    let mut ports = Vec::new();
    for text in &given {
        if text.is_empty() {
            return Err("query parameter \"port\" cannot be empty".to_owned());
        }
        for part in text.split(',') {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            match part.parse::<u16>() {
                Ok(0) => return Err(format!("port {text:?} must be > 0")),
                Ok(port) if digits => ports.push(i32::from(port)),
                _ => return Err(format!("unable to parse {text:?} as a port")),
            }
        }
    }
    if ports.len() > FORWARDED_PORTS_MAX {
        return Err(format!("at most {FORWARDED_PORTS_MAX} ports can be forwarded at once"));
    }
    Ok(ports)
}

/// Runs a command to its end and answers with all it wrote.
async fn run(
    State(node): State<Arc<Node>>,
    Path((namespace, pod, container)): ContainerPath,
    request: Request,
) -> Answer {
    let query = Query::parse(request.uri().query());
    let container = node.container(&namespace, &pod, &container)?;
    let words = query.get("cmd").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let output = node.cri.exec(&container.id, words, Duration::from_secs(RUN_SECONDS_MAX)).await;
    let output = output.map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, error.message()))?;
    let all = [output.stdout, output.stderr].concat();
    if output.code == 0 {
        return Ok(typed("text/plain", all));
    }
    let told = String::from_utf8_lossy(&all);
    let message = format!("command exited with {}: {told}", output.code);
    Err(Failure(StatusCode::INTERNAL_SERVER_ERROR, message))
}

async fn stats_summary(State(node): State<Arc<Node>>) -> Answer {
    Ok(typed("application/json", stats::summary(&node).await.map_err(unavailable)?.to_string()))
}

/// The machine's logs. Where the path ends tells a file from a directory.
async fn system_logs(request: Request) -> Answer {
    let path = decode(request.uri().path().strip_prefix("/logs").unwrap_or(""), false);
    let root = std::path::Path::new(system_logs::DIRECTORY);
    let answer = tokio::task::spawn_blocking(move || system_logs::answer(root, &path)).await;
    answer.map_err(|error| Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

pub(super) fn unavailable(error: crate::cri::Error) -> Failure {
    Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_ports_are_lists_of_numbers() {
        let check = |query: &str, expected: &str| {
            let found = forwarded_ports(&Query::parse(Some(query)));
            assert_eq!(found.map_or_else(|error| error, |ports| format!("{ports:?}")), expected, "{query}");
        };
        check("port=80", "[80]");
        check("port=80,81&port=65535", "[80, 81, 65535]");
        check("", "query parameter \"port\" is required");
        check("port=", "query parameter \"port\" cannot be empty");
        check("port=0", "port \"0\" must be > 0");
        for wrong in ["80,", "x", "+80", "65536", "-1"] {
            check(&format!("port={}", wrong.replace('+', "%2B")), &format!("unable to parse {wrong:?} as a port"));
        }
        let many = vec!["1"; 129].join(",");
        check(&format!("port={many}"), "at most 128 ports can be forwarded at once");
    }
}
