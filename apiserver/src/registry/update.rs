//! Update: read, change, check, and commit if nothing else did meanwhile.

use std::borrow::Cow;

use api::field::{FieldError, Path};
use api::go::strconv::parse_uint;
use api::{Object, Status};
use store::{Revision, StoreError, Transaction};

use super::create::{GivenVersion, create, plain_failure};
use super::target::Target;
use super::{Written, prepare, store_status};
use crate::audit::Layer;
use crate::authorization::{self, Attributes};
use crate::conversion::Conversions;
use crate::plug::Operation;
use crate::{Context, conversion};

/// How often a change is made anew because another came first.
const ATTEMPTS_MAX: usize = 1_000;

/// Makes the new object from the stored one, both in the version of the request; none means that there is none yet.
/// Called again when another write came first, or when it needs one of them in a version that has to be asked for.
pub type Change<'a> = dyn FnMut(Option<&Object>, &Conversions) -> Result<Object, Status> + Send + 'a;

/// What sets the ways to change an object apart.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// What does not exist is created.
    pub creates: bool,
    /// The uid that the new object states is a precondition; a patch that changes it is just wrong.
    pub checks_uid: bool,
}

/// Changes an object.
///
/// # Errors
/// 404, 409, or whatever admission, validation or the store refuse it with.
pub async fn update(ctx: &Context, target: &Target, rules: Rules, change: &mut Change<'_>) -> Result<Written, Status> {
    let key = target.key();
    for _ in 0..ATTEMPTS_MAX {
        let snapshot = ctx.registry.snapshot();
        let Some(entry) = snapshot.get(&key) else {
            if !rules.creates || !target.subresource.is_empty() {
                return Err(target.not_found());
            }
            let new = changed(ctx, target, None, change).await?;
            if rules.checks_uid {
                check_uid(target, &new, &Object::default())?;
            }
            may_create(ctx, target).await?;
            // What turns out to create has the options of that (`updateToCreateOptions`).
            let mut target = target.clone();
            target.options["kind"] = "CreateOptions".into();
            return create(ctx, &target, new, GivenVersion::Ignored).await;
        };
        let old = ctx.registry.read(&target.resource, entry).await?;
        let mut new = prepared(ctx, target, &old, rules, change).await?;
        let strategy = target.strategy(ctx);
        let more = strategy.accompany(ctx, Some(&mut new), Some(&old), &snapshot)?;
        api::apply::keep_times(&old, &mut new);
        let gone = is_finished(ctx, target, &new, &old);
        let encoded = ctx.registry.encode(target, &mut new).await?;
        let value = encoded.bytes.clone();
        let unchanged = value == entry.value() && more.conditions.is_empty() && more.operations.is_empty();
        if unchanged && !gone || ctx.options.dry_run {
            return Ok(Written::new(new, encoded, entry.mod_revision(), false));
        }
        let transaction = if gone {
            let freed = strategy.accompany(ctx, None, Some(&new), &snapshot)?;
            Transaction::delete(key.as_str(), entry.mod_revision()).and(freed)
        } else {
            let update = Transaction::update(key.as_str(), entry.mod_revision(), value).and(more);
            // What is being deleted may take its last steps on a full disk.
            if old.at(&["metadata", "deletionTimestamp"]).is_some() { update.freeing() } else { update }
        };
        let operation = if gone { "delete" } else { "update" };
        match ctx.timed(Layer::Store, ctx.registry.commit(operation, &target.storage, transaction)).await {
            Ok(committed) => {
                if encoded.settled {
                    ctx.registry.remember_settled(&target.resource, &key, committed.revision);
                }
                return Ok(Written::new(new, encoded, committed.revision, false));
            }
            Err(StoreError::ConditionFailed { .. }) => {}
            Err(error) => return Err(store_status(&error)),
        }
    }
    Err(target.stale())
}

