//! Makes the APIServices of custom resources, and takes away those of none (`autoRegisterController` in kube-aggregator,
//! `crdRegistrationController` in kube-apiserver's `pkg/controlplane/controller`). Those of built-in resources are made before the
//! first request (`crate::bootstrap`).

use std::collections::BTreeSet;
use std::time::Duration;

use api::Status;
use api::catalogue::Catalogue;
use http::Method;
use serde_json::json;

use crate::group_versions::{ApiService, CUSTOM_PRIORITIES, GROUP, GroupVersions, KEYS, MANAGED, Managed, PLURAL};
use crate::state::Step;
use crate::{ApiServer, bootstrap};

/// How long after a write that failed all is looked at again; twice as long after each other one.
const RETRY_DELAY: Duration = Duration::from_millis(500);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(60);

/// A group and version.
type Version = (String, String);

/// What is to be done about one APIService.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Make(Version),
    /// Put back what it says.
    Mend {
        name: String,
        version: Version,
    },
    /// By name and uid.
    Remove {
        name: String,
    },
}

/// Keeps them right until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    // Before it is known which custom resources there are, none is gone.
    registry.state().done(Step::Definitions).await;
    let mut followed = registry.follow(KEYS);
    let mut rounds = registry.state().rounds();
    let mut delay = RETRY_DELAY;
    let mut is_first = true;
    loop {
        let changes = changes(&registry.group_versions(), &registry.catalogue(), is_first);
        let mut failed = false;
        for change in &changes {
            if let Err(error) = carry_out(server, change).await
                && !matches!(error.code, 404 | 409)
            {
                tracing::warn!(?change, %error, "an APIService is not as it should be");
                failed = true;
            }
        }
        is_first &= failed;
        delay = if failed { delay.saturating_mul(2).min(RETRY_DELAY_MAX) } else { RETRY_DELAY };
        let retry = async {
            match failed {
                true => tokio::time::sleep(delay).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = followed.changed(|_| true) => if changed.is_none() { return },
            ended = rounds.changed() => if ended.is_err() { return },
            () = retry => {}
        }
    }
}

/// What differs from what should be. At the first look, those that were made at a start and are of nothing that is built in go too.
fn changes(table: &GroupVersions, catalogue: &Catalogue, is_first: bool) -> Vec<Change> {
    let is_own = |group: &str, version: &str| group == GROUP || bootstrap::priorities(group, version).is_some();
    let custom = catalogue.iter().filter(|row| row.custom && !is_own(&row.group, &row.version));
    let wanted: BTreeSet<Version> = custom.map(|row| (row.group.clone(), row.version.clone())).collect();
    let mut changes = Vec::new();
    for version @ (group, name) in &wanted {
        match table.named(&format!("{name}.{group}")) {
            None => changes.push(Change::Make(version.clone())),
            Some(found) if found.managed == Managed::Always && !says(found) => {
                changes.push(Change::Mend { name: found.name.clone(), version: version.clone() });
            }
            Some(_) => {}
        }
    }
    for found in table.all() {
        let version = (found.group.clone(), found.version.clone());
        let is_managed = found.managed == Managed::Always || is_first && found.managed == Managed::OnStart;
        if is_managed && !wanted.contains(&version) && !is_own(&found.group, &found.version) {
            changes.push(Change::Remove { name: found.name.clone() });
        }
    }
    changes
}

/// Whether one says what those of custom resources do.
fn says(found: &ApiService) -> bool {
    found.remote.is_none() && found.priorities == CUSTOM_PRIORITIES
}

async fn carry_out(server: &ApiServer, change: &Change) -> Result<(), Status> {
    let all = format!("/apis/{GROUP}/v1/{PLURAL}");
    match change {
        Change::Make(version) => {
            let metadata = json!({"name": format!("{}.{}", version.1, version.0), "labels": {MANAGED: "true"}});
            let body = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "APIService", "metadata": metadata, "spec": spec(version)});
            server.ask_itself(&Method::POST, all, "application/json", body.to_string()).await?;
        }
        Change::Mend { name, version } => {
            let Some(mut stored) = server.registry().get(GROUP, PLURAL, "", name) else { return Ok(()) };
            stored.set(&["spec"], spec(version));
            let body = serde_json::to_string(&stored.0).map_err(|error| Status::internal(error.to_string()))?;
            server.ask_itself(&Method::PUT, format!("{all}/{name}"), "application/json", body).await?;
        }
        Change::Remove { name } => {
            let Some(stored) = server.registry().get(GROUP, PLURAL, "", name) else { return Ok(()) };
            let body = json!({"preconditions": {"uid": stored.uid()}}).to_string();
            server.ask_itself(&Method::DELETE, format!("{all}/{name}"), "application/json", body).await?;
        }
    }
    Ok(())
}

fn spec((group, version): &Version) -> serde_json::Value {
    json!({
        "group": group, "version": version,
        "groupPriorityMinimum": CUSTOM_PRIORITIES.group, "versionPriority": CUSTOM_PRIORITIES.version,
    })
}

#[cfg(test)]
mod tests;
