//! What flags say of authentication (`BuiltInAuthenticationOptions` in `pkg/kubeapiserver/options`), and what is wrong with it.

use std::path::PathBuf;
use std::time::Duration;

use api::go::url;
use api::identity::authentication::{ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator, Mapping};

use super::jose::Algorithm;

/// How long the answers of the webhook of tokens are remembered if nothing is said.
pub const WEBHOOK_CACHE_TTL: Duration = Duration::from_secs(120);
/// The version of the review that it is sent if nothing is said.
pub const WEBHOOK_VERSION: &str = "v1beta1";
const HOUR: Duration = Duration::from_secs(3600);
const MAX_EXPIRATION_MAX: Duration = Duration::from_secs(1 << 32);

/// What flags say. What is not said is what they are without.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--authentication-config`
    pub config_file: Option<PathBuf>,
    /// `--api-audiences`
    pub api_audiences: Vec<String>,
    /// `--anonymous-auth`
    pub anonymous: Option<bool>,
    /// `--enable-bootstrap-token-auth`
    pub bootstrap_tokens: bool,
    /// `--client-ca-file`: authorities beside the cluster's own.
    pub client_ca_file: Option<PathBuf>,
    /// `--token-auth-file`
    pub token_file: Option<PathBuf>,
    /// `--oidc-*`
    pub oidc: Oidc,
    /// `--service-account-*`
    pub service_accounts: ServiceAccounts,
    /// `--authentication-token-webhook-*`
    pub webhook: Webhook,
}

/// `--oidc-*`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oidc {
    /// `--oidc-issuer-url`
    pub issuer_url: Option<String>,
    /// `--oidc-client-id`
    pub client_id: Option<String>,
    /// `--oidc-ca-file`
    pub ca_file: Option<PathBuf>,
    /// `--oidc-username-claim`
    pub username_claim: Option<String>,
    /// `--oidc-username-prefix`
    pub username_prefix: Option<String>,
    /// `--oidc-groups-claim`
    pub groups_claim: Option<String>,
    /// `--oidc-groups-prefix`
    pub groups_prefix: Option<String>,
    /// `--oidc-signing-algs`
    pub signing_algs: Vec<String>,
    /// `--oidc-required-claim`, each `key=value`
    pub required_claims: Vec<String>,
}

/// `--service-account-*`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceAccounts {
    /// `--service-account-key-file`: keys beside the one that signs.
    pub key_files: Vec<PathBuf>,
    /// `--service-account-signing-key-file`; without it the cluster's own key signs.
    pub signing_key_file: Option<PathBuf>,
    /// `--service-account-issuer`: the first issues.
    pub issuers: Vec<String>,
    /// `--service-account-jwks-uri`
    pub jwks_uri: Option<String>,
    /// `--service-account-max-token-expiration`
    pub max_expiration: Option<Duration>,
    /// `--service-account-extend-token-expiration`
    pub extend_expiration: Option<bool>,
}

/// `--authentication-token-webhook-*`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhook {
    /// `--authentication-token-webhook-config-file`
    pub config_file: Option<PathBuf>,
    /// `--authentication-token-webhook-version`
    pub version: Option<String>,
    /// `--authentication-token-webhook-cache-ttl`
    pub cache_ttl: Option<Duration>,
}

impl Options {
    /// What is wrong with them.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let oidc_is_set = self.oidc != Oidc::default();
        match &self.config_file {
            Some(_) if oidc_is_set => {
                problems.push("authentication-config file and oidc-* flags are mutually exclusive".into());
            }
            None if oidc_is_set && (is_empty(&self.oidc.issuer_url) || is_empty(&self.oidc.client_id)) => {
                let why = "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set";
                problems.push(why.into());
            }
            _ => {}
        }
        self.service_accounts.validate(&mut problems);
        problems
    }
}

fn is_empty(text: &Option<String>) -> bool {
    text.as_deref().unwrap_or_default().is_empty()
}

impl ServiceAccounts {
    fn validate(&self, problems: &mut Vec<String>) {
        let mut seen: Vec<&str> = Vec::new();
        for issuer in &self.issuers {
            if issuer.contains(':')
                && let Err(why) = url::parse(issuer)
            {
                problems
                    .push(format!("service-account-issuer {issuer:?} contained a ':' but was not a valid URL: {why}"));
            } else if issuer.is_empty() {
                problems.push("service-account-issuer should not be an empty string".into());
            } else if seen.contains(&issuer.as_str()) {
                problems.push(format!("service-account-issuer {issuer:?} is already specified"));
            }
            seen.push(issuer);
        }
        match self.jwks_uri.as_deref().map(|uri| (uri, url::parse(uri))) {
            Some((_, Err(why))) => problems.push(format!("service-account-jwks-uri must be a valid URL: {why}")),
            Some((uri, Ok(parsed))) if parsed.scheme != "https" && !uri.is_empty() => {
                problems.push(format!("service-account-jwks-uri requires https scheme, parsed as: {uri}"));
            }
            _ => {}
        }
        let bounds = HOUR..=MAX_EXPIRATION_MAX;
        if self.max_expiration.is_some_and(|max| !max.is_zero() && !bounds.contains(&max)) {
            let why = "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds";
            problems.push(why.into());
        }
    }
}

