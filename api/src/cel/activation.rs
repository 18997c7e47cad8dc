//! Runs expressions of admission over the variables that they name, within a budget (`activation.go` and `composition.go`
//! of apiserver's `plugin/cel`).
//!
//! What a run costs is bounded beforehand; where the bound is too high, the caller runs everything again at another
//! [`Pace`], at last with every step counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::traits::Indexer;
use cel::common::types::Type;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{ExecutionError, Value};

use super::bound::{Bound, Boxed, Readable, boxed, missing};
use super::counted::{Fault, Variables};
use super::{Expression, told};

/// The most that one expression may cost (`PerCallLimit`).
pub(crate) const CALL_COST_MAX: u64 = 1_000_000;
/// The most that an expression may be bound to cost that runs where connections are served.
const LIGHT_COST_MAX: u64 = 100_000;

/// And all that is evaluated for one policy.
const LIGHT_TOTAL_MAX: u64 = 1_000_000;

/// How carefully costs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// What may take more than a moment is not begun.
    Light,
    /// What may cost too much is not begun. Needs a large stack.
    Bounded,
    /// Everything is run, and every step is counted. Needs a large stack.
    Counted,
}

/// Why an expression gave no value.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing is known: it has to be run at another pace.
    Unsure,
    /// There is no budget left, for this one or any that follows.
    OutOfBudget,
    /// It fails.
    Failed(String),
}

/// A value that expressions of a policy give a name.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) expression: Expression,
    /// Why it does not compile.
    pub(crate) problem: Option<String>,
}

/// Variables that expressions name, beside those of a policy.
pub(crate) trait Names: Send + Sync {
    /// The value of a variable.
    fn find(&self, name: &str) -> Option<&dyn Readable>;
}

/// The variables that all expressions for one request name.
pub(crate) struct Inputs<'v> {
    pub(crate) object: Bound<'v>,
    pub(crate) old_object: Bound<'v>,
    pub(crate) request: Bound<'v>,
    pub(crate) namespace: Bound<'v>,
    pub(crate) authorizer: Bound<'v>,
    pub(crate) request_resource: Bound<'v>,
}

impl Names for Inputs<'_> {
    fn find(&self, name: &str) -> Option<&dyn Readable> {
        Some(match name {
            "object" => &self.object,
            "oldObject" => &self.old_object,
            "request" => &self.request,
            "namespaceObject" => &self.namespace,
            "authorizer" => &self.authorizer,
            "authorizer.requestResource" => &self.request_resource,
            _ => return None,
        })
    }
}

/// What is left of a budget.
#[derive(Debug)]
pub(crate) struct Spent {
    left: u64,
}

impl Spent {
    /// A budget. At the lightest pace no more is begun than a worker does in a moment.
    pub(crate) fn of(budget: u64, pace: Pace) -> Self {
        Self { left: if pace == Pace::Light { budget.min(LIGHT_TOTAL_MAX) } else { budget } }
    }

    fn take(&mut self, cost: u64) -> bool {
        let enough = cost <= self.left;
        self.left = self.left.saturating_sub(cost);
        enough
    }
}

/// A value of a variable, in both forms.
#[derive(Debug)]
pub(crate) struct Held {
    value: Value,
    boxed: Boxed<'static>,
    longest: u64,
}

/// One evaluation of some expressions (`ForInput`): each variable is found out once in it.
pub(crate) struct Activation<'a> {
    inputs: &'a dyn Names,
    params: &'a dyn Readable,
    nothing: Bound<'static>,
    pub(crate) shows_namespace: bool,
    pub(crate) shows_authorizer: bool,
    variables: &'a [Variable],
    values: Vec<OnceLock<Result<Held, Fault>>>,
    pace: Pace,
    /// What variables cost since that was last looked at.
    composed: AtomicU64,
}

impl<'a> Activation<'a> {
    pub(crate) fn new(inputs: &'a dyn Names, params: &'a dyn Readable, variables: &'a [Variable], pace: Pace) -> Self {
        Self {
            inputs,
            params,
            nothing: Bound::null(),
            shows_namespace: true,
            shows_authorizer: true,
            variables,
            values: variables.iter().map(|_| OnceLock::new()).collect(),
            pace,
            composed: AtomicU64::new(0),
        }
    }

