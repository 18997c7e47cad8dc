//! Expressions of authentication and authorisation (`authentication/cel` and `authorization/cel` in apiserver): over the
//! claims of a token, over the user that they make, and over what is asked of a webhook.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use cel::{IdedExpr, Value};

use super::activation::{LIGHT_COST_MAX, LIGHT_TOTAL_MAX};
use super::admission::user_info;
use super::compile::{Compiled, checked};
use super::declared::Declared;
use super::types::Type;
use super::{Expression, Fault, context, is_large, longest, on_large_stack, told};

/// The most that an expression may cost (`PerCallLimit`).
const COST_MAX: u64 = 1_000_000;

/// What an expression may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    /// `claims`, a map of anything.
    Claims,
    /// `user`, a `UserInfo`.
    User,
    /// `request`, a `SubjectAccessReviewSpec`.
    Request,
}

impl Variable {
    fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::User => "user",
            Self::Request => "request",
        }
    }

    fn ty(self) -> Type {
        match self {
            Self::Claims => Type::map(Type::String, Type::Dyn),
            Self::User => USER.clone(),
            Self::Request => REQUEST.clone(),
        }
    }
}

static USER: LazyLock<Type> = LazyLock::new(user_info);

static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let texts = || Type::list(Type::String);
    let requirement = object(
        "kubernetes.SelectorRequirement",
        vec![("key", Type::String), ("operator", Type::String), ("values", texts())],
    );
    let selector = |name: &str| {
        object(name, vec![("rawSelector", Type::String), ("requirements", Type::list(requirement.clone()))])
    };
    let names = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];
    let mut resource: Vec<(&str, Type)> = names.into_iter().map(|name| (name, Type::String)).collect();
    resource.push(("fieldSelector", selector("kubernetes.FieldSelectorAttributes")));
    resource.push(("labelSelector", selector("kubernetes.LabelSelectorAttributes")));
    let path = vec![("path", Type::String), ("verb", Type::String)];
    let fields = vec![
        ("resourceAttributes", object("kubernetes.ResourceAttributes", resource)),
        ("nonResourceAttributes", object("kubernetes.NonResourceAttributes", path)),
        ("user", Type::String),
        ("uid", Type::String),
        groups(),
        extra(),
    ];
    object("kubernetes.SubjectAccessReviewSpec", fields)
});

fn groups() -> (&'static str, Type) {
    ("groups", Type::list(Type::String))
}

fn extra() -> (&'static str, Type) {
    ("extra", Type::map(Type::String, Type::list(Type::String)))
}

fn object(name: &str, fields: Vec<(&str, Type)>) -> Type {
    let fields = fields.into_iter().map(|(name, ty)| (name.to_string(), Declared::measured(ty, 0, None)));
    Type::object(name, fields.collect::<HashMap<_, _>>())
}

/// An expression over one variable, ready to run.
#[derive(Debug)]
pub(crate) struct Over {
    variable: Variable,
    expression: Expression,
    is_large: bool,
    selected: Selected,
}

/// What an expression may be read to select.
#[derive(Debug, Default)]
struct Selected {
    /// Fields of the variable itself.
    of_variable: Vec<String>,
    /// Names that stand for others with dots, dashes or slashes, and those.
    escaped: Vec<(String, String)>,
}

impl Over {
    /// Compiles an expression. If its type must be `bool`, nothing else will do; a value of any type is no `bool` yet.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the reference's compilers.
    pub(crate) fn compile(source: &str, variable: Variable, must_be_bool: bool) -> Result<Self, String> {
        let failed = || Err("compilation failed: the expression is too large".to_string());
        on_large_stack(|| Self::compile_here(source, variable, must_be_bool)).unwrap_or_else(failed)
    }

    fn compile_here(source: &str, variable: Variable, must_be_bool: bool) -> Result<Self, String> {
        let compiled = checked(source, &[(variable.name(), variable.ty())]);
        let compiled = compiled.map_err(|why| format!("compilation failed: {why}"))?;
        if must_be_bool && compiled.output != Type::Bool {
            let but = match variable {
                Variable::Request => format!(" but got {}", compiled.output),
                Variable::Claims | Variable::User => String::new(),
            };
            return Err(format!("must evaluate to bool{but}"));
        }
        let expression = Expression::new(source);
        if let Some(why) = expression.problem() {
            return Err(format!("program instantiation failed: {why}"));
        }
        let selected = Selected::by(&compiled, variable.name());
        Ok(Self { variable, expression, is_large: is_large(source), selected })
    }

    /// Its text.
    pub(crate) fn source(&self) -> &str {
        self.expression.source()
    }

    /// Whether it selects a field of its variable (`hasSelectExp` in apiserver's `apis/apiserver/validation`).
    pub(crate) fn selects(&self, field: &str) -> bool {
        self.selected.of_variable.iter().any(|name| name == field)
    }

    /// Runs it.
    ///
    /// # Errors
    /// Why it has no value.
    pub(crate) fn run(&self, on: &serde_json::Value) -> Result<Value, String> {
        let counts = self.expression.bound(longest(on)) > COST_MAX;
        if counts || self.is_large {
            return on_large_stack(|| self.run_here(on, counts)).unwrap_or_else(|| Err("it cannot be run".into()));
        }
        self.run_here(on, counts)
    }

