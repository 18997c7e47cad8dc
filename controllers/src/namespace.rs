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
        let content = self.delete_content(&key.name).await;
        let Some(namespace) = self.report(namespace, &content).await? else { return Ok(Action::Retry) };
        if let Some(error) = content.failures.into_iter().next().or(content.undiscovered) {
            return Err(error);
        }
        if !content.left.is_empty() {
            return Ok(Action::Retry);
        }
        self.finalize(namespace).await?;
        Ok(Action::Done)
    }

    /// Deletes everything; the pods first, so that nothing they use goes before them (`deleteAllContent`).
    async fn delete_content(&self, namespace: &str) -> Content {
        let mut content = Content::default();
        let found = match discovery::find(&self.context.client).await {
            Ok(found) => found,
            Err(error) => return Content { undiscovered: Some(error), ..content },
        };
        // What is known goes all the same; the namespace stays until the rest is known.
        content.undiscovered = found.failure().map(Error::Invalid);
        let mut resources = found.resources;
        resources.retain(|r| r.is_namespaced() && r.can("list") && r.can("delete"));
        let (pods, others): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|r| r.resource.group.is_empty() && r.resource.plural == "pods");
        for phase in [pods, others] {
            let work = phase.into_iter().map(|r| async move { self.delete_all(&r, namespace).await });
            let mut outcomes = stream::iter(work).buffer_unordered(RESOURCES_AT_A_TIME);
            while let Some(outcome) = outcomes.next().await {
                match outcome {
                    Ok(left) => content.left.extend(left),
                    Err(error) => content.failures.push(error),
                }
            }
            if !content.left.is_empty() {
                break;
            }
        }
        content.left.sort_by(|a, b| a.resource.cmp(&b.resource));
        content
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
        let resource = format!("{}.{}", served.resource.plural, served.resource.group);
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

    /// Says in the status what keeps the namespace. Returns the namespace as it is then, unless somebody else changed it.
    async fn report(&self, mut namespace: Namespace, content: &Content) -> Result<Option<Namespace>> {
        let now = Time(self.context.clock.now());
        let conditions = namespace.status.get_or_insert_default().conditions.get_or_insert_default();
        let before = conditions.clone();
        content.problems().into_iter().for_each(|problem| problem.set(conditions, &now));
        if *conditions == before {
            return Ok(Some(namespace));
        }
        let name = namespace.name_any();
        match self.context.api_all::<Namespace>().replace_status(&name, &PostParams::default(), &namespace).await {
            Err(error) if is_not_found(&error) || is_conflict(&error) => Ok(None),
            other => Ok(Some(other?)),
        }
    }
}

/// What became of the content of a namespace.
#[derive(Default)]
struct Content {
    /// Why not all resources are known.
    undiscovered: Option<Error>,
    failures: Vec<Error>,
    left: Vec<Left>,
}

