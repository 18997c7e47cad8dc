//! Tokens that machines join with: those that have expired go, and those that may sign do sign what tells such a machine where
//! the cluster is (`pkg/controller/bootstrap`). Both run only where such tokens are taken.

use std::collections::BTreeMap;
use std::time::Duration;

use api::go::base64::encode_token;
use client::{Action, ObjectKey, Selection};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams, Preconditions};
use ring::hmac;

use crate::context::Context;
use crate::error::{Error, ignore_not_found, is_conflict};

/// The names by which they are disabled.
pub const NAMES: [&str; 2] = ["bootstrap-signer-controller", "token-cleaner-controller"];
const WORKERS: usize = 1;
const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAME_PREFIX: &str = "bootstrap-token-";
const ID_BYTES: usize = 6;
/// What is signed: where the cluster is, and whom to trust.
const INFO: (&str, &str) = ("kube-public", "cluster-info");
const SIGNED: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

fn tokens() -> Selection {
    Selection { fields: Some(format!("metadata.namespace={NAMESPACE},type={TYPE}")), labels: None }
}

/// Deletes tokens when they expire, until the context is cancelled.
pub(crate) async fn run_cleaner(context: Context) {
    let queue = context.queue();
    let secrets = context.informers.selected::<Secret>(tokens());
    let to = queue.clone();
    secrets.on_change(move |change| {
        if !change.is_delete() {
            to.add(ObjectKey::of(&**change.object()));
        }
    });
    secrets.wait_synced().await;
    let of = context.clone();
    context
        .run("token-cleaner", queue, WORKERS, move |key| {
            let (context, secret) = (of.clone(), secrets.get_key(&key));
            async move {
                let Some(secret) = secret else { return Ok::<_, Error>(Action::Done) };
                match left(&secret, context.clock.now()) {
                    None => Ok(Action::Done),
                    Some(left) if !left.is_zero() => Ok(Action::RequeueAfter(left)),
                    Some(_) => {
                        let preconditions = Preconditions { uid: secret.uid(), resource_version: None };
                        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                        match context.api::<Secret>(&key.namespace).delete(&key.name, &params).await {
                            Err(error) if is_conflict(&error) => {}
                            other => {
                                ignore_not_found(other)?;
                            }
                        }
                        Ok(Action::Done)
                    }
                }
            }
        })
        .await;
}

fn data(secret: &Secret, field: &str) -> String {
    let bytes = secret.data.as_ref().and_then(|data| data.get(field));
    bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
}

/// How long a token still lives; none if it lives for ever. A time that cannot be read is over (`GetExpiration`).
fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let expiration = data(secret, "expiration");
    if expiration.is_empty() {
        return None;
    }
    let end = expiration.parse::<Timestamp>().unwrap_or(Timestamp::MIN);
    Some(Duration::try_from(end.duration_since(now)).unwrap_or_default())
}

/// Keeps the signatures of the ConfigMap, until the context is cancelled.
pub(crate) async fn run_signer(context: Context) {
    let (namespace, name) = INFO;
    let queue = context.queue();
    let secrets = context.informers.selected::<Secret>(tokens());
    let only = Selection { fields: Some(format!("metadata.namespace={namespace},metadata.name={name}")), labels: None };
    let maps = context.informers.selected::<ConfigMap>(only);
    let key = || ObjectKey { namespace: namespace.into(), name: name.into() };
    let to = queue.clone();
    maps.on_change(move |_| to.add(key()));
    let to = queue.clone();
    secrets.on_change(move |_| to.add(key()));
    maps.wait_synced().await;
    secrets.wait_synced().await;
    let of = context.clone();
    context
        .run("bootstrap_signer_queue", queue, WORKERS, move |key| {
            let (context, map, secrets) = (of.clone(), maps.get_key(&key), secrets.clone());
            async move {
                let now = context.clock.now();
                let all = secrets.list();
                let wanted = map.as_ref().and_then(|map| signed(map, all.iter().map(|secret| &**secret), now));
                if let Some(map) = wanted {
                    match context
                        .api::<ConfigMap>(&key.namespace)
                        .replace(&key.name, &PostParams::default(), &map)
                        .await
                    {
                        Err(error) if is_conflict(&error) => {}
                        other => {
                            ignore_not_found(other)?;
                        }
                    }
                }
                // A signature goes with its token's life, whether or not the token is deleted.
                let next = all.iter().filter_map(|secret| left(secret, now)).filter(|left| !left.is_zero()).min();
                Ok::<_, Error>(Action::after(next))
            }
        })
        .await;
}

