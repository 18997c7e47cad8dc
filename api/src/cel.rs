//! CEL: expressions over values of JSON, as Kubernetes compiles and runs them. Rules of custom resources, policies of admission
//! and selectors of devices are made of them; which types their variables have, each says by [`Declared`], and how values are
//! converted by [`Schema`].
//!
//! Expressions are checked, and their cost is estimated, when what holds them is validated ([`checked`]); they are parsed once
//! more when they are first run ([`Expression`]). The cost of a run is bounded beforehand, from the text and how long the lists,
//! maps and texts of the values are ([`cost`]). Where that may be too much it is run once more, and every step is counted
//! ([`counted`]).

mod activation;
pub(crate) mod admission;
pub(crate) mod authorizer;
mod bound;
mod check;
mod compile;
mod cost;
mod counted;
mod data;
mod declared;
pub mod device_selector;
pub(crate) mod devices;
mod estimate;
mod functions;
mod growth;
pub(crate) mod identity;
mod issues;
mod library;
mod macros;
mod made;
mod network;
mod patterns;
mod reads;
mod told;
mod types;

use std::sync::{Arc, OnceLock};

use cel::{Context, Env, ExecutionError, IdedExpr, Value};

pub(crate) use activation::{Activation, Failure, Inputs, Names, Pace, Spent, Variable};
pub(crate) use bound::{Bound, Readable};
pub(crate) use compile::checked;
use cost::Shape;
pub(crate) use cost::{is_large, longest};
pub(crate) use counted::Fault;
pub(crate) use data::{Field, Schema, convert, escape, optional};
pub(crate) use declared::{Declared, REQUEST_BYTES_MAX};
use growth::{GROWTH_MAX, growth};
pub(crate) use made::{Made, misnamed};
use patterns::Prepared;
pub(crate) use reads::Reads;
pub(crate) use told::told;
pub(crate) use types::Type;

/// The stack on which an expression of the largest size is parsed and run, in bytes; only what is used is ever there.
const STACK_BYTES: usize = 64 << 20;

/// An expression that can be run.
#[derive(Debug)]
pub(crate) struct Expression {
    source: String,
    tree: Result<IdedExpr, String>,
    shape: Shape,
    /// The variables that it reads.
    names: Vec<String>,
    /// What it reads of `variables`.
    composed: Reads,
    /// Whether the stack of a worker may be too small for it.
    is_large: bool,
    /// The same with its patterns compiled, made when it is first run over variables that know of them.
    prepared: OnceLock<Option<Prepared>>,
    /// The tree whose steps are counted, made when that is first needed.
    counted: OnceLock<Option<IdedExpr>>,
}

impl Expression {
    /// Parses an expression.
    pub(crate) fn new(source: &str) -> Self {
        let tree = parsed(source);
        let shape = tree.as_ref().map(Shape::of).unwrap_or_default();
        let names_of = |tree: &IdedExpr| tree.references().variables().into_iter().map(String::from).collect();
        Self {
            source: source.to_string(),
            shape,
            names: tree.as_ref().map(names_of).unwrap_or_default(),
            composed: Reads::by(tree.as_ref().ok(), &["variables"]),
            is_large: is_large(source),
            tree,
            prepared: OnceLock::new(),
            counted: OnceLock::new(),
        }
    }

    /// Its text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Why it cannot be run, if it cannot.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.tree.as_ref().err().map(String::as_str)
    }

    /// Whether it reads a variable.
    pub(crate) fn names(&self, variable: &str) -> bool {
        self.names.iter().any(|name| name == variable)
    }

    /// The most that it costs, if no list, map or text is longer than `longest`.
    pub(crate) fn bound(&self, longest: u64) -> u64 {
        self.shape.bound(longest)
    }

    /// The most work that it is, if no list, map or text is longer than `longest`.
    pub(crate) fn work(&self, longest: u64) -> u64 {
        self.shape.work(longest)
    }

    /// Runs it; nothing if it cannot be run.
    pub(crate) fn run(&self, context: &Context<'_, '_>) -> Option<Result<Value, ExecutionError>> {
        Some(Value::resolve(self.tree.as_ref().ok()?, context))
    }

    fn prepared(&self) -> Option<&Prepared> {
        self.prepared.get_or_init(|| Prepared::new(self.tree.as_ref().ok()?)).as_ref()
    }

    /// Runs it where variables hold its patterns; nothing if it cannot be run.
    fn run_prepared(&self, context: &Context<'_, '_>) -> Option<Result<Value, ExecutionError>> {
        match self.prepared() {
            Some(prepared) => Some(Value::resolve(&prepared.tree, context)),
            None => self.run(context),
        }
    }

    /// Runs it and counts what that costs, up to a limit. It recurses deeply: call it on a large stack.
    pub(crate) fn count(&self, context: &Context<'_, '_>, limit: u64) -> Option<(Result<Value, Fault>, u64)> {
        self.count_with(context, &counted::OfContext, limit)
    }

    fn count_with(
        &self,
        context: &Context<'_, '_>,
        variables: &dyn counted::Variables,
        limit: u64,
    ) -> Option<(Result<Value, Fault>, u64)> {
        let parse = || on_large_stack(|| compile::parse(&self.source).ok().map(|parsed| parsed.expr)).flatten();
        let tree = self.counted.get_or_init(|| parse().map(made::without_literals)).as_ref()?;
        Some(counted::run(tree, context, variables, limit))
    }

    /// What expressions read of variables, which have values of one kind.
    pub(crate) fn reads<'e>(all: impl IntoIterator<Item = &'e Self>, variables: &[&str]) -> Reads {
        Reads::by(all.into_iter().filter_map(|expression| expression.tree.as_ref().ok()), variables)
    }
}

/// Where expressions run, without variables yet.
pub(crate) fn context() -> Context<'static, 'static> {
    Context::with_env(env().clone())
}

fn env() -> &'static Arc<Env> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    ENV.get_or_init(|| Arc::new(library::functions()))
}

fn syntax() -> &'static Env {
    static SYNTAX: OnceLock<Env> = OnceLock::new();
    SYNTAX.get_or_init(|| library::syntax(true))
}

fn parsed(source: &str) -> Result<IdedExpr, String> {
    if let Some(why) = cost::too_large(source) {
        return Err(why);
    }
    // The parser recurses through a dozen calls a bracket: more than the stack of a worker holds.
    let tree = |program: cel::Program| match growth(program.expression()) {
        grown if grown > GROWTH_MAX => Err(growth::TOO_LARGE.to_string()),
        _ => Ok(made::without_literals(program.expression().clone())),
    };
    let parse = || syntax().compile(source).map_err(|errors| errors.to_string()).and_then(tree);
    on_large_stack(parse).unwrap_or_else(|| Err("the expression cannot be parsed".into()))
}

/// Runs something that recurses deeply; nothing if it panics or no thread can be had.
pub(crate) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.ok().and_then(|thread| thread.join().ok())
    })
}
