//! Tokens that machines join with, which Secrets in `kube-system` hold (`plugin/pkg/auth/authenticator/token/bootstrap`).

use api::{Object, UserInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use store::Snapshot;

use crate::registry::{self, key};

const NAMESPACE: &str = "kube-system";
const NAME_PREFIX: &str = "bootstrap-token-";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const USER_PREFIX: &str = "system:bootstrap:";
const GROUP: &str = "system:bootstrappers";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 16;

/// The two parts of a token of this form; none if it is another.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    (id.len() == ID_BYTES && secret.len() == SECRET_BYTES && plain(id) && plain(secret)).then_some((id, secret))
}

/// Whose token this is; none if it is none, or none that is good now.
pub(super) fn user(token: &str, snapshot: &Snapshot, now: Timestamp) -> Option<UserInfo> {
    let (id, secret) = parts(token)?;
    let name = format!("{NAME_PREFIX}{id}");
    let held = registry::read(snapshot.get(&key("", "secrets", NAMESPACE, &name))?)?;
    match judge(&held, id, secret, now) {
        Ok(groups) => {
            Some(UserInfo { username: format!("{USER_PREFIX}{id}"), groups, ..UserInfo::default() }.authenticated())
        }
        Err(why) => {
            tracing::info!(secret = name, why, "a bootstrap token is no good");
            None
        }
    }
}

fn data(held: &Object, field: &str) -> String {
    let bytes = STANDARD.decode(held.str_at(&["data", field])).unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

/// The groups of a token that is good.
fn judge(held: &Object, id: &str, secret: &str, now: Timestamp) -> Result<Vec<String>, &'static str> {
    if held.at(&["metadata", "deletionTimestamp"]).is_some() {
        return Err("it is being deleted");
    }
    if held.str_at(&["type"]) != TYPE {
        return Err("it is of another type");
    }
    // Digests are compared, so that the time tells nothing.
    if Sha256::digest(data(held, "token-secret")) != Sha256::digest(secret) {
        return Err("the secret part is another");
    }
    if data(held, "token-id") != id {
        return Err("it says that its id is another");
    }
    let expiration = data(held, "expiration");
    if !expiration.is_empty() && !expiration.parse::<Timestamp>().is_ok_and(|end| end > now) {
        return Err("it has expired");
    }
    if data(held, "usage-bootstrap-authentication") != "true" {
        return Err("it is not for authentication");
    }
    groups(&data(held, "auth-extra-groups")).ok_or("its groups are none of such tokens")
}

/// The groups, sorted; none if one is no group of such tokens (`GetGroups` in cluster-bootstrap).
fn groups(extra: &str) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_string()];
    let is_group = |group: &str| {
        let name = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')).unwrap_or_default();
        let last = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
        (1..=256).contains(&name.len())
            && name.bytes().all(|byte| last(byte) || matches!(byte, b':' | b'-'))
            && name.bytes().next_back().is_some_and(last)
    };
    if !extra.is_empty() {
        if !extra.split(',').all(is_group) {
            return None;
        }
        groups.extend(extra.split(',').map(String::from));
    }
    groups.sort();
    groups.dedup();
    Some(groups)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "abc123";
    const SECRET: &str = "0123456789abcdef";

    fn check(change: &[(&str, &str)], expected: Result<&[&str], &str>) {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut data = json!({"token-id": ID, "token-secret": SECRET, "usage-bootstrap-authentication": "true"});
        for (field, value) in change {
            data[*field] = (*value).into();
        }
        let fields = data.as_object().unwrap();
        let encoded: serde_json::Map<String, Value> = fields
            .iter()
            .map(|(name, value)| (name.clone(), STANDARD.encode(value.as_str().unwrap()).into()))
            .collect();
        let held = Object::from_value(json!({"metadata": {"name": "x"}, "type": TYPE, "data": encoded})).unwrap();
        let found = judge(&held, ID, SECRET, now);
        let expected = expected.map(|groups| groups.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found, expected, "{change:?}");
    }

    /// The cases of `TestTokenAuthenticator`.
    #[test]
    fn tokens_are_judged() {
        check(&[], Ok(&[GROUP]));
        let more = "system:bootstrappers:foo,system:bootstrappers:bar";
        check(&[("auth-extra-groups", more)], Ok(&[GROUP, "system:bootstrappers:bar", "system:bootstrappers:foo"]));
        let no_groups = Err("its groups are none of such tokens");
        check(&[("auth-extra-groups", "foo")], no_groups);
        check(&[("auth-extra-groups", "system:bootstrappers:")], no_groups);
        check(&[("auth-extra-groups", "system:bootstrappers:a-")], no_groups);
        check(&[("auth-extra-groups", "system:masters")], no_groups);
        check(&[("token-secret", "0123456789abcdee")], Err("the secret part is another"));
        check(&[("token-secret", "")], Err("the secret part is another"));
        check(&[("token-id", "other1")], Err("it says that its id is another"));
        check(&[("usage-bootstrap-authentication", "false")], Err("it is not for authentication"));
        check(&[("expiration", "2025-12-31T23:59:59Z")], Err("it has expired"));
        check(&[("expiration", "2026-01-01T00:00:00Z")], Err("it has expired"));
        check(&[("expiration", "2026-01-01T01:00:01+01:00")], Ok(&[GROUP]));
        check(&[("expiration", "tomorrow")], Err("it has expired"));
    }

    #[test]
    fn tokens_have_a_form() {
        assert_eq!(parts("abc123.0123456789abcdef"), Some((ID, SECRET)));
        for other in ["", ".", "abc123.0123456789abcde", "ABC123.0123456789abcdef", "abc123.0123456789abcdef.x", "a.b"]
        {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
