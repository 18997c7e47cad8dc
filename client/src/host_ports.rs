//! The ports that pods take of their node. The scheduler and the node's admission must see the same clashes.

use api::pods::is_sidecar;
use k8s_openapi::api::core::v1::PodSpec;

/// A port taken on the node itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The address, `0.0.0.0` for all.
    pub address: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be taken on one node (`HostPortInfo.CheckConflict`).
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |address: &str| matches!(address, "0.0.0.0" | "::");
        self.protocol == other.protocol
            && self.port == other.port
            && (self.address == other.address || any(&self.address) || any(&other.address))
    }
}

/// The ports that a pod takes: those of its containers and sidecars (`GetHostPorts`).
pub fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let init = spec.init_containers.iter().flatten();
    let sidecars = init.filter(|container| is_sidecar(container.restart_policy.as_deref()));
    let mut found = Vec::new();
    for port in spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten()) {
        let Some(number) = port.host_port.filter(|number| *number > 0) else { continue };
        found.push(HostPort {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            address: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into()),
            port: number,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> Vec<HostPort> {
        host_ports(&serde_json::from_value(spec).expect("a specification"))
    }

    #[test]
    fn containers_and_sidecars_take_ports() {
        let container = |port: i32| json!({"name": "c", "ports": [{"containerPort": 1, "hostPort": port}]});
        let mut sidecar = container(3);
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({"containers": [container(0), container(1)], "initContainers": [container(2), sidecar]});
        assert_eq!(of(spec).iter().map(|taken| taken.port).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn clashes() {
        let check = |own: Value, expected: bool| {
            let port = |fields: &Value| {
                let mut port = json!({"containerPort": 1, "hostPort": 80});
                port.as_object_mut().expect("a map").extend(fields.as_object().cloned().unwrap_or_default());
                of(json!({"containers": [{"name": "c", "ports": [port]}]})).remove(0)
            };
            let (one, other) = (port(&json!({"hostIP": "10.0.0.1", "protocol": "TCP"})), port(&own));
            assert_eq!([one.clashes(&other), other.clashes(&one)], [expected; 2], "{own}");
        };
        check(json!({}), true);
        check(json!({"hostIP": ""}), true);
        check(json!({"hostIP": "0.0.0.0"}), true);
        check(json!({"hostIP": "::"}), true);
        check(json!({"hostIP": "10.0.0.1"}), true);
        check(json!({"hostIP": "10.0.0.2"}), false);
        check(json!({"protocol": "UDP"}), false);
        check(json!({"hostPort": 81}), false);
    }
}
