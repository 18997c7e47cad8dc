//! Runs expressions of admission over the variables that they name, within a budget (`activation.go` and `composition.go`
//! of apiserver's `plugin/cel`).
//!
//! What a run costs is bounded beforehand; where the bound is too high, the caller runs everything again at another
//! [`Pace`], at last with every step counted.

mod composed;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{ExecutionError, Value};

use super::bound::{Bound, Boxed, Readable, boxed};
use super::counted::{Fault, Variables};
use super::made::Made;
use super::{Expression, told};
use composed::Composed;

/// The most that one expression may cost (`PerCallLimit`).
pub(crate) const CALL_COST_MAX: u64 = 1_000_000;
/// The most that an expression may be bound to cost that runs where connections are served.
pub(super) const LIGHT_COST_MAX: u64 = 100_000;

/// And all that is evaluated for one policy.
pub(super) const LIGHT_TOTAL_MAX: u64 = 1_000_000;

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

/// How many variables may each name the one before, on the stack of a worker and on a large one.
const LIGHT_DEPTH_MAX: usize = 16;
const DEPTH_MAX: usize = 512;
const TOO_DEEP: &str = "too many variables each name the one before";
/// How many parts a variable may have, each of which is copied wherever it is named.
const PARTS_MAX: usize = 1 << 18;
/// What stands for `request` in match conditions, where it names the resource that was asked for. It cannot be written.
const ASKED: &str = "@request";

/// The variables that all expressions for one request name.
pub(crate) struct Inputs<'v> {
    pub(crate) object: Bound<'v>,
    pub(crate) old_object: Bound<'v>,
    pub(crate) request: Bound<'v>,
    /// The request as match conditions see it.
    pub(crate) asked: Bound<'v>,
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
            ASKED => &self.asked,
            "namespaceObject" => &self.namespace,
            "authorizer" => &self.authorizer,
            "authorizer.requestResource" => &self.request_resource,
            _ => return None,
        })
    }
}

/// Whether a value has no more parts than a variable may have.
fn is_small(value: &Value) -> bool {
    let mut left = PARTS_MAX;
    is_within(value, &mut left)
}

/// Whether a value has no more parts than are left.
fn is_within(value: &Value, left: &mut usize) -> bool {
    match left.checked_sub(1) {
        Some(fewer) => *left = fewer,
        None => return false,
    }
    match value {
        Value::List(items) => items.iter().all(|item| is_within(item, left)),
        Value::Map(map) => map.map.values().all(|value| is_within(value, left)),
        Value::Opaque(inner) => match inner.downcast_ref::<Made>() {
            Some(made) => made.fields.values().all(|value| is_within(value, left)),
            None => true,
        },
        _ => true,
    }
}

/// What is left of a budget.
#[derive(Debug)]
pub(crate) struct Spent {
    left: u64,
}

