//! The socket where programs of the machine, such as collectors of figures, ask which devices the containers of this node have
//! (`pkg/kubelet/apis/podresources`). Only root reaches it.

mod messages;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::pods::is_terminal;
use client::Clock;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, Pod};
use metrics::{Counter, families};
use parking_lot::Mutex;
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tonic::server::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::devices::Devices;
use crate::directory::Directory;
use crate::pod::{self, Role};
use messages::{
    Allocatable, Asked, CdiDevice, ClaimResource, ContainerResources, DynamicResource, Everything, Found, Listed,
    PodResources,
};

/// The directory of the socket below the agent's own, and the socket.
pub const DIRECTORY: &str = "pod-resources";
const SOCKET: &str = "kubelet.sock";
/// How many requests a second are answered, and how many at once (`DefaultQPS`, `DefaultBurstTokens`).
const REQUESTS_PER_SECOND: f64 = 100.0;
const BURST: f64 = 10.0;
/// How many connections there may be, and how many requests under way on each. More connections are closed at once.
const CONNECTIONS_MAX: usize = 64;
const STREAMS_MAX: u32 = 16;
/// Longest request.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// The pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const V1: &str = "v1";
const V1_ALPHA: &str = "v1alpha1";

families! {
    /// Counts of the requests.
    pub struct Figures {
        requests: Counter = "kubelet_pod_resources_endpoint_requests_total" ["server_api_version"] 4;
        lists: Counter = "kubelet_pod_resources_endpoint_requests_list" ["server_api_version"] 4;
        gets: Counter = "kubelet_pod_resources_endpoint_requests_get" ["server_api_version"] 4;
        allocatables: Counter = "kubelet_pod_resources_endpoint_requests_get_allocatable" ["server_api_version"] 4;
        get_errors: Counter = "kubelet_pod_resources_endpoint_errors_get" ["server_api_version"] 4;
    }
}

/// Knows which resources pods have.
pub struct Lister {
    directory: Directory,
    devices: Devices,
    clock: Clock,
    figures: Arc<Figures>,
    bucket: Mutex<Bucket>,
}

