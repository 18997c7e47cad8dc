//! Tests of apply and managed fields: scenarios by hand, and the recorded answers of the reference.

use serde_json::json;

use super::*;

fn now(second: u8) -> Timestamp {
    format!("2024-01-01T00:00:{second:02}Z").parse().unwrap()
}

struct Live {
    kind: (&'static str, &'static str, &'static str),
    schema: Schema,
    object: Option<Object>,
    second: u8,
}

impl Live {
    fn new(group: &'static str, version: &'static str, kind: &'static str) -> Self {
        let schema = Schema::of(group, version, kind).unwrap();
        Self { kind: (group, version, kind), schema, object: None, second: 0 }
    }

    fn api_version(&self) -> String {
        let (group, version, _) = self.kind;
        if group.is_empty() { version.to_string() } else { format!("{group}/{version}") }
    }

    fn whole(&self, mut object: Value) -> Object {
        object["apiVersion"] = self.api_version().into();
        object["kind"] = self.kind.2.into();
        Object::from_value(object).unwrap()
    }

    fn with<T>(&mut self, manager: &str, f: impl FnOnce(&Request<'_>, Option<&Object>) -> T) -> T {
        self.second += 1;
        let api_version = self.api_version();
        let request = Request {
            schema: &self.schema,
            api_version: &api_version,
            kind: self.kind.2,
            subresource: "",
            reset: Reset::of(&crate::catalogue::Flags::default(), "", true),
            manager,
            now: now(self.second),
            convert: None,
        };
        f(&request, self.object.as_ref())
    }

    fn apply(&mut self, manager: &str, patch: Value, force: bool) -> Result<(), Box<Status>> {
        let patch = self.whole(patch);
        let mut applied = self
            .with(manager, |request, live| apply(request, live, patch, force))
            .map_err(|e| Box::new(Status::from(e)))?;
        if applied.uid().is_empty() {
            applied.set(&["metadata", "uid"], "u");
        }
        self.object = Some(applied);
        Ok(())
    }

    fn update(&mut self, manager: &str, new: Value) {
        let mut new = self.whole(new);
        new.set(&["metadata", "uid"], "u");
        self.with(manager, |request, live| update(request, live, &mut new));
        self.object = Some(new);
    }

    fn data(&self) -> Value {
        self.object.as_ref().unwrap().0.get("data").cloned().unwrap_or(Value::Null)
    }

    /// Managers as `name/Operation/second: fields`.
    fn managers(&self) -> Vec<(String, Value)> {
        let entries = self.object.as_ref().unwrap().at(&["metadata", "managedFields"]).cloned().unwrap_or(json!([]));
        let text = |e: &Value, k: &str| e[k].as_str().unwrap_or("").to_string();
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|e| {
                let second = text(e, "time").get(17..19).unwrap_or("").to_string();
                (format!("{}/{}/{second}", text(e, "manager"), text(e, "operation")), e["fieldsV1"].clone())
            })
            .collect()
    }
}

fn check_managers(live: &Live, expect: &[(&str, Value)]) {
    let expect: Vec<(String, Value)> = expect.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
    assert_eq!(live.managers(), expect);
}

#[test]
fn conflict_force_sharing_and_giving_up() {
    let mut live = Live::new("", "v1", "ConfigMap");
    live.apply("alice", json!({"metadata": {"name": "x"}, "data": {"a": "1", "b": "1"}}), false).unwrap();
    check_managers(&live, &[("alice/Apply/01", json!({"f:data": {"f:a": {}, "f:b": {}}}))]);
    let status = live.apply("bob", json!({"data": {"a": "2"}}), false).unwrap_err();
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"alice\": .data.a");
    let cause = &status.details.unwrap().causes[0];
    assert_eq!((cause.reason.as_str(), cause.field.as_str()), ("FieldManagerConflict", ".data.a"));
    live.apply("bob", json!({"data": {"a": "2"}}), true).unwrap();
    check_managers(
        &live,
        &[("alice/Apply/01", json!({"f:data": {"f:b": {}}})), ("bob/Apply/03", json!({"f:data": {"f:a": {}}}))],
    );
    live.apply("alice", json!({"data": {"b": "1"}}), false).unwrap();
    assert_eq!(live.data(), json!({"a": "2", "b": "1"}));
    assert_eq!(live.managers()[0].0, "alice/Apply/01", "nothing changed, so the time stays");
    live.apply("carol", json!({"data": {"b": "1"}}), false).unwrap();
    live.apply("alice", json!({}), false).unwrap();
    assert_eq!(live.data(), json!({"a": "2", "b": "1"}), "carol still owns b");
    live.apply("carol", json!({}), false).unwrap();
    assert_eq!(live.data(), json!({"a": "2"}));
}

