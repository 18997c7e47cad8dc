//! Expressions of admission: what they may name, and what their value must be (`plugin/cel` in apiserver).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::compile::{Compiled, checked_making};
pub(crate) use super::data::is_identifier;
use super::declared::Declared;
use super::made::{JSON_PATCH, OBJECT};
use super::on_large_stack;
use super::types::Type;

/// What an expression of admission must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A truth.
    Bool,
    /// A text. Such expressions may not ask the authoriser.
    Text,
    /// A text or nothing.
    TextOrNull,
    /// A configuration that is applied (`Object`).
    Configuration,
    /// Operations (a list of `JSONPatch`).
    JsonPatch,
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

/// The type of `request` (`BuildRequestType`).
static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let text = || Type::String;
    let kind = object("kubernetes.GroupVersionKind", [("group", text()), ("version", text()), ("kind", text())]);
    let resource =
        object("kubernetes.GroupVersionResource", [("group", text()), ("version", text()), ("resource", text())]);
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", text()),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user_info()),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
});

/// The type of `namespaceObject` (`BuildNamespaceType`).
static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let (text, texts) = (|| Type::String, || Type::map(Type::String, Type::String));
    let condition = object(
        "kubernetes.NamespaceCondition",
        [
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", Type::Timestamp),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", texts()),
            ("annotations", texts()),
            ("UID", text()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", text()),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = object("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::String))]);
    let status = object("kubernetes.NamespaceStatus", [("conditions", Type::list(condition)), ("phase", text())]);
    object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
});

/// The type of somebody who asks.
pub(crate) fn user_info() -> Type {
    let fields = [
        ("username", Type::String),
        ("uid", Type::String),
        ("groups", Type::list(Type::String)),
        ("extra", Type::map(Type::String, Type::list(Type::String))),
    ];
    object("kubernetes.UserInfo", fields)
}

/// A struct with fields.
pub(crate) fn object<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
    let declared = |(name, ty): (&str, Type)| (name.to_string(), Declared::measured(ty, 0, None));
    Type::object(name, fields.into_iter().map(declared).collect())
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
        match self.compiled(source, wanted) {
            Err(problem) => Some(format!("compilation failed: {problem}")),
            Ok(found) => mismatch(&found, wanted),
        }
    }

    /// Adds a variable for the expressions that follow.
    ///
    /// # Errors
    /// What is wrong with its expression.
    pub(crate) fn declare(&mut self, name: &str, source: &str) -> Option<String> {
        let (found, problem) = match self.compiled(source, Wanted::Anything) {
            Ok(found) => (found, None),
            Err(problem) => (Type::Dyn, Some(format!("compilation failed: {problem}"))),
        };
        self.variables.get_or_insert_default().push((name.to_string(), as_variable(&found)));
        problem
    }

    fn compiled(&self, source: &str, wanted: Wanted) -> Result<Type, String> {
        let mut names: Vec<(&str, Type)> = vec![
            ("object", Type::Dyn),
            ("oldObject", Type::Dyn),
            ("request", REQUEST.clone()),
            ("namespaceObject", NAMESPACE.clone()),
        ];
        if self.has_params {
            names.push(("params", Type::Dyn));
        }
        if wanted != Wanted::Text {
            names.extend(authorizer_types());
        }
        if let Some(variables) = &self.variables {
            names.push(("variables", composed(variables)));
        }
        let makes = matches!(wanted, Wanted::Configuration | Wanted::JsonPatch);
        compiled(source, &names, makes)
    }
}

