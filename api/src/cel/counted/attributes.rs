//! Variables, fields and what else can be qualified further.

use cel::common::ast::{Expr, SelectExpr, operators};
use cel::{Context, ExecutionError, IdedExpr, Value};

use super::{Counted, Counter, SELECT, apply, call, choice_of, direct, is_call, is_constant, operand};
use crate::cel::check::qualified_name;

/// What the planner makes an attribute of: something that can be qualified further.
pub(super) fn is_attribute(expr: &IdedExpr) -> bool {
    const CALLS: [&str; 4] = [operators::INDEX, operators::OPT_INDEX, operators::OPT_SELECT, operators::CONDITIONAL];
    matches!(expr.expr, Expr::Ident(_) | Expr::Select(_)) && !is_constant(expr) || is_call(expr, &CALLS).is_some()
}

/// Whether an attribute is a choice between two, possibly qualified; a choice has no cost of its own.
pub(super) fn is_choice(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Select(select) => is_choice(&select.operand),
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => true,
        Expr::Call(_) if is_attribute(expr) => is_call(expr, &[operators::INDEX, operators::OPT_INDEX])
            .or_else(|| is_call(expr, &[operators::OPT_SELECT]))
            .and_then(|call| call.args.first())
            .is_some_and(is_choice),
        _ => false,
    }
}

impl Counter<'_> {
    /// What an attribute leads to, with the cost of its qualifiers but without its own.
    pub(super) fn attribute(&mut self, expr: &IdedExpr, scope: &Context<'_, '_>) -> Counted {
        match &expr.expr {
            Expr::Ident(name) => self.ident(expr, name, scope),
            Expr::Select(select) => self.select(expr, select, scope),
            Expr::Call(choice) if choice.func_name == operators::CONDITIONAL && choice.args.len() == 3 => {
                let condition = self.value(&choice.args[0], scope)?;
                let branch = match condition {
                    Value::Bool(condition) => &choice.args[if condition { 1 } else { 2 }],
                    other => return Ok(apply(&choice_of(choice), &[other], scope)?),
                };
                self.operand(branch, scope)
            }
            Expr::Call(index) => {
                let [of, by] = index.args.as_slice() else { return Ok(Value::resolve(expr, scope)?) };
                let of = self.operand(of, scope)?;
                let key = self.operand(by, scope)?;
                if !is_attribute(by) || !is_choice(by) {
                    self.spend(SELECT)?;
                }
                if let Some(found) = direct::index(&index.func_name, &of, &key) {
                    return Ok(found?);
                }
                // The field of an optional selection is a literal, and must stay one.
                if index.func_name == operators::OPT_SELECT {
                    return Ok(apply(&call(&index.func_name, None, vec![operand(0), by.clone()]), &[of], scope)?);
                }
                Ok(apply(&call(&index.func_name, None, vec![operand(0), operand(1)]), &[of, key], scope)?)
            }
            _ => self.value(expr, scope),
        }
    }

    pub(super) fn local(&self, name: &str) -> Option<&Result<Value, ExecutionError>> {
        self.locals.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn ident(&self, expr: &IdedExpr, name: &str, scope: &Context<'_, '_>) -> Counted {
        if let Some(local) = self.local(name) {
            return Ok(local.clone()?);
        }
        match self.variables.variable(name) {
            Some(value) => Ok(value),
            None => Ok(Value::resolve(expr, scope)?),
        }
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr, scope: &Context<'_, '_>) -> Counted {
        if let Expr::Ident(name) = &select.operand.expr
            && self.local(name).is_none()
        {
            let composed = if name == "variables" { self.variables.composed(&select.field) } else { None };
            if let Some(value) = composed {
                let value = value?;
                self.spend(SELECT)?;
                return Ok(if select.test { Value::Bool(true) } else { value });
            }
            // The whole is the name of a variable.
            let whole = qualified_name(expr).and_then(|name| self.variables.variable(&name));
            if let Some(value) = whole {
                return Ok(value);
            }
        }
        let of = self.operand(&select.operand, scope)?;
        let found = direct::select(&of, &select.field, select.test).unwrap_or_else(|| {
            let read = SelectExpr { operand: Box::new(operand(0)), ..select.clone() };
            apply(&IdedExpr { id: 0, expr: Expr::Select(read) }, &[of], scope)
        });
        self.spend(SELECT)?;
        Ok(found?)
    }

    /// What is qualified further: an attribute does not count itself then.
    fn operand(&mut self, expr: &IdedExpr, scope: &Context<'_, '_>) -> Counted {
        if is_attribute(expr) { self.attribute(expr, scope) } else { self.value(expr, scope) }
    }
}