    /// Whether running these may take more than a moment: not on a thread that serves others.
    pub(crate) fn take_long<'e>(all: impl Iterator<Item = &'e Self>, on: &serde_json::Value) -> bool {
        let longest = longest(on);
        let mut total = 0_u64;
        all.into_iter().any(|over| {
            let work = over.expression.work(longest);
            total = total.saturating_add(work);
            over.is_large || work > LIGHT_COST_MAX || total > LIGHT_TOTAL_MAX
        })
    }

    fn run_here(&self, on: &serde_json::Value, counts: bool) -> Result<Value, String> {
        let mut context = context();
        context.add_variable_from_value(self.variable.name(), converted(on, &self.selected.escaped));
        let result = if counts {
            self.expression.count(&context, COST_MAX).map(|(result, _)| result)
        } else {
            self.expression.run(&context).map(|result| result.map_err(Fault::Failed))
        };
        match result {
            Some(Ok(value)) => Ok(value),
            Some(Err(Fault::TooMuch)) => Err("operation cancelled: actual cost limit exceeded".into()),
            Some(Err(Fault::Failed(error))) => Err(told(&error)),
            None => Err("it cannot be run".into()),
        }
    }
}

impl Selected {
    fn by(compiled: &Compiled, variable: &str) -> Self {
        let mut selected = Self::default();
        visit(compiled.tree(), &mut |expression| {
            let (operand, field) = match &expression.expr {
                Expr::Select(select) => (Some(&*select.operand), select.field.as_str()),
                Expr::Call(call) if call.func_name == operators::OPT_SELECT && call.args.len() == 2 => {
                    let Some(field) = text(&call.args[1]) else { return };
                    (Some(&call.args[0]), field)
                }
                _ => match text(expression) {
                    Some(text) => (None, text),
                    None => return,
                },
            };
            if operand.is_some_and(|operand| matches!(&operand.expr, Expr::Ident(name) if name == variable)) {
                selected.of_variable.push(field.to_string());
            }
            let plain = unescaped(field).filter(|_| !selected.escaped.iter().any(|(known, _)| known == field));
            if let Some(plain) = plain {
                selected.escaped.push((field.to_string(), plain));
            }
        });
        selected
    }
}

fn text(expression: &IdedExpr) -> Option<&str> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