#[test]
fn updates_take_fields_over() {
    let mut live = Live::new("", "v1", "ConfigMap");
    live.update("a", json!({"metadata": {"name": "x"}, "data": {"a": "1", "b": "1"}}));
    check_managers(&live, &[("a/Update/01", json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}))]);
    live.update("b", json!({"metadata": {"name": "x"}, "data": {"a": "2", "b": "1"}}));
    check_managers(
        &live,
        &[("a/Update/01", json!({"f:data": {".": {}, "f:b": {}}})), ("b/Update/02", json!({"f:data": {"f:a": {}}}))],
    );
    live.update("b", json!({"metadata": {"name": "x"}, "data": {"a": "2", "b": "1"}}));
    assert_eq!(live.managers()[1].0, "b/Update/02");
    let status = live.apply("c", json!({"data": {"a": "3", "b": "3"}}), false).unwrap_err();
    let expect = "Apply failed with 2 conflicts: conflicts with \"a\" using v1:\n- .data.b\nconflicts with \"b\" using v1:\n- .data.a";
    assert_eq!(status.message, expect);
    live.update("b", json!({"metadata": {"name": "x", "managedFields": []}, "data": {"a": "2", "b": "1"}}));
    check_managers(&live, &[]);
    live.update("b", json!({"metadata": {"name": "x"}, "data": {"a": "5"}}));
    check_managers(&live, &[]);
    live.apply("c", json!({"data": {"z": "3"}}), false).unwrap();
    assert_eq!(live.managers()[1], ("before-first-apply/Update/07".into(), json!({"f:data": {".": {}, "f:a": {}}})));
}

#[test]
fn lists_by_key() {
    let mut live = Live::new("apps", "v1", "Deployment");
    let spec = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let containers =
        |live: &Live| live.object.as_ref().unwrap().at(&["spec", "template", "spec", "containers"]).cloned().unwrap();
    live.apply(
        "a",
        spec(json!([{"name": "x", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "y", "image": "1"}])),
        false,
    )
    .unwrap();
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:image": {}, "f:ports": {
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}},
        "k:{\"name\":\"y\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}});
    check_managers(&live, &[("a/Apply/01", fields)]);
    live.apply("b", spec(json!([{"name": "x", "imagePullPolicy": "Always"}])), false).unwrap();
    live.apply("a", spec(json!([{"name": "y", "image": "1"}])), false).unwrap();
    assert_eq!(containers(&live), json!([{"name": "x", "imagePullPolicy": "Always"}, {"name": "y", "image": "1"}]));
    live.apply("a", spec(json!([{"name": "z"}, {"name": "y", "image": "2"}])), false).unwrap();
    let names: Vec<String> =
        containers(&live).as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().into()).collect();
    assert_eq!(names, ["x", "z", "y"]);
    let twice = spec(json!([{"name": "a"}, {"name": "a"}]));
    let status = live.apply("b", twice, false).unwrap_err();
    let expect = "failed to create typed patch object (/; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for key [name=\"a\"]";
    assert_eq!((status.code, status.message.as_str()), (500, expect));
    let status = live.apply("b", json!({"spec": {"foo": 1}}), false).unwrap_err();
    assert!(status.message.ends_with(".spec.foo: field not declared in schema"), "{}", status.message);
}

#[test]
fn repeated_items_are_owned_as_one() {
    let mut live = Live::new("", "v1", "Pod");
    let pod = |aliases: Value| json!({"metadata": {"name": "x"}, "spec": {"hostAliases": aliases}});
    let (one, two) = (json!([{"ip": "x"}]), json!([{"ip": "x"}, {"ip": "x"}]));
    let owned = |aliases: Value| json!({"f:spec": {"f:hostAliases": aliases}});
    let key = "k:{\"ip\":\"x\"}";
    live.update("a", pod(two.clone()));
    check_managers(&live, &[("a/Update/01", owned(json!({".": {}, key: {}})))]);
    live.update("b", pod(one));
    let first = ("a/Update/01", owned(json!({})));
    check_managers(&live, &[first.clone(), ("b/Update/02", owned(json!({key: {".": {}, "f:ip": {}}})))]);
    live.update("c", pod(two));
    check_managers(&live, &[first, ("c/Update/03", owned(json!({key: {}})))]);
}

#[test]
fn old_updates_are_merged() {
    let mut live = Live::new("", "v1", "ConfigMap");
    let mut data = serde_json::Map::new();
    for i in 0..12 {
        data.insert(format!("k{i:02}"), "v".into());
        live.update(&format!("m{i:02}"), json!({"metadata": {"name": "x"}, "data": data}));
    }
    let managers = live.managers();
    assert_eq!(managers.len(), 10);
    assert_eq!(managers[0].0, "ancient-changes/Update/03");
    assert_eq!(managers[0].1, json!({"f:data": {".": {}, "f:k00": {}, "f:k01": {}, "f:k02": {}}}));
}

#[test]
fn kubectl_takes_over_from_client_side_apply() {
    let last = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":"1"}}"#;
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let mut live = Live::new("", "v1", "ConfigMap");
    live.update(
        "kubectl-client-side-apply",
        json!({"metadata": {"name": "x", "annotations": annotations}, "data": {"a": "1", "b": "1"}}),
    );
    assert!(live.apply("other", json!({"data": {"a": "2"}}), false).is_err());
    assert!(live.apply("kubectl", json!({"data": {"b": "2"}}), false).is_err());
    live.apply("kubectl", json!({"metadata": {"name": "x"}, "data": {"a": "2"}}), false).unwrap();
    assert_eq!(live.data(), json!({"a": "2", "b": "1"}));
    let annotation = live.object.as_ref().unwrap().str_at(&["metadata", "annotations", last_applied::ANNOTATION]);
    assert!(annotation.contains("\"a\":\"2\""), "{annotation}");
}

