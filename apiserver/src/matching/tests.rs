//! Which requests rules and selectors are about.

use api::catalogue::Catalogue;
use api::{Object, Status};
use serde_json::{Value, json};
use store::{Memory, Transaction};

use super::*;
use crate::plug::admission::Reinvocation;
use crate::{ApiServer, Config, Context};

struct Asked<'a> {
    ctx: &'a Context,
    row: Arc<Resource>,
    subresource: &'a str,
    operation: Operation,
    namespace: &'a str,
    name: &'a str,
    old: Option<&'a Object>,
}

impl Asked<'_> {
    fn found(&self, criteria: &Criteria, object: Option<&Object>) -> Result<Option<Matched>, Status> {
        let attributes = Attributes {
            ctx: self.ctx,
            operation: self.operation,
            resource: &self.row,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
            old: self.old,
            options: &Value::Null,
            reinvocation: &Reinvocation::default(),
        };
        criteria.matches(&attributes, object)
    }

    fn kind(&self, criteria: &Criteria) -> String {
        let found = self.found(criteria, None).unwrap();
        found.map_or_else(String::new, |found| found.kind.to_string())
    }
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

async fn context() -> Context {
    let server = ApiServer::new(Config::new(Memory::new()));
    let namespace = object(json!({"metadata": {"name": "a", "labels": {"team": "x"}}}));
    let key = crate::registry::key("", "namespaces", "", "a");
    server.registry().store().commit(Transaction::create(key.as_str(), namespace.encode())).await.unwrap();
    Context::internal(server.registry())
}

fn asked<'a>(ctx: &'a Context, group: &str, version: &str, plural: &str, subresource: &'a str) -> Asked<'a> {
    let row = Catalogue::builtin().get(group, version, plural).unwrap().clone();
    let namespace = if row.namespaced { "a" } else { "" };
    Asked { ctx, row, subresource, operation: Operation::Create, namespace, name: "n", old: None }
}

