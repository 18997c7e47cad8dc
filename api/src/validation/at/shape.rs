//! The type of a value, as far as it is known.

#[cfg(debug_assertions)]
pub(super) use checked::Shape;
#[cfg(not(debug_assertions))]
pub(super) use unchecked::Shape;

#[cfg(debug_assertions)]
mod checked {
    use crate::Object;
    use crate::field::Path;
    use crate::schema::{Kind, Schema, Type};

    /// The type of a value, if it is known.
    #[derive(Debug, Clone, Copy, Default)]
    pub(in crate::validation::at) struct Shape(Option<Type<'static>>);

    impl Shape {
        pub(in crate::validation::at) fn of_object(object: &Object) -> Self {
            let (group, version) = object.api_version().rsplit_once('/').unwrap_or(("", object.api_version()));
            Self(Schema::builtin_type(group, version, object.kind()))
        }

        pub(in crate::validation::at) fn of_definition(name: &str) -> Self {
            let found = Schema::builtin_definition(name);
            assert!(found.is_some(), "there is no definition {name}");
            Self(found)
        }

        /// The type of a field.
        ///
        /// # Panics
        /// If the type is known and has no such field.
        #[track_caller]
        pub(in crate::validation::at) fn field(self, name: &str, path: &Path) -> Self {
            let Some(ty) = self.0 else { return Self(None) };
            let Some(field) = ty.field(name) else {
                panic!("{} has no field {name:?}, which is read at {path}", ty.name().unwrap_or("what is no struct"));
            };
            let ty = field.ty();
            Self((!matches!(ty.kind(), Kind::Any | Kind::Raw | Kind::Fields)).then_some(ty))
        }

        /// Tells the test of names that the caller's place was reached, if the type is known there.
        #[cfg_attr(test, track_caller)]
        pub(in crate::validation::at) fn is_reached(self) {
            #[cfg(test)]
            if self.0.is_some() {
                super::super::places::reached(std::panic::Location::caller());
            }
        }

        /// The type of the items of a list or the values of a map.
        pub(in crate::validation::at) fn elem(self) -> Self {
            Self(self.0.and_then(Type::elem))
        }
    }
}

#[cfg(not(debug_assertions))]
mod unchecked {
    use crate::Object;
    use crate::field::Path;

    /// Nothing: types are looked at where assertions are compiled in.
    #[derive(Debug, Clone, Copy, Default)]
    pub(in crate::validation::at) struct Shape;

    impl Shape {
        pub(in crate::validation::at) fn of_object(_: &Object) -> Self {
            Self
        }

        pub(in crate::validation::at) fn of_definition(_: &str) -> Self {
            Self
        }

        pub(in crate::validation::at) fn field(self, _: &str, _: &Path) -> Self {
            Self
        }

        pub(in crate::validation::at) fn elem(self) -> Self {
            Self
        }

        pub(in crate::validation::at) fn is_reached(self) {}
    }
}
