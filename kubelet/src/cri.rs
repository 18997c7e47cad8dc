//! The container runtime, spoken to over CRI v1 on a unix socket.

mod error;
mod watched;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use client::Clock;
use k8s_cri::v1::{self, image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};
use tonic::{Code, Request, Status, transport::Channel};

use crate::{figures, labels};
pub use error::Error;
use watched::Watched;

/// Largest answer of the runtime that is decoded; a node with thousands of containers stays far below.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long an ordinary call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long starting or stopping a sandbox may take, CNI plugins included.
const SANDBOX_TIMEOUT: Duration = Duration::from_secs(240);
/// How long pulling an image may take.
const PULL_TIMEOUT: Duration = Duration::from_secs(1800);

/// The output and end of a command in a container.
#[derive(Debug, Clone, Default)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code.
    pub code: i32,
}

/// The abilities of a runtime beside those that all have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Whether a container may be kept out of the groups that its image puts its user in.
    pub supplemental_groups_policy: bool,
    /// Its handlers, and what they can do.
    pub handlers: Vec<v1::RuntimeHandler>,
}

impl Features {
    /// Whether a handler can make mounts read-only with all that is mounted below.
    pub fn recursive_read_only(&self, handler: &str) -> bool {
        let found = self.handlers.iter().find(|known| known.name == handler);
        found.and_then(|found| found.features.as_ref()).is_some_and(|features| features.recursive_read_only_mounts)
    }
}

/// A client of the runtime and image services. Clones share one connection.
#[derive(Clone)]
pub struct Cri {
    channel: Channel,
    runtime: RuntimeServiceClient<Channel>,
    image: ImageServiceClient<Channel>,
    watched: Option<Watched>,
}

fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

