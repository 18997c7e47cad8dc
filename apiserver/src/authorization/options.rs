//! What flags say of authorisation (`BuiltInAuthorizationOptions` in `pkg/kubeapiserver/options`), and what is wrong with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::identity::authorization::{ConnectionInfo, TYPES, name_of};
use api::identity::{AuthorizationConfiguration, AuthorizerConfiguration, WebhookConfiguration};

use super::configured::{ConfigurationFile, Parts};
use super::{Abac, Authorizers};
use crate::metrics::identity::Reloads;

/// Who is asked if nothing is said. The reference allows everything to everybody then; nobody wants that.
pub const MODES: [&str; 2] = ["Node", "RBAC"];
const AUTHORIZED_TTL: Duration = Duration::from_secs(300);
const UNAUTHORIZED_TTL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);

/// What flags say. What is not said is what they are without.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--authorization-config`
    pub config_file: Option<PathBuf>,
    /// `--authorization-mode`
    pub modes: Vec<String>,
    /// `--authorization-policy-file`
    pub policy_file: Option<PathBuf>,
    /// `--authorization-webhook-config-file`
    pub webhook_config_file: Option<PathBuf>,
    /// `--authorization-webhook-version`
    pub webhook_version: Option<String>,
    /// `--authorization-webhook-cache-authorized-ttl`
    pub webhook_authorized_ttl: Option<Duration>,
    /// `--authorization-webhook-cache-unauthorized-ttl`
    pub webhook_unauthorized_ttl: Option<Duration>,
}

/// Who is asked, and the file that may change it.
pub struct Configured {
    /// Who is asked.
    pub authorizers: Authorizers,
    /// The file, if there is one.
    pub file: Option<ConfigurationFile>,
}

impl Options {
    /// Whether everything is allowed to everybody; nobody may ask without credentials then (`ApplyAuthorization`).
    pub fn allows_everything(&self) -> bool {
        self.modes.iter().any(|mode| mode == "AlwaysAllow")
    }

    /// What is wrong with them.
    pub fn validate(&self) -> Vec<String> {
        if self.config_file.is_some() {
            let webhook = self.webhook_config_file.is_some()
                || self.webhook_version.is_some()
                || self.webhook_authorized_ttl.is_some()
                || self.webhook_unauthorized_ttl.is_some();
            let why = "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags \
                       are defined";
            return if webhook || !self.modes.is_empty() { vec![why.into()] } else { Vec::new() };
        }
        let mut problems = Vec::new();
        let has = |mode: &str| self.modes.iter().any(|other| other == mode);
        for mode in &self.modes {
            if !TYPES.contains(&mode.as_str()) {
                problems.push(format!("authorization-mode {mode:?} is not a valid mode"));
            }
            if mode == "ABAC" && self.policy_file.is_none() {
                problems.push("authorization-mode ABAC's authorization policy file not passed".into());
            }
            if mode == "Webhook" && self.webhook_config_file.is_none() {
                problems.push("authorization-mode Webhook's authorization config file not passed".into());
            }
        }
        if self.policy_file.is_some() && !has("ABAC") {
            problems.push("cannot specify --authorization-policy-file without mode ABAC".into());
        }
        if self.webhook_config_file.is_some() && !has("Webhook") {
            problems.push("cannot specify --authorization-webhook-config-file without mode Webhook".into());
        }
        if self.modes.iter().enumerate().any(|(place, mode)| self.modes[..place].contains(mode)) {
            let modes: Vec<String> = self.modes.iter().map(|mode| format!("{mode:?}")).collect();
            problems.push(format!("authorization-mode [{}] has mode specified more than once", modes.join(" ")));
        }
        problems
    }

