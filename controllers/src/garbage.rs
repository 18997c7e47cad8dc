//! The garbage collector: objects whose owners are all gone are deleted, and owners that are deleted in the foreground
//! wait for what they own.
//!
//! A graph of owners and dependents is kept from the metadata of every resource that discovery tells of.

mod collect;
mod graph;
mod monitors;

use std::sync::Arc;

use client::WorkQueue;
use metrics::Counter;
use parking_lot::Mutex;

use crate::context::Context;
use crate::discovery;
use crate::figures::Various;
use collect::Collector;
use graph::Graph;
use monitors::Monitors;

/// Objects worked on at a time.
const WORKERS: usize = 20;

/// Runs the collector until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let work: WorkQueue<String> = WorkQueue::new(context.clock.clone());
    let graph = Arc::new(Mutex::new(Graph::default()));
    let monitors = Arc::new(Monitors::new(context.clone(), graph.clone(), work.clone()));
    let changes: WorkQueue<()> = WorkQueue::new(context.clock.clone());
    changes.add(());
    let _definitions = discovery::watch_definitions(&context.informers, &changes);
    let refresh = {
        let (monitors, figures) = (monitors.clone(), context.figures::<Various>());
        context.controller("garbage-monitors", changes, 1).run(context.token.clone(), move |()| {
            let monitors = monitors.clone();
            let figures = figures.clone();
            async move {
                let refreshed = monitors.refresh().await;
                if refreshed.is_err() {
                    figures.garbage_sync_errors.with([], Counter::add_one);
                }
                refreshed
            }
        })
    };
    let collect = async {
        // An owner in the foreground must not go before its dependents are known.
        monitors.wait_synced().await;
        let collector = Arc::new(Collector::new(context.clone(), graph, work.clone(), monitors.clone()));
        context
            .controller("garbage", work, WORKERS)
            .run(context.token.clone(), move |uid| {
                let collector = collector.clone();
                async move { collector.sync(&uid).await }
            })
            .await;
    };
    tokio::join!(refresh, collect);
}
