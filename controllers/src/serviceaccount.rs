//! Every namespace has a service account `default`.

use client::{Action, ObjectKey};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;

use crate::context::Context;
use crate::error::{Error, is_already_exists, is_namespace_terminating};

/// Keys worked on at a time.
const WORKERS: usize = 2;
/// The account that every namespace has.
const NAME: &str = "default";

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue = context.queue();
    let namespaces = context.informers.of::<Namespace>();
    let accounts = context.informers.of::<ServiceAccount>();
    let to = queue.clone();
    namespaces.on_change(move |change| {
        if !change.is_delete() {
            to.add(ObjectKey::of(&**change.object()));
        }
    });
    let to = queue.clone();
    accounts.on_change(move |change| {
        let account = change.object();
        if change.is_delete() && account.metadata.name.as_deref() == Some(NAME) {
            to.add(ObjectKey::cluster(account.metadata.namespace.clone().unwrap_or_default()));
        }
    });
    accounts.wait_synced().await;
    let of = context.clone();
    context
        .run("serviceaccount", queue, WORKERS, move |key| {
            let (context, namespaces, accounts) = (of.clone(), namespaces.clone(), accounts.clone());
            async move {
                let active = namespaces.get_key(&key).is_some_and(|n| n.metadata.deletion_timestamp.is_none());
                if !active || accounts.get(&key.name, NAME).is_some() {
                    return Ok::<_, Error>(Action::Done);
                }
                let account = ServiceAccount {
                    metadata: ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() },
                    ..ServiceAccount::default()
                };
                match context.api::<ServiceAccount>(&key.name).create(&PostParams::default(), &account).await {
                    Err(error) if !is_already_exists(&error) && !is_namespace_terminating(&error) => Err(error.into()),
                    _ => Ok(Action::Done),
                }
            }
        })
        .await;
}
