//! ValidatingAdmissionPolicy.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::*;

fn denied(policy: &str, object: &str, why: &str) -> String {
    format!("{object} is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}")
}

/// `ValidatingAdmissionPolicy should validate against a Deployment`
#[tokio::test]
async fn a_deployment_is_validated_at_once() {
    let server = Server::new().await;
    let spec = json!({"matchConstraints": about_deployments(), "validations": [
        {"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
        {"expression": "namespaceObject.metadata.name == 'a'", "message": "Internal error! Other namespace should not be allowed."},
    ]});
    assert_eq!(deploy(&server, "before", 1).await.0, 201);
    validate(&server, "p", spec, json!({})).await;
    let refused = deploy(&server, "marker", 1).await;
    // The message expression adds a number to a text, and so says nothing.
    let why = denied("p", "deployments.apps \"marker\"", "failed expression: object.spec.replicas > 1");
    assert_eq!(told(&refused), (422, "Invalid", why.as_str()));
    let details = json!({"name": "marker", "group": "apps", "kind": "deployments",
        "causes": [{"message": why.split_once(": ").unwrap().1}]});
    assert_eq!(refused.1["details"], details);
    assert_eq!(deploy(&server, "replicated", 2).await.0, 201);
    let sets = "/apis/apps/v1/namespaces/a/replicasets";
    assert_eq!(server.send("POST", sets, workload("ReplicaSet", "non-replicated", 1)).await.0, 201);
    let less = json!({"spec": {"replicas": 1}});
    let path = format!("{DEPLOYMENTS}/replicated");
    assert_eq!(told(&server.send("PATCH", &path, less.clone()).await).0, 422);
    let bindings = format!("{GROUP}/validatingadmissionpolicybindings/p");
    assert_eq!(server.send("DELETE", &bindings, Value::Null).await.0, 200);
    assert_eq!(server.send("PATCH", &path, less).await.0, 200, "without a binding it is in force nowhere");
}

/// `ValidatingAdmissionPolicy should allow expressions to refer variables`
#[tokio::test]
async fn expressions_refer_to_variables() {
    let server = Server::new().await;
    let spec = json!({"matchConstraints": about_deployments(),
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
        ],
        "validations": [{"expression": "variables.replicas > 1"}, {"expression": "variables.oddReplicas"}]});
    validate(&server, "p", spec, json!({})).await;
    assert_eq!(deploy(&server, "three", 3).await.0, 201);
    for (replicas, failed) in [(1, "variables.replicas > 1"), (2, "variables.oddReplicas")] {
        let why = denied("p", "deployments.apps \"d\"", &format!("failed expression: {failed}"));
        assert_eq!(told(&deploy(&server, "d", replicas).await).2, why);
    }
}

#[tokio::test]
async fn reasons_have_codes() {
    let server = Server::new().await;
    let validations: Vec<Value> = ["Invalid", "Forbidden", "RequestEntityTooLarge"]
        .iter()
        .map(|reason| json!({"expression": format!("object.data.want != '{reason}'"), "reason": reason, "message": "no"}))
        .collect();
    let spec = json!({"matchConstraints": about_config_maps(), "validations": validations});
    validate(&server, "p", spec, json!({})).await;
    for (reason, code) in [("Invalid", 422), ("Forbidden", 403), ("RequestEntityTooLarge", 413)] {
        let refused = make(&server, "c", json!({"want": reason})).await;
        assert_eq!(told(&refused), (code, reason, denied("p", "configmaps \"c\"", "no").as_str()));
    }
    // One that fails to be evaluated.
    let refused = make(&server, "c", json!({"other": ""})).await;
    let why = "expression 'object.data.want != 'Invalid'' resulted in error: no such key: want";
    assert_eq!(told(&refused), (422, "Invalid", denied("p", "configmaps \"c\"", why).as_str()));
}

