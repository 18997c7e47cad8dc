//! The types of CEL, when one can stand for another, and what type variables stand for.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::data::RESERVED;
use super::declared::Declared;

/// A type of CEL.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Null,
    Duration,
    Timestamp,
    Dyn,
    Error,
    List(Arc<Type>),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// The type of types; with the type that it is, if that is known.
    Of(Option<Arc<Type>>),
    /// A struct of the schema.
    Object(Object),
    /// A type of the libraries, such as `kubernetes.Quantity`.
    Library(&'static str),
    /// A type variable.
    Var(Arc<str>),
}

/// A struct of the schema: two of the same name are the same.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(super) name: Arc<str>,
    pub(super) fields: Arc<HashMap<String, Declared>>,
}

impl Object {
    /// All fields, by their escaped names.
    pub(crate) fn all_fields(&self) -> HashMap<String, Declared> {
        (*self.fields).clone()
    }

    /// A field by its escaped name. Keywords that may stand after a dot need not be escaped.
    pub(super) fn field(&self, name: &str) -> Option<&Declared> {
        let keyword = || RESERVED.contains(&name).then(|| self.fields.get(&format!("__{name}__"))).flatten();
        self.fields.get(name).or_else(keyword)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Null => "null",
            Type::Duration => "duration",
            Type::Timestamp => "timestamp",
            Type::Dyn => "dyn",
            Type::Error => "!error!",
            Type::Of(None) => "type",
            Type::Library(name) => name,
            Type::Object(object) => &object.name,
            Type::Var(name) => name,
            Type::List(item) => return write!(f, "list({item})"),
            Type::Map(key, value) => return write!(f, "map({key}, {value})"),
            Type::Optional(inner) => return write!(f, "optional_type({inner})"),
            Type::Of(Some(inner)) => return write!(f, "type({inner})"),
        })
    }
}

impl Type {
    pub(crate) fn list(item: Type) -> Type {
        Type::List(Arc::new(item))
    }

    pub(crate) fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// A struct with fields by their escaped names.
    pub(crate) fn object(name: &str, fields: HashMap<String, Declared>) -> Type {
        Type::Object(Object { name: name.into(), fields: Arc::new(fields) })
    }

    pub(crate) fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// The type inside an optional one, and whether it was one.
    pub(super) fn unwrapped(&self) -> (&Type, bool) {
        match self {
            Type::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }

    pub(super) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Error)
    }

    /// Whether values of the type have a fixed size.
    pub(super) fn is_scalar(&self) -> bool {
        match self {
            Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
            Type::Optional(inner) => inner.is_scalar(),
            _ => false,
        }
    }

    fn takes_null(&self) -> bool {
        matches!(
            self,
            Type::Object(_) | Type::Library(_) | Type::Optional(_) | Type::Duration | Type::Timestamp | Type::Null
        )
    }

    fn parameters(&self) -> Vec<&Type> {
        match self {
            Type::List(inner) | Type::Optional(inner) | Type::Of(Some(inner)) => vec![inner],
            Type::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    fn same_constructor(&self, other: &Type) -> bool {
        matches!(
            (self, other),
            (Type::List(_), Type::List(_)) | (Type::Map(..), Type::Map(..)) | (Type::Optional(_), Type::Optional(_))
        )
    }

    /// Replaces type variables by what `f` gives for them.
    pub(super) fn replace(&self, f: &mut impl FnMut(&Arc<str>) -> Option<Type>) -> Type {
        match self {
            Type::Var(name) => f(name).unwrap_or_else(|| self.clone()),
            Type::List(item) => Type::list(item.replace(f)),
            Type::Optional(inner) => Type::optional(inner.replace(f)),
            Type::Of(Some(inner)) => Type::Of(Some(Arc::new(inner.replace(f)))),
            Type::Map(key, value) => {
                let key = key.replace(f);
                Type::Map(Arc::new(key), Arc::new(value.replace(f)))
            }
            other => other.clone(),
        }
    }

    /// Whether the type is no more specific than another, `dyn` being the least specific.
    fn is_as_general(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Dyn | Type::Var(_), _) => true,
            (_, Type::Dyn | Type::Var(_)) => false,
            (Type::Of(_), Type::Of(_)) => true,
            _ if self.same_constructor(other) => {
                self.parameters().iter().zip(other.parameters()).all(|(a, b)| a.is_as_general(b))
            }
            _ => self == other,
        }
    }
}

/// The more general of two types that unify.
pub(super) fn most_general(one: &Type, other: &Type) -> Type {
    if one.is_as_general(other) { one.clone() } else { other.clone() }
}

/// What type variables stand for.
#[derive(Clone, Default)]
pub(super) struct Bindings(HashMap<Arc<str>, Type>);

impl Bindings {
    /// The type with its bound variables replaced; unbound ones become `dyn` if `free_is_dyn`.
    pub(super) fn resolve(&self, ty: &Type, free_is_dyn: bool) -> Type {
        ty.replace(&mut |name| match self.0.get(name) {
            Some(bound) => Some(self.resolve(bound, free_is_dyn)),
            None => free_is_dyn.then_some(Type::Dyn),
        })
    }

    /// Whether values of one type can stand where another is wanted. Binds variables only if so.
    pub(super) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    /// The same for a list of types.
    pub(super) fn assign_all(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        let before = self.0.clone();
        let fits = from.iter().zip(to).all(|(from, to)| self.unify(from, to));
        if !fits {
            self.0 = before;
        }
        fits
    }

    fn unify(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Var(name) = to {
            match self.bind(name, from) {
                Bound::Fits => return true,
                Bound::Conflicts => return false,
                Bound::Recursive => {}
            }
        }
        if let Type::Var(name) = from {
            return matches!(self.bind(name, to), Bound::Fits);
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        if *from == Type::Null {
            return to.takes_null();
        }
        if *to == Type::Null {
            return from.takes_null();
        }
        match (from, to) {
            (Type::Of(_), Type::Of(_)) => true,
            _ if from.same_constructor(to) => {
                from.parameters().into_iter().zip(to.parameters()).all(|(a, b)| self.unify(a, b))
            }
            _ => from == to,
        }
    }

    fn bind(&mut self, name: &Arc<str>, ty: &Type) -> Bound {
        if matches!(ty, Type::Var(other) if other == name) {
            return Bound::Fits;
        }
        match self.0.get(name).cloned() {
            Some(bound) if bound == *ty => Bound::Fits,
            Some(bound) => {
                if !self.unify(ty, &bound) {
                    return Bound::Conflicts;
                }
                let general = most_general(ty, &bound);
                if !self.occurs(name, &general) {
                    self.0.insert(name.clone(), general);
                }
                Bound::Fits
            }
            None if self.occurs(name, ty) => Bound::Recursive,
            None => {
                self.0.insert(name.clone(), ty.clone());
                Bound::Fits
            }
        }
    }

    fn occurs(&self, name: &Arc<str>, within: &Type) -> bool {
        match within {
            Type::Var(other) => other == name || self.0.get(other).is_some_and(|bound| self.occurs(name, bound)),
            other => other.parameters().iter().any(|p| self.occurs(name, p)),
        }
    }
}

enum Bound {
    Fits,
    Conflicts,
    Recursive,
}
