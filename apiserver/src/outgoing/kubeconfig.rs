//! Kubeconfigs that say where a webhook is, whom it is trusted by and what is shown to it (`LoadKubeconfig` in apiserver's
//! `util/webhook`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::acting::ActsAs;
use super::proxy::Proxy;
use super::{Client, ClientError, Connector, HTTP, Reply, Trust, shown, tls_config};

/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

const AGENT: &str = "kube-apiserver";

/// Why a kubeconfig was refused.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file cannot be read.
    #[error("open {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no kubeconfig.
    #[error("error loading config file {path:?}: {why}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It says something that does not go together, or that is not done here.
    #[error("invalid configuration: {0}")]
    Invalid(String),
}

/// Where a webhook is, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    server: String,
    client: Client,
    credentials: Credentials,
    /// As whom it is asked, if as another.
    acting: HeaderMap,
}

/// As whom a server is called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    /// The certificate that is shown, if there is one.
    pub(crate) shown: Option<Arc<dyn ResolvesClientCert>>,
    /// What is sent.
    pub(crate) credentials: Credentials,
    /// As whom, if as another.
    pub(crate) acting: HeaderMap,
}

/// What is sent to be known.
#[derive(Debug, Clone, Default)]
pub(crate) enum Credentials {
    #[default]
    None,
    Header(HeaderValue),
    /// A token that may be another at each request.
    File(PathBuf),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) current_context: String,
    pub(super) contexts: Vec<Named<ContextOf>>,
    clusters: Vec<Named<Cluster>>,
    pub(super) users: Vec<Named<User>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named<T> {
    pub(super) name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    pub(super) of: Option<T>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct ContextOf {
    cluster: String,
    pub(super) user: String,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    tls_server_name: String,
    insecure_skip_tls_verify: bool,
    certificate_authority: String,
    certificate_authority_data: String,
    proxy_url: String,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct User {
    client_certificate: String,
    client_certificate_data: String,
    client_key: String,
    client_key_data: String,
    token: String,
    #[serde(rename = "tokenFile")]
    token_file: String,
    username: String,
    password: String,
    #[serde(flatten)]
    acts_as: ActsAs,
    auth_provider: Option<serde_json::Value>,
    exec: Option<serde_json::Value>,
}

fn invalid(why: impl Into<String>) -> KubeconfigError {
    KubeconfigError::Invalid(why.into())
}

impl Kubeconfig {
    /// Reads a kubeconfig and the files that it names, which are looked for beside it.
    ///
    /// # Errors
    /// [`KubeconfigError`]
    pub fn read(path: &Path) -> Result<Self, KubeconfigError> {
        File::read(path)?.client(path.parent().unwrap_or(Path::new("/")))
    }

    /// The URL that is posted to, for messages. Webhooks are told how long they are waited for, as by every client of the reference.
    pub(crate) fn url(&self, timeout: Duration) -> String {
        let limit = api::go::duration::format(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX));
        let and = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{and}timeout={limit}", self.server)
    }

    /// Posts JSON and returns the answer, whatever its code. Nobody is led elsewhere by an answer.
    ///
    /// # Errors
    /// [`ClientError`] if none comes in time, or one longer than `answer_bytes_max`.
    pub(crate) async fn post(
        &self,
        body: Bytes,
        timeout: Duration,
        answer_bytes_max: usize,
    ) -> Result<Reply, ClientError> {
        let json = HeaderValue::from_static("application/json");
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url(timeout))
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, json.clone())
            .header(CONTENT_TYPE, json)
            .body(Body::from(body))
            .map_err(|error| ClientError::Failed(error.to_string()))?;
        let authorization = self.credentials.authorization().await;
        let authorization = authorization.map_err(|error| ClientError::Failed(format!("the token's file: {error}")))?;
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request.headers_mut().extend(self.acting.clone());
        self.client.send(request, timeout, answer_bytes_max).await
    }
}

impl Credentials {
    /// The header that says who asks; none if nothing does.
    ///
    /// # Errors
    /// If the token's file cannot be read.
    pub(crate) async fn authorization(&self) -> Result<Option<HeaderValue>, std::io::Error> {
        match self {
            Self::None => Ok(None),
            Self::Header(value) => Ok(Some(value.clone())),
            Self::File(path) => {
                let token = tokio::fs::read_to_string(path).await?;
                let bad = |_| std::io::Error::new(std::io::ErrorKind::InvalidData, "a token that no header can carry");
                secret(&format!("Bearer {}", token.trim())).map(Some).map_err(bad)
            }
        }
    }
}

