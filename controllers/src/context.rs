//! What every controller is handed.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use client::{Action, Clock, Controller, EventRecorder, Informers, ObjectKey, WorkQueue};
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use tokio_util::sync::CancellationToken;

use crate::Config;

/// The tools of one controller, under its own identity.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) clock: Clock,
    pub(crate) events: EventRecorder,
    pub(crate) config: Arc<Config>,
    pub(crate) token: CancellationToken,
}

impl Context {
    /// The API of a namespaced kind.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The API of a kind over all namespaces, or of a cluster-scoped kind.
    pub(crate) fn api_all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// A queue of object keys.
    pub(crate) fn queue(&self) -> WorkQueue<ObjectKey> {
        WorkQueue::new(self.clock.clone())
    }

    /// Works on the keys of `queue` until the context's token is cancelled.
    pub(crate) async fn run<F, Fut, E>(&self, name: &'static str, queue: WorkQueue<ObjectKey>, workers: usize, sync: F)
    where
        F: Fn(ObjectKey) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        Controller::new(name, queue, workers).run(self.token.clone(), sync).await;
    }
}