fn rule(groups: &[&str], versions: &[&str], resources: &[&str], more: Value) -> Value {
    let mut rule =
        json!({"operations": ["CREATE"], "apiGroups": groups, "apiVersions": versions, "resources": resources});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

#[tokio::test]
async fn rules_name_resources() {
    let ctx = context().await;
    let pods = "/v1, Kind=Pod";
    for (resources, more, plural, subresource, expected) in [
        (vec!["pods"], json!({}), "pods", "", pods),
        (vec!["pods"], json!({}), "pods", "status", ""),
        (vec!["pods/*"], json!({}), "pods", "status", pods),
        (vec!["pods/*"], json!({}), "pods", "", pods),
        (vec!["*"], json!({}), "pods", "", pods),
        (vec!["*"], json!({}), "pods", "status", ""),
        (vec!["*/*"], json!({}), "pods", "binding", "/v1, Kind=Binding"),
        (vec!["*/*"], json!({}), "pods", "", pods),
        (vec!["*/status"], json!({}), "pods", "status", pods),
        (vec!["pods/exec"], json!({}), "pods", "exec", "/v1, Kind=PodExecOptions"),
        (vec!["pods/eviction"], json!({}), "pods", "eviction", "policy/v1, Kind=Eviction"),
        (vec!["services", "pods"], json!({}), "pods", "", pods),
        (vec!["pods"], json!({"operations": ["UPDATE"]}), "pods", "", ""),
        (vec!["pods"], json!({"operations": ["*"]}), "pods", "", pods),
        (vec!["pods"], json!({"scope": "Namespaced"}), "pods", "", pods),
        (vec!["pods"], json!({"scope": "Cluster"}), "pods", "", ""),
        (vec!["*"], json!({"scope": "Cluster"}), "namespaces", "", "/v1, Kind=Namespace"),
        (vec!["*"], json!({"scope": "Namespaced"}), "namespaces", "", ""),
        (vec!["*"], json!({"scope": "Namespaced"}), "nodes", "", ""),
        (vec!["*"], json!({"scope": "*"}), "nodes", "", "/v1, Kind=Node"),
    ] {
        let criteria = Criteria::of_webhook(&json!({"rules": [rule(&[""], &["v1"], &resources, more)]}));
        let found = asked(&ctx, "", "v1", plural, subresource).kind(&criteria);
        assert_eq!(found, expected, "{resources:?} {plural} {subresource}");
    }
    for (groups, versions) in [(["*"], ["v1"]), ([""], ["*"]), (["*"], ["*"])] {
        let criteria = Criteria::of_webhook(&json!({"rules": [rule(&groups, &versions, &["pods"], json!({}))]}));
        assert_eq!(asked(&ctx, "", "v1", "pods", "").kind(&criteria), pods);
    }
}

#[tokio::test]
async fn the_same_resource_in_another_version_counts_where_that_is_wanted() {
    let ctx = context().await;
    let events = |groups: &[&str], versions: &[&str], policy: &str, plural: &str| {
        Criteria::of_webhook(&json!({"matchPolicy": policy, "rules": [rule(groups, versions, &[plural], json!({}))]}))
    };
    let of = |group: &str, version: &str, plural: &str| asked(&ctx, group, version, plural, "");
    let autoscaling = events(&["autoscaling"], &["v1"], "Equivalent", "horizontalpodautoscalers");
    let shown = "autoscaling/v1, Kind=HorizontalPodAutoscaler";
    assert_eq!(of("autoscaling", "v2", "horizontalpodautoscalers").kind(&autoscaling), shown);
    assert_eq!(of("autoscaling", "v1", "horizontalpodautoscalers").kind(&autoscaling), shown);
    let exact = events(&["autoscaling"], &["v1"], "Exact", "horizontalpodautoscalers");
    assert_eq!(of("autoscaling", "v2", "horizontalpodautoscalers").kind(&exact), "");
    let events_of_core = events(&[""], &["v1"], "Equivalent", "events");
    assert_eq!(of("events.k8s.io", "v1", "events").kind(&events_of_core), "/v1, Kind=Event");
    let others = events(&["events.k8s.io"], &["v1"], "Equivalent", "events");
    assert_eq!(of("", "v1", "events").kind(&others), "events.k8s.io/v1, Kind=Event");
    // What only has the same name is something else.
    assert_eq!(of("", "v1", "pods").kind(&events(&["metrics.k8s.io"], &["v1"], "Equivalent", "pods")), "");
}

#[tokio::test]
async fn selectors_look_at_the_namespace_and_at_both_objects() {
    let ctx = context().await;
    let any = rule(&["*"], &["*"], &["*"], json!({"operations": ["*"]}));
    let with = |namespace: Value, object: Value| {
        Criteria::of_webhook(&json!({"rules": [any], "namespaceSelector": namespace, "objectSelector": object}))
    };
    let (x, y) = (json!({"matchLabels": {"team": "x"}}), json!({"matchLabels": {"team": "y"}}));
    let pod = asked(&ctx, "", "v1", "pods", "");
    let is = |asked: &Asked<'_>, criteria: &Criteria, object: Option<&Object>| {
        asked.found(criteria, object).map(|found| found.is_some())
    };
    assert_eq!(is(&pod, &with(x.clone(), json!({})), None), Ok(true));
    assert_eq!(is(&pod, &with(y.clone(), json!({})), None), Ok(false));
    let lost = Asked { namespace: "b", ..asked(&ctx, "", "v1", "pods", "") };
    assert_eq!(is(&lost, &with(json!({}), json!({})), None), Ok(true));
    let refused = is(&lost, &with(x.clone(), json!({})), None).unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (404, "namespaces \"b\" not found"));
    // What is in no namespace is never spared, but namespaces themselves are, by their own labels.
    assert_eq!(is(&asked(&ctx, "", "v1", "nodes", ""), &with(y.clone(), json!({})), None), Ok(true));
    let (labelled, plain) = (
        object(json!({"metadata": {"name": "n", "labels": {"team": "y"}}})),
        object(json!({"metadata": {"name": "n"}})),
    );
    let namespace = asked(&ctx, "", "v1", "namespaces", "");
    assert_eq!(is(&namespace, &with(y.clone(), json!({})), Some(&labelled)), Ok(true));
    assert_eq!(is(&namespace, &with(y.clone(), json!({})), Some(&plain)), Ok(false));
    let deleted = Asked { operation: Operation::Delete, name: "a", ..asked(&ctx, "", "v1", "namespaces", "") };
    assert_eq!(is(&deleted, &with(x.clone(), json!({})), None), Ok(true));
    assert_eq!(is(&deleted, &with(y.clone(), json!({})), None), Ok(false));
    let before = Asked { old: Some(&labelled), ..asked(&ctx, "", "v1", "pods", "") };
    assert_eq!(is(&before, &with(json!({}), y.clone()), Some(&plain)), Ok(true));
    assert_eq!(is(&pod, &with(json!({}), y.clone()), Some(&plain)), Ok(false));
    assert_eq!(is(&pod, &with(json!({}), y), None), Ok(false));
    // A connection's options have no labels, not even none.
    let no_label = json!({"matchExpressions": [{"key": "k", "operator": "DoesNotExist"}]});
    assert_eq!(is(&pod, &with(json!({}), no_label.clone()), Some(&object(json!({"stdin": true})))), Ok(false));
    assert_eq!(is(&pod, &with(json!({}), no_label), Some(&plain)), Ok(true));
}

#[tokio::test]
async fn policies_exclude_and_name_objects() {
    let ctx = context().await;
    let pods = |more: Value| rule(&[""], &["v1"], &["pods"], more);
    let of = |rules: Value, excluded: Value| {
        let criteria = json!({"resourceRules": rules, "excludeResourceRules": excluded, "matchPolicy": "Equivalent"});
        asked(&ctx, "", "v1", "pods", "").found(&Criteria::of_policy(&criteria), None).unwrap().is_some()
    };
    assert!(of(json!([pods(json!({}))]), Value::Null));
    assert!(of(Value::Null, Value::Null), "no rules are all");
    assert!(!of(Value::Null, json!([pods(json!({}))])));
    assert!(of(json!([pods(json!({"resourceNames": ["m", "n"]}))]), Value::Null));
    assert!(!of(json!([pods(json!({"resourceNames": ["m"]}))]), Value::Null));
    assert!(of(json!([pods(json!({}))]), json!([pods(json!({"resourceNames": ["m"]}))])));
    let own = asked(&ctx, "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "");
    let attributes = Attributes {
        ctx: &ctx,
        operation: Operation::Create,
        resource: &own.row,
        subresource: "",
        namespace: "",
        name: "",
        old: None,
        options: &Value::Null,
        reinvocation: &Reinvocation::default(),
    };
    assert!(is_exempt(&attributes));
}
