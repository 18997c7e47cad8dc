//! A type with the bounds of its values: what the checker knows of a variable, and what the estimate of the cost goes by.

use std::sync::Arc;

use super::types::Type;

/// The largest request (`MaxRequestSizeBytes`), which bounds what has no bound of its own.
pub(crate) const REQUEST_BYTES_MAX: i64 = 3 * 1024 * 1024;

/// A type with the bounds of its values.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) ty: Type,
    /// Most characters, items or pairs; zero for what has none.
    pub(super) elements_max: u64,
    /// Fewest bytes of a value in JSON.
    pub(crate) bytes_min: i64,
    /// What items or values are.
    pub(super) element: Option<Arc<Declared>>,
}

impl Declared {
    /// A type without parts, whose values have so many elements at most and so many bytes of JSON at least.
    pub(crate) fn simple(ty: Type, elements_max: i64, bytes_min: i64) -> Self {
        Self { ty, elements_max: elements_max.max(0) as u64, bytes_min, element: None }
    }

    /// The same type with what its items or values are.
    pub(crate) fn of(self, element: Declared) -> Self {
        Self { element: Some(Arc::new(element)), ..self }
    }

    /// A type of whose values nothing else is known.
    pub(crate) fn of_type(ty: Type) -> Self {
        Self::measured(ty, 0, None)
    }

    /// A type whose values are of known size.
    pub(super) fn measured(ty: Type, elements: usize, element: Option<Declared>) -> Self {
        Self { ty, elements_max: elements as u64, bytes_min: 0, element: element.map(Arc::new) }
    }

    /// How many values of the type a request can hold at most.
    pub(crate) fn cardinality(&self) -> u64 {
        (REQUEST_BYTES_MAX / (self.bytes_min + 1)) as u64
    }

    /// What is found at a path below the type. `@keys` are texts without bounds.
    pub(super) fn at(&self, path: &[Arc<str>]) -> Option<u64> {
        let mut here = self;
        for (i, name) in path.iter().enumerate() {
            here = match (&**name, &here.ty) {
                ("@items" | "@values", _) => here.element.as_deref()?,
                ("@keys", Type::Map(..)) => return (i + 1 == path.len()).then_some(0),
                (name, Type::Object(object)) => object.field(name)?,
                _ => return None,
            };
        }
        Some(here.elements_max)
    }
}
