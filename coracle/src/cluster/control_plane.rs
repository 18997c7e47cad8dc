//! Store, certificates, API server, controllers and scheduler.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::UserInfo;
use api::catalogue::Catalogue;
use apiserver::assembly::{self, Assembly, assemble};
use apiserver::authentication::{SecretClaims, SigningKey};
use apiserver::bootstrap::{self, Bootstrap};
use apiserver::certificates::{Leaf, Pki, renewal};
use apiserver::encryption::Encryption;
use apiserver::front_proxy::{FrontProxy, FrontProxyError, FrontProxyOptions};
use apiserver::strategy::component_status::{self, Check};
use apiserver::{ApiServer, clock};
use client::{Clock, Counted, Informers, RestMetrics};
use k8s_openapi::api::storage::v1::StorageClass;
use metrics::Metrics;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::join::Join;
use crate::config::{ClusterConfig, StoreKind, StoreSync};
use crate::encryption;
use crate::error::Error;
use crate::layout::{DOMAIN, Layout};
use crate::service_addresses;

/// The running control plane.
pub(super) struct ControlPlane {
    pub store: Arc<dyn Store>,
    pub pki: Arc<Pki>,
    pub admin: Arc<Leaf>,
    /// Counts the renewals of certificates.
    pub renewals: watch::Receiver<u64>,
    pub server: ApiServer,
    /// The server as the components of this process call it.
    calls: Counted<ApiServer>,
    /// Where it listens.
    pub address: SocketAddr,
    /// The address that nodes and pods reach it at.
    pub advertised: IpAddr,
    pub clock: Clock,
    /// The counts of every part of the process.
    pub metrics: Metrics,
}

/// Which parts of the control plane are at work.
#[derive(Default)]
struct Parts {
    scheduler: Arc<AtomicBool>,
    controllers: Arc<AtomicBool>,
}

impl Parts {
    fn checks(&self) -> Vec<(&'static str, Check)> {
        let check = |works: &Arc<AtomicBool>| -> Check {
            let works = works.clone();
            Arc::new(move || if works.load(Ordering::Relaxed) { Ok(()) } else { Err("it does not run".into()) })
        };
        vec![("scheduler", check(&self.scheduler)), ("controller-manager", check(&self.controllers))]
    }

    /// Runs a part, which works until it ends in one way or another.
    fn run<F: Future<Output = ()>>(works: &Arc<AtomicBool>, part: F) -> impl Future<Output = ()> + use<F> {
        works.store(true, Ordering::Relaxed);
        let ended = Ended(works.clone());
        async move {
            part.await;
            drop(ended);
        }
    }
}

struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl ControlPlane {
    /// Starts it at `listener`; nodes and pods reach it at the address `advertised`.
    pub(super) async fn start(
        config: &ClusterConfig,
        listener: TcpListener,
        advertised: IpAddr,
        tasks: &TaskTracker,
        token: &CancellationToken,
    ) -> Result<Self, Error> {
        let address = listener.local_addr()?;
        let metrics = Metrics::default();
        let Opened { store, encryption, identity } = open(config, advertised, &metrics)?;
        let Identity { pki, admin, front_proxy, tls } = identity;
        let mut settings = apiserver::Config::new(store.clone());
        settings.encryption = encryption;
        settings.service_cidrs = vec![config.service_cidr];
        settings.advertised = SocketAddr::new(advertised, address.port()).to_string();
        settings.host_name = crate::config::host_name();
        settings.flags = config.flags.clone();
        settings.metrics = metrics.clone();
        settings.inflight = config.inflight;
        let clock = clock::SystemClock::shared();
        let audit = config.audit.open(metrics.families(), clock, &tokio::runtime::Handle::current());
        settings.audit = audit.map_err(Error::usage)?;
        let assembly = assembled(config, &pki, &settings)?;
        settings.plugins = assembly.plugins;
        front_proxy.plug_into(&mut settings.plugins);
        let parts = Parts::default();
        component_status::endpoints(&mut settings.plugins.endpoints, parts.checks());
        let server = ApiServer::new(settings);
        let wanted = Bootstrap {
            advertise_address: advertised,
            secure_port: address.port(),
            client_ca_pem: format!("{}{}", pki.authority_pem(), assembly.client_authorities_pem),
        };
        if let Err(status) = bootstrap(&server, &wanted, config.agent).await {
            // Whoever has to make room needs the server for it.
            if status.code != FULL || store.snapshot().is_empty() {
                return Err(Error::part("bootstrap", status));
            }
            tracing::error!(error = status.message, "the cluster's own objects are not brought up to date");
        }
        let (beside, end) = (server.clone(), token.clone());
        tasks.spawn(async move { beside.run(end).await });
        tasks.spawn(assembly.followed.follow(token.clone()));
        server.started().await;
        let (serving, stop) = (server.clone(), token.clone());
        tasks.spawn(async move { serving.serve(listener, tls, stop).await });
        let (renewed, renewals) = watch::channel(0);
        let told = move |_: &[String]| renewed.send_modify(|count| *count += 1);
        tasks.spawn(renewal::follow(pki.clone(), clock::SystemClock::shared(), told, token.clone()));
        let clock = Clock::system();
        let host = SocketAddr::new(advertised, address.port()).to_string();
        let calls = Arc::new(RestMetrics::new(host));
        metrics.register(calls.clone());
        let calls = Counted::new(server.clone(), calls, clock.clone());
        let plane = Self { store, pki, admin, renewals, server, calls, address, advertised, clock, metrics };
        if config.controllers {
            plane.start_controllers(config, &parts, &assembly.signing_key_pem, tasks, token);
        }
        Ok(plane)
    }

    /// A client in this process.
    pub(super) fn client(&self, user: UserInfo) -> kube::Client {
        client::in_process(self.calls.clone(), user, "default")
    }

    /// Lets the machine of this process join, whose server listens at `server`: that one is known from now on by having
    /// been started here, and not by what its Node says.
    pub(super) fn join(&self, config: &ClusterConfig, server: SocketAddr) -> Result<Join, Error> {
        let (name, now) = (&config.node_name, self.clock.now());
        let serving = self.pki.node_serving(name, &[self.advertised], now);
        self.server.registry().state().set_agent(name.clone(), server);
        Ok(Join {
            node_name: name.clone(),
            address: self.advertised,
            agent: self.client(UserInfo::new(format!("system:node:{name}"), &["system:nodes"])),
            services: self.client(UserInfo::new("system:kube-proxy", &[])),
            serving: serving.map_err(|error| Error::part("certificates", error))?,
            client_ca_pem: self.pki.authority_pem().to_owned(),
            pod_cidr: config.pod_cidr,
            service_cidr: config.service_cidr,
            dns: service_addresses::dns_address(&config.service_cidr)?,
            domain: DOMAIN.into(),
        })
    }

    fn start_controllers(
        &self,
        config: &ClusterConfig,
        parts: &Parts,
        signing_key_pem: &str,
        tasks: &TaskTracker,
        token: &CancellationToken,
    ) {
        let shared = self.client(UserInfo::new("system:kube-controller-manager", &[]));
        let informers = Informers::counted(shared, self.clock.clone(), token.clone(), self.metrics.clone());
        let settings = controllers::Config {
            root_ca: self.pki.authority_pem().to_string(),
            local_volumes: config.data_dir.as_deref().filter(|_| config.agent).map(|directory| {
                controllers::volume::LocalVolumes {
                    directory: Layout::new(directory).volumes(),
                    node: config.node_name.clone(),
                }
            }),
            signer: secret_signer(signing_key_pem),
            legacy_token_period: config.legacy_token_period,
            authority: Some(certificate_authority(&self.pki)),
            disabled: match config.authentication.bootstrap_tokens {
                true => Vec::new(),
                false => controllers::bootstrap_tokens::NAMES.iter().map(ToString::to_string).collect(),
            },
        };
        if settings.local_volumes.is_some() {
            tasks
                .spawn(make_default_storage_class(self.client(UserInfo::new("system:apiserver", &["system:masters"]))));
        }
        let calls = self.calls.clone();
        let client_for = move |account: &str| {
            let user = match account.starts_with("system:") {
                true => UserInfo::new(account, &[]),
                false => UserInfo::service_account("kube-system", account),
            };
            client::in_process(calls.clone(), user, "default")
        };
        let (clock, end) = (self.clock.clone(), token.clone());
        let controllers = controllers::start(settings, client_for, informers.clone(), clock, end);
        tasks.spawn(Parts::run(&parts.controllers, controllers));
        let scheduler = self.client(UserInfo::new("system:kube-scheduler", &[]));
        let settings = scheduler::Config { host_name: crate::config::host_name(), ..Default::default() };
        let scheduler = scheduler::run(settings, scheduler, informers, token.clone());
        tasks.spawn(Parts::run(&parts.scheduler, scheduler));
    }
}

