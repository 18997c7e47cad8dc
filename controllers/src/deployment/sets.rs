//! The ReplicaSet of the current template: finding and creating it.

use std::sync::Arc;

use client::EventType;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::api::PostParams;

use super::{Deployments, Sets, revision, rolling, spec, status};
use crate::error::{Error, Result, is_already_exists, is_namespace_terminating, message};
use crate::hash;
use crate::owner::{controller_of, controller_reference};

/// The label that tells the ReplicaSets of a deployment apart.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The longest name of a ReplicaSet.
const NAME_BYTES_MAX: usize = 253;

/// Whether two templates are the same but for the hash label.
fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let bare = |t: &PodTemplateSpec| {
        let mut t = t.clone();
        let meta = t.metadata.get_or_insert_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(TEMPLATE_HASH);
        }
        meta.labels = meta.labels.take().filter(|l| !l.is_empty());
        meta.annotations = meta.annotations.take().filter(|a| !a.is_empty());
        meta.creation_timestamp = None;
        t
    };
    bare(a) == bare(b)
}

/// Tells the ReplicaSet of the template from the others. Of several that match the oldest counts.
pub(super) fn divide(d: &Deployment, mut owned: Vec<Arc<ReplicaSet>>) -> Sets {
    owned.sort_by_key(|s| (s.metadata.creation_timestamp.as_ref().map(|t| t.0), s.name_any()));
    let template = d.spec.as_ref().map(|s| &s.template);
    let matches = |s: &Arc<ReplicaSet>| {
        let theirs = s.spec.as_ref().and_then(|s| s.template.as_ref());
        matches!((theirs, template), (Some(a), Some(b)) if same_template(a, b))
    };
    let position = owned.iter().position(matches);
    let new = position.map(|i| owned.remove(i));
    Sets { new, old: owned }
}

/// The newest revision among `sets`.
fn newest_revision(sets: &[Arc<ReplicaSet>]) -> i64 {
    sets.iter().map(|s| revision::of(&**s)).max().unwrap_or(0)
}

impl Deployments {
    /// Brings the annotations of an existing new ReplicaSet up to date. Says whether it had to be written.
    pub(super) async fn sync_new_set(&self, d: &mut Deployment, sets: &mut Sets, now: &Time) -> Result<bool> {
        let Some(new) = &sets.new else { return Ok(false) };
        let mut wanted = (**new).clone();
        let annotated = revision::annotate(d, &mut wanted, newest_revision(&sets.old) + 1);
        let min_ready = spec(d)?.min_ready_seconds;
        let target = wanted.spec.get_or_insert_default();
        let ready_differs = target.min_ready_seconds.unwrap_or(0) != min_ready.unwrap_or(0);
        target.min_ready_seconds = min_ready;
        if annotated || ready_differs {
            let api = self.context.api::<ReplicaSet>(&new.namespace().unwrap_or_default());
            sets.new = Some(Arc::new(api.replace(&new.name_any(), &PostParams::default(), &wanted).await?));
            revision::copy_to_deployment(d, &wanted);
            return Ok(true);
        }
        revision::copy_to_deployment(d, &wanted);
        if status::has_deadline(d) && status::condition(d, "Progressing").is_none() {
            let said = format!("Found new replica set \"{}\"", wanted.name_any());
            status::set(d, "Progressing", "True", "FoundNewReplicaSet", said, now);
        }
        Ok(false)
    }

    /// Creates the new ReplicaSet, unless it exists.
    pub(super) async fn ensure_new_set(&self, d: &mut Deployment, sets: &mut Sets, now: &Time) -> Result<()> {
        if sets.new.is_some() {
            return Ok(());
        }
        let mut set = new_set(d)?;
        let count = rolling::size_of_new(d, &sets.all(), 0)?;
        set.spec.get_or_insert_default().replicas = Some(count);
        revision::annotate(d, &mut set, newest_revision(&sets.old) + 1);
        revision::set_replica_annotations(d, &mut set);
        let api = self.context.api::<ReplicaSet>(&d.namespace().unwrap_or_default());
        let name = set.name_any();
        match api.create(&PostParams::default(), &set).await {
            Ok(created) => {
                if count > 0 {
                    let said = format!("Scaled up replica set {name} from 0 to {count}");
                    self.context.events.event(d, EventType::Normal, "ScalingReplicaSet", said);
                }
                revision::copy_to_deployment(d, &created);
                if status::has_deadline(d) {
                    let said = format!("Created new replica set \"{name}\"");
                    status::set(d, "Progressing", "True", "NewReplicaSetCreated", said, now);
                }
                sets.new = Some(Arc::new(created));
                Ok(())
            }
            Err(error) if is_already_exists(&error) => {
                let there = api.get(&name).await?;
                let ours = controller_of(&there).is_some_and(|r| Some(&r.uid) == d.metadata.uid.as_ref());
                let theirs = there.spec.as_ref().and_then(|s| s.template.as_ref());
                if ours && theirs.is_some_and(|t| same_template(t, &spec_template(d))) {
                    sets.new = Some(Arc::new(there));
                    return Ok(());
                }
                let status = d.status.get_or_insert_default();
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                Err(error.into())
            }
            Err(error) if is_namespace_terminating(&error) => Err(error.into()),
            Err(error) => {
                let said = format!("Failed to create new replica set \"{name}\": {}", message(&error));
                self.context.events.event(d, EventType::Warning, "ReplicaSetCreateError", said.clone());
                if status::has_deadline(d) {
                    status::set(d, "Progressing", "False", "ReplicaSetCreateError", said, now);
                }
                Err(error.into())
            }
        }
    }
}

fn spec_template(d: &Deployment) -> PodTemplateSpec {
    d.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default()
}

fn new_set(d: &Deployment) -> Result<ReplicaSet> {
    let spec = spec(d)?;
    let mut template = spec.template.clone();
    let hash = hash::of_template(&template, d.status.as_ref().and_then(|s| s.collision_count))?;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.into(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.into(), hash.clone());
    let mut name = d.name_any();
    name.truncate(NAME_BYTES_MAX - 1 - hash.len());
    if name.is_empty() {
        return Err(Error::Invalid("a deployment has no name".into()));
    }
    Ok(ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{hash}")),
            namespace: d.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(d)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    })
}
