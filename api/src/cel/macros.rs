//! The macros that the reference's rules have beside those that the parser brings: loops with two variables.
//!
//! The checker sees them as they are. The interpreter knows loops with one variable only, so for it they become
//! loops over keys (or places in a list) in which the second variable is a name for the value there.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, ListExpr, LiteralValue, MapExpr, operators};
use cel::parser::{Macro, MacroExprHelper};
use cel::{Env, IdedExpr, ParseError};

/// The variable in which loops gather their result.
const RESULT: &str = "@result";

type Expanded = Result<Option<IdedExpr>, ParseError>;
type Expand = fn(&mut Build<'_, '_>, IdedExpr, Vec<IdedExpr>) -> Result<IdedExpr, ParseError>;

/// The collection that a loop of the interpreter goes over.
const RANGE: &str = "@range";
/// The function that gives the keys of a map, or the places of a list.
const KEYS: &str = "@keys";

/// Adds the macros to an environment, for the interpreter or else for the checker.
pub(super) fn add_all(env: &mut Env, runs: bool) {
    let all: [(&str, usize, Expand); 10] = [
        ("all", 3, |b, target, args| b.quantifier(target, args, true)),
        ("exists", 3, |b, target, args| b.quantifier(target, args, false)),
        ("existsOne", 3, |b, target, args| b.exactly_one(target, args)),
        ("exists_one", 3, |b, target, args| b.exactly_one(target, args)),
        ("transformList", 3, |b, target, args| b.transform_list(target, args)),
        ("transformList", 4, |b, target, args| b.transform_list(target, args)),
        ("transformMap", 3, |b, target, args| b.transform_map(target, args, true)),
        ("transformMap", 4, |b, target, args| b.transform_map(target, args, true)),
        ("transformMapEntry", 3, |b, target, args| b.transform_map(target, args, false)),
        ("transformMapEntry", 4, |b, target, args| b.transform_map(target, args, false)),
    ];
    for (name, arguments, expand) in all {
        let expand = move |helper: &mut MacroExprHelper<'_>,
                           target: &mut Option<IdedExpr>,
                           args: &mut Vec<IdedExpr>|
              -> Expanded {
            let Some(target) = target.take() else { return Ok(None) };
            expand(&mut Build { helper, runs }, target, std::mem::take(args)).map(Some)
        };
        env.add_macro(Macro::receiver(name, arguments, expand)).expect("each macro is added once");
    }
}

struct Build<'h, 'p> {
    helper: &'h mut MacroExprHelper<'p>,
    runs: bool,
}

impl Build<'_, '_> {
    fn node(&mut self, expr: Expr) -> IdedExpr {
        self.helper.next_expr(expr)
    }

    fn ident(&mut self, name: &str) -> IdedExpr {
        self.node(Expr::Ident(name.to_string()))
    }

    fn literal(&mut self, value: LiteralValue) -> IdedExpr {
        self.node(Expr::Literal(value))
    }

