//! Expressions of admission: what they may name, and what their value must be (`plugin/cel` in apiserver).

use std::collections::HashMap;

use super::compile::checked;
pub(crate) use super::data::is_identifier;
use super::declared::Declared;
use super::on_large_stack;
use super::types::Type;

/// What an expression of admission must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A truth.
    Bool,
    /// A text.
    Text,
    /// A text or nothing.
    TextOrNull,
    /// Whatever it gives.
    Anything,
}

/// What expressions of one policy may name beside the request and its objects.
#[derive(Default)]
pub(crate) struct Scope {
    /// Whether there are parameters.
    pub(crate) has_params: bool,
    /// Whether earlier variables may be named, and their types.
    variables: Option<Vec<(String, Type)>>,
}

impl Scope {
    /// A scope without variables.
    pub(crate) fn without_variables(has_params: bool) -> Self {
        Self { has_params, variables: None }
    }

    /// A scope in which variables may be declared.
    pub(crate) fn with_variables(has_params: bool) -> Self {
        Self { has_params, variables: Some(Vec::new()) }
    }

    /// What is wrong with an expression, in the words of the reference's compiler.
    pub(crate) fn problem(&self, source: &str, wanted: Wanted) -> Option<String> {
        match self.compiled(source) {
            Err(problem) => Some(format!("compilation failed: {problem}")),
            Ok(found) => mismatch(&found, wanted),
        }
    }

    /// Adds a variable for the expressions that follow.
    ///
    /// # Errors
    /// What is wrong with its expression.
    pub(crate) fn declare(&mut self, name: &str, source: &str) -> Option<String> {
        let (found, problem) = match self.compiled(source) {
            Ok(found) => (found.unwrap_or(Type::Dyn), None),
            Err(problem) => (Type::Dyn, Some(format!("compilation failed: {problem}"))),
        };
        self.variables.get_or_insert_default().push((name.to_string(), found));
        problem
    }

    /// The type of an expression; none where it uses what the checker does not know.
    fn compiled(&self, source: &str) -> Result<Option<Type>, String> {
        // The authoriser and the types of patches are libraries that the checker has no declarations of.
        let unknown = ["authorizer", "JSONPatch", "Object", "jsonpatch"];
        if unknown.iter().any(|word| source.contains(word)) {
            let parsed = on_large_stack(|| super::compile::parse(source).map(|_| ()));
            return parsed.unwrap_or(Ok(())).map(|()| None);
        }
        let mut names: Vec<(&str, Type)> = Vec::new();
        for name in ["object", "oldObject", "request", "namespaceObject"] {
            names.push((name, Type::Dyn));
        }
        if self.has_params {
            names.push(("params", Type::Dyn));
        }
        if let Some(variables) = &self.variables {
            names.push(("variables", composed(variables)));
        }
        let found = on_large_stack(|| checked(source, &names).map(|compiled| compiled.output));
        found.unwrap_or(Ok(Type::Dyn)).map(Some)
    }
}

/// The variables declared so far, as one object.
fn composed(variables: &[(String, Type)]) -> Type {
    let fields: HashMap<String, Declared> =
        variables.iter().map(|(name, ty)| (name.clone(), Declared::measured(ty.clone(), 0, None))).collect();
    Type::object("kubernetes.variables", fields)
}

fn mismatch(found: &Option<Type>, wanted: Wanted) -> Option<String> {
    let found = found.as_ref()?;
    let (fits, what) = match wanted {
        Wanted::Bool => (*found == Type::Bool, "bool"),
        Wanted::Text => (*found == Type::String, "string"),
        Wanted::TextOrNull => (matches!(found, Type::String | Type::Null), "one of [string null_type]"),
        Wanted::Anything => (true, ""),
    };
    (!fits).then(|| format!("must evaluate to {what} but got {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scope: &Scope, source: &str, wanted: Wanted, expected: Option<&str>) {
        assert_eq!(scope.problem(source, wanted).as_deref(), expected, "{source}");
    }

    #[test]
    fn expressions_have_the_wanted_type() {
        let mut scope = Scope::with_variables(false);
        check(&scope, "object.spec.replicas > 1", Wanted::Bool, None);
        check(&scope, "1", Wanted::Bool, Some("must evaluate to bool but got int"));
        check(&scope, "object.x", Wanted::Bool, Some("must evaluate to bool but got dyn"));
        check(&scope, "1", Wanted::TextOrNull, Some("must evaluate to one of [string null_type] but got int"));
        check(&scope, "authorizer.group('').resource('x').check('get').allowed()", Wanted::Bool, None);
        let undeclared = "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n \
                          | nope\n | ^";
        check(&scope, "nope", Wanted::Bool, Some(undeclared));
        assert_eq!(scope.declare("v", "1"), None);
        check(&scope, "variables.v == 1", Wanted::Bool, None);
        let undefined = "compilation failed: ERROR: <input>:1:10: undefined field 'b'\n | variables.b\n | .........^";
        check(&scope, "variables.b", Wanted::Bool, Some(undefined));
        check(
            &Scope::default(),
            "params.x == 1",
            Wanted::Bool,
            Some(
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x \
             == 1\n | ^",
            ),
        );
    }
}
