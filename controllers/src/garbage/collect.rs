//! What is done about one object of the graph.

use std::sync::Arc;

use client::{Action, WorkQueue};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use super::graph::{FOREGROUND, Graph, Node, ORPHAN, Owner};
use super::monitors::Monitors;
use crate::context::Context;
use crate::discovery::Meta;
use crate::error::{Error, Result, ignore_not_found, is_conflict, is_not_found, status};

/// Deletes what has no owner left, and lets owners go that wait for nobody.
pub(super) struct Collector {
    context: Context,
    graph: Arc<Mutex<Graph>>,
    work: WorkQueue<String>,
    monitors: Arc<Monitors>,
}

/// What the owners of an object are, as the reference classifies them.
#[derive(Default)]
struct Owners {
    solid: usize,
    /// How many of the solid ones are not in the graph: it may miss their end.
    unseen: usize,
    dangling: Vec<String>,
    waiting: Vec<String>,
}

/// What is found of an owner that an object names.
enum State {
    /// There is none of this kind, namespace, name and uid.
    Gone,
    /// It is there, and perhaps waits for its dependents; unseen ones are not in the graph.
    There { waits: bool, unseen: bool },
    /// An object without a namespace names an owner in one.
    Impossible,
}

impl Collector {
    pub(super) fn new(
        context: Context,
        graph: Arc<Mutex<Graph>>,
        work: WorkQueue<String>,
        monitors: Arc<Monitors>,
    ) -> Self {
        Self { context, graph, work, monitors }
    }

    pub(super) async fn sync(&self, uid: &str) -> Result<Action> {
        let node = self.graph.lock().get(uid).cloned();
        let Some(node) = node else { return Ok(Action::Done) };
        if node.orphans {
            return self.set_free(uid, &node).await;
        }
        if node.waits {
            return self.wait_for_dependents(uid, &node).await;
        }
        if node.deleting || node.owners.is_empty() {
            return Ok(Action::Done);
        }
        let Some(owners) = self.classify(&node).await? else { return Ok(Action::Done) };
        let done = if owners.unseen > 0 { Action::Retry } else { Action::Done };
        if owners.dangling.is_empty() && owners.waiting.is_empty() {
            return Ok(done);
        }
        let Some((api, mut live)) = self.live(uid, &node).await? else { return Ok(Action::Done) };
        if owners.solid > 0 {
            let gone: Vec<_> = owners.dangling.into_iter().chain(owners.waiting).collect();
            drop_owners(&api, &live, &gone).await?;
            return Ok(done);
        }
        if live.owner_references().len() != node.owners.len() {
            // The graph is behind; the watch brings the key again.
            return Ok(Action::Retry);
        }
        let foreground = !owners.waiting.is_empty() && self.graph.lock().dependents(uid).next().is_some();
        if foreground && self.graph.lock().may_be_in_a_circle(uid) {
            unblock_owners(&api, &live).await?;
            match self.live(uid, &node).await? {
                Some((_, unblocked)) => live = unblocked,
                None => return Ok(Action::Done),
            }
        }
        self.delete(&api, &live, foreground).await
    }

    /// What the owners of an object are; nothing if it names one that it cannot have (`isDangling` in the reference).
    async fn classify(&self, node: &Node) -> Result<Option<Owners>> {
        let mut owners = Owners::default();
        for owner in &node.owners {
            let known = {
                let graph = self.graph.lock();
                graph.get(&owner.uid).filter(|n| graph.means(owner, &node.place.namespace, n)).map(|n| n.waits)
            };
            let state = match known {
                Some(waits) => State::There { waits, unseen: false },
                None => self.ask(node, owner).await?,
            };
            match state {
                State::Impossible => return Ok(None),
                State::Gone => owners.dangling.push(owner.uid.clone()),
                State::There { waits: true, .. } => owners.waiting.push(owner.uid.clone()),
                State::There { unseen, .. } => {
                    owners.solid += 1;
                    owners.unseen += usize::from(unseen);
                }
            }
        }
        Ok(Some(owners))
    }

    /// Asks the API server for an owner that the graph does not know as the object names it.
    async fn ask(&self, node: &Node, owner: &Owner) -> Result<State> {
        let Some(served) = self.monitors.of_kind(&owner.api_version, &owner.kind) else {
            let what = format!("{} {} owns {} but is not served", owner.api_version, owner.kind, node.place.name);
            return Err(Error::Invalid(what));
        };
        if served.is_namespaced() && node.place.namespace.is_empty() {
            return Ok(State::Impossible);
        }
        let found = served.api(&self.context.client, &node.place.namespace).get_opt(&owner.name).await?;
        Ok(match found.filter(|o| o.uid().as_deref() == Some(&owner.uid)) {
            None => State::Gone,
            Some(owner) => {
                let deleting = owner.metadata.deletion_timestamp.is_some();
                State::There { waits: deleting && owner.finalizers().iter().any(|f| f == FOREGROUND), unseen: true }
            }
        })
    }

