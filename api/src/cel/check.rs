//! Checks the types of an expression against those of the schema.

mod calls;
mod formats;
mod literals;
mod structs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr, SourceInfo};

use super::functions;
use super::issues::{ISSUES_MAX, Issue};
use super::types::{Bindings, Type, most_general};

/// What is known of an expression after the check.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The types of its parts.
    pub(super) types: HashMap<u64, Type>,
    /// The overloads that each call may take.
    pub(super) overloads: HashMap<u64, Vec<&'static str>>,
    /// Calls whose target is a part of the function's name, with the whole name.
    pub(super) qualified: HashMap<u64, String>,
    /// Selections that spell the name of a type.
    pub(super) named: HashMap<u64, String>,
    /// The variables that are read.
    pub(super) names: HashSet<String>,
}

impl Checked {
    /// The type of a part.
    pub(super) fn ty(&self, expr: &IdedExpr) -> &Type {
        self.types.get(&expr.id).unwrap_or(&Type::Dyn)
    }
}

/// The types of an expression over variables, or what is wrong with it and how much more is. One of a mutation `makes` structs.
pub(super) fn check(
    expr: &IdedExpr,
    info: &SourceInfo,
    variables: &[(&str, Type)],
    makes: bool,
) -> Result<(Type, Checked), (Vec<Issue>, usize)> {
    let scope = variables.iter().map(|(name, ty)| (name.to_string(), ty.clone())).collect();
    let mut checker = Checker { info, scope, makes, ..Checker::new(info) };
    let output = checker.expr(expr);
    let output = checker.bindings.resolve(&output, true);
    let types = std::mem::take(&mut checker.checked.types);
    checker.checked.types = types.into_iter().map(|(id, ty)| (id, checker.bindings.resolve(&ty, true))).collect();
    if checker.issues.is_empty() {
        checker.literals(expr, false);
    }
    if checker.issues.is_empty() { Ok((output, checker.checked)) } else { Err((checker.issues, checker.more)) }
}

struct Checker<'a> {
    info: &'a SourceInfo,
    scope: Vec<(String, Type)>,
    makes: bool,
    bindings: Bindings,
    variables: usize,
    checked: Checked,
    issues: Vec<Issue>,
    /// How many issues there are that are not told.
    more: usize,
}

/// The name that an identifier, or a chain of selections from one, spells.
pub(super) fn qualified_name(expr: &IdedExpr) -> Option<String> {
    match &expr.expr {
        Expr::Ident(name) => Some(name.trim_start_matches('.').to_string()),
        Expr::Select(select) if !select.test => Some(format!("{}.{}", qualified_name(&select.operand)?, select.field)),
        _ => None,
    }
}

impl<'a> Checker<'a> {
    fn new(info: &'a SourceInfo) -> Self {
        Self {
            info,
            scope: Vec::new(),
            makes: false,
            bindings: Bindings::default(),
            variables: 0,
            checked: Checked::default(),
            issues: Vec::new(),
            more: 0,
        }
    }