/// The new object as the request would have it.
async fn changed(
    ctx: &Context,
    target: &Target,
    old: Option<&Object>,
    change: &mut Change<'_>,
) -> Result<Object, Status> {
    let make = |conversions: &Conversions| change(old, conversions);
    ctx.registry.with_conversions(&target.resource, make).await?
}

/// The new object, admitted, prepared and checked, in the version that is stored.
async fn prepared(
    ctx: &Context,
    target: &Target,
    old: &Object,
    rules: Rules,
    change: &mut Change<'_>,
) -> Result<Object, Status> {
    let seen = if old.api_version() == target.resource.api_version() {
        Cow::Borrowed(old)
    } else {
        Cow::Owned(conversion::shown(&target.resource, old.clone())?)
    };
    let mut new = changed(ctx, target, Some(&seen), change).await?;
    target.admit(ctx, Operation::Update, Some(&mut new), Some(&seen)).await?;
    prepare::owners(ctx, &mut new, prepare::AFTER_ADMISSION);
    if rules.checks_uid {
        check_uid(target, &new, old)?;
    }
    check_version(target, &mut new, old)?;
    prepare::namespace(target, &mut new)?;
    let mut new = conversion::to_prepare(&target.resource, new)?;
    prepare::before_update(ctx, target, &mut new, old)?;
    target.validate(ctx, Operation::Update, Some(&new), Some(old)).await?;
    Ok(new)
}

/// A write that turns out to create needs the permission to.
async fn may_create(ctx: &Context, target: &Target) -> Result<(), Status> {
    let attributes = Attributes { verb: "create", name: &target.name, ..Attributes::of(&ctx.user, &ctx.info) };
    authorization::authorize(attributes, &ctx.registry).await
}

fn check_uid(target: &Target, new: &Object, old: &Object) -> Result<(), Status> {
    if new.uid().is_empty() || new.uid() == old.uid() {
        return Ok(());
    }
    Err(target.conflict(&format!(
        "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
         UID in precondition: {}, UID in object meta: {}",
        target.key_shown(),
        new.uid(),
        old.uid()
    )))
}

/// An update is of the version it names; without one it is of whatever is stored, where the kind allows that.
fn check_version(target: &Target, new: &mut Object, old: &Object) -> Result<(), Status> {
    if given_version(new)? == 0 {
        if !target.storage.flags.conditional_update {
            new.set(&["metadata", "resourceVersion"], old.resource_version());
            return Ok(());
        }
        // The reference names the resource here where everywhere else it names the kind.
        let path = Path::new("metadata.resourceVersion");
        let errors = FieldError::invalid(&path, 0, "must be specified for an update").into();
        return Err(Status::invalid(&target.resource.group, &target.resource.plural, &target.name, &errors));
    }
    if given_version(new)? != given_version(old)? { Err(target.stale()) } else { Ok(()) }
}

/// The version that an object names; zero if it names none.
///
/// # Errors
/// If what it names is no version.
pub fn given_version(object: &Object) -> Result<Revision, Status> {
    match object.resource_version() {
        "" => Ok(0),
        version => parse_uint(version).map_err(plain_failure),
    }
}

/// Whether the kind itself keeps the object; a write of its status must not end it either.
fn holds(ctx: &Context, target: &Target, new: &Object) -> bool {
    (ctx.registry.plugins().strategy_of)(&target.storage, "").holds_deletion(ctx, new)
}

/// Whether the last finalizer of an object that is being deleted is gone (`deletionFinalizersForGarbageCollection`
/// set them; `ShouldDeleteDuringUpdate` asks).
fn is_finished(ctx: &Context, target: &Target, new: &Object, old: &Object) -> bool {
    let no_grace = |object: &Object| {
        let seconds = object.at(&["metadata", "deletionGracePeriodSeconds"]).and_then(serde_json::Value::as_i64);
        seconds.unwrap_or(0) == 0
    };
    old.at(&["metadata", "deletionTimestamp"]).is_some_and(|t| !t.is_null())
        && api::validation::metadata::finalizers(new).is_empty()
        && no_grace(old)
        && no_grace(new)
        && !holds(ctx, target, new)
}
