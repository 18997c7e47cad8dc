//! What one version of the file says: by which providers the values of a key go.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use store::Sealed;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::{EncryptionConfiguration, KmsConfiguration};
use super::kms::Kms;
use super::metrics::EncryptionMetrics;
use super::provider::{Chain, Place, hex};
use super::resources::GroupResource;
use crate::clock::Clock;

/// What every generation counts with.
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<EncryptionMetrics>,
    /// The name of the server's own lease.
    pub(super) server_id: String,
}

/// The rules of one version of the file.
pub(super) struct Generation {
    /// Named resources: what their keys begin with.
    exact: Vec<Rule>,
    /// All of a group; the core is the empty one.
    groups: HashMap<String, Arc<Chain>>,
    everything: Option<Arc<Chain>>,
    /// Keys that were used before there was a file, to read with.
    before: Option<Chain>,
    pub(super) services: Vec<Arc<Kms>>,
    /// Of the file's content.
    pub(super) hash: String,
    /// In the order of the file, for the fingerprint.
    order: Vec<(String, Arc<Chain>)>,
    /// Cancelled when nobody uses it any more.
    pub(super) ended: CancellationToken,
    _alive: DropGuard,
}

struct Rule {
    prefix: String,
    shown: String,
    chain: Arc<Chain>,
}

impl Generation {
    /// # Errors
    /// What the reference says of rules that no key would come to, and of providers that are not served.
    pub(super) fn new(
        config: &EncryptionConfiguration,
        before: Option<&EncryptionConfiguration>,
        hash: String,
        around: &Surroundings,
    ) -> Result<Self, String> {
        let ended = CancellationToken::new();
        let mut new = Self {
            exact: Vec::new(),
            groups: HashMap::new(),
            everything: None,
            before: None,
            services: Vec::new(),
            hash,
            order: Vec::new(),
            _alive: ended.clone().drop_guard(),
            ended,
        };
        let building = |error: String| format!("error while building transformers: {error}");
        let services = &mut new.services;
        let mut service = |config: &KmsConfiguration| {
            let kms = Kms::new(config, around.server_id.clone(), around.metrics.clone(), around.clock.clone())?;
            services.push(kms.clone());
            Ok(kms)
        };
        let mut chains: Vec<(GroupResource, Arc<Chain>)> = Vec::new();
        for entry in &config.resources {
            let chain = Arc::new(Chain::new(&entry.providers, &mut service).map_err(building)?);
            for text in &entry.resources {
                let resource = GroupResource::parse(text);
                if let Some(masking) = masked(&resource, &chains) {
                    let (own, by) = (resource.shown(), masking.shown());
                    return Err(building(format!("resource {own:?} is masked by earlier rule {by:?}")));
                }
                match chains.iter_mut().find(|(known, _)| *known == resource) {
                    Some((_, known)) => *known = Arc::new(known.and(&chain)),
                    None => chains.push((resource, chain.clone())),
                }
            }
        }
        if let Some(entry) = before.and_then(|before| before.resources.first()) {
            new.before = Some(Chain::new(&entry.providers, &mut service).map_err(building)?);
        }
        for (resource, chain) in chains {
            new.order.push((resource.shown(), chain.clone()));
            match resource.prefix() {
                Some(prefix) => new.exact.push(Rule { prefix, shown: resource.shown(), chain }),
                None if resource.is_everything() => new.everything = Some(chain),
                None => drop(new.groups.insert(resource.group, chain)),
            }
        }
        Ok(new)
    }

    /// The providers of a key and what its resource is called; none if its values are stored as they are
    /// (`transformerFromOverrides`).
    fn chain(&self, key: &str) -> Option<(&Chain, String)> {
        if let Some(rule) = self.exact.iter().find(|rule| key.starts_with(&rule.prefix)) {
            return Some((&rule.chain, rule.shown.clone()));
        }
        if self.groups.is_empty() && self.everything.is_none() {
            return None;
        }
        let (group, resource) = GroupResource::of_key(key)?;
        let chain = self.groups.get(group).or(self.everything.as_ref())?;
        let shown = GroupResource { group: group.to_owned(), resource: resource.to_owned() }.shown();
        Some((chain, shown))
    }

    /// [`store::Sealing::seal`]
    pub(super) fn seal(
        self: &Arc<Self>,
        key: &str,
        value: &Bytes,
        around: &Surroundings,
    ) -> Result<Option<Sealed>, String> {
        let Some((chain, resource)) = self.chain(key) else { return Ok(None) };
        let sealed = chain.seal(value, &place(key, &resource, around))?;
        let hold: Arc<dyn Any + Send + Sync> = self.clone();
        Ok(sealed.map(|bytes| Sealed { bytes: bytes.into(), hold: Some(hold) }))
    }

    /// [`store::Sealing::open`]
    pub(super) fn open(&self, key: &str, sealed: &[u8], around: &Surroundings) -> Result<Bytes, String> {
        let opened = match self.chain(key) {
            None => Err("identity transformer tried to read encrypted data".into()),
            Some((chain, resource)) => chain.open(sealed, &place(key, &resource, around)),
        };
        let opened = match (opened, &self.before) {
            (Err(error), Some(before)) => before.open(sealed, &place(key, "", around)).map_err(|_| error),
            (opened, _) => opened,
        };
        opened.map(Bytes::from)
    }

    /// [`store::Sealing::accept_plain`]
    pub(super) fn accept_plain(&self, key: &str) -> Result<(), String> {
        self.chain(key).map_or(Ok(()), |(chain, _)| chain.accept_plain())
    }

    /// Whether a value is on the disk as it would be written now.
    pub(super) fn is_current(&self, entry: &store::Entry, around: &Surroundings) -> bool {
        match (self.chain(entry.key()), entry.sealed()) {
            (None, sealed) => sealed.is_none(),
            (Some((chain, resource)), sealed) => {
                let sealed = sealed.map(|sealed| &sealed[..]);
                chain.is_current(&entry.value(), sealed, &place(entry.key(), &resource, around))
            }
        }
    }

    /// What is written with, by resource; none as long as a service has not said that.
    pub(super) fn fingerprint(&self) -> Option<String> {
        let mut digest = Sha256::new();
        for (resource, chain) in &self.order {
            digest.update(format!("{resource}\n{}\n", chain.fingerprint()?));
        }
        Some(hex(&digest.finalize()))
    }
}

fn place<'a>(path: &'a str, resource: &'a str, around: &'a Surroundings) -> Place<'a> {
    Place { path, resource, clock: &*around.clock, metrics: &around.metrics }
}

/// An earlier rule that takes all of a resource.
fn masked<'a>(resource: &GroupResource, chains: &'a [(GroupResource, Arc<Chain>)]) -> Option<&'a GroupResource> {
    let all_of_group = GroupResource { group: resource.group.clone(), resource: "*".into() };
    let find =
        |wanted: &dyn Fn(&GroupResource) -> bool| chains.iter().map(|(known, _)| known).find(|known| wanted(known));
    find(&|known| *known == all_of_group).or_else(|| find(&GroupResource::is_everything))
}
