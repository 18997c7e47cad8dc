//! Where a webhook is: at a URL, or behind a service of the cluster.

use std::net::IpAddr;

use serde_json::Value;

const HTTPS_PORT: u16 = 443;

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// At a URL.
    Url {
        /// The name or address of the host, without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Host and port as they were written.
        authority: String,
        /// The path, with a slash before it.
        path: String,
    },
    /// Behind a service.
    Service {
        /// The namespace of the service.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
        /// The path, with a slash before it.
        path: String,
    },
}

impl Place {
    /// The place that a `clientConfig` names, and the authorities it trusts (PEM).
    ///
    /// # Errors
    /// What is wrong with it; validation has seen it.
    pub fn of(client_config: &Value) -> Result<(Self, Vec<u8>), String> {
        let bundle = client_config["caBundle"].as_str().unwrap_or("");
        let bundle = api::go::base64::decode(bundle).map_err(|error| error.to_string())?;
        let service = &client_config["service"];
        if service.is_object() {
            let text = |name: &str| service[name].as_str().unwrap_or("").to_string();
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(HTTPS_PORT);
            let path = joined(&text("path"));
            return Ok((Self::Service { namespace: text("namespace"), name: text("name"), port, path }, bundle));
        }
        match client_config["url"].as_str() {
            None | Some("") => Err("webhook configuration must have either service or URL".into()),
            Some(url) => Ok((Self::url(url)?, bundle)),
        }
    }

    /// The place at a URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn url(url: &str) -> Result<Self, String> {
        let bad = |why: &str| format!("Unparsable URL: parse {url:?}: {why}");
        let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| bad(&error.to_string()))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("the scheme is not https"));
        }
        let authority = uri.authority().ok_or_else(|| bad("there is no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
        let port = authority.port_u16().unwrap_or(HTTPS_PORT);
        Ok(Self::Url { host, port, authority: authority.to_string(), path: joined(uri.path()) })
    }

    /// Whether its URL says that it is on this machine.
    pub(super) fn is_on_this_machine(&self) -> bool {
        let Self::Url { host, .. } = self else { return false };
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The name that the certificate must be for.
    pub fn server_name(&self) -> String {
        match self {
            Self::Url { host, .. } => host.clone(),
            Self::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        }
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> String {
        match self {
            Self::Url { authority, .. } => authority.clone(),
            Self::Service { port, .. } => format!("{}:{port}", self.server_name()),
        }
    }

    /// Host and port, by which it is known as whom it is called.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Url { authority, port, .. } if !authority.ends_with(&format!(":{port}")) => {
                format!("{authority}:{port}")
            }
            _ => self.authority(),
        }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// The path.
    pub fn path(&self) -> &str {
        match self {
            Self::Url { path, .. } | Self::Service { path, .. } => path,
        }
    }
}

/// A path as client-go asks for it: without empty segments and dots, and without a slash at its end (`path.Join`).
fn joined(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = kept.pop(),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_where_they_say() {
        for (config, url, name) in [
            (json!({"url": "https://h/a//b/"}), "https://h/a/b", "h"),
            (json!({"url": "https://127.0.0.1:8443"}), "https://127.0.0.1:8443/", "127.0.0.1"),
            (json!({"url": "https://[::1]:8443/x"}), "https://[::1]:8443/x", "::1"),
            (json!({"service": {"name": "s", "namespace": "n"}}), "https://s.n.svc:443/", "s.n.svc"),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 9443, "path": "/p/"}}),
                "https://s.n.svc:9443/p",
                "s.n.svc",
            ),
        ] {
            let (place, bundle) = Place::of(&config).unwrap();
            assert_eq!((format!("{}{}", place.origin(), place.path()), place.server_name()), (url.into(), name.into()));
            assert!(bundle.is_empty());
        }
        for (config, why) in [
            (json!({}), "webhook configuration must have either service or URL"),
            (json!({"url": "http://h"}), "Unparsable URL: parse \"http://h\": the scheme is not https"),
        ] {
            assert_eq!(Place::of(&config).unwrap_err(), why);
        }
    }
}
