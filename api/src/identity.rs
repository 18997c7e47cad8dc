//! Identity from outside, as configuration files say it: who a token's claims make, and who is asked what somebody may do.
//!
//! What the files mean stands here, with the rules that they are checked by. Who fetches keys and asks webhooks does so elsewhere.

pub mod authentication;
pub mod authorization;
pub mod claims;
mod jwt;

pub use authentication::{AnonymousAuth, AuthenticationConfiguration, JwtAuthenticator};
pub use authorization::{AuthorizationConfiguration, AuthorizerConfiguration, MatchConditions, WebhookConfiguration};
pub use claims::ClaimsMapper;

use crate::field::ErrorList;

/// All that is wrong, as one text (`ErrorList.ToAggregate`): each text once, in brackets if there are several.
pub fn aggregate(errors: &ErrorList) -> Option<String> {
    aggregate_texts(errors.iter().map(ToString::to_string))
}

/// The same of texts.
pub fn aggregate_texts(texts: impl IntoIterator<Item = String>) -> Option<String> {
    let mut told: Vec<String> = Vec::new();
    for text in texts {
        if !told.contains(&text) {
            told.push(text);
        }
    }
    match told.len() {
        0 | 1 => told.pop(),
        _ => Some(format!("[{}]", told.join(", "))),
    }
}
