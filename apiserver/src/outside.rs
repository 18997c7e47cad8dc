//! Servers that a file names and not an object of the cluster: where they are, as whom they are called (a kubeconfig, as
//! `LoadKubeconfig` in apiserver's `util/webhook` reads it), and calls to them. Nobody is led elsewhere by an answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::decode::{Format, decode_untyped};
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an answer may be that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The authorities of the system, which hold where a file names none.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A server, and as whom it is called.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// The name or address of the host, without brackets.
    host: String,
    port: u16,
    /// Host and port as they were written.
    authority: String,
    path: String,
    /// Whom is trusted and what is shown, and the name that is asked for; none without TLS.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    credentials: Credentials,
}

/// What is sent to be known.
#[derive(Debug)]
enum Credentials {
    Nothing,
    Header(HeaderValue),
    /// A token in a file, which may change.
    TokenFile(PathBuf),
}

impl Endpoint {
    /// Reads the current context of a kubeconfig.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let file = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let tree = decode_untyped(&file, Format::Yaml)?;
        let base = path.parent().unwrap_or(Path::new("."));
        let context = match tree["current-context"].as_str().unwrap_or("") {
            "" => &Value::Null,
            name => named(&tree["contexts"], name, "context").ok_or_else(|| missing("context", name))?,
        };
        // Without a context the only cluster and the only user are meant.
        let of = |list: &'static str, kind: &'static str| match context[kind].as_str() {
            Some(name) if !name.is_empty() => named(&tree[list], name, kind).ok_or_else(|| missing(kind, name)),
            _ => Ok(tree[list][0].get(kind).unwrap_or(&Value::Null)),
        };
        Self::new(of("clusters", "cluster")?, of("users", "user")?, base)
    }

    fn new(cluster: &Value, user: &Value, base: &Path) -> Result<Self, String> {
        let server = cluster["server"].as_str().unwrap_or("");
        let uri: Uri = server.parse().map_err(|error| format!("the server {server:?} is no URL: {error}"))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("the server {server:?} is no URL of https or http")),
        };
        let authority = uri.authority().ok_or_else(|| format!("the server {server:?} has no host"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let tls = if is_tls { Some(tls(cluster, user, &host, base)?) } else { None };
        let path = if uri.path().is_empty() { "/".into() } else { uri.path().to_owned() };
        let credentials = credentials(user, base)?;
        Ok(Self { host, port, authority: authority.to_string(), path, tls, credentials })
    }

    /// Posts JSON on a connection of its own. The code of the answer, and the answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn post(&self, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("dial tcp {}: {error}", self.authority))?;
        match &self.tls {
            None => self.exchange(stream, body).await,
            Some((config, name)) => {
                let stream = TlsConnector::from(config.clone()).connect(name.clone(), stream).await;
                self.exchange(stream.map_err(|error| format!("{}: {error}", self.authority))?, body).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, body: Bytes) -> Result<(StatusCode, Bytes), String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        // It ends with its sender.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, "kube-apiserver")
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        let request = match self.authorization()? {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let request = request.body(Body::from(body)).map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((code, body.map_err(|error| error.to_string())?.to_bytes()))
    }

    /// The header that says who calls.
    fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        match &self.credentials {
            Credentials::Nothing => Ok(None),
            Credentials::Header(value) => Ok(Some(value.clone())),
            Credentials::TokenFile(path) => {
                let token = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
                bearer(token.trim()).map(Some)
            }
        }
    }
}

fn named<'a>(list: &'a Value, name: &str, kind: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|item| item["name"] == name)?.get(kind)
}

fn missing(kind: &str, name: &str) -> String {
    format!("{kind} {name:?} does not exist")
}

