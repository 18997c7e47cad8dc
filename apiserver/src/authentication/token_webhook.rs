//! A webhook that is asked whose a token is (`plugin/pkg/authenticator/token/webhook` in apiserver).

use std::sync::Arc;
use std::time::Duration;

use api::UserInfo;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::outgoing::Kubeconfig;
use crate::remote::{Cache, Reviewer};

const GROUP: &str = "authentication.k8s.io";
/// How long it is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A user, and the audiences that the token is for.
pub(super) type Owner = (Arc<UserInfo>, Vec<String>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
    error: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Option<Vec<String>>,
    extra: Option<std::collections::BTreeMap<String, Vec<String>>>,
}

/// The webhook.
pub struct TokenWebhook {
    reviewer: Reviewer,
    /// The audiences that tokens are for of which it says nothing.
    implicit: Vec<String>,
    remembered: Cache<Option<Owner>>,
    ttl: Duration,
    clock: Arc<dyn Clock>,
}

impl TokenWebhook {
    /// A webhook at the place that a kubeconfig says; answers are remembered for `ttl`.
    ///
    /// # Errors
    /// If there is no such version of reviews.
    pub fn new(
        kubeconfig: Kubeconfig,
        version: &str,
        ttl: Duration,
        implicit: Vec<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        if !matches!(version, "v1" | "v1beta1") {
            return Err(format!(
                "unsupported authentication webhook version {version:?}, supported versions are \"v1\", \"v1beta1\""
            ));
        }
        let reviewer = Reviewer::new(kubeconfig, GROUP, version, "TokenReview", TIMEOUT);
        Ok(Self { reviewer, implicit, remembered: Cache::new(&*clock), ttl, clock })
    }

    /// Whose token this is, for one of these audiences; none if the webhook does not know it.
    ///
    /// # Errors
    /// What the webhook says of it, or why it could not be asked. That is not remembered.
    pub(super) async fn authenticate(&self, token: &str, wanted: &[String]) -> Result<Option<Owner>, String> {
        let parts = std::iter::once(token.as_bytes()).chain(wanted.iter().map(String::as_bytes));
        let key = self.remembered.key(parts);
        if let Some(owner) = self.remembered.get(&key, self.clock.instant()) {
            return Ok(owner);
        }
        let owner = self.ask(token, wanted).await?;
        self.remembered.put(key, owner.clone(), self.ttl, self.clock.instant());
        Ok(owner)
    }

    async fn ask(&self, token: &str, wanted: &[String]) -> Result<Option<Owner>, String> {
        let mut spec = Map::new();
        spec.insert("token".into(), token.into());
        if !wanted.is_empty() {
            spec.insert("audiences".into(), wanted.to_vec().into());
        }
        let status = self.reviewer.review(&Value::Object(spec), &*self.clock, &|_, _| {}).await;
        let status = status.map_err(|(why, _)| {
            tracing::error!(why, "failed to make webhook authenticator request");
            why
        })?;
        let said =
            if status.is_null() { Said::default() } else { Said::deserialize(status).map_err(|e| e.to_string())? };
        owner(said, wanted, &self.implicit)
    }
}

fn owner(said: Said, wanted: &[String], implicit: &[String]) -> Result<Option<Owner>, String> {
    let got = if said.audiences.is_empty() { implicit } else { &said.audiences };
    let shared: Vec<String> = wanted.iter().filter(|audience| got.contains(audience)).cloned().collect();
    if shared.is_empty() && !wanted.is_empty() {
        return Ok(None);
    }
    if !said.authenticated {
        return if said.error.is_empty() { Ok(None) } else { Err(said.error) };
    }
    let User { username, uid, groups, extra } = said.user;
    let user = UserInfo { username, uid, groups: groups.unwrap_or_default(), extra: extra.unwrap_or_default() };
    Ok(Some((Arc::new(user.authenticated()), shared)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The cases of `TestV1WebhookTokenAuthenticator` about audiences and users.
    #[test]
    fn what_a_webhook_says_is_judged() {
        let check = |status: Value, wanted: &[&str], expected: Result<Option<(Value, &[&str])>, &str>| {
            let list = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
            let said = Said::deserialize(status.clone()).unwrap();
            let found = owner(said, &list(wanted), &list(&["api", "other"]));
            let found = found.map(|owner| owner.map(|(user, shared)| (serde_json::to_value(&*user).unwrap(), shared)));
            let expected = expected.map(|owner| owner.map(|(user, shared)| (user, list(shared)))).map_err(String::from);
            assert_eq!(found, expected, "{status} {wanted:?}");
        };
        let jane = json!({"authenticated": true, "user": {"username": "jane", "uid": "1", "groups": ["g"]}});
        let user = json!({"username": "jane", "uid": "1", "groups": ["g", "system:authenticated"]});
        check(jane.clone(), &["api"], Ok(Some((user.clone(), &["api"]))));
        check(jane.clone(), &["elsewhere"], Ok(None));
        check(jane.clone(), &[], Ok(Some((user.clone(), &[]))));
        let mut bound = jane.clone();
        bound["audiences"] = json!(["elsewhere"]);
        check(bound.clone(), &["api"], Ok(None));
        check(bound, &["api", "elsewhere"], Ok(Some((user, &["elsewhere"]))));
        check(json!({"authenticated": false}), &["api"], Ok(None));
        check(json!({"authenticated": false, "error": "revoked"}), &["api"], Err("revoked"));
        check(json!({"user": {"username": "root"}}), &["api"], Ok(None));
    }
}
