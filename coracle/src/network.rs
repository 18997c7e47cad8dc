//! The well-known addresses in a range of service addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::Error;

/// The address of the service `kubernetes`: the first of the range.
///
/// # Errors
/// If the range is too small.
pub fn kubernetes_address(services: &IpNet) -> Result<IpAddr, Error> {
    nth(services, 1)
}

/// The address of the service `kube-dns`: the tenth of the range, as kubeadm has it.
///
/// # Errors
/// If the range is too small.
pub fn dns_address(services: &IpNet) -> Result<IpAddr, Error> {
    nth(services, 10)
}

fn nth(range: &IpNet, number: u8) -> Result<IpAddr, Error> {
    let address = match range.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + u32::from(number)).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + u128::from(number)).into()),
    };
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
