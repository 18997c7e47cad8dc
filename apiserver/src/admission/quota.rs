//! `ResourceQuota`: nothing is made that does not fit into every quota of its namespace, and what is made is counted in
//! their status before it is stored.
//!
//! The count of all quotas is one transaction. Creates of one namespace take turns, so that they do not run into each
//! other's counts; only the controller that counts anew may come between.

mod limited;

use std::hash::{DefaultHasher, Hash, Hasher};

use api::quota;
use api::resources::ResourceList;
use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use serde_json::Value;
use store::{Snapshot, StoreError, Transaction};
use tokio::sync::Mutex;

use super::files::PluginFiles;
use super::{Admission, Attributes, Operation, forbidden, is};
use crate::registry::{key, prefix, read, store_status};

/// What is limited even where no quota is.
use limited::Limited;

/// How often a count is tried when the quota changes meanwhile.
const ATTEMPTS_MAX: usize = 100;
/// How many namespaces may count at the same time; two may share a turn.
const TURNS: usize = 64;
/// Resources that quotas never count.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];

/// The plugin.
pub(super) struct ResourceQuota {
    turns: Vec<Mutex<()>>,
    limited: Vec<Limited>,
}

impl ResourceQuota {
    /// As the files of a cluster tell it.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn told(files: &PluginFiles) -> Result<Self, String> {
        let turns = std::iter::repeat_with(Mutex::default).take(TURNS).collect();
        Ok(Self { turns, limited: limited::told(files)? })
    }
}

impl Admission for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        async move {
            let Some(object) = object.filter(|object| counts(attributes, object)) else { return Ok(()) };
            let snapshot = attributes.ctx.registry.snapshot();
            if !self.limited.is_empty() {
                limited::check(&self.limited, attributes, object, &snapshot)?;
            }
            if no_quotas(attributes, &snapshot) {
                return Ok(());
            }
            let mut hasher = DefaultHasher::new();
            attributes.namespace.hash(&mut hasher);
            let turn = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
            let _turn = self.turns[turn].lock().await;
            count(attributes, object).await
        }
        .boxed()
    }
}

/// Whether the write may use more than before (`Evaluator.Handles`).
fn counts(attributes: &Attributes<'_>, object: &Object) -> bool {
    let resource = (attributes.resource.group.as_str(), attributes.resource.plural.as_str());
    if attributes.namespace.is_empty() || IGNORED.contains(&resource) {
        return false;
    }
    match (attributes.operation, attributes.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "") if is(attributes, "", "pods", "") => {
            let ends = |pod: &Object| pod.at(&["spec", "activeDeadlineSeconds"]).is_some();
            attributes.old.is_some_and(|old| ends(old) != ends(object))
        }
        (Operation::Update, "") => matches!(resource, ("", "services" | "persistentvolumeclaims")),
        (Operation::Update, "resize") => resource == ("", "pods"),
        _ => false,
    }
}

fn no_quotas(attributes: &Attributes<'_>, snapshot: &Snapshot) -> bool {
    snapshot.list(&prefix("", "resourcequotas", attributes.namespace), None).next().is_none()
}

async fn count(attributes: &Attributes<'_>, object: &Object) -> Result<(), Status> {
    let registry = &attributes.ctx.registry;
    let object = Value::Object(object.0.clone());
    let old = attributes.old.map(|old| Value::Object(old.0.clone()));
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = registry.snapshot();
        let mut transaction = Transaction::default();
        for entry in snapshot.list(&prefix("", "resourcequotas", attributes.namespace), None) {
            let Some(mut quota) = read(entry) else { continue };
            if let Some(used) = used_with(attributes, &quota, &object, old.as_ref())? {
                quota.set(&["status", "used"], used.to_json());
                let key = key("", "resourcequotas", attributes.namespace, quota.name());
                transaction = transaction.and(Transaction::update(key, entry.mod_revision(), quota.encode()));
            }
        }
        if attributes.ctx.options.dry_run || transaction.operations.is_empty() {
            return Ok(());
        }
        match registry.store().commit(transaction).await {
            Ok(_) => return Ok(()),
            Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(store_status(&error)),
        }
    }
    let (resource, name) = (attributes.resource, attributes.name);
    Err(Status::conflict(
        &resource.group,
        &resource.plural,
        name,
        "too many writes of its resource quota at the same time",
    ))
}

/// What a quota has used together with the object; none if the object is nothing to it (`CheckRequest`).
fn used_with(
    attributes: &Attributes<'_>,
    quota: &Object,
    object: &Value,
    old: Option<&Value>,
) -> Result<Option<ResourceList>, Status> {
    let (group, plural) = (attributes.resource.group.as_str(), attributes.resource.plural.as_str());
    let spec = quota.at(&["spec"]).unwrap_or(&Value::Null);
    let hard = ResourceList::of(quota.at(&["status", "hard"]));
    let concerned = hard.only(|name| quota::concerns(name, group, plural));
    if concerned.0.is_empty() || !quota::in_scope(spec, group, plural, object) {
        return Ok(None);
    }
    let refuse = |why: String| forbidden(attributes, Object::from_value(object.clone()).as_ref(), &why);
    let names = concerned.0.keys().map(String::as_str);
    if (group, plural) == ("", "pods")
        && let Some(why) = quota::missing(object, names.clone())
    {
        return Err(refuse(format!("failed quota: {}: {why}", quota.name())));
    }
    let used = ResourceList::of(quota.at(&["status", "used"]));
    if concerned.0.keys().any(|name| !used.0.contains_key(name)) {
        let names = names.collect::<Vec<_>>().join(",");
        return Err(refuse(format!("status unknown for quota: {}, resources: {names}", quota.name())));
    }
    let more = more(attributes, spec, object, old, attributes.ctx.now).only(|name| concerned.0.contains_key(name));
    if more.0.is_empty() {
        return Ok(None);
    }
    if let Some(name) = more.0.iter().find(|(_, amount)| amount.sign() < 0).map(|(name, _)| name) {
        return Err(refuse(format!("quota usage is negative for resource(s): {name}")));
    }
    let mut sum = used.clone();
    sum.add(&more);
    let exceeded = |name: &str| more.0.contains_key(name) && sum.0.get(name) > hard.0.get(name);
    if more.0.keys().any(|name| exceeded(name)) {
        let part = |list: &ResourceList| list.only(exceeded).pretty();
        return Err(refuse(format!(
            "exceeded quota: {}, requested: {}, used: {}, limited: {}",
            quota.name(),
            part(&more),
            part(&used),
            part(&hard)
        )));
    }
    Ok(Some(sum))
}

/// What the object uses and did not use before.
fn more(
    attributes: &Attributes<'_>,
    spec: &Value,
    object: &Value,
    old: Option<&Value>,
    now: Timestamp,
) -> ResourceList {
    let (group, plural) = (attributes.resource.group.as_str(), attributes.resource.plural.as_str());
    let mut usage = quota::usage(group, plural, object, now);
    if let Some(old) = old.filter(|old| quota::in_scope(spec, group, plural, old)) {
        usage.subtract_to_zero(&quota::usage(group, plural, old, now));
    }
    usage.0.retain(|_, amount| !amount.is_zero());
    usage
}
