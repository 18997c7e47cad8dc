//! Starting the controllers.

use std::sync::Arc;
use std::time::Duration;

use client::caught::{Panics, caught};
use client::{Clock, EventRecorder, Informers};
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::figures::Various;

/// The first pause before a controller that panicked is started again, and the longest.
const RESTART_MIN: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(60);
/// What runs the controllers, as the metrics call it.
const MANAGER: &str = "kube-controller-manager";

/// What the controllers are told at their start.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Names of [`NAMES`] that do not run.
    pub disabled: Vec<String>,
    /// The certificate of the cluster's authority in PEM, for the ConfigMap `kube-root-ca.crt`; if empty, there is none.
    pub root_ca: String,
    /// Where the built-in provisioner makes volumes; if nowhere, claims of its class stay pending and say so.
    pub local_volumes: Option<crate::volume::LocalVolumes>,
    /// Signs certificates; without it requests are not worked on.
    pub authority: Option<crate::certificates::Authority>,
    /// Signs the tokens in Secrets; without it there are none.
    pub signer: Option<crate::tokens::Signer>,
    /// How long a token in a Secret is not used before it is marked, and marked before it goes, if nobody asked for it.
    pub legacy_token_period: Duration,
}

type Run = fn(Context) -> BoxFuture<'static, ()>;

struct Row {
    /// The name by which it is disabled, as the reference's `--controllers` flag has it.
    name: &'static str,
    /// The service account in `kube-system` as which it acts, or the name of a user.
    account: &'static str,
    /// The component that its events come from, as the reference's controllers name themselves.
    source: &'static str,
    run: Run,
}

macro_rules! controllers {
    ($($name:literal $account:literal $source:literal $run:path;)*) => {
        static ROWS: &[Row] = &[$(Row { name: $name, account: $account, source: $source, run: |c| Box::pin($run(c)) },)*];
        /// The names of all controllers.
        pub const NAMES: &[&str] = &[$($name,)*];
    };
}

controllers! {
    "deployment-controller" "deployment-controller" "deployment-controller" crate::deployment::run;
    "replicaset-controller" "replicaset-controller" "replicaset-controller" crate::replicaset::run::<ReplicaSet>;
    "replicationcontroller-controller" "replication-controller" "replication-controller" crate::replicaset::run::<ReplicationController>;
    "statefulset-controller" "statefulset-controller" "statefulset-controller" crate::statefulset::run;
    "job-controller" "job-controller" "job-controller" crate::job::run;
    "cronjob-controller" "cronjob-controller" "cronjob-controller" crate::cronjob::run;
    "node-lifecycle-controller" "node-controller" "node-controller" crate::node_lifecycle::run;
    "taint-eviction-controller" "node-controller" "taint-eviction-controller" crate::node_lifecycle::run_eviction;
    "device-taint-eviction-controller" "device-taint-eviction-controller" "device-taint-eviction-controller" crate::device_taint_eviction::run;
    "node-ttl-controller" "ttl-controller" "node-ttl-controller" crate::node_ttl::run;
    "pod-garbage-collector-controller" "pod-garbage-collector" "pod-garbage-collector-controller" crate::pod_gc::run;
    "ttl-after-finished-controller" "ttl-after-finished-controller" "ttl-after-finished-controller" crate::ttl_after_finished::run;
    "clusterrole-aggregation-controller" "clusterrole-aggregation-controller" "clusterrole-aggregation-controller" crate::clusterrole_aggregation::run;
    "daemonset-controller" "daemon-set-controller" "daemonset-controller" crate::daemonset::run;
    "disruption-controller" "disruption-controller" "controllermanager" crate::disruption::run;
    "persistentvolume-binder-controller" "persistent-volume-binder" "persistentvolume-controller" crate::volume::run;
    "persistentvolumeclaim-protection-controller" "pvc-protection-controller" "persistentvolumeclaim-protection-controller" crate::volume::run_claim_protection;
    "persistentvolume-protection-controller" "pv-protection-controller" "persistentvolume-protection-controller" crate::volume::run_volume_protection;
    "volumeattributesclass-protection-controller" "volumeattributesclass-protection-controller" "volumeattributesclass-protection-controller" crate::volume::run_class_protection;
    "ephemeral-volume-controller" "ephemeral-volume-controller" "ephemeral_volume" crate::ephemeral_volume::run;
    "resourceclaim-controller" "resource-claim-controller" "resource_claim" crate::resource_claim::run;
    "service-cidr-controller" "service-cidrs-controller" "service-cidr-controller" crate::service_cidr::run;
    "serviceaccount-controller" "service-account-controller" "serviceaccount-controller" crate::serviceaccount::run;
    "serviceaccount-token-controller" "system:kube-controller-manager" "serviceaccount-token-controller" crate::tokens::run;
    "legacy-serviceaccount-token-cleaner-controller" "legacy-service-account-token-cleaner" "legacy-serviceaccount-token-cleaner-controller" crate::legacy_tokens::run;
    "bootstrap-signer-controller" "bootstrap-signer" "bootstrap-signer-controller" crate::bootstrap_tokens::run_signer;
    "token-cleaner-controller" "token-cleaner" "token-cleaner-controller" crate::bootstrap_tokens::run_cleaner;
    "root-ca-certificate-publisher-controller" "root-ca-cert-publisher" "root-ca-certificate-publisher-controller" crate::root_ca::run;
    "certificatesigningrequest-signing-controller" "certificate-controller" "csrsigning" crate::certificates::run_signing;
    "certificatesigningrequest-approving-controller" "certificate-controller" "csrapproving" crate::certificates::run_approving;
    "certificatesigningrequest-cleaner-controller" "certificate-controller" "csrcleaner" crate::certificates::run_cleaner;
    "endpoints-controller" "endpoint-controller" "endpoint-controller" crate::endpoints::run;
    "endpointslice-controller" "endpointslice-controller" "endpoint-slice-controller" crate::endpointslice::run;
    "endpointslice-mirroring-controller" "endpointslicemirroring-controller" "endpoint-slice-mirroring-controller" crate::endpointslice::run_mirroring;
    "resourcequota-controller" "resourcequota-controller" "resourcequota-controller" crate::resource_quota::run;
    "namespace-controller" "namespace-controller" "namespace-controller" crate::namespace::run;
    "validatingadmissionpolicy-status-controller" "validatingadmissionpolicy-status-controller" "validatingadmissionpolicy-status-controller" crate::policy_status::run;
    "garbage-collector-controller" "generic-garbage-collector" "garbage-collector-controller" crate::garbage::run;
}