impl Cri {
    /// Connects to the runtime's socket.
    ///
    /// # Errors
    /// When nothing listens on the socket.
    pub async fn connect(socket: &Path) -> Result<Self, Error> {
        let channel = containerd_client::connect(socket).await?;
        Ok(Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            image: ImageServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            channel,
            watched: None,
        })
    }

    /// The same, counting its calls.
    pub fn watched(mut self, runtime: Arc<figures::Runtime>, clock: Clock) -> Self {
        self.watched = Some(Watched::new(runtime, clock));
        self
    }

    /// Waits for the answer of a call, and counts it.
    fn counted<T>(
        &self,
        operation: &str,
        call: impl Future<Output = Result<T, Status>>,
    ) -> impl Future<Output = Result<T, Status>> {
        self.timed(call, move |runtime, ok, took| runtime.called(operation, ok, took))
    }

    /// Waits for the answer of a call, and has it counted if this client counts.
    fn timed<T>(
        &self,
        call: impl Future<Output = Result<T, Status>>,
        count: impl FnOnce(&figures::Runtime, bool, Duration),
    ) -> impl Future<Output = Result<T, Status>> {
        // A future that is handed on is kept in each that it is handed to: what a pod's worker awaits would fill a stack.
        let call = Box::pin(call);
        async move {
            match &self.watched {
                Some(watched) => watched.timed(call, count).await,
                None => call.await,
            }
        }
    }

    /// The connection, for containerd's own services on the same socket.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// A raw client of the runtime service, for calls that this type does not wrap.
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        self.runtime.clone()
    }

    /// Name and version of the runtime.
    pub async fn version(&self) -> Result<v1::VersionResponse, Error> {
        let request = v1::VersionRequest { version: "v1".into() };
        Ok(self.counted("version", self.runtime().version(within(request, CALL_TIMEOUT))).await?.into_inner())
    }

    /// The runtime's conditions, `RuntimeReady` and `NetworkReady`.
    pub async fn status(&self) -> Result<Vec<v1::RuntimeCondition>, Error> {
        let request = v1::StatusRequest { verbose: false };
        let answer = self.counted("status", self.runtime().status(within(request, CALL_TIMEOUT))).await?.into_inner();
        Ok(answer.status.ok_or(Error::Missing("status"))?.conditions)
    }

    /// The runtime's abilities beside those that all have. One that says nothing of them has none.
    pub async fn features(&self) -> Result<Features, Error> {
        let request = v1::StatusRequest { verbose: false };
        let answer = self.counted("status", self.runtime().status(within(request, CALL_TIMEOUT))).await?.into_inner();
        let supplemental_groups_policy = answer.features.is_some_and(|features| features.supplemental_groups_policy);
        Ok(Features { supplemental_groups_policy, handlers: answer.runtime_handlers })
    }

    /// Sandboxes of the pod with this UID, or all with `None`.
    pub async fn sandboxes(&self, uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, Error> {
        let filter = v1::PodSandboxFilter { label_selector: uid_selector(uid), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        Ok(self
            .counted("list_podsandbox", self.runtime().list_pod_sandbox(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .items)
    }

    /// Containers of the pod with this UID, or all with `None`.
    pub async fn containers(&self, uid: Option<&str>) -> Result<Vec<v1::Container>, Error> {
        let filter = v1::ContainerFilter { label_selector: uid_selector(uid), ..Default::default() };
        let request = v1::ListContainersRequest { filter: Some(filter) };
        Ok(self
            .counted("list_containers", self.runtime().list_containers(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .containers)
    }

    /// Status of one sandbox.
    pub async fn sandbox_status(&self, id: &str) -> Result<v1::PodSandboxStatus, Error> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: false };
        let answer = self
            .counted("podsandbox_status", self.runtime().pod_sandbox_status(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner();
        answer.status.ok_or(Error::Missing("sandbox status"))
    }

    /// Status of one container.
    pub async fn container_status(&self, id: &str) -> Result<v1::ContainerStatus, Error> {
        let request = v1::ContainerStatusRequest { container_id: id.into(), verbose: false };
        let answer = self
            .counted("container_status", self.runtime().container_status(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner();
        answer.status.ok_or(Error::Missing("container status"))
    }

    /// Makes and starts a sandbox; answers with its id.
    pub async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Result<String, Error> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.into() };
        let mut runtime = self.runtime();
        let call = self.counted("run_podsandbox", runtime.run_pod_sandbox(within(request, SANDBOX_TIMEOUT)));
        let ran = self.timed(call, |runtime, ok, took| runtime.ran_sandbox(handler, ok, took)).await;
        Ok(ran?.into_inner().pod_sandbox_id)
    }

    /// Stops a sandbox and what runs in it; one that is gone is no error.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.into() };
        gone_is_fine(
            self.counted("stop_podsandbox", self.runtime().stop_pod_sandbox(within(request, SANDBOX_TIMEOUT)))
                .await
                .map(drop),
        )
    }

    /// Removes a sandbox with its containers; one that is gone is no error.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        gone_is_fine(
            self.counted("remove_podsandbox", self.runtime().remove_pod_sandbox(within(request, SANDBOX_TIMEOUT)))
                .await
                .map(drop),
        )
    }

    /// Makes a container in a sandbox; answers with its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, Error> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(self
            .counted("create_container", self.runtime().create_container(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .container_id)
    }

    /// Starts a container.
    pub async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::StartContainerRequest { container_id: id.into() };
        self.counted("start_container", self.runtime().start_container(within(request, CALL_TIMEOUT))).await?;
        Ok(())
    }

    /// Sends the stop signal, and SIGKILL after the grace period; one that is gone is no error.
    pub async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<(), Error> {
        let grace = grace_seconds.max(0);
        let request = v1::StopContainerRequest { container_id: id.into(), timeout: grace };
        let timeout = CALL_TIMEOUT + Duration::from_secs(grace.unsigned_abs());
        gone_is_fine(
            self.counted("stop_container", self.runtime().stop_container(within(request, timeout))).await.map(drop),
        )
    }

    /// Removes a container; one that is gone is no error.
    pub async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let request = v1::RemoveContainerRequest { container_id: id.into() };
        gone_is_fine(
            self.counted("remove_container", self.runtime().remove_container(within(request, CALL_TIMEOUT)))
                .await
                .map(drop),
        )
    }

    /// Runs a command in a container and waits for it.
    pub async fn exec(&self, id: &str, command: Vec<String>, timeout: Duration) -> Result<ExecOutput, Error> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let request = v1::ExecSyncRequest { container_id: id.into(), cmd: command, timeout: seconds };
        let limit = timeout.saturating_add(Duration::from_secs(5));
        let answer = self.counted("exec_sync", self.runtime().exec_sync(within(request, limit))).await?.into_inner();
        Ok(ExecOutput { stdout: answer.stdout, stderr: answer.stderr, code: answer.exit_code })
    }

    /// Changes a running container's cgroup limits.
    pub async fn update_resources(&self, id: &str, linux: v1::LinuxContainerResources) -> Result<(), Error> {
        let request =
            v1::UpdateContainerResourcesRequest { container_id: id.into(), linux: Some(linux), ..Default::default() };
        self.counted("update_container", self.runtime().update_container_resources(within(request, CALL_TIMEOUT)))
            .await?;
        Ok(())
    }

    /// Stats of all containers of a pod, or of all pods with `None`.
    pub async fn container_stats(&self, uid: Option<&str>) -> Result<Vec<v1::ContainerStats>, Error> {
        let filter = v1::ContainerStatsFilter { label_selector: uid_selector(uid), ..Default::default() };
        let request = v1::ListContainerStatsRequest { filter: Some(filter) };
        Ok(self
            .counted("list_container_stats", self.runtime().list_container_stats(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .stats)
    }

    /// Tells the runtime that a container's log file was moved away.
    pub async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        let request = v1::ReopenContainerLogRequest { container_id: id.into() };
        self.counted("reopen_container_log", self.runtime().reopen_container_log(within(request, CALL_TIMEOUT)))
            .await?;
        Ok(())
    }

    /// The local image that a reference names, if there is one. The runtime knows `busybox` as
    /// `docker.io/library/busybox:latest`.
    pub async fn image_status(&self, reference: &str) -> Result<Option<v1::Image>, Error> {
        let image = v1::ImageSpec { image: reference.into(), ..Default::default() };
        let request = v1::ImageStatusRequest { image: Some(image), verbose: false };
        Ok(self
            .counted("image_status", self.image.clone().image_status(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .image)
    }

    /// The snapshot that holds all layers of a local image, if there is such an image.
    pub async fn image_snapshot(&self, reference: &str) -> Result<Option<String>, Error> {
        let image = v1::ImageSpec { image: reference.into(), ..Default::default() };
        let request = v1::ImageStatusRequest { image: Some(image), verbose: true };
        let answer = self
            .counted("image_status", self.image.clone().image_status(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner();
        if answer.image.is_none() {
            return Ok(None);
        }
        let info = answer.info.get("info").and_then(|info| serde_json::from_str::<serde_json::Value>(info).ok());
        let chain = info.and_then(|info| Some(info.get("chainID")?.as_str()?.to_owned()));
        chain.map(Some).ok_or(Error::Missing("the chain of the image's layers"))
    }

    /// All local images.
    pub async fn images(&self) -> Result<Vec<v1::Image>, Error> {
        let request = v1::ListImagesRequest { filter: None };
        Ok(self
            .counted("list_images", self.image.clone().list_images(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .images)
    }

    /// Pulls an image; answers with the reference of what was pulled.
    pub async fn pull_image(
        &self,
        reference: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: Option<v1::PodSandboxConfig>,
    ) -> Result<String, Error> {
        let image = v1::ImageSpec { image: reference.into(), ..Default::default() };
        let request = v1::PullImageRequest { image: Some(image), auth, sandbox_config };
        Ok(self
            .counted("pull_image", self.image.clone().pull_image(within(request, PULL_TIMEOUT)))
            .await?
            .into_inner()
            .image_ref)
    }

    /// The directories and usage of the image filesystem.
    pub async fn image_fs(&self) -> Result<Vec<v1::FilesystemUsage>, Error> {
        let request = v1::ImageFsInfoRequest {};
        Ok(self
            .counted("image_fs_info", self.image.clone().image_fs_info(within(request, CALL_TIMEOUT)))
            .await?
            .into_inner()
            .image_filesystems)
    }
}

fn uid_selector(uid: Option<&str>) -> HashMap<String, String> {
    uid.map(|uid| (labels::POD_UID.to_owned(), uid.to_owned())).into_iter().collect()
}

fn gone_is_fine(result: Result<(), Status>) -> Result<(), Error> {
    match result {
        Err(status) if status.code() == Code::NotFound => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
