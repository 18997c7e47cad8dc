//! `pods/eviction`: a delete that asks the pod's disruption budget first.

use std::sync::Arc;

use api::field::{FieldError, Path};
use api::selector::LabelSelector;
use api::status::{StatusCause, StatusDetails};
use api::{Object, Status, pods, time};
use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use store::{StoreError, Transaction};

use super::binding::success;
use super::{array, set_condition};
use crate::Context;
use crate::options::DeleteOptions;
use crate::plug::{Creater, Endpoints};
use crate::registry::create::plain_failure;
use crate::registry::target::Target;
use crate::registry::{delete, key, read, store_status};
use crate::request::Query;

const GROUP: &str = "policy";
/// How often a budget is charged, or a pod marked, when it changes meanwhile (`EvictionsRetry`).
const ATTEMPTS_MAX: usize = 20;
/// More evictions than this that no controller has confirmed are not allowed (`MaxDisruptedPodSize`).
const DISRUPTED_MAX: usize = 2000;
const RETRY_SECONDS: u32 = 10;

/// Plugs the eviction in.
pub fn endpoints(endpoints: &mut Endpoints) {
    endpoints.creater("", "pods", "eviction", Arc::new(Eviction));
}

struct Eviction;

impl Creater for Eviction {
    fn create<'a>(&'a self, ctx: &'a Context, name: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        evict(ctx, name, object).boxed()
    }
}

