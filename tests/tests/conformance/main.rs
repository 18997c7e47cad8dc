//! Tests of the project's own beside the Kubernetes conformance tests that need no running container, named after them.
//!
//! Each test says in its own words what a conformance test demands, on a control plane in this process. To add some:
//!
//! - A module has `pub fn tests() -> Vec<Conformance>`, a list of [`test`](case::test) with the exact codename and an
//!   async function that takes a [`Plane`](plane::Plane); the module stands in [`MODULES`].
//! - [`test`](case::test) runs on a cluster that all share, in a namespace of its own that is removed afterwards; what has
//!   no namespace needs a name that no other test takes ([`Plane::unique`](plane::Plane::unique)). [`alone`](case::alone)
//!   starts a cluster for this one test, which costs some milliseconds more: for what changes nodes, counts everything,
//!   or disturbs others.
//! - [`Plane::of`](plane::Plane::of) and [`Plane::wide`](plane::Plane::wide) give a [`Resource`](resource::Resource):
//!   its functions make one raw request each and panic with the answer if it is not the usual one; those called `try_…`
//!   hand out the answer. [`Resource::until`](resource::Resource::until), [`Watch`](watch::Watch) and
//!   [`eventually`](plane::eventually) wait, with a deadline.
//! - [`operations::check`] is the whole life of a kind (discovery, create, get, list, watch, patch, update, status, delete,
//!   deletecollection) for kinds whose test demands no more than that.
//! - Pods are run by a node agent that only pretends; [`agent`] tells what the annotation `pretend` makes of a pod.

mod agent;
mod case;
mod coverage;
mod operations;
mod plane;
mod resource;
mod watch;

mod admission;
mod admission_policies;
mod apps;
mod auth;
mod custom_resources;
mod discovery;
mod field_validation;
mod fields;
mod garbage;
mod kinds;
mod namespace;
mod network;
mod nodes;
mod openapi;
mod plain;
mod pods;
mod quota;
mod reads;
mod volumes;

use std::process::ExitCode;
use std::sync::Arc;

use case::Conformance;
use libtest_mimic::{Arguments, Trial};
use plane::Shared;

/// Every module with tests.
const MODULES: &[fn() -> Vec<Conformance>] = &[
    kinds::tests,
    plain::tests,
    namespace::tests,
    garbage::tests,
    quota::tests,
    apps::tests,
    network::tests,
    pods::tests,
    nodes::tests,
    auth::tests,
    volumes::tests,
    discovery::tests,
    fields::tests,
    custom_resources::tests,
    field_validation::tests,
    openapi::tests,
    reads::tests,
    admission::tests,
    admission_policies::tests,
];

/// Tests mostly wait for controllers, so that more of them than there are cores run at once.
const AT_ONCE: usize = 12;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(AT_ONCE));
    let tests: Vec<Conformance> = MODULES.iter().flat_map(|tests| tests()).collect();
    let names: Vec<&'static str> = tests.iter().map(|test| test.codename).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let shared = Arc::new(Shared::default());
    let trials = tests.into_iter().map(|test| trial(test, runtime.handle().clone(), shared.clone())).collect();
    let counts = coverage::check(&names);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.filter.is_none() && !arguments.list {
        match &counts {
            Ok(told) => println!("{told}"),
            Err(unknown) => eprintln!("{unknown}"),
        }
    }
    runtime.block_on(shared.stop());
    runtime.shutdown_background();
    if counts.is_err() { ExitCode::FAILURE } else { conclusion.exit_code() }
}

fn trial(test: Conformance, runtime: tokio::runtime::Handle, shared: Arc<Shared>) -> Trial {
    Trial::test(test.codename, move || {
        runtime.block_on(case::run(&test, shared));
        Ok(())
    })
}
