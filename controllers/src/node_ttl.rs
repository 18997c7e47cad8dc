//! Nodes are told for how long their agents may remember ConfigMaps and Secrets: the longer, the more nodes there are
//! (the reference's `ttl` controller).

use std::sync::Arc;

use client::{Action, Informer, ObjectKey};
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found};

/// Nodes worked on at a time.
const WORKERS: usize = 5;
/// The annotation.
const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// With fewer nodes than the first number the row before counts, with more than the second the next one; and the seconds.
/// The numbers overlap, so that one node that comes and goes does not change all others.
const STEPS: &[(usize, usize, u32)] =
    &[(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// The row of [`STEPS`] that counts for so many nodes, after the one that counted before.
fn step(before: usize, nodes: usize) -> usize {
    let mut step = before;
    while nodes > STEPS[step].1 {
        step += 1;
    }
    while nodes < STEPS[step].0 {
        step -= 1;
    }
    step
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let nodes = context.informers.of::<Node>();
    let to = queue.clone();
    nodes.on_change(move |change| {
        let annotation = |node: &Node| node.annotations().get(ANNOTATION).cloned();
        let same = change.old().is_some_and(|old| annotation(old) == annotation(change.object()));
        if !change.is_delete() && !same {
            to.add(ObjectKey::of(&**change.object()));
        }
    });
    nodes.wait_synced().await;
    let (at, of, all) = (Arc::new(Mutex::new(0)), context.clone(), queue.clone());
    context
        .run("node-ttl", queue, WORKERS, move |key| {
            let (context, nodes) = (of.clone(), nodes.clone());
            let (before, now) = {
                let mut at = at.lock();
                let before = *at;
                *at = step(before, nodes.len());
                (before, *at)
            };
            if before != now {
                nodes.list().iter().for_each(|node| all.add(ObjectKey::of(&**node)));
            }
            async move { sync(&context, &nodes, &key, STEPS[now].2).await }
        })
        .await;
}

async fn sync(context: &Context, nodes: &Informer<Node>, key: &ObjectKey, seconds: u32) -> Result<Action, Error> {
    let Some(node) = nodes.get_key(key) else { return Ok(Action::Done) };
    if node.annotations().get(ANNOTATION).and_then(|text| text.parse().ok()) != Some(seconds) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION: seconds.to_string()}}}));
        ignore_not_found(context.api_all::<Node>().patch(&key.name, &PatchParams::default(), &patch).await)?;
    }
    Ok(Action::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_overlap() {
        let check =
            |before: usize, nodes: usize, expect: usize| assert_eq!(step(before, nodes), expect, "{before} {nodes}");
        check(0, 0, 0);
        check(0, 100, 0);
        check(0, 101, 1);
        check(1, 95, 1);
        check(1, 89, 0);
        check(0, 5000, 4);
        check(4, 1800, 4);
        check(4, 10, 0);
        check(2, 450, 2);
    }
}