#[tokio::test]
async fn failures_and_conditions_decide_by_the_failure_policy() {
    let server = Server::new().await;
    let spec = |more: Value| {
        let spec =
            json!({"matchConstraints": about_config_maps(), "validations": [{"expression": "object.data.a == 'a'"}]});
        with(spec, more)
    };
    validate(&server, "ignores", spec(json!({"failurePolicy": "Ignore"})), json!({})).await;
    assert_eq!(make(&server, "one", json!({"b": ""})).await.0, 201);
    assert_eq!(make(&server, "two", json!({"a": "b"})).await.0, 422);
    let conditions = json!([{"name": "only-bob", "expression": "request.userInfo.username == 'bob'"}]);
    validate(&server, "conditional", spec(json!({"matchConditions": conditions})), json!({})).await;
    let path = format!("{CONFIG_MAPS}/one");
    let touch = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(server.send("PATCH", &path, touch.clone()).await.0, 200);
    let refused = server.ask(user(), "PATCH", &path, touch.clone()).await;
    let why = "expression 'object.data.a == 'a'' resulted in error: no such key: a";
    assert_eq!(told(&refused).2, denied("conditional", "configmaps \"one\"", why));
    let conditions = json!([{"name": "fails", "expression": "object.data.nope == 'x'"}]);
    validate(&server, "failing", spec(json!({"matchConditions": conditions})), json!({})).await;
    let refused = server.send("PATCH", &path, json!({"metadata": {"labels": {"x": "z"}}})).await;
    let why = "expression 'object.data.nope == 'x'' resulted in error: no such key: nope";
    assert_eq!(told(&refused).2, denied("failing", "configmaps \"one\"", why));
}

#[tokio::test]
async fn bindings_narrow_and_choose_what_is_done() {
    let server = Server::new().await;
    let spec =
        json!({"matchConstraints": about_config_maps(), "validations": [{"expression": "false", "message": "never"}]});
    put(&server, "ValidatingAdmissionPolicy", "p", spec).await;
    assert_eq!(make(&server, "unbound", json!({})).await.0, 201);
    let binding = json!({"policyName": "p", "validationActions": ["Warn", "Audit"]});
    put(&server, "ValidatingAdmissionPolicyBinding", "warns", binding).await;
    let request = http::Request::builder()
        .method("POST")
        .uri(CONFIG_MAPS)
        .header("content-type", "application/json")
        .extension(user())
        .body(axum::body::Body::from(config_map("warned", json!({})).to_string()));
    let answer = server.0.handle(request.unwrap()).await;
    assert_eq!(answer.status(), 201);
    let warning = answer.headers()["warning"].to_str().unwrap();
    let expected = "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'warns': never\"";
    assert_eq!(warning, expected);
    let narrowed = json!({"policyName": "p", "validationActions": ["Deny"],
        "matchResources": {"objectSelector": {"matchLabels": {"bad": "yes"}}}});
    put(&server, "ValidatingAdmissionPolicyBinding", "narrow", narrowed).await;
    assert_eq!(make(&server, "good", json!({})).await.0, 201);
    let mut bad = config_map("bad", json!({}));
    bad["metadata"]["labels"] = json!({"bad": "yes"});
    let refused = server.send("POST", CONFIG_MAPS, bad).await;
    let why =
        "configmaps \"bad\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'narrow' denied request: never";
    assert_eq!(told(&refused).2, why);
}

