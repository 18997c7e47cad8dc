//! The conversation with a plugin that registers (`pluginregistration.Registration`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::Channel;

use super::{Handler, Handlers, Plugin};
use crate::unix_grpc::{channel, unary};

/// How long a plugin may take to say what it is, and to hear what came of it.
const INFO_MAX: Duration = Duration::from_secs(1);
const NOTIFY_MAX: Duration = Duration::from_secs(5);
const GET_INFO: &str = "/pluginregistration.Registration/GetInfo";
const NOTIFY: &str = "/pluginregistration.Registration/NotifyRegistrationStatus";
/// Longest name of a plugin and longest list of what it serves.
const NAME_BYTES_MAX: usize = 253;
const VERSIONS_MAX: usize = 64;

#[derive(Clone, PartialEq, prost::Message)]
struct InfoRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct PluginInfo {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    endpoint: String,
    #[prost(string, repeated, tag = "4")]
    supported_versions: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegistrationStatus {
    #[prost(bool, tag = "1")]
    plugin_registered: bool,
    #[prost(string, tag = "2")]
    error: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegistrationStatusResponse {}

/// Asks what is behind a socket and hands it to the handler of its type; the plugin hears what came of that.
pub(super) async fn register(socket: &Path, handlers: &Handlers) -> Result<(Plugin, Arc<dyn Handler>), String> {
    let (channel, shown) = (channel(socket), socket.display());
    let info: PluginInfo = unary(&channel, GET_INFO, InfoRequest {}, INFO_MAX).await.map_err(|error| {
        format!("RegisterPlugin error -- failed to get plugin info using RPC GetInfo at socket {shown}, err: {error}")
    })?;
    let Some(handler) = handlers.get(info.kind.as_str()) else {
        let why = format!("no handler registered for plugin type: {} at socket {shown}", info.kind);
        return Err(refuse(&channel, format!("RegisterPlugin error -- {why}")).await);
    };
    if info.name.is_empty() || info.name.len() > NAME_BYTES_MAX || info.supported_versions.len() > VERSIONS_MAX {
        let why = format!("a plugin has a name of 1 to {NAME_BYTES_MAX} bytes and at most {VERSIONS_MAX} versions");
        return Err(refuse(&channel, format!("RegisterPlugin error -- {why}")).await);
    }
    let endpoint = if info.endpoint.is_empty() { socket.to_owned() } else { info.endpoint.into() };
    let plugin = Plugin { kind: info.kind, name: info.name, endpoint, versions: info.supported_versions };
    if let Err(why) = handler.validate(&plugin) {
        let why = format!("RegisterPlugin error -- plugin validation failed with err: {why}");
        return Err(refuse(&channel, why).await);
    }
    if let Err(why) = handler.register(&plugin) {
        let why = format!("RegisterPlugin error -- plugin registration failed with err: {why}");
        return Err(refuse(&channel, why).await);
    }
    if let Err(error) = notify(&channel, true, String::new()).await {
        handler.deregister(&plugin);
        return Err(format!(
            "RegisterPlugin error -- failed to send registration status at socket {shown}, err: {error}"
        ));
    }
    Ok((plugin, handler.clone()))
}

async fn refuse(channel: &Channel, why: String) -> String {
    match notify(channel, false, why.clone()).await {
        Ok(()) => why,
        Err(error) => format!("RegisterPlugin error -- failed to send error, err: {why}: {error}"),
    }
}

async fn notify(channel: &Channel, registered: bool, error: String) -> Result<(), tonic::Status> {
    let status = RegistrationStatus { plugin_registered: registered, error };
    let _empty: RegistrationStatusResponse = unary(channel, NOTIFY, status, NOTIFY_MAX).await?;
    Ok(())
}