impl Oidc {
    /// The authenticator that the flags mean; none if they mean none. `authorities` is what the file says that they name.
    pub fn authenticator(&self, authorities: String) -> Option<JwtAuthenticator> {
        let url = self.issuer_url.clone().filter(|url| !url.is_empty())?;
        let client = self.client_id.clone().filter(|client| !client.is_empty())?;
        let username = self.username_claim.clone().unwrap_or_else(|| "sub".into());
        // Names without a prefix of their own get the issuer's, so that they are nobody else's.
        let prefix = match self.username_prefix.as_deref().unwrap_or_default() {
            "" if username != "email" => format!("{url}#"),
            "-" => String::new(),
            prefix => prefix.to_string(),
        };
        let mapping = |claim: String, prefix: String| Mapping { claim, prefix: Some(prefix), ..Mapping::default() };
        let groups = self.groups_claim.clone().filter(|claim| !claim.is_empty());
        let groups = groups.map(|claim| mapping(claim, self.groups_prefix.clone().unwrap_or_default()));
        let required = self.required_claims.iter().map(|rule| {
            let (claim, value) = rule.split_once('=').unwrap_or((rule, ""));
            ClaimValidationRule {
                claim: claim.trim().into(),
                required_value: value.trim().into(),
                ..ClaimValidationRule::default()
            }
        });
        Some(JwtAuthenticator {
            claim_validation_rules: required.collect(),
            issuer: Issuer { url, audiences: vec![client], certificate_authority: authorities, ..Issuer::default() },
            claim_mappings: ClaimMappings {
                username: mapping(username, prefix),
                groups: groups.unwrap_or_default(),
                ..ClaimMappings::default()
            },
            user_validation_rules: Vec::new(),
        })
    }

    /// The algorithms that tokens may be signed with.
    ///
    /// # Errors
    /// If one is not known.
    pub fn algorithms(&self) -> Result<Vec<Algorithm>, String> {
        if self.signing_algs.is_empty() {
            return Ok(vec![Algorithm::Rs256]);
        }
        let named =
            |name: &String| Algorithm::named(name).ok_or_else(|| format!("oidc: unsupported signing alg: {name:?}"));
        self.signing_algs.iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_do_not_go_together_are_told() {
        let check = |change: &dyn Fn(&mut Options), expected: &[&str]| {
            let mut options = Options::default();
            change(&mut options);
            assert_eq!(options.validate(), expected);
        };
        let text = |text: &str| Some(text.to_string());
        check(&|_| {}, &[]);
        let together = "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set";
        check(&|o| o.oidc.issuer_url = text("https://a"), &[together]);
        check(&|o| o.oidc.required_claims = vec!["a=b".into()], &[together]);
        let both = |o: &mut Options| {
            (o.oidc.issuer_url, o.oidc.client_id) = (text("https://a"), text("b"));
        };
        check(&both, &[]);
        let exclusive = "authentication-config file and oidc-* flags are mutually exclusive";
        check(
            &|o| {
                both(o);
                o.config_file = Some("/x".into())
            },
            &[exclusive],
        );
        let issuers = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        check(&|o| o.service_accounts.issuers = issuers(&["https://a", "api"]), &[]);
        check(
            &|o| o.service_accounts.issuers = issuers(&["", "a", "a"]),
            &[
                "service-account-issuer should not be an empty string",
                "service-account-issuer \"a\" is already specified",
            ],
        );
        let bad = "service-account-issuer \"http://[::1\" contained a ':' but was not a valid URL: parse \"http://[::1\": missing \
                   ']' in host";
        check(&|o| o.service_accounts.issuers = issuers(&["http://[::1"]), &[bad]);
        let http = "service-account-jwks-uri requires https scheme, parsed as: http://a";
        check(&|o| o.service_accounts.jwks_uri = text("http://a"), &[http]);
        let range = "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds";
        check(&|o| o.service_accounts.max_expiration = Some(Duration::from_secs(60)), &[range]);
    }

    #[test]
    fn flags_mean_an_authenticator() {
        let oidc = Oidc {
            issuer_url: Some("https://issuer".into()),
            client_id: Some("client".into()),
            groups_claim: Some("groups".into()),
            required_claims: vec!["hd=example.com=x".into()],
            ..Oidc::default()
        };
        let named = |claim: Option<&str>, prefix: Option<&str>| {
            let (username_claim, username_prefix) = (claim.map(String::from), prefix.map(String::from));
            let oidc = Oidc { username_claim, username_prefix, ..oidc.clone() };
            let mapped = oidc.authenticator(String::new()).unwrap().claim_mappings.username;
            (mapped.claim, mapped.prefix.unwrap())
        };
        let pair = |claim: &str, prefix: &str| (claim.to_string(), prefix.to_string());
        assert_eq!(named(None, None), pair("sub", "https://issuer#"));
        assert_eq!(named(Some("email"), None), pair("email", ""));
        assert_eq!(named(Some("name"), Some("-")), pair("name", ""));
        assert_eq!(named(Some("name"), Some("oidc:")), pair("name", "oidc:"));
        let made = oidc.authenticator("pem".into()).unwrap();
        assert_eq!(made.claim_mappings.groups.prefix.as_deref(), Some(""));
        assert_eq!(made.claim_validation_rules[0].required_value, "example.com=x");
        assert_eq!((made.issuer.audiences, made.issuer.certificate_authority), (vec!["client".into()], "pem".into()));
        assert_eq!(oidc.algorithms(), Ok(vec![Algorithm::Rs256]));
        let none = Oidc { signing_algs: vec!["HS256".into()], ..oidc };
        assert_eq!(none.algorithms(), Err("oidc: unsupported signing alg: \"HS256\"".into()));
    }
}