/// How many requests may be answered now, as of a time.
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Lister {
    /// Knows of the pods in the directory, and of their devices.
    pub fn new(directory: Directory, devices: Devices, clock: Clock, figures: Arc<Figures>) -> Arc<Self> {
        let bucket = Mutex::new(Bucket { tokens: BURST, at: clock.elapsed() });
        Arc::new(Self { directory, devices, clock, figures, bucket })
    }

    /// Serves for as long as it is polled. Where no socket can be had it says so, and the node goes on without.
    pub async fn keep(self: Arc<Self>, directory: &Path) {
        let socket = directory.join(SOCKET);
        match listen(&socket) {
            Ok(listener) => self.serve(listener).await,
            Err(error) => {
                let socket = socket.display();
                tracing::error!(%socket, %error, "programs of this machine are not told of the resources of pods");
                std::future::pending().await
            }
        }
    }

    async fn serve(self: Arc<Self>, listener: UnixListener) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let stream = match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => stream,
                Ok(_) => continue,
                Err(error) => {
                    tracing::debug!(%error, "a connection about the resources of pods was not taken");
                    self.clock.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let this = self.clone();
            connections.spawn(async move {
                let service = hyper::service::service_fn(move |request| this.clone().respond(request));
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(STREAMS_MAX);
                if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!(%error, "a connection about the resources of pods broke");
                }
            });
        }
    }

    async fn respond(
        self: Arc<Self>,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<tonic::body::Body>, Infallible> {
        let path = request.uri().path().to_owned();
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((&path, ""));
        let version = match service {
            "v1.PodResourcesLister" => V1,
            "v1alpha1.PodResourcesLister" => V1_ALPHA,
            _ => return Ok(Status::unimplemented(format!("unknown service {service}")).into_http()),
        };
        if !self.may_ask() {
            return Ok(Status::resource_exhausted("rejected by rate limit").into_http());
        }
        Ok(match (version, method) {
            (_, "List") => unary(request, move |_: Everything| Ok(self.list(version))).await,
            (V1, "Get") => unary(request, move |asked: Asked| self.get(&asked)).await,
            (V1, "GetAllocatableResources") => unary(request, move |_: Everything| Ok(self.allocatable())).await,
            _ => Status::unimplemented(format!("unknown method {method} for service {service}")).into_http(),
        })
    }

    fn may_ask(&self) -> bool {
        let now = self.clock.elapsed();
        let mut bucket = self.bucket.lock();
        let since = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * REQUESTS_PER_SECOND).min(BURST);
        bucket.at = now;
        let may = bucket.tokens >= 1.0;
        if may {
            bucket.tokens -= 1.0;
        }
        may
    }

    /// All pods; the older version tells of those that have ended, too, and of no claims.
    fn list(&self, version: &str) -> Listed {
        self.figures.requests.with([version], Counter::add_one);
        let is_old = version == V1_ALPHA;
        if !is_old {
            self.figures.lists.with([version], Counter::add_one);
        }
        let mut pods: Vec<Arc<Pod>> = self.directory.list().iter().map(|record| record.pod.clone()).collect();
        pods.retain(|pod| is_old || !is_terminal(&**pod));
        let key = |pod: &Arc<Pod>| (pod::namespace(pod).to_owned(), pod::name(pod).to_owned());
        pods.sort_by_key(key);
        Listed { pods: pods.iter().map(|pod| self.resources(pod, is_old)).collect() }
    }

    fn get(&self, asked: &Asked) -> Result<Found, Status> {
        self.figures.requests.with([V1], Counter::add_one);
        self.figures.gets.with([V1], Counter::add_one);
        let found = self.directory.find(&asked.namespace, &asked.name);
        let Some(record) = found.filter(|record| !is_terminal(&*record.pod)) else {
            self.figures.get_errors.with([V1], Counter::add_one);
            let Asked { name, namespace } = asked;
            return Err(Status::unknown(format!("pod {name} in namespace {namespace} not found")));
        };
        Ok(Found { pod: Some(self.resources(&record.pod, false)) })
    }

    /// Nothing: no plugin of devices, and no processors or memory that are given out.
    fn allocatable(&self) -> Allocatable {
        self.figures.requests.with([V1], Counter::add_one);
        self.figures.allocatables.with([V1], Counter::add_one);
        Allocatable::default()
    }

    fn resources(&self, pod: &Pod, is_old: bool) -> PodResources {
        let tells_of = |role: &Role| matches!(role, Role::Main) || matches!(role, Role::Sidecar) && !is_old;
        let containers = pod::containers(pod).into_iter().filter(|(role, _)| tells_of(role));
        let of_container = |container: Container| {
            let dynamic = if is_old { Vec::new() } else { self.dynamic(pod, &container) };
            ContainerResources { name: container.name, devices: Vec::new(), dynamic }
        };
        PodResources {
            name: pod::name(pod).to_owned(),
            namespace: pod::namespace(pod).to_owned(),
            containers: containers.map(|(_, container)| of_container(container)).collect(),
        }
    }

    /// The devices of a container's claims; none if one of them is not prepared (`GetDynamicResources`).
    fn dynamic(&self, pod: &Pod, container: &Container) -> Vec<DynamicResource> {
        let claims = self.devices.claims_of(pod, container).unwrap_or_else(|error| {
            tracing::debug!(pod = pod::name(pod), container = container.name, error, "the devices are not known");
            Vec::new()
        });
        let of_claim = |claim: crate::devices::claims::ClaimInfo| {
            let devices = claim.drivers.into_iter().flat_map(|(driver, devices)| {
                devices.into_iter().map(move |device| ClaimResource {
                    cdi_devices: device.cdi_device_ids.into_iter().map(|name| CdiDevice { name }).collect(),
                    driver_name: driver.clone(),
                    pool_name: device.pool_name,
                    device_name: device.device_name,
                    share_id: device.share_id,
                })
            });
            DynamicResource { claim_name: claim.name, claim_namespace: claim.namespace, resources: devices.collect() }
        };
        claims.into_iter().map(of_claim).collect()
    }
}

/// A socket in the place of the one that an agent before left there.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    if let Err(error) = std::fs::remove_file(socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    UnixListener::bind(socket)
}

/// Answers a call that has one request and one answer.
async fn unary<Q, A>(
    request: http::Request<Incoming>,
    answer: impl Fn(Q) -> Result<A, Status>,
) -> http::Response<tonic::body::Body>
where
    Q: prost::Message + Default + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let codec: ProstCodec<A, Q> = ProstCodec::default();
    let service = tower::service_fn(move |request: Request<Q>| ready(answer(request.into_inner()).map(Response::new)));
    Grpc::new(codec).max_decoding_message_size(REQUEST_BYTES_MAX).unary(service, request).await
}
