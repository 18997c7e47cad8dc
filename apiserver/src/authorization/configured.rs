//! Authorisers as a configuration lists them, and the file that it may be in, which is followed while the server runs
//! (`pkg/kubeapiserver/authorizer`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::UserInfo;
use api::identity::{AuthorizationConfiguration, AuthorizerConfiguration};
use parking_lot::Mutex;

use super::rule::Rule;
use super::webhook::Webhook;
use super::{Abac, Answer, Attributes, Authorizer, Authorizers, Decision, Named, NodeAuthorizer, Rbac, Rules};
use crate::Registry;
use crate::clock::Clock;
use crate::metrics::identity::{AuthorizationWebhooks, Reloads};
use crate::plug::authorization::Masters;

/// Authorisers that last while the configuration changes, and what those made for it share.
#[derive(Clone)]
pub struct Parts {
    /// RBAC.
    pub rbac: Arc<Rbac>,
    /// The Node authoriser.
    pub node: Arc<NodeAuthorizer>,
    /// ABAC, if its policies were read.
    pub abac: Option<Arc<Abac>>,
    /// What is counted of webhooks.
    pub metrics: Arc<AuthorizationWebhooks>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Parts {
    /// The authorisers of a configuration that was found good; `system:masters` may do everything, whoever is asked
    /// (`newForConfig`).
    ///
    /// # Errors
    /// Why one cannot be asked.
    pub fn chain(&self, configuration: &AuthorizationConfiguration) -> Result<Vec<Named>, String> {
        let masters = Named { kind: "", name: String::new(), authorizer: Arc::new(Masters) };
        let mut chain = vec![masters];
        for one in &configuration.authorizers {
            let (kind, authorizer) = self.authorizer(one)?;
            chain.push(Named { kind, name: one.name.clone(), authorizer });
        }
        Ok(chain)
    }

    fn authorizer(&self, one: &AuthorizerConfiguration) -> Result<(&'static str, Arc<dyn Authorizer>), String> {
        Ok(match one.kind.as_str() {
            "Node" => ("Node", self.node.clone()),
            "RBAC" => ("RBAC", self.rbac.clone()),
            "AlwaysAllow" => ("AlwaysAllow", Arc::new(Always(true))),
            "AlwaysDeny" => ("AlwaysDeny", Arc::new(Always(false))),
            "ABAC" => {
                let off = "authorizer type ABAC is not allowed if it was not enabled at initial server startup";
                ("ABAC", self.abac.clone().ok_or(off)?)
            }
            "Webhook" => {
                let config = one.webhook.as_ref().ok_or("a webhook without a configuration")?;
                let webhook = Webhook::new(&one.name, config, self.metrics.clone(), self.clock.clone())?;
                ("Webhook", Arc::new(webhook))
            }
            other => return Err(format!("unknown authorization mode {other} specified")),
        })
    }
}

/// Says the same to everybody.
struct Always(bool);

impl Authorizer for Always {
    fn authorize<'a>(&'a self, _: Attributes<'a>, _: &'a Registry) -> Answer<'a> {
        if self.0 { Decision::Allow.into() } else { Decision::NoOpinion("Everything is forbidden.".into()).into() }
    }

    fn rules(&self, _: &UserInfo, _: &str, _: &Registry) -> Option<Rules> {
        let all = || vec!["*".to_string()];
        let of_resources = Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() };
        let of_paths = Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() };
        let rules = if self.0 { vec![of_resources, of_paths] } else { Vec::new() };
        Some(Rules { rules, ..Rules::default() })
    }
}

/// What is wrong with the file of a kubeconfig, in the reference's words.
pub fn check_file(path: &str) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => None,
        Ok(_) => Some("must be a regular file".into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("error loading file: stat {path}: no such file or directory"))
        }
        Err(error) => Some(format!("error loading file: stat {path}: {error}")),
    }
}

/// A file of configuration whose changes count while the server runs.
pub struct ConfigurationFile {
    path: PathBuf,
    parts: Parts,
    authorizers: Authorizers,
    /// The types that must stay in it.
    required: Vec<String>,
    last: Mutex<Last>,
    reloads: Arc<Reloads>,
}

struct Last {
    read: Vec<u8>,
    loaded: AuthorizationConfiguration,
}

impl ConfigurationFile {
    /// The configuration in a file, and what follows its changes. `policies` are read only if the file asks for ABAC.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn open(
        path: &Path,
        parts: Parts,
        policies: impl FnOnce() -> Result<Arc<Abac>, String>,
        reloads: Arc<Reloads>,
    ) -> Result<Self, String> {
        let read = std::fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?;
        let loaded = AuthorizationConfiguration::load(&read, &[], &check_file)?;
        let mut required: Vec<String> = loaded.authorizers.iter().map(|one| one.kind.clone()).collect();
        required.retain(|kind| kind != api::identity::authorization::WEBHOOK);
        let mut parts = parts;
        if required.iter().any(|kind| kind == "ABAC") {
            parts.abac = Some(policies()?);
        }
        let authorizers = Authorizers::new(parts.chain(&loaded)?);
        reloads.loaded(&read);
        Ok(Self { path: path.into(), parts, authorizers, required, last: Mutex::new(Last { read, loaded }), reloads })
    }

    /// The authorisers, which change with the file.
    pub fn authorizers(&self) -> Authorizers {
        self.authorizers.clone()
    }

    /// Looks whether the file has changed, and asks others from now on if so. One that is no good changes nothing (`checkFile`).
    pub fn look(&self) {
        let now = self.parts.clock.now();
        let mut last = self.last.lock();
        match self.reload(&mut last) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(path = %self.path.display(), "reloaded authz config");
                self.reloads.succeeded(&last.read, now);
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error, "reloading authorization config");
                self.reloads.failed(now);
            }
        }
    }

    fn reload(&self, last: &mut Last) -> Result<bool, String> {
        let read = std::fs::read(&self.path).map_err(|error| error.to_string())?;
        if read == last.read {
            return Ok(false);
        }
        last.read = read;
        let loaded = AuthorizationConfiguration::load(&last.read, &self.required, &check_file)?;
        if loaded == last.loaded {
            return Ok(false);
        }
        last.loaded = loaded;
        self.authorizers.replace(self.parts.chain(&last.loaded)?);
        Ok(true)
    }
}
