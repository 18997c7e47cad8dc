//! Cluster roles that are made of other cluster roles, chosen by label.

use client::{Action, ObjectKey};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::ResourceExt;
use kube::api::PostParams;

use crate::context::Context;
use crate::error::{Error, ignore_not_found};
use crate::selector;

/// Keys worked on at a time.
const WORKERS: usize = 2;

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let roles = context.informers.of::<ClusterRole>();
    let (to, all) = (queue.clone(), roles.clone());
    roles.on_change(move |_| {
        all.list().iter().filter(|r| r.aggregation_rule.is_some()).for_each(|r| to.add(ObjectKey::of(&**r)));
    });
    roles.wait_synced().await;
    let of = context.clone();
    context
        .run("clusterrole-aggregation", queue, WORKERS, move |key| {
            let (context, roles) = (of.clone(), roles.clone());
            async move {
                let Some(role) = roles.get_key(&key).filter(|r| r.aggregation_rule.is_some()) else {
                    return Ok::<_, Error>(Action::Done);
                };
                let others: Vec<_> = roles.list().iter().filter(|r| r.name_any() != key.name).cloned().collect();
                let rules = combined(&role, others.iter().map(|r| &**r));
                if role.rules.as_deref().unwrap_or_default() == rules {
                    return Ok(Action::Done);
                }
                let updated = ClusterRole { rules: Some(rules), ..(*role).clone() };
                let api = context.api_all::<ClusterRole>();
                ignore_not_found(api.replace(&key.name, &PostParams::default(), &updated).await)?;
                Ok(Action::Done)
            }
        })
        .await;
}

/// The rules of the roles that are selected, each once, in the order of their names.
fn combined<'a>(role: &ClusterRole, others: impl Iterator<Item = &'a ClusterRole> + Clone) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    let selectors = role.aggregation_rule.iter().flat_map(|a| a.cluster_role_selectors.iter().flatten());
    for wanted in selectors {
        for other in others.clone().filter(|o| selector::matches(wanted, o.labels())) {
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}
