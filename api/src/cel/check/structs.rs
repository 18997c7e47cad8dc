//! Literals of structs, which only expressions of mutations have (`DynamicTypeResolver` in apiserver).

use std::collections::HashMap;

use cel::common::ast::{EntryExpr, StructExpr};

use super::Checker;
use crate::cel::declared::Declared;
use crate::cel::made::{JSON_PATCH, is_type};
use crate::cel::types::{Object, Type};

/// Whether a struct may have any field, of any type.
pub(super) fn is_open(object: &Object) -> bool {
    is_type(&object.name) && *object.name != *JSON_PATCH
}

fn of_name(name: &str) -> Type {
    let text = |field: &str| (field.to_string(), Declared::measured(Type::String, 0, None));
    let mut fields = HashMap::new();
    if name == JSON_PATCH {
        fields = HashMap::from([text("op"), text("path"), text("from")]);
        fields.insert("value".into(), Declared::measured(Type::Dyn, 0, None));
    }
    Type::object(name, fields)
}

impl Checker<'_> {
    pub(super) fn literal(&mut self, id: u64, literal: &StructExpr) -> Type {
        let name = literal.type_name.trim_start_matches('.');
        if !self.makes || !is_type(name) {
            return self.undeclared(id, &literal.type_name);
        }
        let made = of_name(name);
        for entry in &literal.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let mut found = self.expr(&field.value);
            if field.optional {
                found = self.unwrapped(field.value.id, found);
            }
            let Some(wanted) = field_of(&made, &field.field) else {
                self.report(entry.id, format!("undefined field '{}'", field.field));
                continue;
            };
            if !self.bindings.assign(&found, &wanted) {
                let (name, found) = (&field.field, self.bindings.resolve(&found, true));
                let why = format!("expected type of field '{name}' is '{wanted}' but provided type is '{found}'");
                self.report(entry.id, why);
            }
        }
        made
    }
}

fn field_of(made: &Type, field: &str) -> Option<Type> {
    match made {
        Type::Object(object) if is_open(object) => Some(Type::Dyn),
        Type::Object(object) => object.field(field).map(|declared| declared.ty.clone()),
        _ => None,
    }
}