    /// Runs an expression; an error names it.
    ///
    /// # Errors
    /// Why it gives no value.
    pub(crate) fn evaluate(&self, expression: &Expression, spent: &mut Spent) -> Result<Value, Failure> {
        self.run(expression, spent).map_err(|failure| match failure {
            Failure::Failed(why) => {
                Failure::Failed(format!("expression '{}' resulted in error: {why}", expression.source()))
            }
            other => other,
        })
    }

    /// Runs an expression.
    ///
    /// # Errors
    /// Why it gives no value.
    pub(crate) fn run(&self, expression: &Expression, spent: &mut Spent) -> Result<Value, Failure> {
        let scope = Scope { of: self, below: self.variables.len() };
        let (value, cost) = scope.run(expression);
        if matches!(value, Err(Fault::TooMuch)) && self.pace != Pace::Counted {
            return Err(Failure::Unsure);
        }
        let composed = self.composed.swap(0, Ordering::Relaxed);
        if !(spent.take(composed) && spent.take(cost)) {
            return Err(if self.pace == Pace::Counted { Failure::OutOfBudget } else { Failure::Unsure });
        }
        value.map_err(|fault| Failure::Failed(why(&fault)))
    }

    /// Spends what an expression may cost without running it, where costs are only bounded.
    ///
    /// # Errors
    /// If that may be too much.
    pub(crate) fn pass(&self, expression: &Expression, spent: &mut Spent) -> Result<(), Failure> {
        let scope = Scope { of: self, below: self.variables.len() };
        let cost = scope.cost(expression).ok_or(Failure::Unsure)?;
        let composed = self.composed.swap(0, Ordering::Relaxed);
        let fits = cost <= CALL_COST_MAX && spent.take(composed) && spent.take(cost);
        if fits { Ok(()) } else { Err(Failure::Unsure) }
    }

    fn place(&self, name: &str, below: usize) -> Option<usize> {
        self.variables[..below].iter().rposition(|variable| variable.name == name)
    }

    fn held(&self, place: usize) -> &Result<Held, Fault> {
        self.values[place].get_or_init(|| {
            let Variable { name, expression, problem } = &self.variables[place];
            let failed = |why: String| Err(Fault::Failed(ExecutionError::function_error("variables", why)));
            if let Some(problem) = problem {
                return failed(format!("composited variable {name:?} fails to compile: {problem}"));
            }
            // It sees the variables before it only.
            let (value, cost) = Scope { of: self, below: place }.run(expression);
            self.composed.fetch_add(cost, Ordering::Relaxed);
            match value {
                Ok(value) => Ok(Held { longest: longest(&value), boxed: boxed(value.clone()), value }),
                Err(Fault::TooMuch) if self.pace != Pace::Counted => Err(Fault::TooMuch),
                Err(fault) => failed(format!("composited variable {name:?} fails to evaluate: {}", why(&fault))),
            }
        })
    }

    fn bound(&self, name: &str) -> Option<&dyn Readable> {
        match name {
            "params" => Some(self.params),
            "namespaceObject" if !self.shows_namespace => Some(&self.nothing),
            "authorizer" | "authorizer.requestResource" if !self.shows_authorizer => None,
            _ => self.inputs.find(name),
        }
    }
}

fn why(fault: &Fault) -> String {
    match fault {
        Fault::TooMuch => "operation cancelled: actual cost limit exceeded".into(),
        // The interpreter says so of a variable that there is in some evaluations only.
        Fault::Failed(ExecutionError::UndeclaredReference(name)) => format!("no such attribute(s): {name}"),
        Fault::Failed(error) => told(error),
    }
}

/// What expressions see: the variables of the request, and those of the policy before one.
struct Scope<'s> {
    of: &'s Activation<'s>,
    below: usize,
}

