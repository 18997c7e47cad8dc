//! How much is evaluated where, and what it may cost.

use super::Checks;
use crate::cel::{Failure, Pace, on_large_stack};

/// What all validations of a policy may cost together, or a mutation (`RuntimeCELCostBudget`).
pub(super) const POLICY_COST_MAX: u64 = 10_000_000;
/// What all match conditions may cost together (`RuntimeCELCostBudgetMatchConditions`).
pub(super) const CONDITIONS_COST_MAX: u64 = 2_500_000;
/// What is said where there is no budget left.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// How much may be done before there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What takes a moment, on the stack of the caller.
    Light,
    /// Whatever it takes within the budgets, which may be a second of a processor: not for a thread that serves others.
    Full,
}

/// Why there is no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It takes more effort.
    Heavy,
    /// The authorisers have to be asked.
    Asks,
    /// The interpreter broke down. This is no answer of an expression, and nothing is to be admitted by it.
    Broken,
}

/// Nothing is known at this pace.
pub(super) struct Unsure;

/// An expression's failure, where that is an answer.
pub(super) fn known(failure: Failure) -> Result<String, Unsure> {
    match failure {
        Failure::Unsure => Err(Unsure),
        Failure::OutOfBudget => Ok(OUT_OF_BUDGET.into()),
        Failure::Failed(why) => Ok(why),
    }
}

/// Evaluates something with an effort.
pub(super) fn run<T: Send>(
    effort: Effort,
    checks: &Checks,
    evaluate: impl Fn(Pace) -> Result<T, Unsure> + Send + Sync,
) -> Result<T, Unfinished> {
    let found = match effort {
        Effort::Light => evaluate(Pace::Light).map_err(|Unsure| Unfinished::Heavy),
        Effort::Full => {
            let evaluate = &evaluate;
            let all = || evaluate(Pace::Bounded).or_else(|Unsure| evaluate(Pace::Counted));
            on_large_stack(all).and_then(Result::ok).ok_or(Unfinished::Broken)
        }
    };
    // A question may have been drowned by what stands beside it, but what that would cost is not known either.
    if checks.has_open() { Err(Unfinished::Asks) } else { found }
}
