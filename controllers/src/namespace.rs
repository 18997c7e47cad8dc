//! A namespace that is deleted takes everything in it along, and goes last.

use std::sync::Arc;
use std::time::Duration;

use client::{Action, Informer, ObjectKey, WorkQueue};
use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};

use crate::context::Context;
use crate::discovery::{self, Served};
use crate::error::{Error, Result, ignore_not_found, is_conflict, is_not_found, message, status};

/// Namespaces worked on at a time.
const WORKERS: usize = 10;
/// Resources of one namespace worked on at a time.
const RESOURCES_AT_A_TIME: usize = 8;
/// What keeps a namespace until its content is gone.
const FINALIZER: &str = "kubernetes";
/// First and longest pause before content that did not go is looked at again.
const BACKOFF_MS_MIN: u64 = 10;
const BACKOFF_MS_MAX: u64 = 15_000;
/// Objects counted in a resource that still has some.
const COUNT_MAX: u32 = 500;

struct Controller {
    context: Context,
    namespaces: Informer<Namespace>,
}

/// What is left of a resource in a namespace.
struct Left {
    resource: String,
    count: usize,
    finalizers: Vec<String>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let backoff = (Duration::from_millis(BACKOFF_MS_MIN), Duration::from_millis(BACKOFF_MS_MAX));
    let queue = WorkQueue::with_backoff(context.clock.clone(), backoff.0, backoff.1);
    let namespaces = context.informers.of::<Namespace>();
    let to = queue.clone();
    namespaces.on_change(move |change| {
        if !change.is_delete() && change.object().metadata.deletion_timestamp.is_some() {
            to.add(ObjectKey::of(&**change.object()));
        }
    });
    watch_pods(&context, &namespaces, &queue);
    namespaces.wait_synced().await;
    let controller = Arc::new(Controller { context: context.clone(), namespaces });
    context
        .run("namespace", queue, WORKERS, move |key| {
            let controller = controller.clone();
            async move { controller.sync(key).await }
        })
        .await;
}

/// Pods end in their own time; the namespace is looked at as soon as one is gone.
fn watch_pods(context: &Context, namespaces: &Informer<Namespace>, queue: &WorkQueue<ObjectKey>) {
    let (to, namespaces) = (queue.clone(), namespaces.clone());
    context.informers.of::<Pod>().on_change(move |change| {
        let namespace = change.object().namespace().unwrap_or_default();
        let terminating = || namespaces.get("", &namespace).is_some_and(|n| n.metadata.deletion_timestamp.is_some());
        if change.is_delete() && terminating() {
            to.add(ObjectKey::cluster(&namespace));
        }
    });
}

