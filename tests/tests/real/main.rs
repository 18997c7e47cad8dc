//! The walkthroughs with the real kubectl and real containers, on one cluster, each in a namespace of its own.
//!
//! Needs root, containerd, runc, nftables, iproute2 and kubectl; without them every test is ignored, and `--include-ignored` fails.

mod first_steps;
mod outages;
mod resize;
mod restart;
mod state;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tests::kubectl::{Failure, Kubectl};
use tests::real::{RealCluster, missing};

/// A test in a namespace of its own.
type InNamespace = fn(&RealCluster, &Kubectl) -> Result<(), Failure>;
type OnCluster = fn(&RealCluster) -> Result<(), Failure>;

const TESTS: &[(&str, InNamespace)] = &[
    ("a1-nodes-and-deployment", first_steps::nodes_and_deployment),
    ("a2-replaced-and-restarted", first_steps::replaced_and_restarted),
    ("a3-containers-of-a-pod", first_steps::containers_of_a_pod),
    ("a4-services", first_steps::services),
    ("a5-scale", first_steps::scale),
    ("a6-rolling-update", first_steps::rolling_update),
    ("a7-kubectl-verbs", first_steps::kubectl_verbs),
    ("a7-streams", first_steps::streams),
    ("b1-stateful-set", state::stateful_set),
    ("b5-claims-and-classes", state::claims_and_classes),
    ("volumes-and-environment", state::volumes_and_environment),
    ("resize-in-place", resize::in_place),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // More at once would only wait for the same two cores.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    if let Some(why) = missing() {
        if arguments.include_ignored || arguments.ignored {
            eprintln!("a real cluster needs more than is here: {why}");
            return ExitCode::FAILURE;
        }
        let ignored = trials(None).into_iter().map(|trial| trial.with_ignored_flag(true).with_kind(why.clone()));
        return libtest_mimic::run(&arguments, ignored.collect()).exit_code();
    }
    let cluster = match RealCluster::start(1) {
        Ok(cluster) => Arc::new(cluster),
        Err(failure) => {
            eprintln!("the cluster does not start: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&cluster)));
    // These kill what the others need, so they come last, and one after the other.
    let killing: [(&str, OnCluster); 2] = [("restart", restart::adopts_running_pods), ("outages", outages::survive)];
    let mut after = Ok(());
    for (name, test) in killing {
        if arguments.filter.as_deref().is_none_or(|filter| name.contains(filter)) {
            after = test(&cluster).inspect_err(|failure| eprintln!("{name}: {failure}")).and(after);
        }
    }
    let down = cluster.down();
    if let Err(failure) = &down {
        eprintln!("{failure}");
    }
    if after.is_err() || down.is_err() { ExitCode::FAILURE } else { conclusion.exit_code() }
}

fn trials(cluster: Option<&Arc<RealCluster>>) -> Vec<Trial> {
    let trial = |&(name, test): &(&'static str, InNamespace)| {
        let cluster = cluster.cloned();
        Trial::test(name, move || {
            let cluster = cluster.expect("tests run with a cluster");
            let kubectl = cluster.kubectl().in_new_namespace(name)?;
            test(&cluster, &kubectl)?;
            kubectl.run(&format!("delete namespace {name} --wait=false"))?;
            Ok(())
        })
    };
    TESTS.iter().map(trial).collect()
}
