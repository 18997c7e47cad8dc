//! The parts of OpenAPI documents that the services of APIServices say.

use std::sync::Arc;

use api::openapi;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::Registry;
use crate::aggregator::description::{self, Description};

/// What services say, in the order in which it is merged.
#[derive(Clone, Default)]
pub(super) struct Parts {
    /// By group and version; nothing may be known of one.
    all: Vec<(String, String, Option<Arc<Description>>)>,
}

/// What a service says of its group and version, in the documents of version 3.
pub(super) struct Remote(Option<Arc<Description>>);

impl Parts {
    /// What they say now.
    pub(super) fn of(registry: &Registry) -> Self {
        let table = registry.group_versions();
        if table.remotes().is_empty() {
            return Self::default();
        }
        let mut known = description::ordered(&table, &registry.aggregator().described());
        let mut all = Vec::new();
        for (name, description) in known.drain(..) {
            if let Some(remote) = table.named(&name).and_then(|found| found.remote.as_ref()) {
                all.push((remote.group.clone(), remote.version.clone(), Some(description)));
            }
        }
        for remote in table.remotes() {
            if !all.iter().any(|(group, version, _)| *group == remote.group && *version == remote.version) {
                all.push((remote.group.clone(), remote.version.clone(), None));
            }
        }
        Self { all }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether nothing differs.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_same = |a: &Option<Arc<Description>>, b: &Option<Arc<Description>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        self.all.len() == other.all.len()
            && self.all.iter().zip(&other.all).all(|(a, b)| a.0 == b.0 && a.1 == b.1 && is_same(&a.2, &b.2))
    }

    /// The document of version 2 with what services say.
    pub(super) fn merge(&self, own: Vec<u8>) -> Vec<u8> {
        let parts = self.all.iter().filter_map(|(group, version, known)| {
            let part = known.as_ref()?.v2.as_ref()?;
            Some((format!("{version}.{group}"), part.bytes.clone()))
        });
        let parts: Vec<(String, Bytes)> = parts.collect();
        if parts.is_empty() {
            return own;
        }
        description::merge(&own, &parts).unwrap_or_else(|error| {
            tracing::error!(%error, "the OpenAPI document is told without what services say");
            own
        })
    }

    /// The index of version 3 with what services say.
    pub(super) fn index(&self, own: Bytes) -> Bytes {
        if self.all.is_empty() {
            return own;
        }
        let Ok(mut index) = serde_json::from_slice::<Value>(&own) else { return own };
        let Some(paths) = index.get_mut("paths").and_then(Value::as_object_mut) else { return own };
        for (group, version, known) in &self.all {
            let path = format!("apis/{group}/{version}");
            match known.as_ref().and_then(|known| known.v3.as_ref()) {
                Some(document) => {
                    let url = format!("/openapi/v3/{path}?hash={}", document.tag);
                    paths.insert(path, json!({"serverRelativeURL": url}));
                }
                None => _ = paths.remove(&path),
            }
        }
        index.to_string().into()
    }

    /// What a service says at this path of version 3, if one serves what it is about.
    pub(super) fn version_3(&self, segments: &[&str]) -> Option<Remote> {
        let ["openapi", "v3", "apis", group, version] = segments else { return None };
        let found = self.all.iter().find(|(of, at, _)| of == group && at == version);
        found.map(|(_, _, known)| Remote(known.clone()))
    }
}

impl Remote {
    /// The document with its tag; none if the service has said none.
    pub(super) fn written(&self, as_protobuf: bool) -> Option<(Bytes, String)> {
        let document = self.0.as_ref()?.v3.as_ref()?;
        if !as_protobuf {
            return Some((document.bytes.clone(), document.tag.clone()));
        }
        let parsed: Value = serde_json::from_slice(&document.bytes).ok()?;
        Some((openapi::v3_protobuf(&parsed).into(), document.tag.clone()))
    }
}
