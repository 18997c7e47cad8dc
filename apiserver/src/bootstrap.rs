//! The objects that every cluster has from its first second: namespaces, roles and bindings, priority classes, flow
//! control, API services, and the service `kubernetes`.
//!
//! What never varies is a data file; what depends on the configuration is made in [`own`]. [`reconcile`] compares all of it with
//! the store and writes what is missing in few transactions, and nothing on a restart where all is as it should be.

mod own;
mod roles;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use api::{Object, Status};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use store::{Condition, Operation, Snapshot, StoreError, Transaction};

use crate::authorization::rule::Rule;
use crate::group_versions::{self, ApiService, Managed, Priorities};
use crate::registry::{fill_metadata, key, read, store_status};
use crate::state::Step;
use crate::{Registry, clock};

pub use own::{AUTHENTICATION, dns_address, ensure_dns_service, kubernetes_address};

/// Roles and their bindings, and everything else.
const DATA: [&str; 2] = [include_str!("../data/overlay/bootstrap.json"), include_str!("../data/roles.json")];
/// Objects in one transaction.
const TRANSACTION_OBJECTS_MAX: usize = 128;
/// How often a transaction is tried again because somebody else wrote meanwhile.
const RETRIES_MAX: usize = 5;

/// What the objects depend on.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The address behind the service `kubernetes`.
    pub advertise_address: IpAddr,
    /// The port behind it.
    pub secure_port: u16,
    /// The certificate that client certificates are verified against.
    pub client_ca_pem: String,
}

/// Objects of one resource in the data file.
#[derive(Deserialize)]
struct Group {
    group: String,
    version: String,
    resource: String,
    kind: String,
    items: Vec<serde_json::Map<String, Value>>,
}

/// One object as it should be.
pub(crate) struct Desired {
    group: String,
    resource: String,
    object: Object,
    update: Update,
}

/// What is done about an object that is there already.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Update {
    /// It belongs to the user now.
    Never,
    /// Rules and subjects that are missing are added, unless its annotation forbids it.
    Grants,
    /// What it is to be is put back, unless somebody took it over (`checkAPIService` of the autoregister controller).
    Managed,
    /// These fields are put back.
    Fields(&'static [&'static [&'static str]]),
}

fn data() -> Vec<Desired> {
    let groups = |text| -> Vec<Group> { serde_json::from_str(text).expect("the data file is compiled in and parses") };
    let mut all = Vec::with_capacity(256);
    for group in DATA.into_iter().flat_map(groups) {
        let api_version = match group.group.as_str() {
            "" => group.version.clone(),
            name => format!("{name}/{}", group.version),
        };
        let update = match group.group.as_str() {
            crate::authorization::rbac::GROUP => Update::Grants,
            group_versions::GROUP => Update::Managed,
            _ => Update::Never,
        };
        for item in group.items {
            let mut object = Object(item);
            object.set(&["apiVersion"], api_version.as_str());
            object.set(&["kind"], group.kind.as_str());
            all.push(Desired { group: group.group.clone(), resource: group.resource.clone(), object, update });
        }
    }
    all
}

/// What the data file has of one group: each object with the resource that it is of.
pub(crate) fn of_group(group: &str) -> Vec<(String, Object)> {
    data().into_iter().filter(|d| d.group == group).map(|d| (d.resource, d.object)).collect()
}

/// Where a group and version of the reference's own stand in discovery (`DefaultGenericAPIServicePriorities`).
pub(crate) fn priorities(group: &str, version: &str) -> Option<Priorities> {
    static ALL: LazyLock<Vec<ApiService>> =
        LazyLock::new(|| of_group(group_versions::GROUP).iter().map(|(_, object)| ApiService::of(object)).collect());
    ALL.iter().find(|found| found.group == group && found.version == version).map(|found| found.priorities)
}

/// The rules of every node, which the Node authoriser applies to what it does not look into.
pub fn node_rules() -> Vec<Rule> {
    let node = data().into_iter().find(|d| d.resource == "clusterroles" && d.object.name() == "system:node");
    Rule::list(node.expect("the data file has system:node").object.at(&["rules"]))
}

/// Writes what is missing. Returns how many objects were written.
///
/// # Errors
/// What the store refuses.
pub fn reconcile<'a>(registry: &'a Registry, bootstrap: &'a Bootstrap) -> BoxFuture<'a, Result<usize, Status>> {
    Box::pin(async move {
        let mut desired = data();
        roles::fill_aggregated(&mut desired);
        desired.extend(own::objects(registry, bootstrap));
        stamp(&mut desired, &clock::time(registry.clock().now()));
        // All at once, so that they become one group of the log.
        let writes = desired.chunks(TRANSACTION_OBJECTS_MAX).map(|chunk| write(registry, chunk));
        let written = futures::future::try_join_all(writes).await?.into_iter().sum();
        registry.state().finish(Step::Bootstrap);
        Ok(written)
    })
}

/// Conditions in the data file have no times: they became true now.
fn stamp(desired: &mut [Desired], now: &str) {
    for item in desired {
        let Some(status) = item.object.0.get_mut("status") else { continue };
        let conditions = status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten();
        for condition in conditions {
            condition["lastTransitionTime"] = now.into();
        }
    }
}

pub(crate) async fn write(registry: &Registry, desired: &[Desired]) -> Result<usize, Status> {
    let mut tries = 0;
    loop {
        let transaction = transaction(registry, &registry.snapshot(), desired);
        let count = transaction.operations.len();
        if count == 0 {
            return Ok(0);
        }
        match registry.store().commit(transaction).await {
            Ok(_) => return Ok(count),
            Err(StoreError::ConditionFailed { .. }) if tries < RETRIES_MAX => tries += 1,
            Err(error) => return Err(store_status(&error)),
        }
    }
}

fn transaction(registry: &Registry, snapshot: &Snapshot, desired: &[Desired]) -> Transaction {
    let mut transaction = Transaction::default();
    for item in desired {
        let object = &item.object;
        let key: Arc<str> = key(&item.group, &item.resource, object.namespace(), object.name()).into();
        match snapshot.get(&key) {
            None => {
                let mut object = object.clone();
                fill_metadata(registry.clock(), &mut object);
                transaction.conditions.push(Condition::Absent(key.clone()));
                transaction.operations.push(Operation::Put(key, object.encode()));
            }
            Some(entry) => {
                let Some(stored) = read(entry) else { continue };
                if let Some(updated) = updated(item, &stored) {
                    transaction.conditions.push(Condition::ModRevision(key.clone(), entry.mod_revision()));
                    transaction.operations.push(Operation::Put(key, updated.encode()));
                }
            }
        }
    }
    transaction
}

/// The stored object as it should be, if it is not.
fn updated(item: &Desired, stored: &Object) -> Option<Object> {
    match item.update {
        Update::Never => None,
        Update::Grants => roles::updated(&item.object, stored),
        Update::Managed if ApiService::of(stored).managed == Managed::No => None,
        Update::Managed => with_fields(item, stored, &[&["spec"]]),
        Update::Fields(fields) => with_fields(item, stored, fields),
    }
}

/// The stored object with these fields as they should be, if they are not.
fn with_fields(item: &Desired, stored: &Object, fields: &[&[&str]]) -> Option<Object> {
    let mut object = stored.clone();
    for path in fields {
        match item.object.at(path) {
            Some(value) => object.set(path, value.clone()),
            None => {
                object.remove(path);
            }
        }
    }
    (object != *stored).then_some(object)
}

#[cfg(test)]
mod tests;
