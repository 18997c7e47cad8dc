//! What is asked of drivers of devices (`k8s.io/kubelet/pkg/apis/dra/v1` and `v1beta1`, which are alike but for their names
//! and a field that the older one lacks; `dra-health/v1alpha1`).

use std::collections::HashMap;

/// A claim.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Claim {
    /// Its namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Its uid.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// Its name.
    #[prost(string, tag = "3")]
    pub name: String,
}

/// `NodePrepareResourcesRequest`, and `NodeUnprepareResourcesRequest`, which has the same form.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Claims {
    /// The claims.
    #[prost(message, repeated, tag = "1")]
    pub claims: Vec<Claim>,
}

/// `NodePrepareResourcesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Prepared {
    /// What came of each claim, by uid.
    #[prost(map = "string, message", tag = "1")]
    pub claims: HashMap<String, PreparedClaim>,
}

/// `NodePrepareResourceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PreparedClaim {
    /// Its devices.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<PreparedDevice>,
    /// Why it is not prepared, if it is not.
    #[prost(string, tag = "2")]
    pub error: String,
}

/// `Device`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PreparedDevice {
    /// The requests that it is for; all if there are none.
    #[prost(string, repeated, tag = "1")]
    pub request_names: Vec<String>,
    /// Its pool.
    #[prost(string, tag = "2")]
    pub pool_name: String,
    /// Its name there.
    #[prost(string, tag = "3")]
    pub device_name: String,
    /// What the runtime knows it by.
    #[prost(string, repeated, tag = "4")]
    pub cdi_device_ids: Vec<String>,
    /// Which part of it, if others may have the rest.
    #[prost(string, optional, tag = "5")]
    pub share_id: Option<String>,
}

/// `NodeUnprepareResourcesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Unprepared {
    /// What came of each claim, by uid.
    #[prost(map = "string, message", tag = "1")]
    pub claims: HashMap<String, UnpreparedClaim>,
}

/// `NodeUnprepareResourceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct UnpreparedClaim {
    /// Why it is not given back, if it is not.
    #[prost(string, tag = "1")]
    pub error: String,
}

/// `NodeWatchResourcesRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchHealth {}

/// `NodeWatchResourcesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HealthReport {
    /// The devices.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<DeviceHealth>,
}

/// `DeviceHealth`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeviceHealth {
    /// Which device.
    #[prost(message, optional, tag = "1")]
    pub device: Option<DeviceIdentifier>,
    /// Unknown, healthy or unhealthy.
    #[prost(int32, tag = "2")]
    pub health: i32,
    /// When that was found out, in seconds of Unix time.
    #[prost(int64, tag = "3")]
    pub last_updated_time: i64,
    /// For how many seconds that holds.
    #[prost(int64, tag = "4")]
    pub health_check_timeout_seconds: i64,
    /// More of it, for people.
    #[prost(string, tag = "5")]
    pub message: String,
}

/// `DeviceIdentifier`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct DeviceIdentifier {
    /// The pool.
    #[prost(string, tag = "1")]
    pub pool_name: String,
    /// The device in it.
    #[prost(string, tag = "2")]
    pub device_name: String,
}

/// Which of the services a driver serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `v1.DRAPlugin`
    V1,
    /// `v1beta1.DRAPlugin`
    V1Beta1,
}

/// The services that the agent knows, by the name under which plugins register them.
const KNOWN: [(&str, Service); 2] = [("v1.DRAPlugin", Service::V1), ("v1beta1.DRAPlugin", Service::V1Beta1)];

impl Service {
    /// The first of a plugin's services that the agent knows (`validateSupportedServices`).
    ///
    /// # Errors
    /// If there is none.
    pub fn of(versions: &[String]) -> Result<Self, String> {
        if versions.is_empty() {
            return Err("empty list of supported gRPC services (aka supported versions)".into());
        }
        let known = |version: &String| KNOWN.iter().find(|(name, _)| name == version).map(|(_, service)| *service);
        let quoted = |all: &[&str]| all.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ");
        versions.iter().find_map(known).ok_or_else(|| {
            let theirs: Vec<&str> = versions.iter().map(String::as_str).collect();
            let ours: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
            let (theirs, ours) = (quoted(&theirs), quoted(&ours));
            format!("none of services supported by the plugin ([{theirs}]) are supported by the kubelet ([{ours}])")
        })
    }

    /// The path of `NodePrepareResources`.
    pub fn prepare(self) -> &'static str {
        match self {
            Self::V1 => "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources",
            Self::V1Beta1 => "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodePrepareResources",
        }
    }

    /// The path of `NodeUnprepareResources`.
    pub fn unprepare(self) -> &'static str {
        match self {
            Self::V1 => "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodeUnprepareResources",
            Self::V1Beta1 => "/k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin/NodeUnprepareResources",
        }
    }
}

/// The path of `NodeWatchResources`.
pub const WATCH_HEALTH: &str = "/v1alpha1.DRAResourceHealth/NodeWatchResources";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_service_that_is_known() {
        let of = |names: &[&str]| Service::of(&names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>());
        assert_eq!(of(&["v2.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAPlugin"]), Ok(Service::V1Beta1));
        assert_eq!(of(&["v1.DRAPlugin"]), Ok(Service::V1));
        assert_eq!(of(&[]), Err("empty list of supported gRPC services (aka supported versions)".into()));
        let none = "none of services supported by the plugin ([\"v1alpha4.Node\"]) are supported by the kubelet \
                    ([\"v1.DRAPlugin\" \"v1beta1.DRAPlugin\"])";
        assert_eq!(of(&["v1alpha4.Node"]), Err(none.into()));
    }
}
