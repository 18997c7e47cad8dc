//! The checks that there are, in the order in which they are shown. They have the names of the reference's; what each
//! stands for here is said by its [`Kind`].

use crate::Registry;
use crate::state::Step;

/// One of the endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The old one, for both purposes.
    Healthz,
    /// Whether the process should go on.
    Livez,
    /// Whether requests should come.
    Readyz,
}

impl Endpoint {
    pub(super) const ALL: [Self; 3] = [Self::Healthz, Self::Livez, Self::Readyz];

    /// What its path is, and what its checks are counted under.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthz => "healthz",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
        }
    }

    /// The endpoint of a path, and what stands after its name.
    pub(super) fn of_path(path: &str) -> Option<(Self, &str)> {
        let path = path.strip_prefix('/')?;
        Self::ALL.into_iter().find_map(|endpoint| Some((endpoint, path.strip_prefix(endpoint.name())?)))
    }
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// That an answer comes. Of the log this is all there is to see: lines are written by whoever has something to
    /// say, so that a log that blocks keeps the answer too.
    Answers,
    /// That the store takes commits.
    Store,
    /// That everything that is kept beside the store has caught up with it once.
    Followers,
    /// That the services are well that keep the keys of what is encrypted, if there are any.
    KeyServices,
    /// That a step of the start is done.
    Step(Step),
    /// That the server is not being stopped.
    Shutdown,
}

/// One check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: &'static str,
    endpoints: &'static [Endpoint],
    kind: Kind,
}

const EVERY: &[Endpoint] = &Endpoint::ALL;
const READY: &[Endpoint] = &[Endpoint::Readyz];

const fn check(name: &'static str, endpoints: &'static [Endpoint], kind: Kind) -> Check {
    Check { name, endpoints, kind }
}

const fn hook(name: &'static str, step: Step) -> Check {
    check(name, EVERY, Kind::Step(step))
}

/// Every check.
const CHECKS: [Check; 39] = [
    check("ping", EVERY, Kind::Answers),
    check("log", EVERY, Kind::Answers),
    // The server speaks to itself without a connection: there is nothing that could run out.
    check("loopback-serving-certificate", &[Endpoint::Healthz, Endpoint::Livez], Kind::Answers),
    check("etcd", EVERY, Kind::Store),
    check("etcd-readiness", READY, Kind::Store),
    check("kms-providers", EVERY, Kind::KeyServices),
    check("informer-sync", READY, Kind::Followers),
    hook("poststarthook/start-apiserver-admission-initializer", Step::Running),
    hook("poststarthook/generic-apiserver-start-informers", Step::Running),
    hook("poststarthook/priority-and-fairness-config-consumer", Step::FlowControl),
    hook("poststarthook/priority-and-fairness-filter", Step::FlowControl),
    hook("poststarthook/storage-object-count-tracker-hook", Step::Running),
    hook("poststarthook/start-apiextensions-informers", Step::Definitions),
    hook("poststarthook/start-apiextensions-controllers", Step::Definitions),
    hook("poststarthook/crd-informer-synced", Step::Definitions),
    hook("poststarthook/start-system-namespaces-controller", Step::Bootstrap),
    hook("poststarthook/peer-endpoint-reconciler-controller", Step::Running),
    hook("poststarthook/start-cluster-authentication-info-controller", Step::Bootstrap),
    hook("poststarthook/start-kube-apiserver-identity-lease-controller", Step::Running),
    hook("poststarthook/start-kube-apiserver-identity-lease-garbage-collector", Step::Running),
    hook("poststarthook/storage-readiness", Step::Running),
    hook("poststarthook/start-legacy-token-tracking-controller", Step::Bootstrap),
    hook("poststarthook/start-service-ip-repair-controllers", Step::Running),
    hook("poststarthook/rbac/bootstrap-roles", Step::Bootstrap),
    hook("poststarthook/scheduling/bootstrap-system-priority-classes", Step::Bootstrap),
    hook("poststarthook/priority-and-fairness-config-producer", Step::Bootstrap),
    hook("poststarthook/bootstrap-controller", Step::Bootstrap),
    hook("poststarthook/start-kubernetes-service-cidr-controller", Step::Bootstrap),
    hook("poststarthook/start-kube-aggregator-informers", Step::Running),
    hook("poststarthook/apiservice-status-local-available-controller", Step::Bootstrap),
    hook("poststarthook/apiservice-status-remote-available-controller", Step::Running),
    hook("poststarthook/apiservice-registration-controller", Step::Bootstrap),
    hook("poststarthook/apiservice-wait-for-first-sync", Step::Bootstrap),
    hook("poststarthook/apiservice-discovery-controller", Step::Definitions),
    hook("poststarthook/kube-apiserver-autoregistration", Step::Bootstrap),
    hook("autoregister-completion", Step::Bootstrap),
    hook("poststarthook/apiservice-openapi-controller", Step::Definitions),
    hook("poststarthook/apiservice-openapiv3-controller", Step::Definitions),
    check("shutdown", READY, Kind::Shutdown),
];

/// Whether the store takes commits: one that has stopped takes no write any more, so neither does the server.
///
/// # Errors
/// Why it takes none.
pub fn store(registry: &Registry) -> Result<(), String> {
    registry.store().failure().map_or(Ok(()), |error| Err(error.to_string()))
}

fn key_services(registry: &Registry) -> Option<Result<(), String>> {
    registry.config().encryption.as_ref()?.health()
}

/// The checks of an endpoint.
pub(super) fn of(endpoint: Endpoint, registry: &Registry) -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().filter(move |check| check.is_of(endpoint, registry))
}

impl Check {
    fn is_of(&self, endpoint: Endpoint, registry: &Registry) -> bool {
        let is_there = match self.kind {
            Kind::KeyServices => key_services(registry).is_some(),
            _ => true,
        };
        self.endpoints.contains(&endpoint) && is_there
    }

    /// Runs the check.
    ///
    /// # Errors
    /// Why it failed.
    pub(super) fn run(&self, registry: &Registry) -> Result<(), String> {
        let state = registry.state();
        match self.kind {
            Kind::Answers => Ok(()),
            Kind::Store => store(registry),
            Kind::KeyServices => key_services(registry).unwrap_or(Ok(())),
            Kind::Followers => {
                let missing = [Step::Definitions, Step::FlowControl].into_iter().filter(|step| !state.is_done(*step));
                let missing: Vec<String> = missing.map(|step| format!("{step:?}")).collect();
                if missing.is_empty() {
                    return Ok(());
                }
                Err(format!("{} informers not started yet: [{}]", missing.len(), missing.join(" ")))
            }
            Kind::Step(step) if state.is_done(step) => Ok(()),
            Kind::Step(_) => Err("not finished".into()),
            Kind::Shutdown if state.is_stopping() => Err("process is shutting down".into()),
            Kind::Shutdown => Ok(()),
        }
    }
}