fn bearer(token: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "the token cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn credentials(user: &Value, base: &Path) -> Result<Credentials, String> {
    let text = |field: &str| user[field].as_str().filter(|text| !text.is_empty());
    for field in ["exec", "auth-provider"] {
        if !user[field].is_null() {
            return Err(format!("credentials by {field:?} are not supported"));
        }
    }
    if let Some(path) = text("tokenFile") {
        return Ok(Credentials::TokenFile(base.join(path)));
    }
    if let Some(token) = text("token") {
        return bearer(token).map(Credentials::Header);
    }
    let Some(name) = text("username") else { return Ok(Credentials::Nothing) };
    let pair = format!("{name}:{}", text("password").unwrap_or(""));
    let mut value = HeaderValue::from_str(&format!("Basic {}", api::go::base64::encode(pair.as_bytes())))
        .map_err(|_| "the password cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(Credentials::Header(value))
}

/// What a field has: in itself as base64, or in a file.
fn data(object: &Value, field: &str, base: &Path) -> Result<Option<Vec<u8>>, String> {
    if let Some(text) = object[format!("{field}-data")].as_str().filter(|text| !text.is_empty()) {
        return api::go::base64::decode(text).map(Some).map_err(|error| format!("{field}-data: {error}"));
    }
    match object[field].as_str().filter(|path| !path.is_empty()) {
        None => Ok(None),
        Some(path) => {
            let path = base.join(path);
            std::fs::read(&path).map(Some).map_err(|error| format!("{}: {error}", path.display()))
        }
    }
}

fn tls(
    cluster: &Value,
    user: &Value,
    host: &str,
    base: &Path,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
    if cluster["insecure-skip-tls-verify"] == true {
        return Err("insecure-skip-tls-verify: a server that nobody verifies is not written to".into());
    }
    let authorities = match data(cluster, "certificate-authority", base)? {
        Some(authorities) => authorities,
        None => std::fs::read(SYSTEM_AUTHORITIES).map_err(|error| format!("{SYSTEM_AUTHORITIES}: {error}"))?,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authorities).flatten() {
        roots.add(certificate).map_err(|error| format!("certificate-authority: {error}"))?;
    }
    if roots.is_empty() {
        return Err("certificate-authority: there is no certificate in it".into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = builder.with_root_certificates(roots);
    let shown = (data(user, "client-certificate", base)?, data(user, "client-key", base)?);
    let config = match shown {
        (Some(certificate), Some(key)) => {
            let chain: Vec<_> =
                CertificateDer::pem_slice_iter(&certificate).flatten().map(|c| c.into_owned()).collect();
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| format!("client-key: {error}"))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("client-certificate: {error}"))?
        }
        _ => builder.with_no_client_auth(),
    };
    let name = cluster["tls-server-name"].as_str().filter(|name| !name.is_empty()).unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| format!("tls-server-name: {error}"))?;
    Ok((Arc::new(config), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Endpoint, String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), "secret\n").unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, text).unwrap();
        let endpoint = Endpoint::read(&path)?;
        // While the file of the token is there.
        endpoint.authorization()?;
        Ok(endpoint)
    }

    #[test]
    fn the_current_context_counts() {
        let text = "clusters:\n- {name: a, cluster: {server: 'http://one:81/x'}}\n- {name: b, cluster: {server: 'http://two'}}\n\
                    users:\n- {name: u, user: {username: me, password: pw}}\n- {name: t, user: {tokenFile: token}}\n\
                    contexts:\n- {name: c, context: {cluster: b, user: t}}\n";
        let only = read(text).unwrap();
        let shown = |endpoint: &Endpoint| (endpoint.host.clone(), endpoint.port, endpoint.path.clone());
        assert_eq!(shown(&only), ("one".into(), 81, "/x".into()));
        assert_eq!(only.authorization().unwrap().unwrap(), "Basic bWU6cHc=");
        let chosen = read(&format!("{text}current-context: c\n")).unwrap();
        assert_eq!(shown(&chosen), ("two".into(), 80, "/".into()));
        assert!(matches!(chosen.credentials, Credentials::TokenFile(_)));
        assert_eq!(read(&format!("{text}current-context: d\n")).unwrap_err(), "context \"d\" does not exist");
    }

    #[test]
    fn what_cannot_be_called_safely_is_refused() {
        for (cluster, expected) in [
            ("{}", "the server \"\" is no URL"),
            ("{server: 'ftp://x'}", "is no URL of https or http"),
            ("{server: 'https://x', insecure-skip-tls-verify: true}", "insecure-skip-tls-verify"),
            ("{server: 'https://x', certificate-authority: gone}", "gone: No such file"),
            ("{server: 'https://x', certificate-authority-data: eA==}", "there is no certificate in it"),
        ] {
            let error = read(&format!("clusters:\n- {{name: a, cluster: {cluster}}}\n")).unwrap_err();
            assert!(error.contains(expected), "{error}\n{expected}");
        }
        let exec = "clusters:\n- {name: a, cluster: {server: 'http://x'}}\nusers:\n- {name: u, user: {exec: {}}}\n";
        assert_eq!(read(exec).unwrap_err(), "credentials by \"exec\" are not supported");
    }
}
