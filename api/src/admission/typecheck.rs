//! Whether the expressions of a ValidatingAdmissionPolicy fit the types of what it is about (`typechecking.go` in apiserver's
//! `policy/validating`). This only warns: expressions run over whatever there is.

mod types;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Kind, Resource, items, text};
use crate::Object;
use crate::cel::Type;
use crate::cel::admission::{TypedScope, as_variable};

/// The most kinds that a rule is checked against (`maxTypesToCheck`).
const KINDS_MAX: usize = 10;

/// What can be found out of the kinds of a cluster.
pub trait Kinds {
    /// The kind of a resource.
    fn kind_of(&self, resource: &Resource) -> Option<Kind>;

    /// The definition of the version of a custom kind, as `spec.versions[]` has it; none if it is built in, or not there.
    fn version_of(&self, kind: &Kind) -> Option<Value>;
}

/// The resources that a policy names, so far as its rules leave nothing open.
pub fn resources(policy: &Object) -> Vec<Vec<Resource>> {
    let rules = policy.at(&["spec", "matchConstraints", "resourceRules"]).and_then(Value::as_array);
    rules.into_iter().flatten().map(of_rule).collect()
}

/// The kind of a policy's parameters.
pub fn param_kind(policy: &Object) -> Option<Kind> {
    let kind = policy.at(&["spec", "paramKind"]).filter(|kind| !kind.is_null())?;
    let api_version = text(kind, "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Some(Kind { group: group.into(), version: version.into(), kind: text(kind, "kind").into() })
}

/// The resources of one rule, in order; none if it has a wildcard for groups or versions.
fn of_rule(rule: &Value) -> Vec<Resource> {
    let sorted = |name: &str| -> Vec<String> {
        let all = rule[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut all: Vec<String> = all.map(str::to_string).collect();
        all.sort();
        all
    };
    let has_wildcard = |names: &[String]| names.iter().any(|name| name.contains('*'));
    let (groups, versions) = (sorted("apiGroups"), sorted("apiVersions"));
    if has_wildcard(&groups) || has_wildcard(&versions) {
        return Vec::new();
    }
    let plain: Vec<String> = sorted("resources").into_iter().filter(|name| !name.contains(['*', '/'])).collect();
    let mut all = Vec::new();
    for group in &groups {
        for version in &versions {
            for resource in &plain {
                let (group, version, resource) = (group.clone(), version.clone(), resource.clone());
                all.push(Resource { group, version, resource });
            }
        }
    }
    all
}

/// The status of a policy: what its expressions are warned of, and the generation that was looked at.
pub fn status(policy: &Object, kinds: &dyn Kinds) -> Value {
    let warnings: Vec<Value> = check(policy, kinds)
        .into_iter()
        .map(|(field, warning)| json!({"fieldRef": field, "warning": warning}))
        .collect();
    let checked = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
    let generation = policy.at(&["metadata", "generation"]).cloned().unwrap_or_else(|| 0.into());
    json!({"observedGeneration": generation, "typeChecking": checked})
}

/// The fields with expressions that do not fit, and why.
pub fn check(policy: &Object, kinds: &dyn Kinds) -> Vec<(String, String)> {
    let mut found = BTreeSet::new();
    for rule in resources(policy) {
        let of_rule = rule.iter().filter_map(|resource| kinds.kind_of(resource));
        found.extend(of_rule.take(KINDS_MAX));
    }
    let typed = |kind: Kind| Some((types::of(&kind, kinds)?, kind));
    let objects: Vec<(Type, Kind)> = found.into_iter().filter_map(typed).collect();
    let params = param_kind(policy).map(|kind| types::of(&kind, kinds).unwrap_or(Type::Dyn));
    let mut warnings = Vec::new();
    for (index, validation) in items(policy, "validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let source = text(validation, field);
            if source.is_empty() && field == "messageExpression" {
                continue;
            }
            let wrong: Vec<String> = objects
                .iter()
                .filter_map(|(object, kind)| {
                    let why = problem(policy, source, object, params.as_ref())?;
                    Some(format!("{kind}: {why}\n"))
                })
                .collect();
            if !wrong.is_empty() {
                warnings.push((format!("spec.validations[{index}].{field}"), wrong.join("\n")));
            }
        }
    }
    warnings
}

/// What is wrong with an expression where the object has a type.
fn problem(policy: &Object, source: &str, object: &Type, params: Option<&Type>) -> Option<String> {
    let mut scope = TypedScope::new(object, params);
    for variable in items(policy, "variables") {
        let found = scope.compiled(text(variable, "expression")).map_or(Type::Dyn, |found| as_variable(&found));
        scope.declare(text(variable, "name"), found);
    }
    scope.compiled(source).err()
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    struct Known(Value);

    impl Kinds for Known {
        fn kind_of(&self, resource: &Resource) -> Option<Kind> {
            let Resource { group, version, resource } = resource;
            let builtin = Catalogue::builtin();
            let row = builtin.get(group, version, resource);
            let kind =
                row.map(|row| row.kind.clone()).or_else(|| (group == "example.com").then(|| "Crontab".into()))?;
            Some(Kind { group: group.clone(), version: version.clone(), kind })
        }

        fn version_of(&self, kind: &Kind) -> Option<Value> {
            (kind.group == "example.com").then(|| self.0.clone())
        }
    }

    fn warned(groups: &[&str], resources: &[&str], validation: Value, more: Value) -> Vec<(String, String)> {
        let rule = json!({"apiGroups": groups, "apiVersions": ["v1"], "resources": resources});
        let mut policy = json!({"spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [validation]}});
        policy["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let version = json!({"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"n": {"type": "integer"}, "any": {"x-kubernetes-int-or-string": true}}}}}}});
        check(&Object::from_value(policy).unwrap(), &Known(version))
    }

    fn check_one(groups: &[&str], resources: &[&str], expression: &str, expected: &str) {
        let found = warned(groups, resources, json!({"expression": expression}), json!({}));
        let warnings: Vec<&str> = found.iter().map(|(_, warning)| warning.as_str()).collect();
        assert_eq!(warnings.concat(), expected, "{expression}");
    }

    #[test]
    fn expressions_are_checked_against_the_kinds_of_rules() {
        let apps = |expression: &str, expected: &str| check_one(&["apps"], &["deployments"], expression, expected);
        apps("object.spec.replicas > 1 && object.metadata.labels['a'] == 'b'", "");
        apps("object.spec.template.spec.containers.all(c, c.image != '' && size(c.env) < 3)", "");
        apps("object.metadata.creationTimestamp < timestamp('2020-01-01T00:00:00Z')", "");
        apps("authorizer.path('/x').check('get').allowed() && request.operation == 'x'", "");
        apps(
            "object.spec.replicas > '1'",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, \
             string)'\n | object.spec.replicas > '1'\n | .....................^\n",
        );
        apps(
            "object.nope",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'nope'\n | object.nope\n | ......^\n",
        );
        // Quantities and the like have two types, and are seen by none.
        apps(
            "object.spec.strategy.rollingUpdate.maxSurge == 1",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:35: undefined field 'maxSurge'\n | \
             object.spec.strategy.rollingUpdate.maxSurge == 1\n | ..................................^\n",
        );
        check_one(&["*"], &["deployments"], "object.nope", "");
        check_one(&["apps"], &["deployments/scale", "*"], "object.nope", "");
        let two = "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'spec'\n | object.spec\n | ......^\n\n\
                   /v1, Kind=Secret: ERROR: <input>:1:7: undefined field 'spec'\n | object.spec\n | ......^\n";
        check_one(&[""], &["secrets", "configmaps"], "object.spec", two);
    }

    #[test]
    fn definitions_and_parameters_have_types_too() {
        let custom =
            |expression: &str, expected: &str| check_one(&["example.com"], &["crontabs"], expression, expected);
        custom("object.spec.n > 1 && object.spec.any == 1 && object.metadata.name == ''", "");
        custom(
            "object.spec.m > 1",
            "example.com/v1, Kind=Crontab: ERROR: <input>:1:12: undefined field 'm'\n | object.spec.m > 1\n | \
             ...........^\n",
        );
        let more = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "variables": [{"name": "n", "expression": "object.spec.replicas"}]});
        let validation =
            json!({"expression": "params.data['x'] == 'y' && variables.n == 'a'", "messageExpression": "params.x"});
        let found = warned(&["apps"], &["deployments"], validation, more);
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["spec.validations[0].expression", "spec.validations[0].messageExpression"]);
        assert!(found[0].1.contains("'(int, string)'") && found[1].1.contains("undefined field 'x'"), "{found:?}");
    }
}
