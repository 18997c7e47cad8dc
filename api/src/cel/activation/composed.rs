//! The variables of a policy as one value, for an interpreter that looks into it.

use cel::common::traits::Indexer;
use cel::common::types::Type;
use cel::common::value::{CowVal, Val};
use cel::{ExecutionError, Value};

use super::Scope;
use crate::cel::bound::missing;
use crate::cel::counted::Fault;

/// All variables of a policy, as the interpreter sees them where one of them has no value.
pub(super) struct Composed<'s>(pub(super) &'s Scope<'s>);

impl std::fmt::Debug for Composed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("variables")
    }
}

static VARIABLES: Type = Type::new_unspecified_type("kubernetes.variables");

impl Val for Composed<'_> {
    fn get_type(&self) -> &Type {
        &VARIABLES
    }

    fn cel_type() -> &'static Type {
        &VARIABLES
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(Self(self.0))
    }
}

impl Indexer for Composed<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = match Value::try_from(index) {
            Ok(Value::String(name)) => name,
            _ => return Err(missing(index)),
        };
        let place = self.0.of.place(&name, self.0.below).ok_or_else(|| missing(index))?;
        match self.0.of.held(place) {
            Ok(held) => Ok(CowVal::Borrowed(&*held.boxed)),
            Err(Fault::Failed(error)) => Err(error.clone()),
            Err(Fault::TooMuch) => Err(ExecutionError::function_error("variables", "the variable costs too much")),
        }
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}