/// The code of an answer about a full disk.
const FULL: u16 = 507;

/// Writes what every cluster has and this one has not.
async fn bootstrap(server: &ApiServer, wanted: &Bootstrap, dns: bool) -> Result<(), api::Status> {
    bootstrap::reconcile(server.registry(), wanted).await?;
    if dns {
        bootstrap::ensure_dns_service(server.registry()).await?;
    }
    Ok(())
}

/// Signs the tokens that Secrets hold with the cluster's key.
fn secret_signer(key_pem: &str) -> Option<controllers::tokens::Signer> {
    let key = SigningKey::from_pem(key_pem).ok()?;
    Some(controllers::tokens::Signer::new(move |subject| {
        let claims = SecretClaims::new(&subject.namespace, &subject.account, &subject.account_uid, &subject.secret);
        key.sign(&claims).ok()
    }))
}

/// Signs certificates with the cluster's authority.
fn certificate_authority(pki: &Arc<Pki>) -> controllers::certificates::Authority {
    use apiserver::certificates::signing;
    use controllers::certificates::{Authority, Requested};
    let pki = pki.clone();
    Authority::new(
        |request| {
            let found = signing::requested(request)?;
            Ok(Requested {
                common_name: found.common_name,
                organizations: found.organizations,
                dns_names: found.dns_names.len(),
                emails: found.emails.len(),
                addresses: found.addresses.len(),
                uris: found.uris.len(),
            })
        },
        move |request, usages, ttl| pki.authority().sign(request, usages, ttl, &clock::SystemClock),
        signing::not_after,
    )
}

/// Makes the storage class of the built-in provisioner, unless there is one of its name.
async fn make_default_storage_class(client: kube::Client) {
    let classes: kube::Api<StorageClass> = kube::Api::all(client);
    match classes.create(&Default::default(), &controllers::volume::default_storage_class()).await {
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
        Err(error) => tracing::error!(%error, "there is no default storage class"),
        Ok(_) => {}
    }
}

/// Who the server is.
struct Identity {
    pki: Arc<Pki>,
    admin: Arc<Leaf>,
    front_proxy: Arc<FrontProxy>,
    tls: Arc<rustls::ServerConfig>,
}

/// What is kept.
struct Opened {
    store: Arc<dyn Store>,
    encryption: Option<Encryption>,
    identity: Identity,
}

/// Opens what is kept, each part on a thread of its own: one waits for the disk while another computes.
fn open(config: &ClusterConfig, advertised: IpAddr, metrics: &Metrics) -> Result<Opened, Error> {
    if let Some(directory) = &config.data_dir {
        files::private::directory(directory).map_err(|error| Error::file("make", directory, error))?;
    }
    std::thread::scope(|scope| {
        let identity = scope.spawn(|| identity(config, advertised));
        // The built-in resources are parsed once in a process.
        scope.spawn(Catalogue::builtin);
        let encryption = encryption::open(config, metrics)?;
        let store = open_store(config, encryption.as_ref())?;
        let identity = identity.join().map_err(|_| Error::part("certificates", "they could not be made"))??;
        Ok(Opened { store, encryption, identity })
    })
}