impl Spent {
    pub(crate) fn of(budget: u64) -> Self {
        Self { left: budget }
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
    pub(crate) of_conditions: bool,
    pub(crate) shows_authorizer: bool,
    variables: &'a [Variable],
    values: Vec<OnceLock<Result<Held, Fault>>>,
    pace: Pace,
    /// What variables cost since that was last looked at.
    composed: AtomicU64,
    /// How much was done at most.
    worked: AtomicU64,
    /// How many variables are being found out, each for the one before.
    depth: AtomicUsize,
}

impl<'a> Activation<'a> {
    pub(crate) fn new(inputs: &'a dyn Names, params: &'a dyn Readable, variables: &'a [Variable], pace: Pace) -> Self {
        Self {
            inputs,
            params,
            nothing: Bound::null(),
            of_conditions: false,
            shows_authorizer: true,
            variables,
            values: variables.iter().map(|_| OnceLock::new()).collect(),
            pace,
            composed: AtomicU64::new(0),
            worked: AtomicU64::new(0),
            depth: AtomicUsize::new(0),
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
        let scope = Scope { of: self, below: self.variables.len(), expression };
        let (value, cost) = scope.run();
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
        let scope = Scope { of: self, below: self.variables.len(), expression };
        let cost = expression.bound(scope.longest().ok_or(Failure::Unsure)?);
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
            // Each takes some of the stack.
            let depth_max = if self.pace == Pace::Light { LIGHT_DEPTH_MAX } else { DEPTH_MAX };
            if self.depth.fetch_add(1, Ordering::Relaxed) >= depth_max {
                self.depth.fetch_sub(1, Ordering::Relaxed);
                return if self.pace == Pace::Light { Err(Fault::TooMuch) } else { failed(TOO_DEEP.into()) };
            }
            // It sees the variables before it only.
            let (value, cost) = Scope { of: self, below: place, expression }.run();
            self.depth.fetch_sub(1, Ordering::Relaxed);
            self.composed.fetch_add(cost, Ordering::Relaxed);
            match value {
                Ok(value) if !is_small(&value) => {
                    failed(format!("composited variable {name:?} fails to evaluate: {}", super::growth::TOO_LARGE))
                }
                Ok(value) => Ok(Held { longest: longest(&value), boxed: boxed(value.clone()), value }),
                Err(Fault::TooMuch) if self.pace != Pace::Counted => Err(Fault::TooMuch),
                Err(fault) => failed(format!("composited variable {name:?} fails to evaluate: {}", why(&fault))),
            }
        })
    }

    fn bound(&self, name: &str) -> Option<&dyn Readable> {
        match name {
            "params" => Some(self.params),
            // The reference gives them no namespace.
            "namespaceObject" if self.of_conditions => Some(&self.nothing),
            "request" if self.of_conditions => self.inputs.find(ASKED),
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
    /// The one that is run.
    expression: &'s Expression,
}

impl<'s> Scope<'s> {
    /// Runs an expression; also gives what it costs, at most or in fact.
    fn run(&self) -> (Result<Value, Fault>, u64) {
        let expression = self.expression;
        let context = || {
            let mut context = super::context();
            context.set_variable_resolver(self);
            context
        };
        if self.of.pace == Pace::Counted {
            let run = expression.count_with(&context(), self, CALL_COST_MAX);
            return run.unwrap_or((Err(Fault::TooMuch), CALL_COST_MAX));
        }
        let Some(longest) = self.longest() else { return (Err(Fault::TooMuch), 0) };
        let bound = expression.bound(longest);
        if bound > CALL_COST_MAX || (self.of.pace == Pace::Light && !self.is_light(longest)) {
            return (Err(Fault::TooMuch), bound);
        }
        match expression.run_prepared(&context()) {
            Some(Ok(value)) => (Ok(value), bound),
            Some(Err(error)) => (Err(self.explained().unwrap_or(Fault::Failed(error))), bound),
            None => (Err(Fault::TooMuch), bound),
        }
    }

    /// Why an expression fails, in the words that only are known where each operation is done alone.
    fn explained(&self) -> Option<Fault> {
        let run = || {
            let mut context = super::context();
            context.set_variable_resolver(self);
            self.expression.count_with(&context, self, u64::MAX)?.0.err()
        };
        super::on_large_stack(run)?.filter(|fault| matches!(fault, Fault::Failed(_)))
    }

    /// Whether a worker does it in a moment.
    fn is_light(&self, longest: u64) -> bool {
        let expression = self.expression;
        let work = expression.shape.work(longest);
        let before = self.of.worked.fetch_add(work, Ordering::Relaxed);
        work <= LIGHT_COST_MAX && before.saturating_add(work) <= LIGHT_TOTAL_MAX && !expression.is_large
    }

    /// How long what an expression reads is at most; none if one of the variables that it reads may cost too much.
    fn longest(&self) -> Option<u64> {
        let expression = self.expression;
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
        Some(longest)
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
        if name.starts_with('@') {
            return Some(CowVal::Borrowed(&**self.expression.prepared()?.pattern(name)?));
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
