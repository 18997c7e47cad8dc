//! Messages about the resources of pods (`k8s.io/kubelet/pkg/apis/podresources/v1`; what `v1alpha1` has of it is the same).

/// A request that asks for nothing in particular.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Everything {}

/// `GetPodResourcesRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Asked {
    /// The pod's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
}

/// `ListPodResourcesResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Listed {
    /// The pods.
    #[prost(message, repeated, tag = "1")]
    pub pods: Vec<PodResources>,
}

/// `GetPodResourcesResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Found {
    /// The pod.
    #[prost(message, optional, tag = "1")]
    pub pod: Option<PodResources>,
}

/// `AllocatableResourcesResponse`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Allocatable {
    /// Devices of plugins.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<ContainerDevices>,
    /// Processors that containers may have for themselves.
    #[prost(int64, repeated, tag = "2")]
    pub cpu_ids: Vec<i64>,
}

/// The resources of a pod.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PodResources {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Its containers.
    #[prost(message, repeated, tag = "3")]
    pub containers: Vec<ContainerResources>,
}

/// The resources of a container. Nothing on this node gives out processors or memory.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerResources {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Devices of plugins.
    #[prost(message, repeated, tag = "2")]
    pub devices: Vec<ContainerDevices>,
    /// Devices of claims.
    #[prost(message, repeated, tag = "5")]
    pub dynamic: Vec<DynamicResource>,
}

/// Devices of one resource.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ContainerDevices {
    /// The resource.
    #[prost(string, tag = "1")]
    pub resource_name: String,
    /// Their ids.
    #[prost(string, repeated, tag = "2")]
    pub device_ids: Vec<String>,
}

/// The devices of a claim.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DynamicResource {
    /// The claim's name.
    #[prost(string, tag = "2")]
    pub claim_name: String,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub claim_namespace: String,
    /// Its devices.
    #[prost(message, repeated, tag = "4")]
    pub resources: Vec<ClaimResource>,
}

/// A device of a claim.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ClaimResource {
    /// Its names in the runtime.
    #[prost(message, repeated, tag = "1")]
    pub cdi_devices: Vec<CdiDevice>,
    /// Its driver.
    #[prost(string, tag = "2")]
    pub driver_name: String,
    /// Its pool.
    #[prost(string, tag = "3")]
    pub pool_name: String,
    /// Its name there.
    #[prost(string, tag = "4")]
    pub device_name: String,
    /// Which part of it, if others may have the rest.
    #[prost(string, optional, tag = "5")]
    pub share_id: Option<String>,
}

/// A device as the runtime knows it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CdiDevice {
    /// Its name, with vendor and class.
    #[prost(string, tag = "1")]
    pub name: String,
}
