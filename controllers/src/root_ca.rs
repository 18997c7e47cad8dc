//! Every namespace has the certificate of the cluster's authority, for pods to know the API server by.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Action, ObjectKey, Selection};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::PostParams;
use metrics::Counter;

use crate::context::Context;
use crate::error::{Error, Result, ignore_not_found, is_already_exists, is_namespace_terminating};
use crate::figures::Various;

/// Keys worked on at a time.
const WORKERS: usize = 2;
/// The ConfigMap.
const NAME: &str = "kube-root-ca.crt";
const DATA_KEY: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
     endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions \
     of Kubernetes clusters.";

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    if context.config.root_ca.is_empty() {
        return;
    }
    let queue = context.queue();
    let namespaces = context.informers.of::<Namespace>();
    let only = Selection { fields: Some(format!("metadata.name={NAME}")), labels: None };
    let maps = context.informers.selected::<ConfigMap>(only);
    let to = queue.clone();
    namespaces.on_change(move |change| {
        if !change.is_delete() {
            to.add(ObjectKey::of(&**change.object()));
        }
    });
    let to = queue.clone();
    maps.on_change(move |change| to.add(ObjectKey::cluster(change.object().namespace().unwrap_or_default())));
    maps.wait_synced().await;
    let of = context.clone();
    context
        .run("root-ca", queue, WORKERS, move |key| {
            let (context, namespaces, maps) = (of.clone(), namespaces.clone(), maps.clone());
            async move {
                let started = context.clock.elapsed();
                let published = match namespaces.get_key(&key) {
                    Some(namespace) if namespace.metadata.deletion_timestamp.is_none() => {
                        publish(&context, &key.name, maps.get(&key.name, NAME).as_deref()).await
                    }
                    _ => Ok(()),
                };
                count(&context, published.as_ref().err(), started);
                published.map(|()| Action::Done)
            }
        })
        .await;
}

/// A sync is over, which began at `started`.
fn count(context: &Context, error: Option<&Error>, started: Duration) {
    let code = error.map_or(200, |error| error.status().map_or(500, |status| status.code)).to_string();
    let took = context.clock.elapsed().saturating_sub(started).as_secs_f64();
    let figures = context.figures::<Various>();
    figures.root_ca_syncs.with([&code], Counter::add_one);
    figures.root_ca_durations.with([&code], |durations| durations.observe(took));
}

async fn publish(context: &Context, namespace: &str, current: Option<&ConfigMap>) -> Result<()> {
    let data = BTreeMap::from([(DATA_KEY.to_owned(), context.config.root_ca.clone())]);
    let api = context.api::<ConfigMap>(namespace);
    let Some(current) = current else {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.into()),
                annotations: Some(BTreeMap::from([(DESCRIPTION.to_owned(), DESCRIPTION_TEXT.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        return match api.create(&PostParams::default(), &map).await {
            Err(error) if !is_already_exists(&error) && !is_namespace_terminating(&error) => Err(error.into()),
            _ => Ok(()),
        };
    };
    let described = current.annotations().get(DESCRIPTION).is_some_and(|d| !d.is_empty());
    if current.data.as_ref() == Some(&data) && described {
        return Ok(());
    }
    let mut map = current.clone();
    map.data = Some(data);
    map.binary_data = None;
    map.metadata.annotations.get_or_insert_default().insert(DESCRIPTION.into(), DESCRIPTION_TEXT.into());
    ignore_not_found(api.replace(NAME, &PostParams::default(), &map).await)?;
    Ok(())
}