fn secret(text: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(text)?;
    value.set_sensitive(true);
    Ok(value)
}

fn contents(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    let failed = |source| KubeconfigError::Read { path: path.into(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
        let why = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(KubeconfigError::Malformed { path: path.into(), why });
    }
    std::fs::read(path).map_err(failed)
}

/// What is given in the file itself, or else in one that it names.
fn given(folder: &Path, data: &str, file: &str) -> Result<Option<Vec<u8>>, KubeconfigError> {
    if !data.is_empty() {
        return STANDARD.decode(data).map(Some).map_err(|error| invalid(format!("illegal base64 data: {error}")));
    }
    if file.is_empty() { Ok(None) } else { contents(&folder.join(file)).map(Some) }
}

impl File {
    /// Reads a kubeconfig.
    pub(super) fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let text = contents(path)?;
        let malformed = |why: String| KubeconfigError::Malformed { path: path.into(), why };
        let format = api::decode::Format::Yaml;
        let value = api::decode::decode_untyped(&text, format).map_err(malformed)?;
        serde_json::from_value(value).map_err(|error| malformed(error.to_string()))
    }

    fn client(self, folder: &Path) -> Result<Kubeconfig, KubeconfigError> {
        let none = "no configuration has been provided, try setting KUBERNETES_MASTER environment variable";
        let find = |name: &str| self.contexts.iter().find(|context| context.name == name);
        let context = match self.current_context.as_str() {
            "" => return Err(invalid(none)),
            name => {
                find(name).ok_or_else(|| invalid(format!("context was not found for specified context: {name}")))?
            }
        };
        let context = context.of.clone().unwrap_or_default();
        let cluster = self.clusters.into_iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.and_then(|cluster| cluster.of).ok_or_else(|| invalid(none))?;
        let user = self.users.into_iter().find(|user| user.name == context.user);
        let user = user.and_then(|user| user.of).unwrap_or_default();
        if cluster.server.is_empty() {
            return Err(invalid("no server found for cluster"));
        }
        let uri: http::Uri =
            cluster.server.parse().map_err(|error| invalid(format!("{:?}: {error}", cluster.server)))?;
        if !matches!(uri.scheme_str(), Some("https" | "http")) {
            return Err(invalid(format!("{:?} is no URL of a server", cluster.server)));
        }
        let identity = user.identity(folder)?;
        let tls = tls(&cluster, identity.shown, folder)?;
        let name = match cluster.tls_server_name.as_str() {
            "" => None,
            name => {
                let name = ServerName::try_from(name.to_string());
                Some(name.map_err(|_| invalid("tls-server-name is no name of a server"))?)
            }
        };
        let mut connector = Connector::new(tls, name);
        if !cluster.proxy_url.is_empty() {
            if uri.scheme_str() != Some("https") {
                return Err(invalid("proxy-url is not supported here for a server without TLS"));
            }
            connector = connector.through(Proxy::parse(&cluster.proxy_url).map_err(invalid)?);
        }
        Ok(Kubeconfig {
            server: cluster.server,
            client: Client::new(connector),
            credentials: identity.credentials,
            acting: identity.acting,
        })
    }
}

impl User {
    /// As whom a server is called by this user; files are looked for in a folder.
    ///
    /// # Errors
    /// What is wrong with it, or not done here.
    pub(super) fn identity(&self, folder: &Path) -> Result<Identity, KubeconfigError> {
        let certificate = given(folder, &self.client_certificate_data, &self.client_certificate)?;
        let key = given(folder, &self.client_key_data, &self.client_key)?;
        let shown = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(shown(&certificate, &key).map_err(invalid)?),
            (Some(_), None) => {
                return Err(invalid(
                    "client-key-data or client-key must be specified to use the clientCert authentication method",
                ));
            }
            (None, Some(_)) => return Err(invalid("a client key without a client certificate")),
        };
        let acting = self.acts_as.headers().map_err(invalid)?;
        Ok(Identity { shown, credentials: self.credentials(folder)?, acting })
    }

    fn credentials(&self, folder: &Path) -> Result<Credentials, KubeconfigError> {
        let unsupported = [(self.exec.is_some(), "exec"), (self.auth_provider.is_some(), "auth-provider")];
        if let Some((_, field)) = unsupported.iter().find(|(is_there, _)| *is_there) {
            return Err(invalid(format!("{field} of a user is not supported here")));
        }
        let header = |text: String| secret(&text).map_err(|_| invalid("credentials that no header can carry"));
        if !self.token_file.is_empty() {
            return Ok(Credentials::File(folder.join(&self.token_file)));
        }
        if !self.token.is_empty() {
            return header(format!("Bearer {}", self.token)).map(Credentials::Header);
        }
        if !self.username.is_empty() {
            let both = STANDARD.encode(format!("{}:{}", self.username, self.password));
            return header(format!("Basic {both}")).map(Credentials::Header);
        }
        Ok(Credentials::None)
    }
}

