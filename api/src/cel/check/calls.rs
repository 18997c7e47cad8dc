//! Which overloads a call takes.

use std::collections::HashMap;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::{Checker, qualified_name};
use crate::cel::functions::{self, Overload};
use crate::cel::types::Type;

impl Checker<'_> {
    pub(super) fn call(&mut self, id: u64, call: &CallExpr) -> Type {
        if call.func_name == operators::OPT_SELECT {
            return self.optional_field(id, call);
        }
        let name = call.func_name.trim_start_matches('.');
        let arguments: Vec<Type> = call.args.iter().map(|argument| self.expr(argument)).collect();
        let Some(target) = &call.target else {
            return match functions::overloads(name) {
                Some(overloads) => self.resolve(id, name, overloads, None, &call.args, arguments),
                None => self.undeclared(id, name),
            };
        };
        let qualified = qualified_name(target).map(|prefix| format!("{prefix}.{name}"));
        let known = |q: String| functions::overloads(&q).map(|overloads| (q, overloads));
        let qualified = qualified.filter(|q| self.makes || !q.starts_with("jsonpatch.")).and_then(known);
        if let Some((qualified, overloads)) = qualified {
            let ty = self.resolve(id, &qualified, overloads, None, &call.args, arguments);
            self.checked.qualified.insert(id, qualified);
            return ty;
        }
        let of_target = self.expr(target);
        match functions::overloads(name) {
            Some(overloads) => self.resolve(id, name, overloads, Some(of_target), &call.args, arguments),
            None => self.undeclared(id, name),
        }
    }

    fn optional_field(&mut self, id: u64, call: &CallExpr) -> Type {
        let [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }] = &call.args[..] else {
            self.report(id, "unsupported optional field selection".into());
            return Type::Error;
        };
        let ty = self.field(id, operand, field.inner(), true);
        self.checked.overloads.insert(id, vec!["select_optional_field"]);
        self.bindings.resolve(&ty, false)
    }

    fn resolve(
        &mut self,
        id: u64,
        name: &str,
        overloads: &'static [Overload],
        target: Option<Type>,
        parts: &[IdedExpr],
        arguments: Vec<Type>,
    ) -> Type {
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR) {
            return self.logical(id, overloads, parts, &arguments);
        }
        let member = target.is_some();
        let types: Vec<Type> = target.into_iter().chain(arguments).collect();
        let mut result: Option<Type> = None;
        let mut taken = Vec::new();
        for overload in overloads.iter().filter(|o| o.member == member) {
            let (wanted, gives) = self.instance(overload);
            if !self.bindings.assign_all(&types, &wanted) {
                continue;
            }
            taken.push(overload.id);
            let gives = self.bindings.resolve(&gives, false);
            result = Some(match result {
                Some(before) if before != Type::Dyn && before != gives => Type::Dyn,
                Some(before) => before,
                None => gives,
            });
        }
        let Some(result) = result else {
            self.no_overload(id, name, &types, member);
            return Type::Error;
        };
        self.checked.overloads.insert(id, taken);
        result
    }

    fn logical(&mut self, id: u64, overloads: &[Overload], parts: &[IdedExpr], arguments: &[Type]) -> Type {
        let mut result = Type::Bool;
        for (part, ty) in parts.iter().zip(arguments) {
            if !self.bindings.assign(ty, &Type::Bool) {
                self.mismatch(part.id, &Type::Bool, ty);
                result = Type::Error;
            }
        }
        self.checked.overloads.insert(id, overloads.iter().map(|o| o.id).collect());
        result
    }

    /// The overload's types with type variables of their own.
    fn instance(&mut self, overload: &Overload) -> (Vec<Type>, Type) {
        if !overload.generic {
            return (overload.arguments.clone(), overload.result.clone());
        }
        let mut fresh: HashMap<Arc<str>, Type> = HashMap::new();
        let mut replaced = |checker: &mut Self, ty: &Type| {
            ty.replace(&mut |name| Some(fresh.entry(name.clone()).or_insert_with(|| checker.fresh()).clone()))
        };
        let arguments = overload.arguments.iter().map(|ty| replaced(self, ty)).collect();
        (arguments, replaced(self, &overload.result))
    }

    fn no_overload(&mut self, id: u64, name: &str, types: &[Type], member: bool) {
        let shown: Vec<String> = types.iter().map(|ty| self.bindings.resolve(ty, true).to_string()).collect();
        let (target, arguments) =
            if member { (format!("{}.", shown[0]), &shown[1..]) } else { ("".into(), &shown[..]) };
        let applied = format!("{target}({})", arguments.join(", "));
        self.report(id, format!("found no matching overload for '{name}' applied to '{applied}'"));
    }
}