    fn call(&mut self, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::Call(CallExpr { func_name: name.to_string(), target: None, args }))
    }

    fn list(&mut self, items: Vec<IdedExpr>) -> IdedExpr {
        self.node(Expr::List(ListExpr::new(items)))
    }

    fn name(&self, expr: &IdedExpr, why: &str) -> Result<String, ParseError> {
        match &expr.expr {
            Expr::Ident(name) => Ok(name.clone()),
            _ => Err(self.helper.new_error(expr.id, why)),
        }
    }

    /// The two variables that a loop begins with.
    fn variables(&self, args: &mut Vec<IdedExpr>) -> Result<(String, String), ParseError> {
        let (one, other) = (args.remove(0), args.remove(0));
        let first = self.name(&one, "argument must be a simple name")?;
        let second = self.name(&other, "argument must be a simple name")?;
        if first == second {
            return Err(self.helper.new_error(other.id, format!("duplicate variable name: {first}")));
        }
        for (name, id) in [(&first, one.id), (&second, other.id)] {
            if matches!(name.as_str(), RESULT | "__result__") {
                return Err(self.helper.new_error(id, "iteration variable overwrites accumulator variable"));
            }
        }
        Ok((first, second))
    }

    fn looped(
        &mut self,
        range: IdedExpr,
        (first, second): (String, String),
        [init, condition, step, result]: [IdedExpr; 4],
    ) -> IdedExpr {
        let mut looped = ComprehensionExpr {
            iter_range: range,
            iter_var: first,
            iter_var2: Some(second),
            accu_var: RESULT.into(),
            accu_init: init,
            loop_cond: condition,
            loop_step: step,
            result,
        };
        if !self.runs {
            return self.node(Expr::Comprehension(Box::new(looped)));
        }
        let name = format!("{RANGE}{}", self.helper.next_expr(Expr::Unspecified).id);
        let values = self.ident(&name);
        let target = std::mem::replace(&mut looped.iter_range, self.call(KEYS, vec![values]));
        let (values, key) = (self.ident(&name), self.ident(&looped.iter_var));
        let value = self.call(operators::INDEX, vec![values, key]);
        let second = looped.iter_var2.take().unwrap_or_default();
        looped.loop_step = self.bound(&second, value, looped.loop_step);
        let looped = self.node(Expr::Comprehension(Box::new(looped)));
        self.bound(&name, target, looped)
    }

    /// Gives a value a name: a loop over nothing whose result may use the name.
    fn bound(&mut self, name: &str, value: IdedExpr, result: IdedExpr) -> IdedExpr {
        let (range, never) = (self.list(Vec::new()), self.literal(LiteralValue::Boolean(false.into())));
        let step = self.ident(name);
        self.node(Expr::Comprehension(Box::new(ComprehensionExpr {
            iter_range: range,
            iter_var: "#unused".into(),
            iter_var2: None,
            accu_var: name.to_string(),
            accu_init: value,
            loop_cond: never,
            loop_step: step,
            result,
        })))
    }

    fn quantifier(&mut self, target: IdedExpr, mut args: Vec<IdedExpr>, all: bool) -> Result<IdedExpr, ParseError> {
        let variables = self.variables(&mut args)?;
        let init = self.literal(LiteralValue::Boolean(all.into()));
        let mut so_far = self.ident(RESULT);
        if !all {
            so_far = self.call(operators::LOGICAL_NOT, vec![so_far]);
        }
        let condition = self.call(operators::NOT_STRICTLY_FALSE, vec![so_far]);
        let so_far = self.ident(RESULT);
        let operator = if all { operators::LOGICAL_AND } else { operators::LOGICAL_OR };
        let step = self.call(operator, vec![so_far, args.remove(0)]);
        let result = self.ident(RESULT);
        Ok(self.looped(target, variables, [init, condition, step, result]))
    }

    fn exactly_one(&mut self, target: IdedExpr, mut args: Vec<IdedExpr>) -> Result<IdedExpr, ParseError> {
        let variables = self.variables(&mut args)?;
        let init = self.literal(LiteralValue::Int(0.into()));
        let condition = self.literal(LiteralValue::Boolean(true.into()));
        let (so_far, one) = (self.ident(RESULT), self.literal(LiteralValue::Int(1.into())));
        let more = self.call(operators::ADD, vec![so_far, one]);
        let same = self.ident(RESULT);
        let step = self.call(operators::CONDITIONAL, vec![args.remove(0), more, same]);
        let (so_far, one) = (self.ident(RESULT), self.literal(LiteralValue::Int(1.into())));
        let result = self.call(operators::EQUALS, vec![so_far, one]);
        Ok(self.looped(target, variables, [init, condition, step, result]))
    }

    /// The step of a loop, taken only where the filter holds if there is one.
    fn filtered(&mut self, filter: Option<IdedExpr>, step: IdedExpr) -> IdedExpr {
        let Some(filter) = filter else { return step };
        let same = self.ident(RESULT);
        self.call(operators::CONDITIONAL, vec![filter, step, same])
    }

    fn gathered(&mut self, target: IdedExpr, variables: (String, String), init: IdedExpr, step: IdedExpr) -> IdedExpr {
        let condition = self.literal(LiteralValue::Boolean(true.into()));
        let result = self.ident(RESULT);
        self.looped(target, variables, [init, condition, step, result])
    }

    fn transform_list(&mut self, target: IdedExpr, mut args: Vec<IdedExpr>) -> Result<IdedExpr, ParseError> {
        let variables = self.variables(&mut args)?;
        let filter = (args.len() == 2).then(|| args.remove(0));
        let (so_far, item) = (self.ident(RESULT), self.list(vec![args.remove(0)]));
        let step = self.call(operators::ADD, vec![so_far, item]);
        let step = self.filtered(filter, step);
        let init = self.list(Vec::new());
        Ok(self.gathered(target, variables, init, step))
    }

    fn transform_map(
        &mut self,
        target: IdedExpr,
        mut args: Vec<IdedExpr>,
        keeps_keys: bool,
    ) -> Result<IdedExpr, ParseError> {
        let variables = self.variables(&mut args)?;
        let filter = (args.len() == 2).then(|| args.remove(0));
        let mut inserted = vec![self.ident(RESULT)];
        if keeps_keys {
            inserted.push(self.ident(&variables.0));
        }
        inserted.push(args.remove(0));
        let step = self.call("cel.@mapInsert", inserted);
        let step = self.filtered(filter, step);
        let init = self.node(Expr::Map(MapExpr { entries: Vec::new() }));
        Ok(self.gathered(target, variables, init, step))
    }
}