/// The ConfigMap with the signatures of these tokens; none if it has them.
fn signed<'s>(map: &ConfigMap, secrets: impl Iterator<Item = &'s Secret>, now: Timestamp) -> Option<ConfigMap> {
    let data = map.data.as_ref()?;
    let content = data.get(SIGNED)?;
    let mut wanted: BTreeMap<String, String> = data.clone();
    wanted.retain(|key, _| !key.starts_with(SIGNATURE_PREFIX));
    for (id, secret) in secrets.filter_map(|secret| may_sign(secret, now)) {
        wanted.insert(format!("{SIGNATURE_PREFIX}{id}"), signature(content, &id, &secret));
    }
    (wanted != *data).then(|| ConfigMap { data: Some(wanted), ..map.clone() })
}

/// The two parts of a token that may sign now (`validateSecretForSigning`).
fn may_sign(secret: &Secret, now: Timestamp) -> Option<(String, String)> {
    let name = secret.name_any();
    let named = name.strip_prefix(NAME_PREFIX)?;
    let is_id = named.len() == ID_BYTES && named.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    let (id, key) = (data(secret, "token-id"), data(secret, "token-secret"));
    let lives = left(secret, now).is_none_or(|left| !left.is_zero());
    let is_good = is_id && id == named && !key.is_empty() && lives && data(secret, "usage-bootstrap-signing") == "true";
    is_good.then_some((id, key))
}

/// A signature without what it signs, with HS256 (`ComputeDetachedSignature` in cluster-bootstrap).
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = encode_token(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#).as_bytes());
    let signed = format!("{header}.{}", encode_token(content.as_bytes()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{header}..{}", encode_token(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(name: &str, fields: &[(&str, &str)]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some(name.into());
        let data = fields.iter().map(|(field, value)| (field.to_string(), ByteString(value.as_bytes().to_vec())));
        secret.data = Some(data.collect());
        secret
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// What cluster-bootstrap's tests expect of `foobar`'s signature.
    #[test]
    fn signatures_are_those_of_the_reference() {
        let expected = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8";
        assert_eq!(
            signature(
                "Hello from the other side. I must have called a thousand times.",
                "joshua",
                "my voice is my passcode"
            ),
            expected
        );
    }

    #[test]
    fn tokens_that_may_sign_do() {
        let good = [("token-id", "abc123"), ("token-secret", "s"), ("usage-bootstrap-signing", "true")];
        let with = |change: &[(&str, &str)]| secret("bootstrap-token-abc123", &[&good[..], change].concat());
        assert!(may_sign(&with(&[]), now()).is_some());
        assert!(may_sign(&with(&[("expiration", "2026-01-01T00:00:01Z")]), now()).is_some());
        assert!(may_sign(&secret("bootstrap-token-other1", &good), now()).is_none());
        assert!(may_sign(&secret("token-abc123", &good), now()).is_none());
        for bad in [
            ("token-id", "other1"),
            ("token-secret", ""),
            ("usage-bootstrap-signing", "false"),
            ("expiration", "2026-01-01T00:00:00Z"),
            ("expiration", "soon"),
        ] {
            assert!(may_sign(&with(&[bad]), now()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn signatures_come_and_go_with_tokens() {
        let good = [("token-id", "abc123"), ("token-secret", "s"), ("usage-bootstrap-signing", "true")];
        let token = secret("bootstrap-token-abc123", &good);
        let data = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            ConfigMap { data: Some(pairs.collect()), ..ConfigMap::default() }
        };
        let plain = data(&[(SIGNED, "x"), ("other", "y")]);
        let once = signed(&plain, [&token].into_iter(), now()).unwrap();
        assert_eq!(once.data.as_ref().unwrap()["jws-kubeconfig-abc123"], signature("x", "abc123", "s"));
        assert_eq!(signed(&once, [&token].into_iter(), now()), None, "it is signed");
        assert_eq!(signed(&once, std::iter::empty(), now()), Some(plain));
        assert_eq!(signed(&data(&[("other", "y")]), [&token].into_iter(), now()), None);
    }

    #[test]
    fn tokens_live_until_they_expire() {
        let check = |expiration: &str, expected: Option<u64>| {
            let secret = secret("x", &[("expiration", expiration)]);
            assert_eq!(left(&secret, now()), expected.map(Duration::from_secs), "{expiration}");
        };
        check("", None);
        check("2026-01-01T00:01:00Z", Some(60));
        check("2025-12-31T23:59:59Z", Some(0));
        check("never", Some(0));
    }
}
