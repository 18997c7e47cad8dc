//! The well-known addresses in a range of service addresses.

use std::net::IpAddr;

use apiserver::bootstrap;
use ipnet::IpNet;

use crate::error::Error;

/// The address of the service `kubernetes`: the first of the range.
///
/// # Errors
/// If the range is too small.
pub(crate) fn kubernetes_address(services: &IpNet) -> Result<IpAddr, Error> {
    usable(services, bootstrap::kubernetes_address(services))
}

/// The address of the service `kube-dns`: the tenth of the range, as kubeadm has it.
///
/// # Errors
/// If the range is too small.
pub(crate) fn dns_address(services: &IpNet) -> Result<IpAddr, Error> {
    usable(services, bootstrap::dns_address(services))
}

/// The address, if a service of the range may have it.
fn usable(range: &IpNet, address: IpAddr) -> Result<IpAddr, Error> {
    if range.contains(&address) && Some(address) != last(range) {
        Ok(address)
    } else {
        Err(Error::usage(format!("{range} is too small a range for services")))
    }
}

fn last(range: &IpNet) -> Option<IpAddr> {
    matches!(range, IpNet::V4(_)).then(|| range.broadcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_addresses() {
        let range: IpNet = "10.43.0.0/16".parse().unwrap();
        assert_eq!(kubernetes_address(&range).unwrap().to_string(), "10.43.0.1");
        assert_eq!(dns_address(&range).unwrap().to_string(), "10.43.0.10");
        assert!(dns_address(&"10.0.0.0/29".parse().unwrap()).is_err());
    }
}
