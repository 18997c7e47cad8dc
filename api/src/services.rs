//! Rules about services that the API server and the components share.

/// Whether a `clusterIP` says that the service has no address by intent (`ClusterIPNone`).
pub fn is_headless(cluster_ip: &str) -> bool {
    cluster_ip == "None"
}

/// Whether a `clusterIP` is an address: it is not headless, and an address has been given out (`IsServiceIPSet`).
pub fn has_address(cluster_ip: &str) -> bool {
    !cluster_ip.is_empty() && !is_headless(cluster_ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_ips() {
        for (text, headless, address) in [
            ("", false, false),
            ("None", true, false),
            ("none", false, true),
            ("10.0.0.1", false, true),
            ("::1", false, true),
        ] {
            assert_eq!((is_headless(text), has_address(text)), (headless, address), "{text}");
        }
    }
}
