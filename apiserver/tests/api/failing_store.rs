//! What clients are told of a store that has stopped, and of one whose disk is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use serde_json::json;
use store::{Committed, Memory, Revision, Snapshot, Store, StoreError, Transaction, Watch};

use crate::harness::*;

/// A store that begins to fail when it is told to.
struct Failing {
    inner: Arc<Memory>,
    full: AtomicBool,
    stopped: AtomicBool,
}

impl Failing {
    fn error(&self) -> Option<StoreError> {
        self.stopped.load(Ordering::SeqCst).then(|| StoreError::Stopped("the log cannot be written".into()))
    }
}

impl Store for Failing {
    fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    fn snapshot_at(&self, revision: Revision, prefix: &str) -> Result<Snapshot, StoreError> {
        self.inner.snapshot_at(revision, prefix)
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'static, Result<Committed, StoreError>> {
        if let Some(error) = self.error() {
            return Box::pin(async { Err(error) });
        }
        if self.full.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Full("no space left on device".into())) });
        }
        self.inner.commit(transaction)
    }

    fn watch(&self, after: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(after)
    }

    fn watch_prefix(&self, after: Revision, prefix: &str) -> Result<Watch, StoreError> {
        self.inner.watch_prefix(after, prefix)
    }

    fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision)
    }

    fn forget_old(&self) {
        self.inner.forget_old();
    }

    fn failure(&self) -> Option<StoreError> {
        self.error()
    }

    fn failed(&self) -> BoxFuture<'static, StoreError> {
        Box::pin(std::future::pending())
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.inner.close()
    }
}

const NAMESPACES: &str = "/api/v1/namespaces";

#[tokio::test]
async fn a_stopped_store_is_not_healthy_and_a_full_one_says_when_to_come_back() {
    let store =
        Arc::new(Failing { inner: Memory::new(), full: AtomicBool::new(false), stopped: AtomicBool::new(false) });
    let mut config = apiserver::Config::new(store.clone());
    config.plugins.strategy_of = apiserver::strategy::of;
    let server = Server(apiserver::ApiServer::new(config));
    let checks = ["/healthz", "/livez", "/readyz", "/healthz/etcd", "/livez/etcd", "/readyz/etcd"];
    assert_eq!(server.post(NAMESPACES, json!({"metadata": {"name": "a"}})).await.code, 201);
    store.full.store(true, Ordering::SeqCst);
    let refused = server.post(NAMESPACES, json!({"metadata": {"name": "b"}})).await;
    assert_eq!((refused.code, refused.headers["retry-after"].to_str().unwrap()), (507, "1"));
    assert_eq!(refused.at("message"), "the disk is full: no space left on device");
    assert_eq!(server.get(&format!("{NAMESPACES}/a")).await.code, 200);
    for check in checks.iter().filter(|check| check.ends_with("etcd")) {
        assert_eq!(server.get(check).await.code, 200, "{check}: a full disk can be read and deleted from");
    }
    store.stopped.store(true, Ordering::SeqCst);
    for check in checks {
        assert_eq!(server.get(check).await.code, 500, "{check}");
    }
    assert_eq!(server.get("/livez/ping").await.code, 200);
    assert_eq!(server.post(NAMESPACES, json!({"metadata": {"name": "c"}})).await.code, 500);
}
