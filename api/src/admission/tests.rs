//! Policies over requests, as tables.

use serde_json::{Value, json};

use super::*;
use crate::UserInfo;
use crate::schema::Schema;

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn deployment() -> Object {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "ns", "labels": {"app": "x", "a.b/c-d": "y"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "c", "image": "registry/x:1"}]}}}
    }))
}

/// What is shown of one request by every way of evaluating: each must say the same.
fn everywhere<T: PartialEq + std::fmt::Debug>(evaluate: impl Fn(&Subject<'_>, Effort) -> Result<T, Unfinished>) -> T {
    let (new, old) = (deployment(), object(json!({"spec": {"replicas": 1}})));
    let namespace = object(json!({"metadata": {"name": "ns", "labels": {"env": "prod"}, "managedFields": []}}));
    let user = UserInfo::new("alice", &["devs"]);
    let kind = Kind { group: "apps".into(), version: "v1".into(), kind: "Deployment".into() };
    let request = Request {
        request_kind: kind.clone(),
        kind,
        name: "d".into(),
        namespace: "ns".into(),
        operation: "UPDATE",
        user: Some(std::borrow::Cow::Borrowed(&user)),
        options: json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1"}),
        ..Request::default()
    };
    let about = ResourceQuestion {
        group: "apps".into(),
        resource: "deployments".into(),
        namespace: "ns".into(),
        name: "d".into(),
        ..ResourceQuestion::default()
    };
    let reading = Reading::all();
    let subject = Subject::new(&request, &Checks::default(), about)
        .with_objects(Some(&new), Some(&old), &reading)
        .with_namespace(Some(&namespace));
    for _ in 0..8 {
        let found = match evaluate(&subject, Effort::Light) {
            Err(Unfinished::Heavy) => evaluate(&subject, Effort::Full),
            found => found,
        };
        match found {
            Ok(found) => {
                assert_eq!(evaluate(&subject, Effort::Full).as_ref(), Ok(&found));
                return found;
            }
            Err(Unfinished::Asks) => {
                for question in subject.checks().take_open() {
                    let answer = answer(&question);
                    subject.checks().answer(question, answer);
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("it asks on and on")
}

fn answer(question: &Question) -> Answer {
    match &question.about {
        About::Path(path) if path == "/broken" => Answer { error: Some("no webhook".into()), ..Answer::default() },
        About::Path(path) => Answer { allowed: path == "/ok", reason: format!("path {path}"), error: None },
        About::Resource(about) => Answer {
            allowed: about.resource == "deployments" && about.name == "d" && question.service_account.is_none(),
            reason: format!("{}/{} {} {:?}", about.group, about.subresource, question.verb, question.service_account),
            error: None,
        },
    }
}

pub(super) fn verdict(spec: Value, params: Option<Value>) -> Verdict {
    let policy = ValidatingPolicy::compile(&object(json!({"spec": spec})));
    let params = params.map(object);
    everywhere(|subject, effort| policy.validate(subject, params.as_ref(), effort))
}

/// What one validation says: `ok`, or why it refuses.
fn said(expression: &str) -> String {
    let spec = json!({"paramKind": {}, "validations": [{"expression": expression}],
    "variables": [
        {"name": "n", "expression": "object.spec.replicas"},
        {"name": "twice", "expression": "variables.n * 2"},
        {"name": "bad", "expression": "object.nope"},
        {"name": "typo", "expression": "nope("},
        {"name": "may", "expression": "authorizer.path('/ok').check('get').allowed()"},
    ]});
    let mut found = verdict(spec, Some(json!({"data": {"max": 5}})));
    assert_eq!(found.decisions.len(), 1);
    let decision = found.decisions.remove(0);
    match decision.evaluation {
        Evaluation::Admit => "ok".into(),
        Evaluation::Deny => "no".into(),
        Evaluation::Error => decision.message,
    }
}

#[test]
fn expressions_see_the_request() {
    for (expression, expected) in [
        ("object.spec.replicas == 3 && oldObject.spec.replicas == 1", "ok"),
        ("object.metadata.labels['a.b/c-d'] == 'y' && object.metadata.namespace == 'ns'", "ok"),
        ("object.spec.replicas > 5", "no"),
        ("object.spec.template.spec.containers.all(c, c.image.startsWith('registry/'))", "ok"),
        ("object.?spec.?nothing.orValue(7) == 7", "ok"),
        ("object.metadata.name.matches('^[a-d]$') && !request.name.matches('x') && matches('aab', 'a+b')", "ok"),
        ("['xa', 'xb'].all(v, v.matches('^x') && v.matches('^' + 'x'))", "ok"),
        ("has(object.spec) && !has(object.status) && has(object.metadata.labels.app)", "ok"),
        ("request.operation == 'UPDATE' && request.userInfo.username == 'alice'", "ok"),
        ("'devs' in request.userInfo.groups && request.kind.kind == 'Deployment'", "ok"),
        ("request.options.kind == 'UpdateOptions' && request.dryRun == false", "ok"),
        ("namespaceObject.metadata.labels.env == 'prod'", "ok"),
        ("params.data.max == 5", "ok"),
        ("variables.twice == 6 && variables.n == 3", "ok"),
        ("variables.may", "ok"),
        ("object != oldObject && object == object", "ok"),
        ("size(object.metadata.labels) == 2 && 'app' in object.metadata.labels", "ok"),
        ("object.metadata.labels.exists(k, object.metadata.labels[k] == 'y')", "ok"),
        ("object.spec.template.spec.containers.map(c, c.name).filter(n, n == 'c').size() == 1", "ok"),
        ("cel.bind(x, 1, x == 1)", "expression 'cel.bind(x, 1, x == 1)' resulted in error"),
    ] {
        if expected.starts_with("expression") {
            assert!(said(expression).starts_with("compilation error: compilation failed: "), "{expression}");
            continue;
        }
        assert_eq!(said(expression), expected, "{expression}");
    }
}

#[test]
fn errors_are_told_in_the_words_of_the_reference() {
    for (expression, expected) in [
        ("object.nope == 1", "no such key: nope"),
        ("object.spec.nope.deeper == 1", "no such key: nope"),
        ("object.spec.replicas == 3 && object.nope == 1", "no such key: nope"),
        ("object.spec.replicas / 0 == 1", "division by zero"),
        ("object.spec.replicas + 9223372036854775807 == 1", "integer overflow"),
        ("object.spec.template.spec.containers[4].name == 'x'", "index out of bounds: 4"),
        ("object.spec.replicas == 'x' || object.spec.replicas < 'x'", "no such overload"),
        ("object.metadata.name.x == 1", "no such key: x"),
        ("object.metadata.name.isSorted()", "no such overload: isSorted(string)"),
        ("string(object.metadata) == 'x'", "no such overload: string(map)"),
        ("int(object.metadata.name) == 1", "type conversion error from 'string' to 'int'"),
        (
            "timestamp(object.metadata.name) == timestamp('2020-01-01T00:00:00Z')",
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        ("'a'.matches('(' + object.metadata.name)", "error parsing regexp: missing closing ): `(d`"),
        ("'a'.find('(' + object.metadata.name) == ''", "Illegal regex: error parsing regexp: missing closing ): `(d`"),
        (
            "'%d'.format([object.metadata.name]) == ''",
            "error during formatting: decimal clause can only be used on integers, was given string",
        ),
        (
            "ip(object.metadata.name).family() == 4",
            "IP Address \"d\" parse error during conversion from string: ParseAddr(\"d\"): unable to parse IP",
        ),
        ("semver(object.metadata.name).major() == 4", "No Major.Minor.Patch elements found"),
        ("object.?nope.value() == 'y'", "optional.none() dereference"),
        ("variables.bad == 1", "composited variable \"bad\" fails to evaluate: no such key: nope"),
        ("authorizer.path(' ').check('get').allowed()", "path must not be empty"),
        ("authorizer.group('').resource('').check('get').allowed()", "resource must not be empty"),
        ("authorizer.serviceAccount('ns', 'A').path('/ok').check('get').allowed()", "Invalid service account name"),
    ] {
        let expected = format!("expression '{expression}' resulted in error: {expected}");
        assert_eq!(said(expression), expected, "{expression}");
    }
    let typo = said("variables.typo == 1");
    let begins = "expression 'variables.typo == 1' resulted in error: composited variable \"typo\" fails to compile: \
                  compilation failed: ERROR: <input>:1:6: ";
    assert!(typo.starts_with(begins), "{typo}");
    assert_eq!(
        said("object.nope == 1 || object.spec.replicas == 3"),
        "ok",
        "an error does not count if the other decides"
    );
}

#[test]
fn the_authorisers_are_asked_in_between() {
    for (expression, expected) in [
        ("authorizer.path('/ok').check('get').allowed() && !authorizer.path('/no').check('get').allowed()", "ok"),
        ("authorizer.path('/no').check('get').reason() == 'path /no'", "ok"),
        ("authorizer.path('/broken').check('get').errored()", "ok"),
        ("authorizer.path('/broken').check('get').error() == 'no webhook'", "ok"),
        ("authorizer.requestResource.check('update').allowed()", "ok"),
        ("authorizer.requestResource.subresource('status').check('get').reason() == 'apps/status get None'", "ok"),
        ("authorizer.group('g').resource('r').namespace('n').name('m').check('x').allowed()", "no"),
        (
            "authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').name('d').check('x').allowed()",
            "no",
        ),
        // The second question comes up after the first is answered.
        ("authorizer.path('/ok').check('get').allowed() ? authorizer.path('/no').check('x').allowed() : true", "no"),
    ] {
        assert_eq!(said(expression), expected, "{expression}");
    }
    let three = "authorizer.path('/no').check('a').allowed() || authorizer.path('/no').check('b').allowed() || \
                 authorizer.path('/no').check('c').allowed()";
    let expected = format!("expression '{three}' resulted in error: operation cancelled: actual cost limit exceeded");
    assert_eq!(said(three), expected, "two fit into one expression");
}

#[test]
fn costs_are_bounded() {
    let numbers = "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
    let all = |depth: usize| {
        let open: String = (0..depth).map(|i| format!("{numbers}.all(x{i}, ")).collect();
        format!("{open}true{}", ")".repeat(depth))
    };
    assert_eq!(said(&all(3)), "ok");
    let error = said(&all(6));
    assert!(error.ends_with("resulted in error: operation cancelled: actual cost limit exceeded"), "{error}");
    // Each fits, all together do not.
    let asks = json!({"expression": "['a', 'b'].all(v, authorizer.path('/ok').check(v).allowed())"});
    assert_eq!(verdict(json!({"validations": vec![asks.clone(); 14]}), None).decisions.len(), 14);
    let found = verdict(json!({"validations": vec![asks; 15]}), None);
    let out = Decision {
        denies: true,
        evaluation: Evaluation::Error,
        message: "validation failed due to running out of cost budget, no further validation rules will be run".into(),
        reason: String::new(),
    };
    assert_eq!(found.decisions, [out]);
}

#[test]
fn a_validation_has_a_message_and_a_reason() {
    let check = |validation: Value, expected: &str, reason: &str| {
        let found = verdict(json!({"validations": [validation]}), None);
        assert_eq!((found.decisions[0].message.as_str(), found.decisions[0].reason.as_str()), (expected, reason));
        assert!(found.decisions[0].denies);
    };
    check(json!({"expression": " false "}), "failed expression: false", "Invalid");
    check(json!({"expression": "false", "message": " no "}), "no", "Invalid");
    let both = json!({"expression": "false", "message": "no", "messageExpression": "'n is ' + string(object.spec.replicas)",
        "reason": "Forbidden"});
    check(both, "n is 3", "Forbidden");
    for unusable in ["' '", "'a\\nb'", "object.nope", "'x'.replace('x', 'a') + object.nope"] {
        check(json!({"expression": "false", "message": "no", "messageExpression": unusable}), "no", "Invalid");
    }
    // Messages do not ask.
    let asks = json!({"expression": "false", "messageExpression": "variables.why"});
    let variables = json!([{"name": "why", "expression": "authorizer.path('/no').check('get').reason()"}]);
    let found = verdict(json!({"validations": [asks], "variables": variables}), None);
    assert_eq!(found.decisions[0].message, "failed expression: false");
}

#[test]
fn failures_are_ignored_if_the_policy_says_so() {
    let spec = |policy: &str| {
        json!({"failurePolicy": policy, "validations": [{"expression": "object.nope"}, {"expression": "true"}],
            "auditAnnotations": [{"key": "a", "valueExpression": "object.nope"}]})
    };
    let found = verdict(spec("Ignore"), None);
    assert_eq!(found.decisions.iter().map(|d| d.denies).collect::<Vec<_>>(), [false, false]);
    assert_eq!(found.annotations, []);
    let found = verdict(spec("Fail"), None);
    assert_eq!(found.decisions.iter().map(|d| d.denies).collect::<Vec<_>>(), [true, false]);
    let why = "compilation error: must evaluate to one of [string null_type] but got dyn";
    assert_eq!(found.annotations, [Annotation::Error(why.into())]);
}

#[test]
fn audit_annotations_are_published() {
    let annotation = |key: &str, value: &str| json!({"key": key, "valueExpression": value});
    let annotations = [
        annotation("a", "' x ' + string(object.spec.replicas)"),
        annotation("b", "null"),
        annotation("c", "' '"),
        annotation("d", "request.operation"),
    ];
    let found = verdict(json!({"auditAnnotations": annotations}), None);
    let published = |key: &str, value: &str| Annotation::Publish(key.into(), value.into());
    assert_eq!(found.annotations, [published("a", "x 3"), published("d", "UPDATE")]);
}

#[test]
fn conditions_decide_whether_a_policy_is_about_a_request() {
    let found = |conditions: Value, policy: &str| {
        let conditions = MatchConditions::of_webhook(&conditions, policy == "Fail");
        everywhere(|subject, effort| conditions.matches(subject, effort))
    };
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    let (yes, no, bad) = (condition("y", "true"), condition("n", "false"), condition("b", "object.x == 1"));
    let outcome = |list: &[&Value], policy: &str| found(json!(list), policy).outcome;
    assert_eq!(outcome(&[], "Fail"), Matched::Yes);
    assert_eq!(outcome(&[&yes, &yes], "Fail"), Matched::Yes);
    assert_eq!(outcome(&[&bad, &yes, &no], "Fail"), Matched::No("n".into()), "what is false decides");
    let why = "expression 'object.x == 1' resulted in error: no such key: x";
    assert_eq!(outcome(&[&yes, &bad, &bad], "Fail"), Matched::Failed(why.into()));
    assert_eq!(outcome(&[&yes, &bad], "Ignore"), Matched::No(String::new()));
    assert_eq!(found(json!([bad, yes]), "Fail").errors, 1);
    // They have no namespace.
    let namespace = condition("ns", "namespaceObject == null");
    assert_eq!(outcome(&[&namespace], "Fail"), Matched::Yes);
    // With variables of a policy.
    let spec = json!({"variables": [{"name": "big", "expression": "object.spec.replicas > 2"}],
        "matchConditions": [condition("big", "!variables.big")], "validations": [{"expression": "false"}]});
    assert_eq!(verdict(spec, None), Verdict::default());
}

fn mutated(patch_type: &str, expression: &str) -> Result<Value, String> {
    let field = if patch_type == "JSONPatch" { "jsonPatch" } else { "applyConfiguration" };
    let spec = json!({"variables": [{"name": "n", "expression": "object.spec.replicas"}],
        "mutations": [{"patchType": patch_type, field: {"expression": expression}}]});
    let policy = MutatingPolicy::compile(&object(json!({"spec": spec})));
    let mutation = &policy.mutations()[0];
    match everywhere(|subject, effort| policy.mutate(mutation, subject, None, effort))? {
        Patch::Operations(operations) => Ok(operations),
        Patch::Configuration(configuration) => {
            let schema = Schema::of("apps", "v1", "Deployment").unwrap();
            Ok(merged(&schema, &deployment(), configuration)?.into_value())
        }
    }
}

#[test]
fn configurations_are_merged() {
    let found = mutated("ApplyConfiguration", "Object{spec: Object.spec{replicas: variables.n + 1}}").unwrap();
    assert_eq!((&found["spec"]["replicas"], &found["metadata"]["name"]), (&json!(4), &json!("d")));
    let sidecar = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: \
                   [Object.spec.template.spec.containers{name: 'c', image: 'y'}, \
                   Object.spec.template.spec.containers{name: 'side', image: 'z'}]}}}}";
    let found = mutated("ApplyConfiguration", sidecar).unwrap();
    let containers = &found["spec"]["template"]["spec"]["containers"];
    assert_eq!(*containers, json!([{"name": "c", "image": "y"}, {"name": "side", "image": "z"}]));
    let labels = "Object{metadata: Object.metadata{labels: {'a': 'b', ?'c': optional.none()}}}";
    let found = mutated("ApplyConfiguration", labels).unwrap();
    assert_eq!(found["metadata"]["labels"], json!({"app": "x", "a.b/c-d": "y", "a": "b"}));
    for (expression, expected) in [
        (
            "Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {'a': 'b'}}}}",
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
             .spec.selector",
        ),
        (
            "Object{spec: Object.spec{nope: 1}}",
            "error applying patch: failed to convert patch object to typed object: .spec.nope: field not declared in \
             schema",
        ),
        (
            "Object{spec: Object.wrong{replicas: 1}}",
            "type mismatch: unexpected type name \"Object.wrong\", expected \"Object.spec\", which matches field name \
             path from root Object type",
        ),
        ("Object{spec: Object.spec{replicas: object.nope}}", "no such key: nope"),
        ("object", "must evaluate to Object but got dyn"),
    ] {
        let found = mutated("ApplyConfiguration", expression).unwrap_err();
        assert!(found.ends_with(expected), "{expression}: {found}");
    }
}

#[test]
fn patches_are_lists_of_operations() {
    let expression = "[JSONPatch{op: 'test', path: '/spec/replicas', value: variables.n}, \
                      JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~c'), value: 'x'}, \
                      JSONPatch{op: 'move', from: '/a', path: '/b'}, \
                      JSONPatch{op: 'add', path: '/c', value: Object.spec{a: [1, 2.0, 'x'], b: {'k': null}}}]";
    let expected = json!([
        {"op": "test", "path": "/spec/replicas", "value": 3},
        {"op": "add", "path": "/metadata/labels/a~1b~0c", "value": "x"},
        {"op": "move", "path": "/b", "from": "/a"},
        {"op": "add", "path": "/c", "value": {"a": [1, 2, "x"], "b": {"k": null}}},
    ]);
    let found = mutated("JSONPatch", expression);
    // Lists have values of one type, as the checker has it.
    assert!(found.unwrap_err().contains("expected type 'int' but found 'double'"));
    let found = mutated("JSONPatch", &expression.replace("[1, 2.0, 'x']", "[dyn(1), dyn(2.0), dyn('x')]"));
    assert_eq!(found, Ok(expected));
    assert_eq!(mutated("JSONPatch", "object.spec.replicas > 1 ? [] : [JSONPatch{op: 'x'}]"), Ok(json!([])));
}

/// Nothing is slower than the size of what it reads, even where each step is counted.
#[test]
fn large_objects_do_not_multiply() {
    let entries: Value =
        (0..20_000).map(|i| (format!("k{i}"), json!("v".repeat(100)))).collect::<serde_json::Map<_, _>>().into();
    let large = object(json!({"data": entries}));
    let expression = vec!["size(object.data) > 1 && object.data.k1 != 'x'"; 20].join(" && ");
    let loops = "['a', 'b'].all(x, object.data.all(k, k != x))";
    let policy = ValidatingPolicy::compile(&object(
        json!({"spec": {"validations": [{"expression": expression}, {"expression": loops}]}}),
    ));
    let subject = Subject::default().with_objects(Some(&large), None, policy.reading());
    assert_eq!(policy.validate(&subject, None, Effort::Light), Err(Unfinished::Heavy));
    let verdict = policy.validate(&subject, None, Effort::Full).unwrap();
    assert_eq!(verdict.decisions.iter().map(|d| d.evaluation).collect::<Vec<_>>(), [Evaluation::Admit; 2]);
}