async fn evict(ctx: &Context, name: &str, eviction: Object) -> Result<Object, Status> {
    if eviction.name() != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let flag = "ignoreStoreReadErrorWithClusterBreakingPotential";
    if eviction.at(&["deleteOptions", flag]) == Some(&Value::Bool(true)) {
        let detail = "can not be set for pod eviction, try after removing the option";
        let path = Path::new("deleteOptions").child(flag);
        let errors = FieldError::invalid(&path, true, detail).into();
        return Err(Status::invalid(GROUP, "Eviction", name, &errors));
    }
    let dry_run: Vec<&str> = array(&eviction, &["deleteOptions", "dryRun"]).iter().filter_map(Value::as_str).collect();
    if ctx.options.dry_run && !dry_run.is_empty() && dry_run != ["All"] {
        let why = "Non-matching dry-run options in request and content: [All] and";
        return Err(plain_failure(format!("{why} [{}]", dry_run.join(" "))));
    }
    let options = eviction.at(&["deleteOptions"]).cloned().and_then(Object::from_value);
    let mut options = DeleteOptions::new(options.as_ref(), &Query::default())?;
    options.dry_run |= ctx.options.dry_run;
    let namespace = ctx.info.namespace.as_str();
    let pod = ctx.registry.get("", "pods", namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    if options.uid.as_deref().is_some_and(|uid| uid != pod.uid()) {
        let why = format!(
            "the UID in the precondition ({}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            options.uid.as_deref().unwrap_or(""),
            pod.uid()
        );
        return Err(Status::conflict("", "Pod", name, &why));
    }
    if !is_beyond_budgets(&pod) {
        charge(ctx, &pod, options.dry_run).await?;
    }
    if !options.dry_run {
        mark(ctx, namespace, name, &mut options).await?;
    }
    let catalogue = ctx.registry.catalogue();
    let row = catalogue.get("", "v1", "pods").ok_or_else(|| Status::internal("pods are not served"))?;
    let target = Target {
        resource: row.clone(),
        storage: row.clone(),
        subresource: String::new(),
        namespace: namespace.to_string(),
        name: name.to_string(),
        options: options.to_value(),
        view: None,
    };
    // Admission has seen the eviction, and sees no delete.
    delete::delete_admitted(ctx, &target, &options).await?;
    Ok(success())
}

/// Pods that do not run, or go already, disturb nobody by going.
fn is_beyond_budgets(pod: &Object) -> bool {
    !pods::is_active(pod) || pod.str_at(&["status", "phase"]) == "Pending"
}

fn number(budget: &Object, field: &str) -> i64 {
    budget.at(&["status", field]).and_then(Value::as_i64).unwrap_or(0)
}

/// Takes one disruption from the pod's budget.
async fn charge(ctx: &Context, pod: &Object, dry_run: bool) -> Result<(), Status> {
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = ctx.registry.snapshot();
        let budgets = ctx.registry.list_in(&snapshot, GROUP, "poddisruptionbudgets", pod.namespace());
        let mut matching = budgets.into_iter().filter(|budget| {
            LabelSelector::from_object(budget.at(&["spec", "selector"]))
                .is_ok_and(|selector| selector.matches_object(pod))
        });
        let Some(mut budget) = matching.next() else { return Ok(()) };
        if matching.next().is_some() {
            let why =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::failure(500, "", why));
        }
        if !pods::is_ready(pod) {
            let always = budget.str_at(&["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
            let desired = number(&budget, "desiredHealthy");
            if always || (number(&budget, "currentHealthy") >= desired && desired > 0) {
                return Ok(());
            }
        }
        decrement(&mut budget, pod.name(), &time::format(ctx.now))?;
        if dry_run {
            return Ok(());
        }
        let revision = budget.resource_version().parse().unwrap_or(0);
        let key = key(GROUP, "poddisruptionbudgets", budget.namespace(), budget.name());
        match ctx.registry.store().commit(Transaction::update(key, revision, budget.encode())).await {
            Ok(_) => return Ok(()),
            Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(store_status(&error)),
        }
    }
    Err(too_many("the budget changes too often", 0))
}

/// `checkAndDecrement`
fn decrement(budget: &mut Object, pod: &str, now: &str) -> Result<(), Status> {
    let name = budget.name().to_string();
    let generation = budget.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
    if number(budget, "observedGeneration") < generation {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        return Err(too_many(&cause, RETRY_SECONDS));
    }
    let forbidden = |why: &str| Status::forbidden(GROUP, "poddisruptionbudget", &name, why);
    let allowed = number(budget, "disruptionsAllowed");
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let disrupted = budget.at(&["status", "disruptedPods"]).and_then(Value::as_object).map_or(0, |pods| pods.len());
    if disrupted > DISRUPTED_MAX {
        return Err(forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        let (desired, current) = (number(budget, "desiredHealthy"), number(budget, "currentHealthy"));
        let cause = if current <= desired {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        } else {
            format!("The disruption budget {name} does not allow evicting pods currently")
        };
        return Err(too_many(&cause, 0));
    }
    budget.set(&["status", "disruptionsAllowed"], allowed - 1);
    budget.set(&["status", "disruptedPods", pod], now);
    Ok(())
}

fn too_many(cause: &str, retry_after_seconds: u32) -> Status {
    let cause = StatusCause { reason: "DisruptionBudget".into(), message: cause.into(), field: String::new() };
    let details = StatusDetails { causes: vec![cause], retry_after_seconds, ..StatusDetails::default() };
    Status::failure(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        .with_details(details)
}

/// Says in the pod's conditions why it goes. A version that the client insists on moves along.
async fn mark(ctx: &Context, namespace: &str, name: &str, options: &mut DeleteOptions) -> Result<(), Status> {
    let key: Arc<str> = key("", "pods", namespace, name).into();
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = ctx.registry.snapshot();
        let entry = snapshot.get(&key).ok_or_else(|| Status::not_found("", "pods", name))?;
        let mut pod = read(entry).ok_or_else(|| Status::internal("the stored pod does not parse"))?;
        if let Some(version) = options.resource_version.as_deref().filter(|v| *v != pod.resource_version()) {
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). \
                 The object might have been modified",
                pod.resource_version()
            );
            return Err(Status::conflict("", "Pod", name, &why));
        }
        let fields = [("status", "True"), ("reason", "EvictionByEvictionAPI"), ("message", "Eviction API: evicting")];
        set_condition(&mut pod, "DisruptionTarget", &time::format(ctx.now), &fields);
        match ctx.registry.store().commit(Transaction::update(key.clone(), entry.mod_revision(), pod.encode())).await {
            Ok(committed) => {
                if options.resource_version.is_some() {
                    options.resource_version = Some(committed.revision.to_string());
                }
                return Ok(());
            }
            Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(store_status(&error)),
        }
    }
    Err(Status::stale("", "pods", name))
}
