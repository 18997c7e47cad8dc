//! The CNI configuration list that containerd reads.

use serde_json::json;

use super::Config;

/// The list: loopback is containerd's own affair, so a bridge with leased addresses, and host ports.
pub(super) fn conflist(config: &Config) -> String {
    let gateway = config.gateway().to_string();
    let list = json!({
        "cniVersion": "0.4.0",
        "name": config.bridge(),
        "plugins": [
            {
                "type": "bridge",
                "bridge": config.bridge(),
                "isGateway": true,
                "ipMasq": false,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": config.lease_dir(),
                    "ranges": [[{"subnet": config.pod_cidr.trunc().to_string(), "gateway": gateway}]],
                    "routes": [{"dst": "0.0.0.0/0"}]
                }
            },
            {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
        ]
    });
    format!("{list:#}\n")
}