impl<'s> Scope<'s> {
    /// Runs an expression; also gives what it costs, at most or in fact.
    fn run(&self, expression: &Expression) -> (Result<Value, Fault>, u64) {
        let context = || {
            let mut context = super::context();
            context.set_variable_resolver(self);
            context
        };
        if self.of.pace == Pace::Counted {
            let run = expression.count_with(&context(), self, CALL_COST_MAX);
            return run.unwrap_or((Err(Fault::TooMuch), CALL_COST_MAX));
        }
        let Some(bound) = self.cost(expression) else { return (Err(Fault::TooMuch), 0) };
        let most = if self.of.pace == Pace::Light { LIGHT_COST_MAX } else { CALL_COST_MAX };
        if bound > most || (self.of.pace == Pace::Light && expression.is_large) {
            return (Err(Fault::TooMuch), bound);
        }
        match expression.run(&context()) {
            Some(value) => (value.map_err(Fault::Failed), bound),
            None => (Err(Fault::TooMuch), bound),
        }
    }

    /// The most that an expression costs; none if one of the variables that it reads may cost too much.
    fn cost(&self, expression: &Expression) -> Option<u64> {
        let mut longest = 0;
        for name in &expression.names {
            longest = longest.max(self.of.bound(name).map_or(0, Readable::longest));
        }
        if expression.names("variables") {
            for (place, variable) in self.of.variables[..self.below].iter().enumerate() {
                if expression.composed.field(&variable.name).is_none() {
                    continue;
                }
                match self.of.held(place) {
                    Ok(held) => longest = longest.max(held.longest),
                    Err(Fault::TooMuch) => return None,
                    Err(Fault::Failed(_)) => {}
                }
            }
        }
        Some(expression.bound(longest))
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if name == "variables" {
            return Some(CowVal::owned(Composed(self)));
        }
        if let Some(variable) = name.strip_prefix("variables.") {
            let place = self.of.place(variable, self.below)?;
            let held = self.of.held(place).as_ref().ok()?;
            return Some(CowVal::Borrowed(&*held.boxed));
        }
        Some(CowVal::Borrowed(self.of.bound(name)?.value()))
    }
}

impl Variables for Scope<'_> {
    fn variable(&self, name: &str) -> Option<Value> {
        Some(self.of.bound(name)?.whole().clone())
    }

    fn composed(&self, name: &str) -> Option<Result<Value, Fault>> {
        let held = self.of.held(self.of.place(name, self.below)?);
        Some(match held {
            Ok(held) => Ok(held.value.clone()),
            Err(Fault::TooMuch) => Err(Fault::TooMuch),
            Err(Fault::Failed(error)) => Err(Fault::Failed(error.clone())),
        })
    }
}

/// All variables of a policy, as the interpreter sees them where one of them has no value.
struct Composed<'s>(&'s Scope<'s>);

impl std::fmt::Debug for Composed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("variables")
    }
}

static VARIABLES: Type = Type::new_unspecified_type("kubernetes.variables");

impl Val for Composed<'_> {
    fn get_type(&self) -> &Type {
        &VARIABLES
    }

    fn cel_type() -> &'static Type {
        &VARIABLES
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Self(self.0))
    }
}

impl Indexer for Composed<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = match Value::try_from(index) {
            Ok(Value::String(name)) => name,
            _ => return Err(missing(index)),
        };
        let place = self.0.of.place(&name, self.0.below).ok_or_else(|| missing(index))?;
        match self.0.of.held(place) {
            Ok(held) => Ok(CowVal::Borrowed(&*held.boxed)),
            Err(Fault::Failed(error)) => Err(error.clone()),
            Err(Fault::TooMuch) => Err(ExecutionError::function_error("variables", "the variable costs too much")),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// How long the longest list, map or text in a value is.
fn longest(value: &Value) -> u64 {
    match value {
        Value::List(items) => items.iter().map(longest).max().unwrap_or(0).max(items.len() as u64),
        Value::Map(map) => map.map.values().map(longest).max().unwrap_or(0).max(map.map.len() as u64),
        Value::String(text) => text.len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }
}
