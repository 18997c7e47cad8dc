//! Expressions of what is stored, ready to run.

use serde_json::Value;

use super::text;
use crate::cel::admission::{Scope, Wanted};
use crate::cel::{Activation, Expression, Failure, Spent, Variable};

/// An expression, and why it cannot be run if it cannot.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) expression: Expression,
    problem: Option<String>,
}

impl Compiled {
    pub(super) fn new(source: &str, wanted: Wanted, scope: &Scope) -> Self {
        Self { expression: Expression::new(source), problem: scope.problem(source, wanted) }
    }

    /// Why it does not compile.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref().or_else(|| self.expression.problem())
    }

    pub(super) fn evaluate(&self, activation: &Activation<'_>, spent: &mut Spent) -> Result<cel::Value, Failure> {
        match self.problem() {
            Some(problem) => Err(Failure::Failed(format!("compilation error: {problem}"))),
            None => activation.evaluate(&self.expression, spent),
        }
    }
}

/// The variables of a policy, and what its expressions may name.
pub(super) fn variables(list: &[Value], has_params: bool) -> (Vec<Variable>, Scope) {
    let mut scope = Scope::with_variables(has_params);
    let one = |variable: &Value| {
        let (name, source) = (text(variable, "name"), text(variable, "expression"));
        Variable { name: name.into(), expression: Expression::new(source), problem: scope.declare(name, source) }
    };
    (list.iter().map(one).collect(), scope)
}
