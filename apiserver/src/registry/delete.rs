//! Delete: at once, gracefully, or when the last finalizer is gone (`Store.Delete` in apiserver's generic registry
//! and `rest.BeforeDelete`).

use api::status::StatusDetails;
use api::validation::metadata::{FOREGROUND_FINALIZER, ORPHAN_FINALIZER, finalizers};
use api::{Object, Status};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use store::{Snapshot, StoreError, Transaction};

use super::target::Target;
use super::{store_status, with_revision};
use crate::audit::Layer;
use crate::options::DeleteOptions;
use crate::plug::Operation;
use crate::{Context, clock, conversion};

/// How often a delete is tried when the object changes meanwhile.
const ATTEMPTS_MAX: usize = 1_000;

/// What became of a delete.
pub struct Deleted {
    /// The object as it was last, in the version that is stored.
    pub object: Object,
    /// Whether it is gone; if not, something holds it.
    pub gone: bool,
}

/// What is to be done with an object.
enum Plan {
    /// It goes now, and is answered with like this.
    Remove(Object),
    /// It stays for a while and looks like this.
    Mark(Object),
    /// Deletion is under way and nothing is to change.
    Pending,
}

impl Plan {
    fn outcome(self, before: Object) -> Deleted {
        match self {
            Self::Remove(object) => Deleted { object, gone: true },
            Self::Mark(object) => Deleted { object, gone: false },
            Self::Pending => Deleted { object: before, gone: false },
        }
    }
}

/// Deletes an object.
///
/// # Errors
/// 404, 409 if a precondition fails, or what admission or the store refuse it with.
pub async fn delete(ctx: &Context, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
    deleted(ctx, target, options, true).await
}

/// Deletes an object on behalf of something else that admission has seen.
///
/// # Errors
/// As [`delete`], but for admission.
pub async fn delete_admitted(ctx: &Context, target: &Target, options: &DeleteOptions) -> Result<Deleted, Status> {
    deleted(ctx, target, options, false).await
}

async fn deleted(ctx: &Context, target: &Target, options: &DeleteOptions, asks: bool) -> Result<Deleted, Status> {
    let key = target.key();
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = ctx.registry.snapshot();
        let entry = snapshot.get(&key).ok_or_else(|| target.not_found())?;
        let object = conversion::stored(&target.resource, entry)?;
        // What stays is marked in the version that it is stored in, but the one asked for must be to be had.
        if target.resource.custom && object.api_version() != target.resource.api_version() {
            let version = target.resource.api_version();
            ctx.registry.convert_one(&target.resource, object.clone(), &version).await?;
        }
        check_preconditions(target, &object, options)?;
        if asks {
            target.admit(ctx, Operation::Delete, None, Some(&object)).await?;
            target.validate(ctx, Operation::Delete, None, Some(&object)).await?;
        }
        let plan = plan(ctx, target, &object, options);
        if matches!(plan, Plan::Pending) {
            return Ok(Deleted { object, gone: false });
        }
        if ctx.options.dry_run || options.dry_run {
            return Ok(plan.outcome(object));
        }
        let transaction = transaction(ctx, target, &plan, &object, &snapshot, entry.mod_revision())?;
        let operation = if matches!(plan, Plan::Mark(_)) { "update" } else { "delete" };
        match ctx.timed(Layer::Store, ctx.registry.commit(operation, &target.storage, transaction)).await {
            Ok(committed) => {
                let Deleted { object, gone } = plan.outcome(object);
                return Ok(Deleted { object: with_revision(object, committed.revision), gone });
            }
            Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(store_status(&error)),
        }
    }
    Err(target.stale())
}

fn transaction(
    ctx: &Context,
    target: &Target,
    plan: &Plan,
    object: &Object,
    snapshot: &Snapshot,
    revision: u64,
) -> Result<Transaction, Status> {
    let key = target.key();
    Ok(match plan {
        Plan::Mark(marked) => {
            let value = marked.encode();
            Transaction::update(key, revision, value).freeing()
        }
        Plan::Remove(_) | Plan::Pending => {
            let freed = target.strategy(ctx).accompany(ctx, None, Some(object), snapshot)?;
            Transaction::delete(key, revision).and(freed)
        }
    })
}

fn check_preconditions(target: &Target, object: &Object, options: &DeleteOptions) -> Result<(), Status> {
    // The reference names the kind here where everywhere else it names the resource.
    let conflict = |why: String| Status::conflict(&target.resource.group, &target.resource.kind, object.name(), &why);
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object.uid()) {
        return Err(conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            object.uid()
        )));
    }
    if let Some(version) = options.resource_version.as_deref().filter(|v| *v != object.resource_version()) {
        return Err(conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). \
             The object might have been modified",
            object.resource_version()
        )));
    }
    Ok(())
}

