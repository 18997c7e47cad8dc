//! Tells the servers of aggregated APIs whom to believe, in the ConfigMap `extension-apiserver-authentication`
//! (`clusterauthenticationtrust` in kube-apiserver's `pkg/controlplane/controller`). Several servers write it: what another
//! wrote stays until it has expired.

use std::time::Duration;

use api::{Object, Status};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value, json};

use crate::front_proxy::FrontProxy;
use crate::registry::key;
use crate::{ApiServer, bootstrap};

/// How often the files are read and the ConfigMap is looked at, whatever is told of them.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How long after its end a certificate is still told of.
const EXPIRED_SLACK: SignedDuration = SignedDuration::from_mins(5);
/// The columns of a line of PEM.
const PEM_COLUMNS: usize = 64;

const CLIENT_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
const UID_HEADERS: &str = "requestheader-uid-headers";

/// Keeps the ConfigMap right, until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    let Some(front_proxy) = &registry.plugins().front_proxy else { return };
    let (namespace, name) = bootstrap::AUTHENTICATION;
    let own = key("", "configmaps", namespace, name);
    let mut followed = registry.follow(own[..=own.rfind('/').unwrap_or(0)].to_string());
    loop {
        let changed = tokio::time::timeout(LOOK_INTERVAL, followed.changed(|event| event.key() == own)).await;
        if matches!(changed, Ok(None)) {
            return;
        }
        if front_proxy.has_files() {
            let read = {
                let front_proxy = front_proxy.clone();
                tokio::task::spawn_blocking(move || front_proxy.reload())
            };
            if read.await.unwrap_or(false) {
                tracing::info!("other authorities of front proxies are believed");
            }
        }
        if let Err(error) = synchronise(server, front_proxy).await {
            tracing::warn!(%error, name, "what servers of aggregated APIs are to believe is not told");
        }
    }
}

/// Brings the ConfigMap to what it should be, if it is not.
async fn synchronise(server: &ApiServer, front_proxy: &FrontProxy) -> Result<(), Status> {
    let (namespace, name) = bootstrap::AUTHENTICATION;
    let registry = server.registry();
    let stored = registry.get("", "configmaps", namespace, name);
    let empty = Map::new();
    let before = stored.as_ref().and_then(|stored| stored.at(&["data"])).and_then(Value::as_object).unwrap_or(&empty);
    let data = combined(before, &required(front_proxy), registry.clock().now()).map_err(Status::internal)?;
    if data == *before && stored.is_some() {
        return Ok(());
    }
    let all = format!("/api/v1/namespaces/{namespace}/configmaps");
    let written = match stored {
        None => {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
            server.ask_itself(&Method::POST, all.clone(), "application/json", object.to_string()).await
        }
        Some(mut object) => {
            object.set(&["data"], data);
            replace(server, format!("{all}/{name}"), &object).await
        }
    };
    match written {
        // Somebody was quicker, and is seen by us next.
        Err(error) if matches!(error.code, 404 | 409) => Ok(()),
        // Authorities of many that are gone: it begins anew with those that are there.
        Err(error) if error.code == 413 || error.code == 422 && error.message.contains("Too long") => {
            server.ask_itself(&Method::DELETE, format!("{all}/{name}"), "application/json", String::new()).await?;
            Err(error)
        }
        written => written.map(drop),
    }
}

async fn replace(server: &ApiServer, url: String, object: &Object) -> Result<Object, Status> {
    let body = serde_json::to_string(&object.0).map_err(|error| Status::internal(error.to_string()))?;
    server.ask_itself(&Method::PUT, url, "application/json", body).await
}

/// What this server asks to be believed.
pub(crate) fn required(front_proxy: &FrontProxy) -> Map<String, Value> {
    let believed = front_proxy.believed();
    let names = believed.names();
    let list = |names: &[String]| Value::from(Value::from(names.to_vec()).to_string());
    let mut data = Map::new();
    data.insert(CLIENT_CA.into(), front_proxy.client_ca_pem().into());
    data.insert(PROXY_CA.into(), believed.authorities_pem().into());
    data.insert("requestheader-username-headers".into(), list(&names.username));
    data.insert("requestheader-group-headers".into(), list(&names.group));
    data.insert("requestheader-extra-headers-prefix".into(), list(&names.extra_prefix));
    data.insert("requestheader-allowed-names".into(), list(believed.allowed()));
    if !names.uid.is_empty() {
        data.insert(UID_HEADERS.into(), list(&names.uid));
    }
    data
}

/// What is there together with what is required (`combinedClusterAuthenticationInfo`); all else is dropped.
fn combined(
    before: &Map<String, Value>,
    required: &Map<String, Value>,
    now: Timestamp,
) -> Result<Map<String, Value>, String> {
    let text = |data: &Map<String, Value>, key: &str| data.get(key).and_then(Value::as_str).unwrap_or("").to_string();
    let mut data = Map::new();
    for name in [CLIENT_CA, PROXY_CA] {
        let pem =
            certificates(&[text(before, name), text(required, name)], now).map_err(|why| format!("{name}: {why}"))?;
        if !pem.is_empty() {
            data.insert(name.into(), pem.into());
        }
    }
    // Without an authority nobody is believed, whatever the headers are called.
    if !data.contains_key(PROXY_CA) {
        return Ok(data);
    }
    let lists = ["username-headers", "group-headers", "extra-headers-prefix", "allowed-names", "uid-headers"];
    for name in lists.map(|name| format!("requestheader-{name}")) {
        let mut all: Vec<String> = Vec::new();
        for text in [text(before, &name), text(required, &name)].iter().filter(|text| !text.is_empty()) {
            let list: Vec<String> = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
            for item in list {
                if !all.contains(&item) {
                    all.push(item);
                }
            }
        }
        if name != UID_HEADERS || !all.is_empty() {
            data.insert(name, Value::from(all).to_string().into());
        }
    }
    Ok(data)
}

/// The certificates of several PEMs, each once, without those that have ended.
fn certificates(pems: &[String], now: Timestamp) -> Result<String, String> {
    let mut kept: Vec<CertificateDer<'static>> = Vec::new();
    for pem in pems {
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("{error:?}"))?;
            let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|error| error.to_string())?;
            let ends = Timestamp::from_second(parsed.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
            if ends > now - EXPIRED_SLACK && !kept.contains(&certificate) {
                kept.push(certificate);
            }
        }
    }
    let mut all = String::new();
    for certificate in kept {
        all.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(&certificate);
        for line in encoded.as_bytes().chunks(PEM_COLUMNS) {
            all.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
            all.push('\n');
        }
        all.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
