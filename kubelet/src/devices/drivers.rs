//! The drivers of devices that have registered (`DRAPluginManager`), and what becomes of their slices when they go.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::Clock;
use futures::StreamExt;
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::resource::v1::ResourceSlice;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use super::calls::{Claims, HealthReport, Prepared, Service, Unprepared, WATCH_HEALTH, WatchHealth};
use super::figures::Figures;
use super::health::Health;
use crate::plugins::{Handler, Plugin};
use crate::unix_grpc::{channel, streaming, unary};

/// How long a driver may take for a call (`defaultClientCallTimeout`).
const CALL_MAX: Duration = Duration::from_secs(45);
/// For so long the slices of a driver stay that nobody answers for (`defaultWipingDelay`).
const WIPE_DELAY: Duration = Duration::from_secs(30);
/// The pauses between attempts to remove slices.
const WIPE_RETRY_MIN: Duration = Duration::from_secs(1);
const WIPE_RETRY_MAX: Duration = Duration::from_secs(300);
/// The pause before a driver that does not answer is looked for again.
const RECONNECT: Duration = Duration::from_secs(1);
/// The pause before it is asked again for the health of its devices.
const HEALTH_RETRY: Duration = Duration::from_secs(5);

/// One plugin of a driver; while it is replaced a driver has two.
pub struct Driver {
    /// The name of the driver.
    pub name: String,
    endpoint: PathBuf,
    service: Service,
    channel: Channel,
    is_connected: AtomicBool,
    /// Ends what goes on beside.
    end: CancellationToken,
}

/// The drivers of this node.
#[derive(Clone)]
pub struct Drivers(Arc<Inner>);

struct Inner {
    client: Client,
    node: String,
    clock: Clock,
    health: Health,
    figures: Arc<Figures>,
    end: CancellationToken,
    by_name: Mutex<HashMap<String, Vec<Arc<Driver>>>>,
    /// Removals of slices that are due, by driver.
    wipes: Mutex<HashMap<String, CancellationToken>>,
}

impl Drivers {
    /// No drivers yet. `end` ends all that goes on beside.
    pub fn new(
        client: Client,
        node: String,
        clock: Clock,
        health: Health,
        figures: Arc<Figures>,
        end: CancellationToken,
    ) -> Self {
        let (by_name, wipes) = Default::default();
        Self(Arc::new(Inner { client, node, clock, health, figures, end, by_name, wipes }))
    }