impl Controller {
    async fn sync(&self, key: ObjectKey) -> Result<Action> {
        if self.namespaces.get_key(&key).is_none_or(|n| n.metadata.deletion_timestamp.is_none()) {
            return Ok(Action::Done);
        }
        let api = self.context.api_all::<Namespace>();
        let Some(mut namespace) = api.get_opt(&key.name).await? else { return Ok(Action::Done) };
        if namespace.metadata.deletion_timestamp.is_none() {
            return Ok(Action::Done);
        }
        if namespace.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Terminating") {
            namespace.status.get_or_insert_default().phase = Some("Terminating".into());
            let written = api.replace_status(&key.name, &PostParams::default(), &namespace).await;
            let Some(written) = ignore_not_found(written)? else { return Ok(Action::Done) };
            namespace = written;
        }
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.clone()).unwrap_or_default();
        if finalizers.is_empty() {
            return Ok(Action::Done);
        }
        let outcome = self.delete_content(&key.name).await;
        match outcome {
            Ok(left) if left.is_empty() => {
                self.finalize(namespace).await?;
                Ok(Action::Done)
            }
            Ok(left) => {
                self.report(namespace, &left, None).await?;
                Ok(Action::Retry)
            }
            Err(error) => {
                self.report(namespace, &[], Some(&error)).await?;
                Err(error)
            }
        }
    }

    /// Deletes everything; the pods first, so that nothing they use goes before them.
    async fn delete_content(&self, namespace: &str) -> Result<Vec<Left>> {
        let mut resources: Vec<Served> = discovery::all(&self.context.client).await?;
        resources.retain(|r| r.is_namespaced() && r.can("list") && r.can("delete"));
        let (pods, others): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|r| r.resource.group.is_empty() && r.resource.plural == "pods");
        for phase in [pods, others] {
            let work = phase.into_iter().map(|r| async move { self.delete_all(&r, namespace).await });
            let outcomes: Vec<_> = stream::iter(work).buffer_unordered(RESOURCES_AT_A_TIME).collect().await;
            let mut left = Vec::new();
            let mut failure = None;
            for outcome in outcomes {
                match outcome {
                    Ok(Some(some)) => left.push(some),
                    Ok(None) => {}
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                return Err(error);
            }
            if !left.is_empty() {
                left.sort_by(|a, b| a.resource.cmp(&b.resource));
                return Ok(left);
            }
        }
        Ok(Vec::new())
    }

    async fn delete_all(&self, served: &Served, namespace: &str) -> Result<Option<Left>> {
        let api = served.api(&self.context.client, namespace);
        let count = ListParams::default().limit(COUNT_MAX);
        let Some(found) = ignore_unserved(api.list(&ListParams::default().limit(1)).await)? else { return Ok(None) };
        if found.items.is_empty() {
            return Ok(None);
        }
        if served.can("deletecollection") {
            let everything = ListParams::default();
            ignore_unserved(api.delete_collection(&DeleteParams::background(), &everything).await)?;
        } else {
            for object in api.list(&ListParams::default()).await? {
                ignore_not_found(api.delete(&object.name_any(), &DeleteParams::background()).await)?;
            }
        }
        let Some(found) = ignore_unserved(api.list(&count).await)? else { return Ok(None) };
        let finalizers = found.items.iter().flat_map(|o| o.finalizers().iter().cloned()).collect();
        let count = found.items.len();
        let group = Some(&served.resource.group).filter(|g| !g.is_empty());
        let resource = group.map_or(served.resource.plural.clone(), |g| format!("{}.{g}", served.resource.plural));
        Ok((count > 0).then_some(Left { resource, count, finalizers }))
    }

    async fn finalize(&self, mut namespace: Namespace) -> Result<()> {
        let name = namespace.name_any();
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
            finalizers.retain(|f| f != FINALIZER);
        }
        let api = self.context.api_all::<Namespace>();
        let written: Result<Namespace, _> =
            api.replace_subresource("finalize", &name, &PostParams::default(), &namespace).await;
        match written {
            Err(error) if is_not_found(&error) => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }

    /// Says in the status what keeps the namespace.
    async fn report(&self, mut namespace: Namespace, left: &[Left], failure: Option<&Error>) -> Result<()> {
        let before = namespace.status.clone();
        let now = Time(self.context.clock.now());
        let conditions = namespace.status.get_or_insert_default().conditions.get_or_insert_default();
        let resources: Vec<_> =
            left.iter().map(|l| format!("{} has {} resource instances", l.resource, l.count)).collect();
        let content = (!left.is_empty()).then(|| format!("Some resources are remaining: {}", resources.join(", ")));
        set(
            conditions,
            "NamespaceContentRemaining",
            ("SomeResourcesRemain", "ContentRemoved", "All content successfully removed"),
            content,
            &now,
        );
        let mut finalizers: std::collections::BTreeMap<&str, usize> = Default::default();
        left.iter().flat_map(|l| &l.finalizers).for_each(|f| *finalizers.entry(f).or_default() += 1);
        let holding: Vec<_> = finalizers.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
        let holding = (!holding.is_empty())
            .then(|| format!("Some content in the namespace has finalizers remaining: {}", holding.join(", ")));
        set(
            conditions,
            "NamespaceFinalizersRemaining",
            ("SomeFinalizersRemain", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            holding,
            &now,
        );
        let failed = failure.map(|error| match error {
            Error::Api(error) => format!("Failed to delete all resource types, 1 remaining: {}", message(error)),
            other => format!("Failed to delete all resource types, 1 remaining: {other}"),
        });
        set(
            conditions,
            "NamespaceDeletionContentFailure",
            (
                "ContentDeletionFailed",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            failed,
            &now,
        );
        if namespace.status == before {
            return Ok(());
        }
        let name = namespace.name_any();
        match self.context.api_all::<Namespace>().replace_status(&name, &PostParams::default(), &namespace).await {
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(()),
            other => Ok(other.map(|_| ())?),
        }
    }
}

/// Sets a condition that is true, with `problem` as its message, while there is a problem.
fn set(
    conditions: &mut Vec<NamespaceCondition>,
    type_: &str,
    (bad, good, fine): (&str, &str, &str),
    problem: Option<String>,
    now: &Time,
) {
    let (status, reason) = if problem.is_some() { ("True", bad) } else { ("False", good) };
    let message = problem.unwrap_or_else(|| fine.into());
    let wanted = NamespaceCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(now.clone()),
    };
    match conditions.iter_mut().find(|c| c.type_ == type_) {
        Some(c) if c.status == wanted.status && c.message == wanted.message => {}
        Some(c) => *c = wanted,
        None => conditions.push(wanted),
    }
}

/// A resource may go between discovery and the request, or not know the verb after all.
fn ignore_unserved<T>(outcome: Result<T, kube::Error>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if status(&error).is_some_and(|s| matches!(s.code, 404 | 405)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