fn plan(ctx: &Context, target: &Target, object: &Object, options: &DeleteOptions) -> Plan {
    let strategy = target.strategy(ctx);
    let mut marked = object.clone();
    // Negative periods count as one second.
    let requested = options.grace_period_seconds.map(|s| if s < 0 { 1 } else { s });
    let (graceful, pending) = match strategy.grace_period(ctx, object, requested) {
        None => (None, false),
        Some(seconds) => graceful(ctx, &mut marked, seconds, requested),
    };
    if pending {
        return Plan::Pending;
    }
    set_finalizers(target, &mut marked, options);
    let since: Option<Timestamp> = object.str_at(&["metadata", "deletionTimestamp"]).parse().ok();
    let same = finalizers(&marked) == finalizers(object);
    let held = !finalizers(&marked).is_empty() || strategy.holds_deletion(ctx, object);
    if held {
        if graceful.is_none() && same && since.is_some_and(|since| since <= ctx.now) {
            return Plan::Pending;
        }
        if graceful.is_none() {
            mark(ctx, &mut marked);
        }
        if since.is_none() {
            strategy.prepare_for_deletion(ctx, &mut marked);
        }
        return Plan::Mark(marked);
    }
    match graceful {
        Some(seconds) if seconds > 0 => {
            if since.is_none() {
                strategy.prepare_for_deletion(ctx, &mut marked);
            }
            Plan::Mark(marked)
        }
        Some(_) => Plan::Remove(marked),
        None => Plan::Remove(object.clone()),
    }
}

/// Marks for graceful deletion, or shortens the period of one under way. Returns the period, and whether nothing is
/// to change.
fn graceful(ctx: &Context, object: &mut Object, seconds: i64, requested: Option<i64>) -> (Option<i64>, bool) {
    let current = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(Value::as_i64);
    let since: Option<Timestamp> = object.str_at(&["metadata", "deletionTimestamp"]).parse().ok();
    let Some(since) = since else {
        let at = ctx.now + SignedDuration::from_secs(seconds);
        object.set(&["metadata", "deletionTimestamp"], clock::time(at));
        object.set(&["metadata", "deletionGracePeriodSeconds"], seconds);
        bump_generation(object);
        return (Some(seconds), false);
    };
    let current = match current {
        None | Some(0) => return (None, false),
        Some(current) => current,
    };
    match requested {
        Some(period) if period < current => {
            let mut period = period;
            let mut at = since - SignedDuration::from_secs(current) + SignedDuration::from_secs(period);
            if at < ctx.now {
                at = ctx.now;
                period = period.min(1);
            }
            object.set(&["metadata", "deletionTimestamp"], clock::time(at));
            object.set(&["metadata", "deletionGracePeriodSeconds"], period);
            (Some(period), false)
        }
        _ => (None, true),
    }
}

/// Marks an object that only finalizers hold.
fn mark(ctx: &Context, object: &mut Object) {
    let since: Option<Timestamp> = object.str_at(&["metadata", "deletionTimestamp"]).parse().ok();
    if since.is_none() {
        bump_generation(object);
    }
    if since.is_none_or(|since| since > ctx.now) {
        object.set(&["metadata", "deletionTimestamp"], clock::time(ctx.now));
    }
    object.set(&["metadata", "deletionGracePeriodSeconds"], 0);
}

fn bump_generation(object: &mut Object) {
    if let Some(generation) = object.at(&["metadata", "generation"]).and_then(Value::as_i64).filter(|g| *g > 0) {
        object.set(&["metadata", "generation"], generation + 1);
    }
}

/// Adds and removes the garbage collector's finalizers, as the options, the object, and the kind say.
fn set_finalizers(target: &Target, object: &mut Object, options: &DeleteOptions) {
    if target.storage.flags.uncollected {
        return;
    }
    let current: Vec<String> = finalizers(object).into_iter().map(str::to_string).collect();
    let has = |name: &str| {
        current.iter().find(|f| *f == ORPHAN_FINALIZER || *f == FOREGROUND_FINALIZER).is_some_and(|f| f == name)
    };
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Some(orphan), _) => (orphan, false),
        (None, Some("Orphan")) => (true, false),
        (None, Some("Foreground")) => (false, true),
        (None, Some(_)) => (false, false),
        (None, None) if has(ORPHAN_FINALIZER) => (true, false),
        (None, None) if has(FOREGROUND_FINALIZER) => (false, true),
        (None, None) => (target.storage.flags.orphan, false),
    };
    let mut next: Vec<String> =
        current.iter().filter(|f| *f != ORPHAN_FINALIZER && *f != FOREGROUND_FINALIZER).cloned().collect();
    if orphan {
        next.push(ORPHAN_FINALIZER.into());
    }
    if foreground {
        next.push(FOREGROUND_FINALIZER.into());
    }
    if next.is_empty() {
        object.metadata_mut().remove("finalizers");
    } else {
        object.set(&["metadata", "finalizers"], next);
    }
}

/// The answer to a delete of a kind that does not answer with the object.
pub fn success(target: &Target, object: &Object) -> Status {
    let details = StatusDetails {
        name: object.name().into(),
        group: target.resource.group.clone(),
        kind: target.resource.plural.clone(),
        uid: object.uid().into(),
        ..Default::default()
    };
    let mut status = Status::failure(0, "", "").with_details(details);
    status.status = "Success".into();
    status
}
