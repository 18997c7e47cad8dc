//! `AuthenticationConfiguration`: issuers of tokens, what their claims mean, and who may ask without any.

use serde::Deserialize;

use super::claims::ClaimsMapper;
use super::jwt;
use crate::decode::{ConfigurationError, configuration};
use crate::field::{ErrorList, FieldError, Path};

/// How many authenticators a configuration may have.
const AUTHENTICATORS_MAX: usize = 64;

/// `apiserver.config.k8s.io` `AuthenticationConfiguration`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthenticationConfiguration {
    /// Who issues tokens.
    pub jwt: Vec<JwtAuthenticator>,
    /// Who may ask without credentials.
    pub anonymous: Option<AnonymousAuth>,
}

/// Whether one may ask without credentials, and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AnonymousAuth {
    /// Whether at all.
    pub enabled: bool,
    /// For which paths; for all, if there are none.
    pub conditions: Vec<AnonymousCondition>,
}

/// A path that may be asked for without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AnonymousCondition {
    /// The path, which is compared as a whole.
    pub path: String,
}

/// One issuer, and what its tokens' claims mean.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtAuthenticator {
    /// Who issues the tokens.
    pub issuer: Issuer,
    /// What must hold of the claims.
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    /// Which user the claims make.
    pub claim_mappings: ClaimMappings,
    /// What must hold of the user.
    pub user_validation_rules: Vec<UserValidationRule>,
}

/// Who issues tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Issuer {
    /// The claim `iss` of its tokens.
    pub url: String,
    /// Where its discovery document is, if that is not below `url`.
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// PEM of the authorities that its servers' certificates are of; empty for those of the system.
    pub certificate_authority: String,
    /// The audiences one of which a token must be for.
    pub audiences: Vec<String>,
    /// `MatchAny` or empty.
    pub audience_match_policy: String,
    /// The way to the issuer.
    pub egress_selector_type: String,
}

/// What must hold of claims: one has a value, or an expression is true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClaimValidationRule {
    /// The claim.
    pub claim: String,
    /// Its value.
    pub required_value: String,
    /// The expression.
    pub expression: String,
    /// What is said if it is false.
    pub message: String,
}

/// Which user claims make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ClaimMappings {
    /// The name.
    pub username: Mapping,
    /// The groups.
    pub groups: Mapping,
    /// The uid.
    pub uid: Mapping,
    /// More, by key.
    pub extra: Vec<ExtraMapping>,
}

/// A claim with something in front of it, or an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Mapping {
    /// The claim.
    pub claim: String,
    /// What is put before its value; the uid has none.
    pub prefix: Option<String>,
    /// The expression.
    pub expression: String,
}

/// A key, and the expression that its values come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExtraMapping {
    /// The key.
    pub key: String,
    /// The expression.
    pub value_expression: String,
}

/// What must hold of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UserValidationRule {
    /// The expression.
    pub expression: String,
    /// What is said if it is false.
    pub message: String,
}

/// What is wrong with a bundle of certificates, if anything is: whoever can read certificates says it.
pub type CheckBundle<'a> = &'a dyn Fn(&str) -> Option<String>;

impl AuthenticationConfiguration {
    /// Reads a file (`loadAuthenticationConfigFromData`).
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(file: &[u8]) -> Result<Self, ConfigurationError> {
        if file.is_empty() {
            return Err(ConfigurationError::Unreadable("empty config data".into()));
        }
        let value = configuration(file, "AuthenticationConfiguration")?;
        serde_json::from_value(value).map_err(|error| ConfigurationError::Unreadable(error.to_string()))
    }

    /// What is wrong with it (`ValidateAuthenticationConfiguration`), or what its authenticators make of claims. No issuer may be
    /// one of `disallowed`, whose tokens others check.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn validate(&self, disallowed: &[String], bundle: CheckBundle<'_>) -> Result<Vec<ClaimsMapper>, ErrorList> {
        let root = Path::new("jwt");
        if self.jwt.len() > AUTHENTICATORS_MAX {
            return Err(FieldError::too_many(&root, self.jwt.len(), AUTHENTICATORS_MAX).into());
        }
        let mut errors = ErrorList::new();
        let mut mappers = Vec::with_capacity(self.jwt.len());
        for (place, authenticator) in self.jwt.iter().enumerate() {
            let path = root.index(place);
            mappers.push(jwt::validate(authenticator, &path, disallowed, bundle, &mut errors));
            let before = &self.jwt[..place];
            let issuer = &authenticator.issuer;
            if before.iter().any(|other| other.issuer.url == issuer.url) {
                errors.push(FieldError::duplicate(&path.child("issuer").child("url"), issuer.url.as_str()));
            }
            let discovery = &issuer.discovery_url;
            if !discovery.is_empty() && before.iter().any(|other| other.issuer.discovery_url == *discovery) {
                errors.push(FieldError::duplicate(&path.child("issuer").child("discoveryURL"), discovery.as_str()));
            }
        }
        if let Some(anonymous) = self.anonymous.as_ref().filter(|anonymous| !anonymous.enabled)
            && !anonymous.conditions.is_empty()
        {
            let shown: Vec<_> = anonymous.conditions.iter().map(|c| serde_json::json!({"Path": c.path})).collect();
            let detail = "enabled should be set to true when conditions are defined";
            errors.push(FieldError::invalid(&Path::new("anonymous.conditions"), shown, detail));
        }
        if errors.is_empty() { Ok(mappers) } else { Err(errors) }
    }
}

#[cfg(test)]
#[path = "tests/authentication.rs"]
mod tests;
