//! Create: everything between a decoded object and its commit.

use api::{Object, Status};
use store::{StoreError, Transaction};

use super::target::Target;
use super::update::given_version;
use super::{Written, prepare, store_status};
use crate::audit::Layer;
use crate::plug::Operation;
use crate::{Context, conversion};

/// How often a generated name that is taken is made up anew (`maxNameGenerationCreateAttempts`).
const NAME_ATTEMPTS_MAX: usize = 8;
/// How often a create is tried when what is allocated with it is taken meanwhile.
const ALLOCATION_ATTEMPTS_MAX: usize = 100;

/// What becomes of the version that a new object names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenVersion {
    /// Storage refuses it, once everything else is right (`ErrResourceVersionSetOnCreate`).
    Refused,
    /// It only has to be one: a write that turned out to create compares it with nothing.
    Ignored,
}

/// Creates an object that is decoded, defaulted and has its managed fields, in the version of the request. Returns
/// what is stored, in the version that is stored.
///
/// # Errors
/// Whatever admission, validation or the store refuse it with.
pub async fn create(
    ctx: &Context,
    target: &Target,
    mut object: Object,
    version: GivenVersion,
) -> Result<Written, Status> {
    prepare::namespace(target, &mut object)?;
    if target.resource.definition.as_ref().is_some_and(|version| version.terminating) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::forbidden(&target.resource.group, &target.resource.plural, object.name(), why));
    }
    target.admit(ctx, Operation::Create, Some(&mut object), None).await?;
    prepare::namespace(target, &mut object)?;
    prepare::owners(ctx, &mut object, prepare::AFTER_ADMISSION);
    if version == GivenVersion::Ignored {
        given_version(&object)?;
        // A dry run answers with what would be stored, and that is where the version goes.
        if !ctx.options.dry_run {
            object.metadata_mut().remove("resourceVersion");
        }
    }
    let mut object = conversion::to_prepare(&target.resource, object)?;
    if object.name().is_empty()
        && object.str_at(&["metadata", "generateName"]).is_empty()
        && target.storage.flags.uid_for_name
    {
        object.set(&["metadata", "name"], crate::clock::uuid(ctx.registry.clock()));
    }
    let generated = object.name().is_empty() && !object.str_at(&["metadata", "generateName"]).is_empty();
    if !generated {
        let target = Target { name: object.name().to_string(), ..target.clone() };
        return prepare_and_commit(ctx, &target, object).await;
    }
    for attempt in 1.. {
        let mut object = object.clone();
        prepare::generate_name(ctx, &mut object);
        let target = Target { name: object.name().to_string(), ..target.clone() };
        match prepare_and_commit(ctx, &target, object).await {
            Err(status) if status.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS_MAX => {}
            Err(status) if status.reason == "AlreadyExists" => return Err(name_conflict(&target, status)),
            done => return done,
        }
    }
    unreachable!("the last attempt returns")
}

async fn prepare_and_commit(ctx: &Context, target: &Target, mut object: Object) -> Result<Written, Status> {
    prepare::before_create(ctx, target, &mut object)?;
    target.validate(ctx, Operation::Create, Some(&object), None).await?;
    commit(ctx, target, object).await
}

async fn commit(ctx: &Context, target: &Target, mut object: Object) -> Result<Written, Status> {
    let key = target.key();
    let exists = || Status::already_exists(&target.resource.group, &target.resource.plural, &target.name);
    let strategy = target.strategy(ctx);
    // What an allocation filled in must not be asked for by the next one.
    let unfilled = strategy.allocates().then(|| object.clone());
    for _ in 0..ALLOCATION_ATTEMPTS_MAX {
        let snapshot = ctx.registry.snapshot();
        let more = strategy.accompany(ctx, Some(&mut object), None, &snapshot)?;
        // What is no version vanishes, and a dry run does not come as far as storage.
        if !ctx.options.dry_run && given_version(&object).is_ok_and(|version| version != 0) {
            return Err(plain_failure("resourceVersion should not be set on objects to be created"));
        }
        let encoded = ctx.registry.encode(target, &mut object).await?;
        if snapshot.get(&key).is_some() {
            return Err(exists());
        }
        if ctx.options.dry_run {
            return Ok(Written { object, created: true, encoded: None });
        }
        let transaction = Transaction::create(key.as_str(), encoded.bytes.clone()).and(more);
        match ctx.timed(Layer::Store, ctx.registry.commit("create", &target.storage, transaction)).await {
            Ok(committed) => {
                if encoded.settled {
                    ctx.registry.remember_settled(&target.resource, &key, committed.revision);
                }
                return Ok(Written::new(object, encoded, committed.revision, true));
            }
            Err(StoreError::ConditionFailed { key: failed, .. }) if failed == key => return Err(exists()),
            Err(StoreError::ConditionFailed { .. }) => {
                if let Some(unfilled) = &unfilled {
                    object.clone_from(unfilled);
                }
            }
            Err(error) => return Err(store_status(&error)),
        }
    }
    Err(target.conflict("too many writes at the same time; please try again"))
}

/// `NewGenerateNameConflict`
fn name_conflict(target: &Target, mut status: Status) -> Status {
    status.message = format!(
        "{} {:?} already exists, the server was not able to generate a unique name for the object",
        target.resource.qualified_name(),
        target.name
    );
    if let Some(details) = &mut status.details {
        details.retry_after_seconds = 1;
    }
    status
}

/// An error that the reference makes no status of itself: code 500 without a reason.
pub fn plain_failure(message: impl Into<String>) -> Status {
    Status::failure(500, "", message)
}
