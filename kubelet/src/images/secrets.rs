//! Credentials for registries out of a pod's pull secrets.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use super::name;

/// The credentials that the secrets hold for an image's registry, the longest match first.
pub(super) fn auth(secrets: &[Arc<Secret>], image: &str) -> Option<AuthConfig> {
    let full = name::normalize(image);
    let mut found: Option<(usize, AuthConfig)> = None;
    for secret in secrets {
        for (server, entry) in entries(secret) {
            let key = server_key(&server);
            let better = found.as_ref().is_none_or(|(length, _)| key.len() > *length);
            if better && (full.starts_with(&format!("{key}/")) || key == name::registry(image)) {
                found = Some((key.len(), config(&entry)));
            }
        }
    }
    found.map(|(_, config)| config)
}

fn entries(secret: &Secret) -> Vec<(String, Value)> {
    let data = |key: &str| secret.data.as_ref()?.get(key).and_then(|bytes| serde_json::from_slice(&bytes.0).ok());
    let auths: Option<Value> = match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => {
            data(".dockerconfigjson").and_then(|json: Value| json.get("auths").cloned())
        }
        Some("kubernetes.io/dockercfg") => data(".dockercfg"),
        _ => None,
    };
    match auths {
        Some(Value::Object(map)) => map.into_iter().collect(),
        _ => Vec::new(),
    }
}

fn server_key(server: &str) -> String {
    let bare = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    match bare {
        "index.docker.io/v1" | "index.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

fn config(entry: &Value) -> AuthConfig {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty()
        && let Ok(bytes) = STANDARD.decode(text("auth"))
        && let Ok(pair) = String::from_utf8(bytes)
        && let Some((user, pass)) = pair.split_once(':')
    {
        (username, password) = (user.to_owned(), pass.to_owned());
    }
    AuthConfig { username, password, identity_token: text("identitytoken"), ..Default::default() }
}