/// A condition, which is true while there is a problem: its type, its reasons with a problem and without, and its message
/// without.
struct Problem {
    type_: &'static str,
    reasons: [&'static str; 2],
    fine: &'static str,
    said: Option<String>,
}

fn said(error: &Error) -> String {
    match error {
        Error::Api(error) => message(error),
        other => other.to_string(),
    }
}

impl Content {
    /// All conditions, in the order in which they are written (`namespaceConditionUpdater`).
    fn problems(&self) -> [Problem; 5] {
        let mut failures: Vec<String> = self.failures.iter().map(said).collect();
        failures.sort();
        let failures = (!failures.is_empty()).then(|| {
            format!("Failed to delete all resource types, {} remaining: {}", failures.len(), failures.join(", "))
        });
        let resources: Vec<_> =
            self.left.iter().map(|l| format!("{} has {} resource instances", l.resource, l.count)).collect();
        let resources =
            (!resources.is_empty()).then(|| format!("Some resources are remaining: {}", resources.join(", ")));
        let mut finalizers: std::collections::BTreeMap<&str, usize> = Default::default();
        self.left.iter().flat_map(|l| &l.finalizers).for_each(|f| *finalizers.entry(f).or_default() += 1);
        let finalizers: Vec<_> = finalizers.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
        let finalizers = (!finalizers.is_empty())
            .then(|| format!("Some content in the namespace has finalizers remaining: {}", finalizers.join(", ")));
        let problem = |type_, reasons, fine, said| Problem { type_, reasons, fine, said };
        [
            problem(
                "NamespaceDeletionDiscoveryFailure",
                ["DiscoveryFailed", "ResourcesDiscovered"],
                "All resources successfully discovered",
                self.undiscovered.as_ref().map(said),
            ),
            // Group versions are read together with the resources.
            problem(
                "NamespaceDeletionGroupVersionParsingFailure",
                ["GroupVersionParsingFailed", "ParsedGroupVersions"],
                "All legacy kube types successfully parsed",
                None,
            ),
            problem(
                "NamespaceDeletionContentFailure",
                ["ContentDeletionFailed", "ContentDeleted"],
                "All content successfully deleted, may be waiting on finalization",
                failures,
            ),
            problem(
                "NamespaceContentRemaining",
                ["SomeResourcesRemain", "ContentRemoved"],
                "All content successfully removed",
                resources,
            ),
            problem(
                "NamespaceFinalizersRemaining",
                ["SomeFinalizersRemain", "ContentHasNoFinalizers"],
                "All content-preserving finalizers finished",
                finalizers,
            ),
        ]
    }
}

impl Problem {
    fn set(self, conditions: &mut Vec<NamespaceCondition>, now: &Time) {
        let (status, reason) = if self.said.is_some() { ("True", 0) } else { ("False", 1) };
        let mut wanted = NamespaceCondition {
            type_: self.type_.into(),
            status: status.into(),
            reason: Some(self.reasons[reason].into()),
            message: Some(self.said.unwrap_or_else(|| self.fine.into())),
            last_transition_time: Some(now.clone()),
        };
        match conditions.iter_mut().find(|c| c.type_ == self.type_) {
            Some(c) => {
                if c.status == wanted.status {
                    wanted.last_transition_time = c.last_transition_time.clone();
                }
                *c = wanted;
            }
            None => conditions.push(wanted),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_are_told() {
        let shown = |content: &Content| {
            let mut conditions = Vec::new();
            content.problems().into_iter().for_each(|p| p.set(&mut conditions, &Time(jiff::Timestamp::UNIX_EPOCH)));
            let text = |c: &NamespaceCondition| {
                format!("{} {} {}", c.status, c.reason.as_deref().unwrap_or(""), c.message.as_deref().unwrap_or(""))
            };
            conditions.iter().map(text).collect::<Vec<_>>()
        };
        let fine = shown(&Content::default());
        assert_eq!(fine[0], "False ResourcesDiscovered All resources successfully discovered");
        assert_eq!(fine[1], "False ParsedGroupVersions All legacy kube types successfully parsed");
        assert_eq!(fine.len(), 5);
        let left = |resource: &str, finalizers: &[&str]| Left {
            resource: resource.into(),
            count: finalizers.len().max(1),
            finalizers: finalizers.iter().map(ToString::to_string).collect(),
        };
        let bad = shown(&Content {
            undiscovered: Some(Error::Invalid("no".into())),
            failures: vec![Error::Invalid("b".into()), Error::Invalid("a".into())],
            left: vec![left("configmaps.", &["x/y", "x/y"]), left("jobs.batch", &[])],
        });
        assert_eq!(bad[0], "True DiscoveryFailed no");
        assert_eq!(bad[2], "True ContentDeletionFailed Failed to delete all resource types, 2 remaining: a, b");
        assert_eq!(
            bad[3],
            "True SomeResourcesRemain Some resources are remaining: configmaps. has 2 resource instances, jobs.batch has 1 \
             resource instances"
        );
        assert_eq!(
            bad[4],
            "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: x/y in 2 resource instances"
        );
    }
}
