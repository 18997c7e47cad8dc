//! Which addresses a request may be led to: none of this machine's own, of a link, or of a group, since whoever names an address
//! (a node in its status, a pod's node, the writer of endpoints) must not reach through the server what only the server may.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api::Status;

/// How long looking a name up may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether an address may be led to (`IsGlobalUnicast` of Go's `net.IP`, which knows the IPv4 addresses within IPv6 too).
pub(super) fn is_allowed(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// The address behind a host, which may be led to; so are all others that its name stands for (`isProxyableHostname`). It is
/// this very address that is to be connected to, lest the name stand for another by then.
///
/// # Errors
/// 400 if it may not, or if the name stands for nothing.
pub(super) async fn resolve(host: &str, port: u16) -> Result<SocketAddr, Status> {
    let found: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => {
            let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await;
            let found = lookup.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
            found.map_err(|error| Status::bad_request(format!("lookup {host}: {error}")))?.map(|a| a.ip()).collect()
        }
    };
    let Some(first) = found.first() else { return Err(Status::bad_request("no addresses for hostname")) };
    if !found.iter().copied().all(is_allowed) {
        return Err(not_allowed());
    }
    Ok(SocketAddr::new(*first, port))
}

/// What an address that may not be led to is answered with.
pub(super) fn not_allowed() -> Status {
    Status::bad_request("address not allowed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_nobody_is_led_to() {
        for (address, allowed) in [
            ("192.168.1.7", true),
            ("8.8.8.8", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("::ffff:192.168.1.7", true),
            ("127.0.0.1", false),
            ("127.8.9.1", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("169.254.169.254", false),
            ("224.0.0.1", false),
            ("::", false),
            ("::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:0.0.0.0", false),
            ("::ffff:169.254.169.254", false),
        ] {
            assert_eq!(is_allowed(address.parse().unwrap()), allowed, "{address}");
        }
    }

    #[tokio::test]
    async fn names_are_what_they_stand_for() {
        let refused = resolve("localhost", 80).await.unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (400, "address not allowed"));
        assert_eq!(resolve("::ffff:127.0.0.1", 80).await.unwrap_err().message, "address not allowed");
        assert_eq!(resolve("", 80).await.unwrap_err().code, 400);
        assert_eq!(resolve("192.0.2.7", 80).await.unwrap().to_string(), "192.0.2.7:80");
    }
}