fn tls(
    cluster: &Cluster,
    shown: Option<Arc<dyn ResolvesClientCert>>,
    folder: &Path,
) -> Result<rustls::ClientConfig, KubeconfigError> {
    let authority = given(folder, &cluster.certificate_authority_data, &cluster.certificate_authority)?;
    let trust = match (&authority, cluster.insecure_skip_tls_verify) {
        (Some(_), true) => {
            return Err(invalid("specifying a root certificates file with the insecure flag is not allowed"));
        }
        (None, true) => Trust::Anybody,
        (Some(pem), false) => Trust::Authorities(pem),
        (None, false) => Trust::Authorities(b""),
    };
    tls_config(trust, shown, HTTP).map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Kubeconfig, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, text).unwrap();
        Kubeconfig::read(&path).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_current_context_counts() {
        let text = "clusters:\n- {name: a, cluster: {server: 'http://one:81/x?y'}}\n- {name: b, cluster: {server: 'http://two'}}\n\
                    users:\n- {name: u, user: {username: me, password: pw}}\n- {name: t, user: {tokenFile: token}}\n\
                    contexts:\n- {name: c, context: {cluster: a, user: u}}\n- {name: d, context: {cluster: b, user: t}}\n";
        let first = read(&format!("{text}current-context: c\n")).unwrap();
        assert_eq!(first.url(Duration::from_secs(90)), "http://one:81/x?y&timeout=1m30s");
        assert_eq!(first.credentials.authorization().await.unwrap().unwrap(), "Basic bWU6cHc=");
        let second = read(&format!("{text}current-context: d\n")).unwrap();
        assert_eq!(second.url(Duration::from_secs(30)), "http://two?timeout=30s");
        assert!(matches!(second.credentials, Credentials::File(path) if path.ends_with("token")));
        let unknown = "invalid configuration: context was not found for specified context: e";
        assert_eq!(read(&format!("{text}current-context: e\n")).unwrap_err(), unknown);
        let none = "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable";
        assert_eq!(read(text).unwrap_err(), none);
    }

    #[test]
    fn what_cannot_be_done_as_it_is_told_is_refused() {
        let of = |cluster: &str, user: &str| {
            let lists = format!("clusters:\n- {{name: c, cluster: {cluster}}}\nusers:\n- {{name: u, user: {user}}}\n");
            read(&format!("{lists}contexts:\n- {{name: x, context: {{cluster: c, user: u}}}}\ncurrent-context: x\n"))
        };
        for (cluster, user, expected) in [
            ("{}", "{}", "no server found for cluster"),
            ("{server: 'ftp://x'}", "{}", "\"ftp://x\" is no URL of a server"),
            ("{server: 'https://x', proxy-url: 'socks5://y'}", "{}", "a proxy of socks5 is not supported here"),
            ("{server: 'http://x', proxy-url: 'http://y'}", "{}", "not supported here for a server without TLS"),
            (
                "{server: 'https://x', insecure-skip-tls-verify: true, certificate-authority-data: eA==}",
                "{}",
                "specifying a root certificates file with the insecure flag is not allowed",
            ),
            ("{server: 'https://x', certificate-authority: gone}", "{}", "No such file"),
            ("{server: 'https://x', certificate-authority-data: eA==}", "{}", "unable to load root certificates"),
            ("{server: 'https://x'}", "{exec: {}}", "exec of a user is not supported here"),
            ("{server: 'https://x'}", "{as-groups: [a]}", "without impersonating a user"),
            (
                "{server: 'https://x'}",
                "{client-certificate-data: eA==}",
                "client-key-data or client-key must be specified",
            ),
        ] {
            let error = of(cluster, user).unwrap_err();
            assert!(error.contains(expected), "{error}\n{expected}");
        }
        of("{server: 'https://x', insecure-skip-tls-verify: true}", "{}").unwrap();
    }
}