/// Runs the controllers until `token` is cancelled.
///
/// `client_for` makes the client of a service account in `kube-system`, or of the user whose name begins with `system:`; `informers` are shared by all of them and must
/// be able to list and watch every kind.
pub fn start(
    config: Config,
    client_for: impl Fn(&str) -> Client + Send + 'static,
    informers: Informers,
    clock: Clock,
    token: CancellationToken,
) -> BoxFuture<'static, ()> {
    Box::pin(run_all(config, Box::new(client_for), informers, clock, token))
}

async fn run_all(
    config: Config,
    client_for: Box<dyn Fn(&str) -> Client + Send>,
    informers: Informers,
    clock: Clock,
    token: CancellationToken,
) {
    let config = Arc::new(config);
    let mut running = JoinSet::new();
    for row in ROWS.iter().filter(|row| !config.disabled.iter().any(|d| d == row.name)) {
        let client = client_for(row.account);
        let events = EventRecorder::start(client.clone(), row.source, None, clock.clone(), token.clone());
        let context = Context {
            client,
            informers: informers.clone(),
            clock: clock.clone(),
            events,
            config: config.clone(),
            token: token.clone(),
        };
        let (end, figures) = (token.clone(), context.figures::<Various>());
        running.spawn(async move {
            let runs = |number| figures.running.with([row.name, MANAGER], |gauge| gauge.set(number));
            runs(1.0);
            tokio::select! {
                () = end.cancelled() => {}
                () = run_always(row, context) => {}
            }
            runs(0.0);
        });
    }
    while running.join_next().await.is_some() {}
}

/// Runs a controller, and again after a pause if it panics outside of its syncs.
async fn run_always(row: &Row, context: Context) {
    let panics = Panics::default();
    let mut pause = RESTART_MIN;
    while let Err(panic) = caught((row.run)(context.clone())).await {
        tracing::error!(controller = row.name, %panic, panics = panics.note(), "a controller panicked, starting it again");
        context.clock.sleep(pause).await;
        pause = (pause * 2).min(RESTART_MAX);
    }
}