#[tokio::test]
async fn parameters_are_read_from_the_store() {
    let server = Server::new().await;
    let spec = json!({"matchConstraints": about_deployments(), "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "params == null || object.spec.replicas <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max"}]});
    let by_name = json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}});
    validate(&server, "p", spec.clone(), by_name).await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(told(&deploy(&server, "d", 3).await).2, denied("p", "deployments.apps \"d\"", why));
    assert_eq!(make(&server, "limit", json!({"max": "2"})).await.0, 201);
    assert_eq!(told(&deploy(&server, "d", 3).await).2, denied("p", "deployments.apps \"d\"", "at most 2"));
    let more = json!({"data": {"max": "5"}});
    assert_eq!(server.send("PATCH", &format!("{CONFIG_MAPS}/limit"), more).await.0, 200);
    assert_eq!(deploy(&server, "d", 3).await.0, 201, "a change counts at once");
    // Each that is selected has to be content.
    let selector = json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": {
        "selector": {"matchLabels": {"limit": "yes"}}, "parameterNotFoundAction": "Allow"}});
    put(&server, "ValidatingAdmissionPolicyBinding", "selects", selector).await;
    assert_eq!(deploy(&server, "none", 3).await.0, 201);
    for (name, max) in [("one", "9"), ("other", "4")] {
        let mut limit = config_map(name, json!({"max": max}));
        limit["metadata"]["labels"] = json!({"limit": "yes"});
        assert_eq!(server.send("POST", CONFIG_MAPS, limit).await.0, 201);
    }
    let refused = deploy(&server, "e", 5).await;
    assert!(told(&refused).2.ends_with("with binding 'selects' denied request: at most 4"), "{refused:?}");
    // A kind that there is not.
    let unknown = with(spec, json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}}));
    let reference = json!({"paramRef": {"name": "x", "parameterNotFoundAction": "Allow"}});
    validate(&server, "unknown", unknown, reference).await;
    let refused = deploy(&server, "f", 1).await;
    let why = "deployments.apps \"f\" is forbidden: ValidatingAdmissionPolicy 'unknown' denied request: failed to configure \
               policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'";
    assert_eq!(told(&refused), (422, "Invalid", why));
}

#[tokio::test]
async fn the_authoriser_is_asked() {
    let server = Server::new().await;
    let check = "authorizer.requestResource.check('approve').allowed() || \
                 authorizer.group('').resource('secrets').namespace('a').check('list').allowed()";
    let spec =
        json!({"matchConstraints": about_config_maps(), "validations": [{"expression": check, "message": "no"}]});
    validate(&server, "p", spec, json!({})).await;
    assert_eq!(make(&server, "admin", json!({})).await.0, 201);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/a";
    assert_eq!(server.send("POST", &format!("{rbac}/roles"), role).await.0, 201);
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "eve"}]});
    assert_eq!(server.send("POST", &format!("{rbac}/rolebindings"), binding).await.0, 201);
    let eve = || UserInfo::new("eve", &[]);
    let refused = server.ask(eve(), "POST", CONFIG_MAPS, config_map("c", json!({}))).await;
    assert_eq!(told(&refused).2, denied("p", "configmaps \"c\"", "no"));
    let more = json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "approve"]}]});
    assert_eq!(server.send("PATCH", &format!("{rbac}/roles/r"), more).await.0, 200);
    assert_eq!(server.ask(eve(), "POST", CONFIG_MAPS, config_map("c", json!({}))).await.0, 201);
}