    /// Those whom the flags or the file list.
    ///
    /// # Errors
    /// What is wrong with the file, or what it names.
    pub fn build(&self, mut parts: Parts, reloads: Arc<Reloads>) -> Result<Configured, String> {
        let policies = || {
            let path = self.policy_file.as_deref().ok_or("authorizer type ABAC needs --authorization-policy-file")?;
            Abac::read(path).map(Arc::new).map_err(|error| error.to_string())
        };
        if let Some(path) = &self.config_file {
            let file = ConfigurationFile::open(path, parts, policies, reloads)?;
            return Ok(Configured { authorizers: file.authorizers(), file: Some(file) });
        }
        if self.policy_file.is_some() {
            parts.abac = Some(policies()?);
        }
        Ok(Configured { authorizers: Authorizers::new(parts.chain(&self.configuration())?), file: None })
    }

    /// The configuration that flags mean (`buildAuthorizationConfiguration`).
    fn configuration(&self) -> AuthorizationConfiguration {
        let modes: Vec<String> = match self.modes.is_empty() {
            true => MODES.iter().map(ToString::to_string).collect(),
            false => self.modes.clone(),
        };
        let authorizers = modes.into_iter().map(|kind| match kind.as_str() {
            "Webhook" => AuthorizerConfiguration { kind, name: "default".into(), webhook: Some(self.webhook()) },
            _ => AuthorizerConfiguration { name: name_of(&kind), kind, webhook: None },
        });
        AuthorizationConfiguration { authorizers: authorizers.collect() }
    }

    fn webhook(&self) -> WebhookConfiguration {
        let nanoseconds = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        let authorized = self.webhook_authorized_ttl.unwrap_or(AUTHORIZED_TTL);
        let unauthorized = self.webhook_unauthorized_ttl.unwrap_or(UNAUTHORIZED_TTL);
        let file = self.webhook_config_file.as_ref().map(|path| path.to_string_lossy().into_owned());
        WebhookConfiguration {
            authorized_ttl: nanoseconds(authorized),
            cache_authorized_requests: Some(!authorized.is_zero()),
            unauthorized_ttl: nanoseconds(unauthorized),
            cache_unauthorized_requests: Some(!unauthorized.is_zero()),
            timeout: nanoseconds(TIMEOUT),
            failure_policy: "NoOpinion".into(),
            subject_access_review_version: self.webhook_version.clone().unwrap_or_else(|| "v1beta1".into()),
            connection_info: ConnectionInfo { kind: "KubeConfigFile".into(), kube_config_file: file },
            ..WebhookConfiguration::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of `TestAuthzValidate`.
    #[test]
    fn flags_that_do_not_go_together_are_told() {
        let check = |modes: &[&str], policy: bool, webhook: bool, expected: &[&str]| {
            let options = Options {
                modes: modes.iter().map(ToString::to_string).collect(),
                policy_file: policy.then(|| "/policy".into()),
                webhook_config_file: webhook.then(|| "/webhook".into()),
                ..Options::default()
            };
            assert_eq!(options.validate(), expected, "{modes:?}");
        };
        check(&[], false, false, &[]);
        check(&["Node", "RBAC", "ABAC", "Webhook"], true, true, &[]);
        check(&["DoesNotExist"], false, false, &["authorization-mode \"DoesNotExist\" is not a valid mode"]);
        check(&["ABAC"], false, false, &["authorization-mode ABAC's authorization policy file not passed"]);
        check(&["RBAC"], true, false, &["cannot specify --authorization-policy-file without mode ABAC"]);
        check(&["Webhook"], false, false, &["authorization-mode Webhook's authorization config file not passed"]);
        check(&["RBAC"], false, true, &["cannot specify --authorization-webhook-config-file without mode Webhook"]);
        let twice = "authorization-mode [\"RBAC\" \"RBAC\"] has mode specified more than once";
        check(&["RBAC", "RBAC"], false, false, &[twice]);
        let options = Options { config_file: Some("/c".into()), modes: vec!["RBAC".into()], ..Options::default() };
        assert_eq!(options.validate().len(), 1);
        let policy = Options { config_file: Some("/c".into()), policy_file: Some("/p".into()), ..Options::default() };
        assert!(policy.validate().is_empty(), "the file may list ABAC");
    }
}
