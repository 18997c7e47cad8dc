//! Labels and annotations on CRI objects: all that the agent must know of a pod after a restart is written there.

/// Name of the pod.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Namespace of the pod.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// UID of the pod.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Name of the container inside its pod.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: hash of the container's specification.
pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
/// Annotation: the resources that the container was made with, in JSON.
pub const RESOURCES: &str = "io.kubernetes.container.resources";
/// Annotation: the resources of the pod as a whole when the container was made, in JSON.
pub const POD_RESOURCES: &str = "io.kubernetes.pod.resources";
/// Annotation: how often the container was started before.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: CRI id of the container whose end restarted all containers of the pod last before this one was made.
pub const RESTARTED_BY: &str = "io.kubernetes.pod.restartedBy";
/// Annotation: where the container writes its last words.
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: `File` or `FallbackToLogsOnError`.
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the pod's own grace period, used when the pod is gone from the API.
pub const TERMINATION_GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// Annotation: the pre-stop hook in JSON, used when the pod is gone from the API.
pub const PRE_STOP_HANDLER: &str = "io.kubernetes.container.preStopHandler";
