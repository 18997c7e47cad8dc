//! The types of kinds as expressions are checked against them (`SchemaDeclType` over the OpenAPI schema of a kind).

use std::collections::{HashMap, HashSet};

use crate::admission::Kind;
use crate::cel::{Declared, Type, escape};
use crate::crd;
use crate::schema::{self, Schema};

use super::Kinds;

/// The type of a kind; none if it is not known.
pub(super) fn of(kind: &Kind, kinds: &dyn Kinds) -> Option<Type> {
    let Kind { group, version, kind: name } = kind;
    if let Some(ty) = Schema::builtin_type(group, version, name) {
        return of_type(ty, name, &mut HashSet::new());
    }
    let schema = kinds.version_of(kind)?;
    let declared = crd::declared(&schema["schema"]["openAPIV3Schema"], name)?;
    Some(with_metadata(declared.ty, name))
}

/// A custom kind has the metadata of all.
fn with_metadata(ty: Type, name: &str) -> Type {
    let Type::Object(object) = &ty else { return ty };
    let of_metadata = Schema::builtin_definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let metadata = of_metadata.and_then(|ty| of_type(ty, &format!("{name}.metadata"), &mut HashSet::new()));
    let mut fields = object.all_fields();
    for (field, ty) in [("kind", Some(Type::String)), ("apiVersion", Some(Type::String)), ("metadata", metadata)] {
        if let Some(ty) = ty {
            fields.insert(field.into(), Declared::of_type(ty));
        }
    }
    Type::object(name, fields)
}

/// A built-in type; none if expressions do not see it. What holds itself is an object without fields there.
fn of_type(ty: schema::Type<'_>, name: &str, inside: &mut HashSet<String>) -> Option<Type> {
    use schema::Kind;
    Some(match ty.kind() {
        Kind::String => Type::String,
        Kind::Bytes => Type::Bytes,
        Kind::Boolean => Type::Bool,
        Kind::Int32 | Kind::Int64 => Type::Int,
        Kind::Double => Type::Double,
        Kind::Time | Kind::MicroTime => Type::Timestamp,
        Kind::Duration => Type::String,
        // They have several types, or none.
        Kind::Any | Kind::Quantity | Kind::IntOrString => return None,
        Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings => return None,
        Kind::Raw | Kind::Fields => Type::object(name, HashMap::new()),
        Kind::List => Type::list(of_type(ty.elem()?, &format!("{name}.@idx"), inside)?),
        Kind::Map => Type::map(Type::String, of_type(ty.elem()?, &format!("{name}.@elem"), inside)?),
        Kind::Struct => return Some(of_struct(ty, name, inside)),
    })
}

fn of_struct(ty: schema::Type<'_>, name: &str, inside: &mut HashSet<String>) -> Type {
    let definition = ty.name().unwrap_or_default().to_string();
    if !definition.is_empty() && !inside.insert(definition.clone()) {
        return Type::object(name, HashMap::new());
    }
    let mut fields = HashMap::new();
    for field in ty.fields() {
        let path = format!("{name}.{}", field.name());
        if let (Some(escaped), Some(ty)) = (escape(field.name()), of_type(field.ty(), &path, inside)) {
            fields.insert(escaped, Declared::of_type(ty));
        }
    }
    inside.remove(&definition);
    Type::object(name, fields)
}
