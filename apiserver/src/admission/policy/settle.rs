//! Evaluates until there is an answer: asks the authorisers what expressions ask, and leaves the threads that serve
//! connections for what takes more than a moment.

use std::sync::Arc;

use api::Status;
use api::admission::{Checks, Effort, MatchConditions, Reading, Subject, Unfinished};

use super::case::Case;
use super::loaded::{Evaluator, Hooks};
use crate::admission::checks as authorisers;
use crate::plug::admission::Attributes;
use crate::{Context, workers};

/// How often an evaluation may turn out to ask something more. Each expression may ask twice, and what it asks may depend on
/// the answer before.
const ROUNDS_MAX: usize = 256;

/// What expressions are evaluated together, and what they read of objects.
pub(in crate::admission) trait Reads: Send + Sync + 'static {
    /// What they read.
    fn reading(&self) -> &Reading;
}

impl Reads for MatchConditions {
    fn reading(&self) -> &Reading {
        self.reading()
    }
}

impl<E: Evaluator> Reads for Hooks<E> {
    fn reading(&self) -> &Reading {
        &self.reading
    }
}

/// An answer, whatever it takes.
///
/// # Errors
/// If no thread can be had for it, or the interpreter breaks down.
pub(super) async fn settle<T: Send + 'static>(
    attributes: &Attributes<'_>,
    (case, reads): (&Case<'_>, &Arc<impl Reads>),
    subject: &Subject<'_>,
    evaluate: impl Fn(&Subject<'_>, Effort) -> Result<T, Unfinished> + Clone + Send + Sync + 'static,
) -> Result<T, Status> {
    let (ctx, checks) = (attributes.ctx, subject.checks());
    let mut heavy: Option<Arc<Case<'static>>> = None;
    for _ in 0..ROUNDS_MAX {
        let found = match &heavy {
            None => evaluate(subject, Effort::Light),
            Some(case) => elsewhere(ctx, case.clone(), reads.clone(), checks.clone(), evaluate.clone()).await?,
        };
        match found {
            Ok(found) => return Ok(found),
            Err(Unfinished::Heavy) => heavy = Some(Arc::new(case.to_owned())),
            Err(Unfinished::Asks) => authorisers::answer(ctx, checks).await,
            Err(Unfinished::Broken) => break,
        }
    }
    Err(Status::internal("the expressions of a policy could not be evaluated"))
}

/// Evaluates on a thread of its own.
async fn elsewhere<T: Send + 'static>(
    ctx: &Context,
    case: Arc<Case<'static>>,
    reads: Arc<impl Reads>,
    checks: Checks,
    evaluate: impl Fn(&Subject<'_>, Effort) -> Result<T, Unfinished> + Send + Sync + 'static,
) -> Result<Result<T, Unfinished>, Status> {
    let threads = ctx.registry.state().workers().of(ctx.user.clone());
    let work = async move {
        let subject = case.subject(reads.reading(), &checks);
        Ok(evaluate(&subject, Effort::Full))
    };
    // The request may be on such a thread itself, which must not be held while it waits for another.
    workers::wait(threads.run(work)).await
}
