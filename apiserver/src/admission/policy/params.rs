//! The parameters of a policy that a binding wants (`CollectParams` in apiserver).

use std::sync::Arc;

use api::Object;
use api::catalogue::Resource;
use store::Entry;

use super::loaded::{ParamKind, ParamRef};
use crate::memo::Memo;
use crate::{Registry, conversion};

/// The row of the kind of a policy's parameters.
///
/// # Errors
/// If there is no such kind.
pub(super) fn row(registry: &Registry, kind: &ParamKind) -> Result<Arc<Resource>, String> {
    let ParamKind { group, version, kind } = kind;
    let row = registry.catalogue().by_kind(group, version, kind).cloned();
    let of_version = if group.is_empty() { format!("/{version}") } else { format!("{group}/{version}") };
    row.ok_or_else(|| format!("failed to find resource referenced by paramKind: '{of_version}, Kind={kind}'"))
}

/// The parameters with which a policy is evaluated for one request in a namespace. One that is none stands for there being
/// none to ask for.
///
/// # Errors
/// What is wrong with the reference, or that there are none where there must be.
pub(super) async fn collect(
    registry: &Registry,
    row: Option<&Arc<Resource>>,
    reference: Option<&ParamRef>,
    namespace: &str,
) -> Result<Vec<Option<Arc<Object>>>, String> {
    let (Some(row), Some(reference)) = (row, reference) else { return Ok(vec![None]) };
    let namespace = match (row.namespaced, reference.namespace.as_str()) {
        (true, "") if namespace.is_empty() => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
        }
        (true, "") => namespace,
        (true, given) => given,
        (false, "") => "",
        (false, _) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
    };
    let mut found = Vec::new();
    let snapshot = registry.snapshot();
    if !reference.name.is_empty() {
        if let Some(entry) = snapshot.get(&row.key(namespace, &reference.name)) {
            found.extend(object(registry, row, entry).await?);
        }
    } else if let Some(selector) = &reference.selector {
        let selector = selector.as_ref().map_err(Clone::clone)?;
        for entry in snapshot.list(&row.prefix(namespace), None) {
            // It is decoded once for as long as it is not written, and then has its labels.
            if let Some(object) = object(registry, row, entry).await?.filter(|object| selector.matches_object(object)) {
                found.push(object);
            }
        }
    } else {
        return Err("one of name or selector must be provided".into());
    }
    if found.is_empty() && reference.must_exist {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found.into_iter().map(Some).collect())
}

/// The object of an entry in the version of the policy's kind.
async fn object(registry: &Registry, row: &Arc<Resource>, entry: &Entry) -> Result<Option<Arc<Object>>, String> {
    let Some(object) = Memo::of(entry).object(entry) else { return Ok(None) };
    let is_right = object.api_version() == row.api_version() && row.definition.is_none();
    if is_right {
        return Ok(Some(object));
    }
    let object = registry.read(row, entry).await.and_then(|object| conversion::shown(row, object));
    object.map(|object| Some(Arc::new(object))).map_err(|status| status.message)
}
