//! Acting as somebody else: the `Impersonate-*` headers, each of which must be allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Status, UserInfo};
use http::HeaderMap;

use crate::Registry;
use crate::authorization::{Attributes, authorize};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// What the headers ask for.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// The user that a request acts as: the one who asks, or whom the headers name if that is allowed. The headers are
/// taken out.
///
/// # Errors
/// `Forbidden` if it is not; an internal error for groups, uid or extras without a user.
pub async fn impersonate(
    headers: &mut HeaderMap,
    user: Arc<UserInfo>,
    registry: &Registry,
) -> Result<Arc<UserInfo>, Status> {
    let Some(wanted) = wanted(headers)? else { return Ok(user) };
    for (resource, subresource, group, namespace, name) in checks(&wanted) {
        let attributes = Attributes {
            user: &user,
            verb: "impersonate",
            namespace: &namespace,
            group,
            version: if group.is_empty() { "" } else { "v1" },
            resource,
            subresource: &subresource,
            name: &name,
            field_selector: "",
            is_resource_request: true,
            path: "",
        };
        authorize(attributes, registry).await?;
    }
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    Ok(Arc::new(acting(wanted)))
}

fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Status> {
    let texts = |name: &str| -> Vec<String> {
        headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(String::from).collect()
    };
    let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
    let mut wanted = Wanted { user: first(USER), uid: first(UID), groups: texts(GROUP), extra: BTreeMap::new() };
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            wanted.extra.entry(unescape(key)).or_default().push(value.to_string());
        }
    }
    if wanted == Wanted::default() {
        return Ok(None);
    }
    if wanted.user.is_empty() {
        return Err(Status::internal(format!("requested {wanted:?} without impersonating a user")));
    }
    Ok(Some(wanted))
}

/// Extra keys may be percent-encoded, as header names hold few characters.
fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16)).map(|d| d as u8);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high * 16 + low);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_string())
}

/// Resource, subresource, group, namespace and name of everything that must be allowed.
fn checks(wanted: &Wanted) -> Vec<(&'static str, String, &'static str, String, String)> {
    let none = String::new;
    let mut checks = vec![match account(&wanted.user) {
        Some((namespace, name)) => ("serviceaccounts", none(), "", namespace.to_string(), name.to_string()),
        None => ("users", none(), "", none(), wanted.user.clone()),
    }];
    checks.extend(wanted.groups.iter().map(|group| ("groups", none(), "", none(), group.clone())));
    for (key, values) in &wanted.extra {
        checks.extend(values.iter().map(|v| ("userextras", key.clone(), "authentication.k8s.io", none(), v.clone())));
    }
    if !wanted.uid.is_empty() {
        checks.push(("uids", none(), "authentication.k8s.io", none(), wanted.uid.clone()));
    }
    checks
}

fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

fn acting(wanted: Wanted) -> UserInfo {
    let mut groups = wanted.groups;
    if groups.is_empty()
        && let Some((namespace, _)) = account(&wanted.user)
    {
        groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
    }
    let has = |group: &str| groups.iter().any(|g| g == group);
    if wanted.user == "system:anonymous" {
        if !has(UNAUTHENTICATED) {
            groups.push(UNAUTHENTICATED.into());
        }
    } else if !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
        groups.push(AUTHENTICATED.into());
    }
    UserInfo { username: wanted.user, uid: wanted.uid, groups, extra: wanted.extra }
}
