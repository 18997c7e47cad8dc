//! Expressions from text to checked trees.

use std::sync::OnceLock;

use cel::common::ast::SourceInfo;
use cel::{Env, IdedExpr};

use super::check::{Checked, check};
use super::declared::Declared;
use super::growth::{GROWTH_MAX, TOO_LARGE, growth};
use super::types::Type;
use super::{cost, estimate, issues, library};

/// Deepest nesting that the parser follows.
const RECURSION_MAX: u16 = 250;

/// The environment whose macros the checker sees.
fn env() -> &'static Env {
    static ENV: OnceLock<Env> = OnceLock::new();
    ENV.get_or_init(|| library::syntax(false))
}

/// An expression that was parsed.
pub(super) struct Parsed {
    pub(super) expr: IdedExpr,
    info: SourceInfo,
}

/// Parses an expression. The parser recurses deeply: call it on a large stack.
pub(super) fn parse(source: &str) -> Result<Parsed, String> {
    if let Some(why) = cost::too_large(source) {
        return Err(format!("ERROR: <input>:-1:0: {why}"));
    }
    let parser = env().parser().max_recursion_depth(RECURSION_MAX);
    match parser.parse_with_source_info(source) {
        Ok((expr, _)) if growth(&expr) > GROWTH_MAX => Err(format!("ERROR: <input>:-1:0: {TOO_LARGE}")),
        Ok((expr, info)) => Ok(Parsed { expr, info }),
        Err(errors) => Err(issues::of_parser(source, &errors)),
    }
}

/// An expression that was parsed and checked.
pub(crate) struct Compiled {
    expr: IdedExpr,
    checked: Checked,
    /// The type of its value.
    pub(crate) output: Type,
}

impl Compiled {
    /// Whether it reads a variable.
    pub(crate) fn reads(&self, variable: &str) -> bool {
        self.checked.names.contains(variable)
    }

    /// Its tree, with macros expanded.
    pub(super) fn tree(&self) -> &IdedExpr {
        &self.expr
    }

    /// The most that it costs. The paths in it start at a value of type `root`.
    pub(crate) fn cost(&self, root: &Declared) -> u64 {
        estimate::estimate(&self.expr, &self.checked, root)
    }
}

/// Parses and checks an expression, given the variables that it may name. The parser recurses deeply: call it on a large stack.
pub(crate) fn checked(source: &str, variables: &[(&str, Type)]) -> Result<Compiled, String> {
    checked_making(source, variables, false)
}

/// The same for an expression of a mutation, if it `makes` structs.
pub(super) fn checked_making(source: &str, variables: &[(&str, Type)], makes: bool) -> Result<Compiled, String> {
    let parsed = parse(source)?;
    let (output, checked) = check(&parsed.expr, &parsed.info, variables, makes)
        .map_err(|(issues, more)| issues::show(source, issues, more))?;
    Ok(Compiled { expr: parsed.expr, checked, output })
}
