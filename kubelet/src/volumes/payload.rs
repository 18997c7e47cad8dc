//! The files of volumes that come from the API: ConfigMaps, Secrets, the downward API, tokens, and projections of those.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection,
};

use super::{atomic::File, ownership::Owner, token::Tokens};
use crate::{agent::Agent, fields, pod};

/// The mode of files whose volume names none.
const MODE_DEFAULT: i32 = 0o644;

/// The files of one volume.
#[derive(Debug, Default)]
pub(super) struct Payload {
    /// The part of the volume's directory name that tells its kind.
    pub kind: &'static str,
    /// Whether it must not be written to disk.
    pub secret: bool,
    /// Files by path.
    pub files: BTreeMap<String, File>,
}

struct Source<'a> {
    agent: &'a Agent,
    tokens: &'a mut Tokens,
    pod: &'a Pod,
    pod_ips: &'a [String],
    mode: i32,
}

/// The files of a volume; `None` if it is not made of files from the API.
pub(super) async fn of(
    agent: &Arc<Agent>,
    tokens: &mut Tokens,
    pod: &Pod,
    volume: &Volume,
    pod_ips: &[String],
) -> Result<Option<Payload>, String> {
    let mut source = Source { agent, tokens, pod, pod_ips, mode: MODE_DEFAULT };
    let mut payload = Payload::default();
    if let Some(map) = &volume.config_map {
        source.mode = map.default_mode.unwrap_or(MODE_DEFAULT);
        payload.kind = "configmap";
        source.config_map(&map.name, map.items.as_deref(), map.optional, &mut payload).await?;
    } else if let Some(secret) = &volume.secret {
        source.mode = secret.default_mode.unwrap_or(MODE_DEFAULT);
        (payload.kind, payload.secret) = ("secret", true);
        let name = secret.secret_name.as_deref().unwrap_or_default();
        source.secret(name, secret.items.as_deref(), secret.optional, &mut payload).await?;
    } else if let Some(downward) = &volume.downward_api {
        source.mode = downward.default_mode.unwrap_or(MODE_DEFAULT);
        payload.kind = "downward-api";
        source.downward(downward.items.as_deref().unwrap_or_default(), &mut payload)?;
    } else if let Some(projected) = &volume.projected {
        source.mode = projected.default_mode.unwrap_or(MODE_DEFAULT);
        payload.kind = "projected";
        for projection in projected.sources.iter().flatten() {
            source.projection(projection, &mut payload).await?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(payload))
}

impl Source<'_> {
    fn file(&self, bytes: Vec<u8>, mode: Option<i32>) -> File {
        let mode = u32::try_from(mode.unwrap_or(self.mode)).unwrap_or(0o644) & 0o777;
        File { bytes, mode, user: None }
    }

    async fn projection(&mut self, projection: &VolumeProjection, payload: &mut Payload) -> Result<(), String> {
        if let Some(map) = &projection.config_map {
            self.config_map(&map.name, map.items.as_deref(), map.optional, payload).await?;
        }
        if let Some(secret) = &projection.secret {
            payload.secret = true;
            self.secret(&secret.name, secret.items.as_deref(), secret.optional, payload).await?;
        }
        if let Some(downward) = &projection.downward_api {
            self.downward(downward.items.as_deref().unwrap_or_default(), payload)?;
        }
        if let Some(token) = &projection.service_account_token {
            payload.secret = true;
            let text = self.tokens.get(self.pod, token).await?;
            let owner = Owner::of(self.pod);
            let mode = (owner.group.is_some() || owner.user.is_some()).then_some(0o600);
            payload.files.insert(token.path.clone(), File { user: owner.user, ..self.file(text.into_bytes(), mode) });
        }
        if projection.cluster_trust_bundle.as_ref().is_some_and(|bundle| bundle.optional != Some(true)) {
            return Err("projections of ClusterTrustBundles are not supported by this node".to_owned());
        }
        if projection.pod_certificate.is_some() {
            return Err("projections of pod certificates are not supported by this node".to_owned());
        }
        Ok(())
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        payload: &mut Payload,
    ) -> Result<(), String> {
        let optional = optional == Some(true);
        let found = self.agent.references.config_map(pod::uid(self.pod), pod::namespace(self.pod), name).await?;
        let Some(map) = found else {
            return if optional { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
        };
        self.pick(config_map_data(&map), items, optional, "config", payload)
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        payload: &mut Payload,
    ) -> Result<(), String> {
        let optional = optional == Some(true);
        let found = self.agent.references.secret(pod::uid(self.pod), pod::namespace(self.pod), name).await?;
        let Some(secret) = found else {
            return if optional { Ok(()) } else { Err(format!("secret {name:?} not found")) };
        };
        self.pick(secret_data(&secret), items, optional, "secret", payload)
    }

    fn pick(
        &self,
        data: BTreeMap<String, Vec<u8>>,
        items: Option<&[KeyToPath]>,
        optional: bool,
        what: &str,
        payload: &mut Payload,
    ) -> Result<(), String> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            payload.files.extend(data.into_iter().map(|(key, bytes)| (key, self.file(bytes, None))));
            return Ok(());
        };
        for item in items {
            match data.get(&item.key) {
                Some(bytes) => {
                    payload.files.insert(item.path.clone(), self.file(bytes.clone(), item.mode));
                }
                None if optional => {}
                None => return Err(format!("references non-existent {what} key: {}", item.key)),
            }
        }
        Ok(())
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile], payload: &mut Payload) -> Result<(), String> {
        let around = self.agent.surroundings(self.pod_ips.to_vec());
        for item in items {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(selector), _) => fields::field(self.pod, &selector.field_path, &around)?,
                (None, Some(selector)) => fields::resource(self.pod, &Container::default(), selector, &around)?,
                (None, None) => return Err(format!("the item {:?} names no field", item.path)),
            };
            payload.files.insert(item.path.clone(), self.file(text.into_bytes(), item.mode));
        }
        Ok(())
    }
}

fn config_map_data(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

fn secret_data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
