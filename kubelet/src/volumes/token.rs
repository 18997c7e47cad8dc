//! Service account tokens for pods: requested, kept, and renewed before they expire.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection},
};
use kube::{Api, api::PostParams};

use crate::{agent::Agent, pod};

/// A token is renewed at the latest after this time.
const AGE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// The lifetime that is asked for when the pod names none.
const LIFETIME_SECONDS_DEFAULT: i64 = 3600;

struct Token {
    text: String,
    refresh: Timestamp,
}

/// The tokens of one pod, by audience and lifetime.
pub(super) struct Tokens {
    agent: Arc<Agent>,
    tokens: HashMap<(String, i64), Token>,
}

impl Tokens {
    /// No tokens yet.
    pub(super) fn new(agent: Arc<Agent>) -> Self {
        Self { agent, tokens: HashMap::new() }
    }

    /// When the first token must be renewed.
    pub(super) fn refresh_at(&self) -> Option<Timestamp> {
        self.tokens.values().map(|token| token.refresh).min()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
    }

    /// The token for a projection, renewed if it has lived for most of its time.
    pub(super) async fn get(&mut self, of: &Pod, projection: &ServiceAccountTokenProjection) -> Result<String, String> {
        let audience = projection.audience.clone().unwrap_or_default();
        let lifetime = projection.expiration_seconds.unwrap_or(LIFETIME_SECONDS_DEFAULT);
        let now = self.agent.config.clock.now();
        let key = (audience.clone(), lifetime);
        if let Some(token) = self.tokens.get(&key).filter(|token| token.refresh > now) {
            return Ok(token.text.clone());
        }
        let account = of.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!audience.is_empty()).then(|| vec![audience]),
                expiration_seconds: Some(lifetime),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: of.metadata.name.clone(),
                    uid: of.metadata.uid.clone(),
                }),
            }),
            ..Default::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.agent.client.clone(), pod::namespace(of));
        let answer = api
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(|error| format!("failed to fetch token: {error}"))?;
        let status = answer.status.ok_or("failed to fetch token: the answer has no status")?;
        let (Some(text), Some(expiry)) = (status.token, status.expiration_timestamp) else {
            return Err("failed to fetch token: the answer has no token".to_owned());
        };
        let life = expiry.0.duration_since(now);
        let refresh = now.saturating_add((life * 8 / 10).min(AGE_MAX)).map_err(|error| error.to_string())?;
        self.tokens.insert(key, Token { text: text.clone(), refresh });
        Ok(text)
    }
}
