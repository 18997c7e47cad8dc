//! As whom a kubeconfig's user acts (`ImpersonationConfig` in client-go).

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::aggregator::escape_key;

/// The fields of a kubeconfig's user that say it.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct ActsAs {
    #[serde(rename = "as")]
    user: String,
    #[serde(rename = "as-uid")]
    uid: String,
    #[serde(rename = "as-groups")]
    groups: Vec<String>,
    #[serde(rename = "as-user-extra")]
    extra: BTreeMap<String, Vec<String>>,
}

impl ActsAs {
    /// The headers that say so; none if nobody is named.
    ///
    /// # Errors
    /// If more is said of somebody who is not named, or no header can carry it.
    pub(super) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        if self.user.is_empty() {
            return match self.uid.is_empty() && self.groups.is_empty() && self.extra.is_empty() {
                true => Ok(headers),
                false => Err("requesting uid, groups or user-extra without impersonating a user".into()),
            };
        }
        let mut add = |name: &str, value: &str| {
            let carried = name.parse::<HeaderName>().ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
            let (name, value) = carried.ok_or_else(|| format!("as: {value:?} is nothing that a header can carry"))?;
            headers.append(name, value);
            Ok::<_, String>(())
        };
        add("impersonate-user", &self.user)?;
        if !self.uid.is_empty() {
            add("impersonate-uid", &self.uid)?;
        }
        for group in &self.groups {
            add("impersonate-group", group)?;
        }
        for (key, values) in &self.extra {
            let name = format!("impersonate-extra-{}", escape_key(key));
            values.iter().try_for_each(|value| add(&name, value))?;
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn who_acts_as_whom() {
        let check = |user: Value, expected: Result<&[(&str, &str)], &str>| {
            let acts_as: ActsAs = serde_json::from_value(user.clone()).unwrap();
            let found = acts_as.headers();
            let found = found.as_ref().map(|headers| {
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect::<Vec<_>>()
            });
            assert_eq!(found.map_err(String::as_str), expected.map(<[_]>::to_vec), "{user}");
        };
        check(json!({"token": "t"}), Ok(&[]));
        let all = json!({"as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1", "2"]}});
        let expected = [
            ("impersonate-user", "jane"),
            ("impersonate-uid", "7"),
            ("impersonate-group", "a"),
            ("impersonate-group", "b"),
            ("impersonate-extra-x%2fy", "1"),
            ("impersonate-extra-x%2fy", "2"),
        ];
        check(all, Ok(&expected));
        let nobody = "requesting uid, groups or user-extra without impersonating a user";
        for more in [json!({"as-uid": "7"}), json!({"as-groups": ["a"]}), json!({"as-user-extra": {"x": ["y"]}})] {
            check(more, Err(nobody));
        }
        check(json!({"as": "a\nb"}), Err("as: \"a\\nb\" is nothing that a header can carry"));
    }
}
