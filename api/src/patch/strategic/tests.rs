//! Tests of strategic merge patch, on a pod's and a deployment's schema.

use serde_json::json;

use super::*;
use crate::schema::Schema;

fn patched(kind: (&str, &str, &str), object: Value, patch: Value) -> Result<Value, PatchError> {
    let schema = Schema::of(kind.0, kind.1, kind.2).expect("a built-in kind");
    let Value::Object(mut map) = object else { panic!("no object") };
    apply(&mut map, patch, schema.root()).map(|()| Value::Object(map))
}

fn check(object: Value, patch: Value, expect: Value) {
    let wrap = |v: Value| json!({"spec": v});
    let actual = patched(("", "v1", "Pod"), wrap(object), wrap(patch.clone())).unwrap();
    assert_eq!(actual, wrap(expect), "{patch}");
}

#[test]
fn lists_of_maps() {
    let one = json!({"containers": [{"name": "a", "image": "i1"}, {"name": "b", "image": "i2"}]});
    check(
        one.clone(),
        json!({"containers": [{"name": "b", "image": "i3"}]}),
        json!({"containers": [{"name": "a", "image": "i1"}, {"name": "b", "image": "i3"}]}),
    );
    check(
        one.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b", "image": "i2"}]}),
    );
    check(
        one.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
        json!({"containers": [{"name": "c"}]}),
    );
    check(
        one.clone(),
        json!({"$setElementOrder/containers": [{"name": "new"}, {"name": "a"}], "containers": [{"name": "new"}]}),
        json!({"containers": [{"name": "new"}, {"name": "a", "image": "i1"}, {"name": "b", "image": "i2"}]}),
    );
    check(
        one.clone(),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
        json!({"containers": [{"name": "b", "image": "i2"}, {"name": "a", "image": "i1"}]}),
    );
    check(
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Y", "$patch": "delete"}, {"name": "Z", "value": "3"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "Z", "value": "3"}, {"name": "X", "value": "1"}]}]}),
    );
    check(
        json!({"tolerations": [{"key": "k1"}]}),
        json!({"tolerations": [{"key": "k2"}]}),
        json!({"tolerations": [{"key": "k2"}]}),
    );
}

#[test]
fn maps_and_directives() {
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "emptyDir": null, "hostPath": {"path": "/"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
    );
    check(
        json!({"nodeSelector": {"a": "1", "b": "2"}}),
        json!({"nodeSelector": {"a": null, "c": "3"}}),
        json!({"nodeSelector": {"b": "2", "c": "3"}}),
    );
    check(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "replace", "runAsGroup": 2}}),
        json!({"securityContext": {"runAsGroup": 2}}),
    );
    check(
        json!({"securityContext": {"runAsUser": 1}}),
        json!({"securityContext": {"$patch": "delete"}}),
        json!({"securityContext": {}}),
    );
    check(json!({}), json!({"securityContext": {"runAsUser": null}}), json!({"securityContext": {}}));
    check(json!({"nodeName": "x"}), json!({"nodeName": null}), json!({}));
}

#[test]
fn lists_of_scalars() {
    let pod = ("", "v1", "Pod");
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    let one = finalizers(json!(["a", "b"]));
    let actual = patched(pod, one.clone(), finalizers(json!(["c", "b"]))).unwrap();
    assert_eq!(actual, finalizers(json!(["c", "a", "b"])));
    let delete = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"]}});
    assert_eq!(patched(pod, one, delete).unwrap(), finalizers(json!(["b"])));
}

fn check_error(patch: Value, expect: &str) {
    let object = json!({"spec": {"containers": [{"name": "a"}], "volumes": [{"name": "v"}]}});
    let error = patched(("", "v1", "Pod"), object, json!({"spec": patch})).unwrap_err();
    assert_eq!(error.to_string(), expect);
}

#[test]
fn errors() {
    let key = "map: map[image:x] does not contain declared merge key: name";
    check_error(json!({"containers": [{"image": "x"}]}), key);
    check_error(json!({"$patch": "x"}), "unknown patch type: x in map: map[$patch:x]");
    check_error(json!({"$retainKeys": 1}), "invalid patch format of retainKeys");
    check_error(json!({"$retainKeys": ["a"], "b": 1}), "invalid patch format of retainKeys");
    check_error(json!({"$setElementOrder/containers": "x"}), "expected a []interface {}, but received a string");
    check_error(
        json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "z"}]}),
        "The order in patch list:\n[map[name:z]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
    );
    check_error(json!({"containers": ["x"]}), "list element types are not identical: [[map[name:a]] [x]]");
}

#[test]
fn errors_show_what_is_left_of_a_patch() {
    #[track_caller]
    fn check(patch: Value, expected: &str) {
        let object = json!({"metadata": {"labels": {"a": "b"}}});
        assert_eq!(super::shown(object.as_object().unwrap(), &patch), expected);
    }
    check(json!({"$patch": "replace", "metadata": {"$patch": "replace"}}), "map[metadata:map[$patch:replace]]");
    check(
        json!({"metadata": {"$retainKeys": ["labels"], "labels": {"c": null}}}),
        "map[metadata:map[labels:map[c:<nil>]]]",
    );
    check(json!({"data": {"$retainKeys": ["a"], "a": null}}), "map[data:map[$retainKeys:[a]]]");
}