    fn api(&self, node: &Node) -> Result<Api<Meta>> {
        let served = self.monitors.resource(node.place.resource);
        let served = served.ok_or_else(|| Error::Invalid("a resource is no longer monitored".into()))?;
        Ok(served.api(&self.context.client, &node.place.namespace))
    }

    /// The object as it is now, if it still is the one in the graph.
    async fn live(&self, uid: &str, node: &Node) -> Result<Option<(Api<Meta>, Meta)>> {
        let api = self.api(node)?;
        let live = api.get_opt(&node.place.name).await?;
        match live.filter(|o| o.uid().as_deref() == Some(uid)) {
            Some(live) => Ok(Some((api, live))),
            None => {
                self.graph.lock().remove(uid).into_iter().for_each(|look| self.work.add(look));
                Ok(None)
            }
        }
    }

    async fn delete(&self, api: &Api<Meta>, live: &Meta, foreground: bool) -> Result<Action> {
        let has = |finalizer: &str| live.finalizers().iter().any(|f| f == finalizer);
        let policy = if has(ORPHAN) {
            PropagationPolicy::Orphan
        } else if foreground || has(FOREGROUND) {
            PropagationPolicy::Foreground
        } else {
            PropagationPolicy::Background
        };
        let params = DeleteParams {
            propagation_policy: Some(policy),
            preconditions: Some(Preconditions { uid: live.uid(), resource_version: live.resource_version() }),
            ..DeleteParams::default()
        };
        match api.delete(&live.name_any(), &params).await {
            Err(error) if is_conflict(&error) => Ok(Action::Retry),
            other => {
                ignore_not_found(other)?;
                Ok(Action::Done)
            }
        }
    }

    async fn wait_for_dependents(&self, uid: &str, node: &Node) -> Result<Action> {
        let blocking = self.graph.lock().blocking(uid);
        if blocking.is_empty() {
            if let Some((api, live)) = self.live(uid, node).await? {
                remove_finalizer(&api, &live, FOREGROUND).await?;
            }
            return Ok(Action::Done);
        }
        for (dependent, waits) in blocking {
            if !waits {
                self.work.add(dependent);
            }
        }
        Ok(Action::Done)
    }

    async fn set_free(&self, uid: &str, node: &Node) -> Result<Action> {
        let dependents: Vec<(String, Node)> =
            self.graph.lock().dependents(uid).map(|(u, n)| (u.clone(), n.clone())).collect();
        for (dependent, node) in dependents {
            if let Some((api, live)) = self.live(&dependent, &node).await? {
                drop_owners(&api, &live, &[uid.to_owned()]).await?;
            }
        }
        if let Some((api, live)) = self.live(uid, node).await? {
            remove_finalizer(&api, &live, ORPHAN).await?;
        }
        Ok(Action::Done)
    }
}

/// Takes owners off an object. A merge patch with the version works for custom resources too.
async fn drop_owners(api: &Api<Meta>, live: &Meta, gone: &[String]) -> Result<()> {
    let left: Vec<_> = live.owner_references().iter().filter(|r| !gone.contains(&r.uid)).collect();
    if left.len() == live.owner_references().len() {
        return Ok(());
    }
    merge(api, live, serde_json::json!({ "ownerReferences": left })).await
}

/// Lets the owners of an object go before it (`unblockOwnerReferencesStrategicMergePatch` in the reference's collector).
async fn unblock_owners(api: &Api<Meta>, live: &Meta) -> Result<()> {
    let mut owners = live.owner_references().to_vec();
    if owners.iter().all(|owner| owner.block_owner_deletion != Some(true)) {
        return Ok(());
    }
    owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
    merge(api, live, serde_json::json!({ "ownerReferences": owners })).await
}

async fn remove_finalizer(api: &Api<Meta>, live: &Meta, finalizer: &str) -> Result<()> {
    let left: Vec<_> = live.finalizers().iter().filter(|f| *f != finalizer).collect();
    if left.len() == live.finalizers().len() {
        return Ok(());
    }
    merge(api, live, serde_json::json!({ "finalizers": left })).await
}

async fn merge(api: &Api<Meta>, live: &Meta, mut metadata: serde_json::Value) -> Result<()> {
    metadata["uid"] = live.uid().into();
    metadata["resourceVersion"] = live.resource_version().into();
    let patch = Patch::Merge(serde_json::json!({ "metadata": metadata }));
    match api.patch(&live.name_any(), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) || status(&error).is_some_and(|s| s.code == 422) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