#[tokio::test]
async fn nobody_locks_himself_out() {
    let server = Server::new().await;
    let all = json!({"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}]});
    let spec = json!({"matchConstraints": all, "validations": [{"expression": "false", "message": "never"}]});
    validate(&server, "p", spec, json!({})).await;
    assert_eq!(make(&server, "c", json!({})).await.0, 422);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    assert_eq!(server.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review).await.0, 201);
    assert_eq!(server.send("DELETE", &format!("{GROUP}/validatingadmissionpolicies/p"), Value::Null).await.0, 200);
    assert_eq!(make(&server, "c", json!({})).await.0, 201);
}

#[tokio::test]
async fn deletions_subresources_and_other_versions_are_seen() {
    let server = Server::new().await;
    let deletes = json!({"resourceRules": [rule("", &["configmaps"], &["DELETE"])]});
    let spec = json!({"matchConstraints": deletes, "validations": [{"expression":
        "object == null && oldObject.data.keep != 'yes' && request.operation == 'DELETE' && request.name == oldObject.metadata.name",
        "message": "kept"}]});
    validate(&server, "deletes", spec, json!({})).await;
    for (name, keep, code) in [("kept", "yes", 422), ("gone", "no", 200)] {
        assert_eq!(make(&server, name, json!({"keep": keep})).await.0, 201);
        assert_eq!(server.send("DELETE", &format!("{CONFIG_MAPS}/{name}"), Value::Null).await.0, code, "{name}");
    }
    let status = json!({"resourceRules": [rule("apps", &["deployments/status"], &["UPDATE"])]});
    let spec = json!({"matchConstraints": status, "validations": [{"expression":
        "request.subResource == 'status' && object.status.replicas < 5 && !has(oldObject.status.replicas)", "message": "many"}]});
    validate(&server, "status", spec, json!({})).await;
    assert_eq!(deploy(&server, "d", 1).await.0, 201);
    let path = format!("{DEPLOYMENTS}/d/status");
    let refused = server.send("PATCH", &path, json!({"status": {"replicas": 7}})).await;
    assert_eq!(told(&refused).2, denied("status", "deployments.apps \"d\"", "many"));
    assert_eq!(server.send("PATCH", &path, json!({"status": {"replicas": 1}})).await.0, 200);
    // The rule names an older version than that of the request: the objects are shown in it.
    let old = json!({"matchPolicy": "Equivalent", "resourceRules": [{"apiGroups": ["autoscaling"], "apiVersions": ["v1"],
        "resources": ["horizontalpodautoscalers"], "operations": ["CREATE"]}]});
    let spec = json!({"matchConstraints": old, "validations": [{"expression":
        "object.apiVersion == 'autoscaling/v1' && request.kind.version == 'v1' && request.requestKind.version == 'v2' && \
         object.spec.targetCPUUtilizationPercentage < 50", "message": "hot"}]});
    validate(&server, "equivalent", spec, json!({})).await;
    let scaler = |name: &str, percent: i64| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name}, "spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization",
                "averageUtilization": percent}}}]}})
    };
    let path = "/apis/autoscaling/v2/namespaces/a/horizontalpodautoscalers";
    assert_eq!(server.send("POST", path, scaler("cool", 40)).await.0, 201);
    let refused = server.send("POST", path, scaler("hot", 60)).await;
    assert_eq!(told(&refused).2, denied("equivalent", "horizontalpodautoscalers.autoscaling \"hot\"", "hot"));
}

#[tokio::test]
async fn what_costs_much_leaves_the_thread_and_ends() {
    let server = Server::new().await;
    let long: Vec<String> = (0..400).map(|i| format!("k{i}")).collect();
    let data: Map<String, Value> = long.iter().map(|key| (key.clone(), "v".into())).collect();
    let spec = json!({"matchConstraints": about_config_maps(), "validations": [
        {"expression": "object.data.all(a, object.data.all(b, a == b || a != b))"},
        {"expression": "object.data.all(a, object.data.all(b, object.data.all(c, a != b || b != c || true)))"},
    ]});
    validate(&server, "p", spec, json!({})).await;
    let refused = make(&server, "c", Value::Object(data)).await;
    let why = "expression 'object.data.all(a, object.data.all(b, object.data.all(c, a != b || b != c || true)))' resulted in \
               error: operation cancelled: actual cost limit exceeded";
    let told = told(&refused);
    assert!(told.0 == 422 && told.2.ends_with("actual cost limit exceeded"), "{told:?} is not {why}");
    assert_eq!(make(&server, "small", json!({"a": "b"})).await.0, 201);
}