    fn report(&mut self, id: u64, message: String) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue::at(self.info, id, message));
        } else {
            self.more += 1;
        }
    }

    fn mismatch(&mut self, id: u64, expected: &Type, found: &Type) {
        self.report(id, format!("expected type '{expected}' but found '{found}'"));
    }

    fn undeclared(&mut self, id: u64, name: &str) -> Type {
        self.report(id, format!("undeclared reference to '{name}' (in container '')"));
        Type::Error
    }

    fn fresh(&mut self) -> Type {
        self.variables += 1;
        Type::Var(Arc::from(format!("_var{}", self.variables - 1)))
    }

    fn expr(&mut self, expr: &IdedExpr) -> Type {
        let ty = match &expr.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.ident(expr.id, name.trim_start_matches('.')),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr.id, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(literal) => self.literal(expr.id, literal),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Unspecified => Type::Error,
        };
        self.checked.types.insert(expr.id, ty.clone());
        ty
    }

    fn lookup(&self, name: &str) -> Option<Type> {
        let variable = self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, ty)| ty.clone());
        variable.or_else(|| functions::type_named(name))
    }

    fn ident(&mut self, id: u64, name: &str) -> Type {
        self.checked.names.insert(name.to_string());
        self.lookup(name).unwrap_or_else(|| self.undeclared(id, name))
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Type {
        if let Some((name, ty)) = qualified_name(expr).and_then(|name| self.lookup(&name).map(|ty| (name, ty))) {
            self.checked.named.insert(expr.id, name);
            return ty;
        }
        let ty = self.field(expr.id, &select.operand, &select.field, false);
        if select.test { Type::Bool } else { self.bindings.resolve(&ty, false) }
    }

    /// The type of a field, which is optional if it was asked for so, or if what has it is.
    fn field(&mut self, id: u64, operand: &IdedExpr, field: &str, optional: bool) -> Type {
        let operand = self.expr(operand);
        let operand = self.bindings.resolve(&operand, false);
        let (target, unwrapped) = operand.unwrapped();
        let found = match target {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) if structs::is_open(object) => Type::Dyn,
            Type::Object(object) => match object.field(field) {
                Some(declared) => declared.ty.clone(),
                None => {
                    self.report(id, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            Type::Library(name) if name.starts_with("kubernetes.") => {
                self.report(id, format!("undefined field '{field}'"));
                Type::Error
            }
            Type::Var(_) => {
                self.bindings.assign(&Type::Dyn, target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.report(id, format!("type '{other}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if unwrapped || optional { Type::optional(found) } else { found }
    }

    fn join(&mut self, id: u64, before: Option<Type>, now: Type) -> Type {
        let Some(before) = before else { return now };
        if self.bindings.assign(&before, &now) {
            return most_general(&before, &now);
        }
        self.mismatch(id, &before, &now);
        Type::Error
    }

    /// The type of a part that is written `?x`, which must be optional.
    fn unwrapped(&mut self, id: u64, ty: Type) -> Type {
        let (inner, was_optional) = ty.unwrapped();
        if !was_optional && *inner != Type::Dyn {
            self.mismatch(id, &Type::optional(inner.clone()), inner);
        }
        inner.clone()
    }

    fn list(&mut self, list: &ListExpr) -> Type {
        let mut item = None;
        for (i, element) in list.elements.iter().enumerate() {
            let mut ty = self.expr(element);
            if list.optional_indices.contains(&i) {
                ty = self.unwrapped(element.id, ty);
            }
            item = Some(self.join(element.id, item, ty));
        }
        Type::list(item.unwrap_or_else(|| self.fresh()))
    }

    fn map(&mut self, map: &MapExpr) -> Type {
        let (mut key, mut value) = (None, None);
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let of_key = self.expr(&entry.key);
            key = Some(self.join(entry.key.id, key, of_key));
            let mut of_value = self.expr(&entry.value);
            if entry.optional {
                of_value = self.unwrapped(entry.value.id, of_value);
            }
            value = Some(self.join(entry.value.id, value, of_value));
        }
        let key = key.unwrap_or_else(|| self.fresh());
        let value = value.unwrap_or_else(|| self.fresh());
        Type::Map(Arc::new(key), Arc::new(value))
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Type {
        let range = self.expr(&comprehension.iter_range);
        let accumulator = self.expr(&comprehension.accu_init);
        let range = self.bindings.resolve(&range, false);
        let second = comprehension.iter_var2.as_ref();
        let (one, other) = match &range {
            Type::List(item) if second.is_some() => (Type::Int, (**item).clone()),
            Type::List(item) => ((**item).clone(), Type::Dyn),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn | Type::Error | Type::Var(_) => {
                self.bindings.assign(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(comprehension.iter_range.id, why);
                (Type::Error, Type::Error)
            }
        };
        let outside = self.scope.len();
        self.scope.push((comprehension.accu_var.clone(), accumulator.clone()));
        self.scope.push((comprehension.iter_var.clone(), one));
        if let Some(name) = second {
            self.scope.push((name.clone(), other));
        }
        self.wanted(&comprehension.loop_cond, &Type::Bool);
        self.wanted(&comprehension.loop_step, &accumulator);
        self.scope.truncate(outside + 1);
        let result = self.expr(&comprehension.result);
        self.scope.truncate(outside);
        self.bindings.resolve(&result, false)
    }

    fn wanted(&mut self, expr: &IdedExpr, wanted: &Type) {
        let found = self.expr(expr);
        if !self.bindings.assign(wanted, &found) {
            self.mismatch(expr.id, wanted, &found);
        }
    }
}

fn of_literal(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::String,
        LiteralValue::UInt(_) => Type::Uint,
    }
}