    /// A driver, by preference one that answers, and of several the one that came last.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, name: &str) -> Result<Arc<Driver>, String> {
        if name.is_empty() {
            return Err("DRA driver name is empty".into());
        }
        let by_name = self.0.by_name.lock();
        let all = by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let connected = all.iter().rev().find(|driver| driver.is_connected.load(Ordering::Relaxed));
        connected.or(all.last()).cloned().ok_or_else(|| format!("DRA driver {name} is not registered"))
    }

    /// Has a driver prepare claims.
    ///
    /// # Errors
    /// What the driver says.
    pub async fn prepare(&self, driver: &Driver, claims: Claims) -> Result<Prepared, Status> {
        self.call(driver, driver.service.prepare(), claims).await
    }

    /// Has a driver give claims back.
    ///
    /// # Errors
    /// What the driver says.
    pub async fn unprepare(&self, driver: &Driver, claims: Claims) -> Result<Unprepared, Status> {
        self.call(driver, driver.service.unprepare(), claims).await
    }

    async fn call<A>(&self, driver: &Driver, path: &'static str, claims: Claims) -> Result<A, Status>
    where
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let begun = self.0.clock.elapsed();
        let answer = unary(&driver.channel, path, claims, CALL_MAX).await;
        let code = answer.as_ref().err().map_or(tonic::Code::Ok, Status::code);
        self.0.figures.called(&driver.name, path, code, self.0.clock.elapsed().saturating_sub(begun));
        answer
    }

    /// Removes the slices of this node before any driver is there: until its driver comes back nobody could use a device.
    pub fn wipe_all(&self) {
        let (this, end) = (self.clone(), self.0.end.clone());
        tokio::spawn(async move { end.run_until_cancelled(this.wipe(None)).await });
    }

    /// Removes the slices of one driver, or of all, however long that takes.
    async fn wipe(&self, driver: Option<&str>) {
        let of_driver = driver.map(|driver| format!(",spec.driver={driver}")).unwrap_or_default();
        let selected = ListParams::default().fields(&format!("spec.nodeName={}{of_driver}", self.0.node));
        let slices: Api<ResourceSlice> = Api::all(self.0.client.clone());
        let mut pause = WIPE_RETRY_MIN;
        while let Err(error) = slices.delete_collection(&DeleteParams::default(), &selected).await {
            tracing::debug!(%error, "slices of devices were not removed, trying again");
            self.0.clock.sleep(pause).await;
            pause = (pause * 2).min(WIPE_RETRY_MAX);
        }
    }

    /// Has the slices of a driver removed after a while if nobody answers for it, and not if somebody does.
    fn follow_up(&self, name: &str) {
        let is_usable = {
            let by_name = self.0.by_name.lock();
            by_name.get(name).is_some_and(|all| all.iter().any(|driver| driver.is_connected.load(Ordering::Relaxed)))
        };
        let mut wipes = self.0.wipes.lock();
        if is_usable {
            if let Some(wipe) = wipes.remove(name) {
                wipe.cancel();
            }
            return;
        }
        if wipes.contains_key(name) {
            return;
        }
        let token = self.0.end.child_token();
        wipes.insert(name.to_owned(), token.clone());
        let (this, name) = (self.clone(), name.to_owned());
        tokio::spawn(async move {
            let wipe = async {
                this.0.clock.sleep(WIPE_DELAY).await;
                this.wipe(Some(&name)).await;
            };
            if token.run_until_cancelled(wipe).await.is_some() {
                this.0.wipes.lock().remove(&name);
            }
        });
    }

    /// Holds a connection to a driver for as long as it is registered, to know whether anybody answers.
    async fn watch(&self, driver: Arc<Driver>) {
        loop {
            if let Ok(stream) = UnixStream::connect(&driver.endpoint).await {
                let executor = TokioExecutor::new();
                let io = TokioIo::new(stream);
                let shaken = hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(executor, io).await;
                if let Ok((sender, connection)) = shaken {
                    self.note(&driver, true);
                    // It ends when the driver does, and with the sender.
                    let _ = connection.await;
                    drop(sender);
                    self.note(&driver, false);
                }
            }
            self.0.clock.sleep(RECONNECT).await;
        }
    }

    fn note(&self, driver: &Driver, is_connected: bool) {
        driver.is_connected.store(is_connected, Ordering::Relaxed);
        self.follow_up(&driver.name);
    }

    /// Follows what a driver says of the health of its devices, if it does.
    async fn follow_health(&self, driver: Arc<Driver>) {
        loop {
            if let Ok(mut reports) = streaming(&driver.channel, WATCH_HEALTH, WatchHealth {}).await {
                while let Some(Ok(report)) = reports.next().await {
                    let report: HealthReport = report;
                    self.0.health.note(&driver.name, report);
                }
                self.0.health.forget(&driver.name);
            }
            self.0.clock.sleep(HEALTH_RETRY).await;
        }
    }
}

impl Handler for Drivers {
    fn validate(&self, plugin: &Plugin) -> Result<(), String> {
        service_of(plugin).map(drop)
    }

    fn register(&self, plugin: &Plugin) -> Result<(), String> {
        let driver = Arc::new(Driver {
            name: plugin.name.clone(),
            endpoint: plugin.endpoint.clone(),
            service: service_of(plugin)?,
            channel: channel(&plugin.endpoint),
            is_connected: AtomicBool::new(false),
            end: self.0.end.child_token(),
        });
        {
            let mut by_name = self.0.by_name.lock();
            let all = by_name.entry(plugin.name.clone()).or_default();
            // One instance does not take the place of another.
            if all.iter().any(|other| other.endpoint == driver.endpoint) {
                let (endpoint, name) = (plugin.endpoint.display(), &plugin.name);
                return Err(format!("endpoint {endpoint} already registered for DRA driver plugin {name}"));
            }
            all.push(driver.clone());
        }
        self.follow_up(&plugin.name);
        let (this, of, end) = (self.clone(), driver.clone(), driver.end.clone());
        tokio::spawn(async move { end.run_until_cancelled(this.watch(of)).await });
        let (this, end) = (self.clone(), driver.end.clone());
        tokio::spawn(async move { end.run_until_cancelled(this.follow_health(driver)).await });
        Ok(())
    }

    fn deregister(&self, plugin: &Plugin) {
        {
            let mut by_name = self.0.by_name.lock();
            let Some(all) = by_name.get_mut(&plugin.name) else { return };
            all.retain(|driver| {
                let stays = driver.endpoint != plugin.endpoint;
                if !stays {
                    driver.end.cancel();
                }
                stays
            });
            if all.is_empty() {
                by_name.remove(&plugin.name);
            }
        }
        self.follow_up(&plugin.name);
    }
}

fn service_of(plugin: &Plugin) -> Result<Service, String> {
    Service::of(&plugin.versions).map_err(|why| {
        let (name, endpoint) = (&plugin.name, plugin.endpoint.display());
        format!("invalid supported gRPC versions of DRA driver plugin {name} at endpoint {endpoint}: {why}")
    })
}