#[tokio::test]
async fn custom_resources_are_validated_and_are_parameters() {
    let server = Server::new().await;
    let stop = CancellationToken::new();
    let (running, token) = (server.0.clone(), stop.clone());
    let background = tokio::spawn(async move { running.run(token).await });
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "limits.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
        "names": {"plural": "limits", "singular": "limit", "kind": "Limit", "listKind": "LimitList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
            "properties": {"max": {"type": "integer"}}}}}]}});
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    assert_eq!(server.send("POST", path, definition).await.0, 201);
    let limits = "/apis/example.com/v1/limits";
    let limit = |name: &str, max: i64| json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": name}, "max": max});
    let made = async |name: &str, max: i64| {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(20) {
            let answer = server.send("POST", limits, limit(name, max)).await;
            if answer.0 != 404 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("the definition is not served")
    };
    assert_eq!(made("strict", 2).await.0, 201);
    let about = json!({"resourceRules": [rule("example.com", &["limits"], &["CREATE"])]});
    let spec =
        json!({"matchConstraints": about, "validations": [{"expression": "object.max < 10", "message": "much"}]});
    validate(&server, "custom", spec, json!({})).await;
    assert_eq!(told(&made("loose", 11).await).2, denied("custom", "limits.example.com \"loose\"", "much"));
    let spec = json!({"matchConstraints": about_deployments(), "paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "object.spec.replicas <= params.max", "messageExpression": "params.kind + ' ' + params.metadata.name"}]});
    let reference = json!({"paramRef": {"name": "strict", "parameterNotFoundAction": "Deny"}});
    validate(&server, "by-limit", spec, reference).await;
    assert_eq!(deploy(&server, "two", 2).await.0, 201);
    let refused = deploy(&server, "three", 3).await;
    assert_eq!(told(&refused).2, denied("by-limit", "deployments.apps \"three\"", "Limit strict"));
    stop.cancel();
    background.await.unwrap();
}

/// What policies cost creates: `cargo test --release -- --ignored --nocapture what_twenty_policies_leave`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a quiet machine"]
async fn what_twenty_policies_leave() {
    const CREATES: usize = 500;
    let server = Server::new().await;
    let mut took = [Duration::ZERO; 2];
    for round in 0..6 {
        let with = round % 2;
        for n in 0..20 * with {
            let spec = json!({"matchConstraints": about_deployments(),
            "variables": [{"name": "containers", "expression": "object.spec.template.spec.containers"}],
            "validations": [
                {"expression": "object.spec.replicas < 100"},
                {"expression": "variables.containers.all(c, !c.image.startsWith('bad/') && c.name != 'bad')"},
                {"expression": "!has(object.metadata.annotations) || object.metadata.annotations.size() < 10"},
            ]});
            validate(&server, &format!("p{n}"), spec, json!({})).await;
        }
        let started = Instant::now();
        for n in 0..CREATES {
            assert_eq!(deploy(&server, &format!("d-{round}-{n}"), 2).await.0, 201);
        }
        took[with] += started.elapsed();
        for n in 0..20 * with {
            for plural in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
                assert_eq!(server.send("DELETE", &format!("{GROUP}/{plural}/p{n}"), Value::Null).await.0, 200);
            }
        }
    }
    println!("{:.0} % of the rate is left: {took:?}", 100.0 * took[0].as_secs_f64() / took[1].as_secs_f64());
}

#[tokio::test]
async fn what_is_deleted_together_is_not_named() {
    let server = Server::new().await;
    let deletes = json!({"resourceRules": [rule("", &["configmaps"], &["DELETE"])]});
    let spec = json!({"matchConstraints": deletes, "validations":
        [{"expression": "!has(request.name) && oldObject.metadata.name == 'one'", "message": "named"}]});
    validate(&server, "together", spec, json!({})).await;
    assert_eq!(make(&server, "one", json!({})).await.0, 201);
    let one = server.send("DELETE", &format!("{CONFIG_MAPS}/one"), Value::Null).await;
    assert_eq!(one.0, 422, "{}", one.1);
    let together = server.send("DELETE", CONFIG_MAPS, Value::Null).await;
    assert_eq!(together.0, 200, "{}", together.1);
}