/// The variables that ask the authorisers.
fn authorizer_types() -> [(&'static str, Type); 2] {
    [
        ("authorizer", Type::Library("kubernetes.authorization.Authorizer")),
        ("authorizer.requestResource", Type::Library("kubernetes.authorization.ResourceCheck")),
    ]
}

/// The type of an expression over variables, or what is wrong with it.
pub(crate) fn compiled(source: &str, names: &[(&str, Type)], makes: bool) -> Result<Type, String> {
    let output = |compiled: Compiled| compiled.output;
    let found = on_large_stack(|| checked_making(source, names, makes).map(output));
    found.unwrap_or_else(|| Err("the expression is too deep".into()))
}

/// What expressions may name where the object has a type (`buildEnvSet` of the reference's type checker).
pub(crate) struct TypedScope {
    names: Vec<(&'static str, Type)>,
    variables: Vec<(String, Type)>,
}

impl TypedScope {
    /// A scope for objects of a type; with parameters, if they have one.
    pub(crate) fn new(object: &Type, params: Option<&Type>) -> Self {
        let mut names = vec![
            ("object", object.clone()),
            ("oldObject", object.clone()),
            ("request", REQUEST.clone()),
            ("namespaceObject", NAMESPACE.clone()),
        ];
        names.extend(params.map(|params| ("params", params.clone())));
        let [authorizer, _] = authorizer_types();
        names.push(authorizer);
        Self { names, variables: Vec::new() }
    }

    /// Adds a variable for the expressions that follow.
    pub(crate) fn declare(&mut self, name: &str, ty: Type) {
        self.variables.push((name.to_string(), ty));
    }

    /// The type of an expression, or what is wrong with it.
    pub(crate) fn compiled(&self, source: &str) -> Result<Type, String> {
        let mut names = self.names.clone();
        names.push(("variables", composed(&self.variables)));
        compiled(source, &names, false)
    }
}

/// The type that a variable has for others (`convertCelTypeToDeclType`).
pub(crate) fn as_variable(found: &Type) -> Type {
    match found {
        Type::List(item) => Type::list(as_variable(item)),
        Type::Map(key, value) => Type::map(as_variable(key), as_variable(value)),
        Type::Object(_) | Type::Library(_) | Type::Optional(_) | Type::Of(_) | Type::Var(_) | Type::Error => Type::Dyn,
        scalar => scalar.clone(),
    }
}

/// The variables declared so far, as one object.
fn composed(variables: &[(String, Type)]) -> Type {
    let fields: HashMap<String, Declared> =
        variables.iter().map(|(name, ty)| (name.clone(), Declared::measured(ty.clone(), 0, None))).collect();
    Type::object("kubernetes.variables", fields)
}

fn mismatch(found: &Type, wanted: Wanted) -> Option<String> {
    let is_object = |ty: &Type, name: &str| matches!(ty, Type::Object(object) if *object.name == *name);
    let (fits, what) = match wanted {
        Wanted::Bool => (*found == Type::Bool, "bool"),
        Wanted::Text => (*found == Type::String, "string"),
        Wanted::TextOrNull => (matches!(found, Type::String | Type::Null), "one of [string null_type]"),
        Wanted::Configuration => (is_object(found, OBJECT), OBJECT),
        Wanted::JsonPatch => (matches!(found, Type::List(item) if is_object(item, JSON_PATCH)), "list(JSONPatch)"),
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
        check(&scope, "authorizer.requestResource.check('get').allowed()", Wanted::Bool, None);
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

    #[test]
    fn the_request_and_the_namespace_have_types() {
        let scope = Scope::default();
        check(&scope, "request.userInfo.groups.exists(g, g == request.name)", Wanted::Bool, None);
        check(&scope, "namespaceObject.metadata.labels.all(k, k != '')", Wanted::Bool, None);
        check(&scope, "request.options.dryRun == []", Wanted::Bool, None);
        let undefined = "compilation failed: ERROR: <input>:1:8: undefined field 'x'\n | request.x == 1\n | .......^";
        check(&scope, "request.x == 1", Wanted::Bool, Some(undefined));
    }

    #[test]
    fn messages_do_not_ask_the_authoriser() {
        let why = "compilation failed: ERROR: <input>:1:1: undeclared reference to 'authorizer' (in container '')\n | \
                   authorizer.path('/').check('get').reason()\n | ^";
        check(&Scope::default(), "authorizer.path('/').check('get').reason()", Wanted::Text, Some(why));
    }

    #[test]
    fn only_mutations_make_structs() {
        let scope = Scope::default();
        check(&scope, "Object{spec: Object.spec{replicas: 1}}", Wanted::Configuration, None);
        check(&scope, "[JSONPatch{op: 'add', path: '/a', value: Object.spec{a: 1}}]", Wanted::JsonPatch, None);
        check(&scope, "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c')}]", Wanted::JsonPatch, None);
        check(&scope, "[1]", Wanted::JsonPatch, Some("must evaluate to list(JSONPatch) but got list(int)"));
        check(&scope, "Object.spec{}", Wanted::Configuration, Some("must evaluate to Object but got Object.spec"));
        let why = "compilation failed: ERROR: <input>:1:7: undeclared reference to 'Object' (in container '')\n | \
                   Object{} == 1\n | ......^";
        check(&scope, "Object{} == 1", Wanted::Bool, Some(why));
        let why = "compilation failed: ERROR: <input>:1:14: expected type of field 'op' is 'string' but provided type \
                   is 'int'\n | [JSONPatch{op: 1}]\n | .............^";
        check(&scope, "[JSONPatch{op: 1}]", Wanted::JsonPatch, Some(why));
    }
}