#[test]
fn names_of_managers() {
    assert_eq!(manager_name("x", "y/1"), "x");
    assert_eq!(manager_name("", "kubectl/v1.32 (linux)"), "kubectl");
    assert_eq!(manager_name("", &"é".repeat(100)).len(), 128);
    assert_eq!(manager_name("", ""), "");
}

#[test]
fn a_custom_resource_without_schema_is_deduced() {
    let schema = Schema::preserving();
    let request = |manager| Request {
        schema: &schema,
        api_version: "ex.com/v1",
        kind: "Foo",
        subresource: "",
        reset: Reset::of(&crate::catalogue::Flags::custom(), "", false),
        manager,
        now: now(1),
        convert: None,
    };
    let foo = |spec: Value| {
        Object::from_value(json!({"apiVersion": "ex.com/v1", "kind": "Foo", "metadata": {"name": "x"}, "spec": spec}))
            .unwrap()
    };
    let one = apply(&request("a"), None, foo(json!({"l": [1, 2], "m": {"k": 1}})), false).unwrap();
    let fields = json!({"f:spec": {".": {}, "f:l": {}, "f:m": {".": {}, "f:k": {}}}});
    assert_eq!(one.at(&["metadata", "managedFields"]).unwrap()[0]["fieldsV1"], fields);
    let two = apply(&request("b"), Some(&one), foo(json!({"m": {"j": 2}})), false).unwrap();
    assert_eq!(two.0["spec"], json!({"l": [1, 2], "m": {"k": 1, "j": 2}}));
    assert!(apply(&request("b"), Some(&two), foo(json!({"l": [1]})), false).is_err());
}

/// What admission and strategies add to the recorded objects after managed fields were computed.
const ADDED_LATER: &[(&str, &str)] = &[
    ("Pod", ".spec.preemptionPolicy"),
    ("Pod", ".spec.priority"),
    ("Pod", ".spec.serviceAccount"),
    ("Pod", ".spec.tolerations"),
    ("Pod", ".spec.volumes"),
    ("Pod", ".spec.containers[name=\"c\"].volumeMounts"),
    ("Job", ".metadata.labels"),
    ("Job", ".spec.selector"),
    ("Job", ".spec.template.metadata.labels"),
    ("Namespace", ".spec.finalizers"),
    ("PersistentVolume", ".metadata.finalizers"),
    ("Service", ".spec.clusterIP"),
    ("Service", ".spec.ipFamil"),
    ("TokenRequest", ".spec.boundObjectRef"),
];

/// Every object of the recorded cases that one create made: its managed fields come from the request's body and
/// the schema, with what defaults add.
#[test]
fn creates_own_what_the_reference_recorded() {
    let cases: Vec<Value> = serde_json::from_str(&crate::reference::text("recorded-api-cases.json")).unwrap();
    let mut checked = 0;
    for case in &cases {
        let step = &case["steps"][0];
        let (body, made) = (&step["body"], &step["expect"]["body"]);
        let managed = &made["metadata"]["managedFields"];
        if step["method"] != "POST" || !body.is_object() || managed.as_array().is_none_or(|m| m.len() != 1) {
            continue;
        }
        let (api_version, kind) = (made["apiVersion"].as_str().unwrap(), made["kind"].as_str().unwrap());
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let Some(schema) = Schema::of(group, version, kind) else { continue };
        let request = Request {
            schema: &schema,
            api_version,
            kind,
            subresource: "",
            reset: Reset::of(&crate::catalogue::Flags::default(), "", made.get("status").is_some()),
            manager: "Python-urllib",
            now: now(1),
            convert: None,
        };
        // The recorded object shows what admission and the strategy added; what nobody owns is taken out again.
        let mut new = Object::from_value(made.clone()).unwrap();
        new.remove(&["metadata", "managedFields"]);
        let expect = decode_fields(&managed[0]["fieldsV1"]).unwrap();
        update(&request, None, &mut new);
        let actual = new
            .at(&["metadata", "managedFields"])
            .map_or(Set::default(), |m| decode_fields(&m[0]["fieldsV1"]).unwrap());
        let missing: Vec<String> = expect.difference(&actual).paths().iter().map(|p| path_text(p)).collect();
        assert!(missing.is_empty(), "{}: {missing:?} are owned in the reference", case["name"]);
        let extra: Vec<String> = actual.difference(&expect).paths().iter().map(|p| path_text(p)).collect();
        let added_later = |path: &str| ADDED_LATER.iter().any(|(of, prefix)| *of == kind && path.starts_with(prefix));
        let extra: Vec<String> = extra.into_iter().filter(|path| !added_later(path)).collect();
        assert!(extra.is_empty(), "{}: {extra:?} are not owned in the reference", case["name"]);
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