fn identity(config: &ClusterConfig, advertised: IpAddr) -> Result<Identity, Error> {
    let made = |error| Error::part("certificates", error);
    let now = clock::SystemClock::shared().now();
    let pki = match &config.data_dir {
        Some(directory) => Pki::open(directory, now),
        None => Pki::in_memory(now),
    };
    let pki = Arc::new(pki.map_err(made)?);
    let (names, addresses) = serving_names(config, advertised)?;
    let serving = pki.serving(&names, &addresses, now).map_err(made)?;
    let admin = pki.admin(now).map_err(made)?;
    let client_authorities_pem = match &config.authentication.client_ca_file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| Error::file("read", path, error))?,
        None => String::new(),
    };
    let options = FrontProxyOptions { client_authorities_pem, ..config.front_proxy.clone() };
    let front_proxy = FrontProxy::new(&pki, &options, now).map_err(|error| match error {
        FrontProxyError::Own(error) => made(error),
        error => Error::usage(format!("the front proxy: {error}")),
    })?;
    let named = format!("{}{}", front_proxy.believed().authorities_pem(), options.client_authorities_pem);
    let tls = pki.server_config_naming(&serving, &named).map_err(made)?;
    Ok(Identity { pki, admin, front_proxy: Arc::new(front_proxy), tls })
}

fn open_store(config: &ClusterConfig, encryption: Option<&Encryption>) -> Result<Arc<dyn Store>, Error> {
    let history = store::HistoryLimits { group: apiserver::registry::history_group, ..Default::default() };
    let Some(directory) = config.data_dir.as_deref().filter(|_| config.store == StoreKind::Sled) else {
        return Ok(store::Memory::with_limits(history));
    };
    let mut durable = store::DurableConfig::new(Layout::new(directory).store());
    durable.sync = match config.store_sync {
        StoreSync::Always => store::SyncPolicy::Always,
        StoreSync::Never => store::SyncPolicy::Never,
    };
    durable.history = history;
    durable.sealing = encryption.map(|encryption| Arc::new(encryption.clone()) as Arc<dyn store::Sealing>);
    let made = Layout::new(directory).store_made();
    durable.must_exist = made.exists();
    let store = store::Durable::open(durable).map_err(|error| match error {
        store::StoreError::Missing { path } => Error::usage(format!(
            "{path} is missing or empty, though this cluster has kept its objects there: mount or restore it. To begin \
             an empty cluster in its place, which ends every pod of the old one, remove {} first",
            made.display()
        )),
        error => error.into(),
    })?;
    if !made.exists()
        && let Err(error) = files::private::write(&made, b"The objects of this cluster are in the directory store.\n")
    {
        tracing::error!(%error, path = %made.display(), "cannot be written; a store that gets lost would not be missed");
    }
    Ok(store)
}

/// What the flags put together.
fn assembled(config: &ClusterConfig, pki: &Pki, settings: &apiserver::Config) -> Result<Assembly, Error> {
    let server_id = apiserver::post_start::lease_name(&settings.host_name);
    let assembly = assemble(&assembly::Settings {
        server_id: &server_id,
        clock: settings.clock.clone(),
        authentication: config.authentication.clone(),
        authorization: config.authorization.clone(),
        admission: config.admission.clone(),
        ..assembly::Settings::new(pki, &settings.issuer, &settings.advertised)
    });
    let mut assembly = assembly.map_err(|error| match error {
        assembly::AssemblyError::Settings(why) => Error::usage(why),
        error => Error::part("API server", error),
    })?;
    std::mem::take(&mut assembly.collectors).into_iter().for_each(|collector| settings.metrics.register(collector));
    Ok(assembly)
}

/// The names and addresses under which the API server is reached.
fn serving_names(config: &ClusterConfig, advertised: IpAddr) -> Result<(Vec<String>, Vec<IpAddr>), Error> {
    let mut names = vec![config.node_name.clone()];
    names.push(crate::config::host_name());
    names.dedup();
    let mut addresses = vec![service_addresses::kubernetes_address(&config.service_cidr)?, advertised];
    if !config.bind.is_unspecified() {
        addresses.push(config.bind);
    }
    addresses.sort();
    addresses.dedup();
    Ok((names, addresses))
}