fn visit(expression: &IdedExpr, see: &mut impl FnMut(&IdedExpr)) {
    see(expression);
    match &expression.expr {
        Expr::Call(call) => call.args.iter().chain(call.target.as_deref()).for_each(|arg| visit(arg, see)),
        Expr::Comprehension(c) => {
            for part in [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result] {
                visit(part, see);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|element| visit(element, see)),
        Expr::Select(select) => visit(&select.operand, see),
        Expr::Map(map) => map.entries.iter().for_each(|entry| visit_entry(&entry.expr, see)),
        Expr::Struct(fields) => fields.entries.iter().for_each(|entry| visit_entry(&entry.expr, see)),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn visit_entry(entry: &EntryExpr, see: &mut impl FnMut(&IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => visit(&field.value, see),
        EntryExpr::MapEntry(entry) => {
            visit(&entry.key, see);
            visit(&entry.value, see);
        }
    }
}

/// What an escaped name stands for (`cel.Unescape` in apiserver); none if it stands for itself.
fn unescaped(name: &str) -> Option<String> {
    let plain = ["__slash__", "__dot__", "__dash__", "__underscores__"]
        .iter()
        .zip(["/", ".", "-", "__"])
        .fold(name.to_string(), |text, (escape, plain)| text.replace(escape, plain));
    let keyword = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"));
    match keyword {
        Some(word) if super::data::RESERVED.contains(&word) => Some(word.to_string()),
        _ => (plain != name).then_some(plain),
    }
}

/// JSON as Go's decoder makes it of anything: every number is a floating-point one. Names that an expression writes escaped are
/// found too.
fn converted(value: &serde_json::Value, escaped: &[(String, String)]) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(0.0)),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            Value::List(Arc::new(items.iter().map(|item| converted(item, escaped)).collect()))
        }
        serde_json::Value::Object(map) => {
            let mut fields: HashMap<String, Value> =
                map.iter().map(|(name, value)| (name.clone(), converted(value, escaped))).collect();
            for (escape, plain) in escaped {
                if let Some(value) = fields.get(plain).cloned() {
                    fields.insert(escape.clone(), value);
                }
            }
            Value::from(fields)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compiles(source: &str, variable: Variable, expected: Option<&str>) {
        let problem = Over::compile(source, variable, true).err();
        match expected {
            None => assert_eq!(problem, None, "{source}"),
            Some(part) => assert!(problem.as_deref().is_some_and(|text| text.contains(part)), "{source}: {problem:?}"),
        }
    }

    /// The cases of `TestCompileClaimsExpression`, `TestCompileUserExpression` and `TestCompileCELExpression`.
    #[test]
    fn expressions_are_compiled_for_their_variable() {
        use Variable::{Claims, Request, User};
        compiles("claims.foo == 'bar'", Claims, None);
        compiles("claims.foo", Claims, Some("must evaluate to bool"));
        compiles("claims", Claims, Some("must evaluate to bool"));
        compiles("user.username == 'foo'", Claims, Some("1:1: undeclared reference to 'user' (in container '')"));
        compiles("claims + 1", Claims, Some("1:8: found no matching overload for '_+_' applied to"));
        compiles("user.username == 'foo' && !user.username.startsWith('system:')", User, None);
        compiles("'a' in user.groups && user.extra['k'][0] == 'v' && user.uid == ''", User, None);
        compiles("user.username", User, Some("must evaluate to bool"));
        compiles("user.unknown == 'a'", User, Some("1:5: undefined field 'unknown'"));
        compiles("claims.foo == 'bar'", User, Some("undeclared reference to 'claims' (in container '')"));
        compiles("request.user == 'bob'", Request, None);
        compiles("request.time == 'now'", Request, Some("undefined field"));
        compiles("request++'", Request, Some("Syntax error"));
        compiles("request.user", Request, Some("must evaluate to bool but got string"));
        compiles("x.user", Request, Some("undeclared reference"));
        for selector in ["fieldSelector", "labelSelector"] {
            let of = format!("request.resourceAttributes.{selector}");
            compiles(&format!("{of}.rawSelector == 'foo'"), Request, None);
            let all =
                format!("{of}.requirements.exists(r, r.key == 'foo' && r.operator == 'In' && ('bar' in r.values))");
            compiles(&all, Request, None);
        }
    }

    fn gives(source: &str, claims: serde_json::Value, expected: Result<Value, &str>) {
        let over = Over::compile(source, Variable::Claims, false).unwrap();
        let found = over.run(&claims);
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why), "{source}");
    }

    #[test]
    fn expressions_are_run_on_claims() {
        let claims = json!({"sub": "s", "n": 1, "a.b": {"c/d-e": "x"}, "list": [{"f.g": 2}], "namespace": "ns"});
        gives("claims.sub + '!'", claims.clone(), Ok(Value::from("s!")));
        gives("claims.n == 1 && claims.n == 1.0 && type(claims.n) == double", claims.clone(), Ok(Value::Bool(true)));
        gives("claims.a__dot__b.c__slash__d__dash__e", claims.clone(), Ok(Value::from("x")));
        gives("claims['a.b']['c/d-e']", claims.clone(), Ok(Value::from("x")));
        gives("claims.list[0].f__dot__g == 2", claims.clone(), Ok(Value::Bool(true)));
        gives("claims.__namespace__", claims.clone(), Ok(Value::from("ns")));
        gives("claims.?nope.orValue('d')", claims.clone(), Ok(Value::from("d")));
        gives("claims.nope", claims.clone(), Err("no such key: nope"));
        gives("size(claims) == 5", claims, Ok(Value::Bool(true)));
    }

    #[test]
    fn what_costs_too_much_is_not_run_to_its_end() {
        let list: Vec<u64> = (0..2_000).collect();
        let source = "claims.l.all(a, claims.l.all(b, claims.l.all(c, a + b + c >= 0.0)))";
        gives(source, json!({"l": list}), Err("operation cancelled: actual cost limit exceeded"));
        gives(source, json!({"l": [1, 2]}), Ok(Value::Bool(true)));
    }

    #[test]
    fn what_takes_long_is_known_before_it_is_run() {
        let check = |sources: &[&str], claims: serde_json::Value, expected: bool| {
            let all: Vec<Over> =
                sources.iter().map(|source| Over::compile(source, Variable::Claims, false).unwrap()).collect();
            assert_eq!(Over::take_long(all.iter(), &claims), expected, "{sources:?}");
        };
        let each = "claims.l.all(a, a >= 0.0)";
        let pairs = "claims.l.all(a, claims.l.all(b, a + b >= 0.0))";
        let long: Vec<u64> = (0..2_000).collect();
        check(&["claims.sub", each], json!({"sub": "s", "l": [1, 2, 3]}), false);
        check(&["claims.sub"], json!({"sub": "s", "l": long}), false);
        check(&["claims.sub", each], json!({"sub": "s", "l": long}), true);
        check(&[pairs], json!({"l": [1, 2, 3]}), true);
        let some: Vec<u64> = (0..100).collect();
        check(&[each], json!({"l": some}), false);
        check(&[each; 1_000], json!({"l": some}), true);
    }

    #[test]
    fn fields_that_are_selected_are_known() {
        let check = |source: &str, expected: bool| {
            let over = Over::compile(source, Variable::Claims, false).unwrap();
            assert_eq!(over.selects("email"), expected, "{source}");
        };
        check("claims.email", true);
        check("has(claims.email)", true);
        check("claims.?email", true);
        check("{claims.?email: 'panda'}", true);
        check("['a'].map(i, i + claims.email)", true);
        check("claims.email_", false);
        check("claims.a.email", false);
        check("claims['email']", false);
    }
}
