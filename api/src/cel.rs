//! CEL: expressions over values of JSON, as Kubernetes compiles and runs them. Rules of custom resources, policies of admission
//! and selectors of devices are made of them; which types their variables have, each says by [`Declared`], and how values are
//! converted by [`Schema`].
//!
//! Expressions are checked, and their cost is estimated, when what holds them is validated ([`checked`]); they are parsed once
//! more when they are first run ([`Expression`]). The cost of a run is bounded beforehand, from the text and how long the lists,
//! maps and texts of the values are ([`cost`]). Where that may be too much it is run once more, and every step is counted
//! ([`counted`]).

pub(crate) mod admission;
mod check;
mod compile;
mod cost;
mod counted;
mod data;
mod declared;
pub(crate) mod devices;
mod estimate;
mod functions;
pub(crate) mod identity;
mod issues;
mod library;
mod macros;
mod network;
mod reads;
mod types;

use std::sync::{Arc, OnceLock};

use cel::{Context, Env, ExecutionError, IdedExpr, Program, Value};

pub(crate) use compile::checked;
use cost::Shape;
pub(crate) use cost::{is_large, longest};
pub(crate) use counted::Fault;
pub(crate) use data::{Field, Schema, convert, escape, optional};
pub(crate) use declared::{Declared, REQUEST_BYTES_MAX};
pub(crate) use reads::Reads;
pub(crate) use types::Type;

/// The stack on which an expression of the largest size is parsed and run, in bytes; only what is used is ever there.
const STACK_BYTES: usize = 64 << 20;

/// An expression that can be run.
#[derive(Debug)]
pub(crate) struct Expression {
    source: String,
    program: Result<Program, String>,
    shape: Shape,
    /// The tree whose steps are counted, made when that is first needed.
    tree: OnceLock<Option<IdedExpr>>,
}

impl Expression {
    /// Parses an expression.
    pub(crate) fn new(source: &str) -> Self {
        let program = program(source);
        let shape = program.as_ref().map(|p| Shape::of(p.expression())).unwrap_or_default();
        Self { source: source.to_string(), program, shape, tree: OnceLock::new() }
    }

    /// Its text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Why it cannot be run, if it cannot.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.program.as_ref().err().map(String::as_str)
    }

    /// Whether it reads a variable.
    pub(crate) fn names(&self, variable: &str) -> bool {
        self.program.as_ref().is_ok_and(|program| program.references().has_variable(variable))
    }

    /// The most that it costs, if no list, map or text is longer than `longest`.
    pub(crate) fn bound(&self, longest: u64) -> u64 {
        self.shape.bound(longest)
    }

    /// Runs it; nothing if it cannot be run.
    pub(crate) fn run(&self, context: &Context<'_, '_>) -> Option<Result<Value, ExecutionError>> {
        Some(self.program.as_ref().ok()?.execute(context))
    }

    /// Runs it and counts what that costs, up to a limit. It recurses deeply: call it on a large stack.
    pub(crate) fn count(&self, context: &Context<'_, '_>, limit: u64) -> Option<(Result<Value, Fault>, u64)> {
        let parse = || on_large_stack(|| compile::parse(&self.source).ok().map(|parsed| parsed.expr)).flatten();
        let tree = self.tree.get_or_init(parse).as_ref()?;
        Some(counted::run(tree, context, limit))
    }

    /// What expressions read of variables, which have values of one kind.
    pub(crate) fn reads<'e>(all: impl IntoIterator<Item = &'e Self>, variables: &[&str]) -> Reads {
        let programs = all.into_iter().filter_map(|expression| expression.program.as_ref().ok());
        Reads::by(programs.map(Program::expression), variables)
    }
}

/// The error of the reference's interpreter.
pub(crate) fn told(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::DivisionByZero(_) => "division by zero".into(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".into(),
        ExecutionError::NoSuchOverload(_) => "no such overload".into(),
        other => other.to_string(),
    }
}

/// Where expressions run, without variables yet.
pub(crate) fn context() -> Context<'static, 'static> {
    Context::with_env(env().clone())
}

fn env() -> &'static Arc<Env> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    ENV.get_or_init(|| Arc::new(library::environment(true)))
}

fn program(source: &str) -> Result<Program, String> {
    if let Some(why) = cost::too_large(source) {
        return Err(why);
    }
    // The parser recurses through a dozen calls a bracket: more than the stack of a worker holds.
    let parse = || env().compile(source).map_err(|errors| errors.to_string());
    on_large_stack(parse).unwrap_or_else(|| Err("the expression cannot be parsed".into()))
}

/// Runs something that recurses deeply; nothing if it panics or no thread can be had.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}
