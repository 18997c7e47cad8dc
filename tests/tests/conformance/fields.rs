//! Unknown and repeated fields of built-in kinds, and representations that there are not.

use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use kube::client::Body;

use crate::case::{Conformance, test};
use crate::plane::{Answer, Plane};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-api-machinery] FieldValidation should detect unknown and duplicate fields of a typed object \
             [Conformance]",
            |plane| async move {
                let fields = r#""unknownField": "foo", "replicas": 2, "replicas": 3,"#;
                let why =
                    r#"strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas""#;
                strict(&plane, "", fields).await.refused(400, why);
            },
        ),
        test(
            "[sig-api-machinery] FieldValidation should detect unknown metadata fields of a typed object [Conformance]",
            |plane| async move {
                let why = r#"strict decoding error: unknown field "metadata.unknownMeta""#;
                strict(&plane, r#""unknownMeta": "foo","#, "").await.refused(400, why);
            },
        ),
        test(
            "[sig-api-machinery] Servers with support for Table transformation should return a 406 for a backend which \
             does not implement metadata [Conformance]",
            |plane| async move {
                let review = r#"{"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}"#;
                let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
                let answer = post(&plane, path, "application/json;as=Table;v=v1;g=meta.k8s.io", review).await;
                assert_eq!(answer.code, 406, "{:?}", answer.body);
            },
        ),
    ]
}

async fn post(plane: &Plane, path: &str, accept: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header(ACCEPT, accept)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body.as_bytes().to_vec()))
        .expect("a request");
    plane.send(request).await
}

/// A deployment with more fields in its metadata and its spec, as it is written.
async fn strict(plane: &Plane, metadata: &str, spec: &str) -> Answer {
    let body = format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment",
             "metadata": {{"name": "one", {metadata} "labels": {{"app": "nginx"}}}},
             "spec": {{{spec} "selector": {{"matchLabels": {{"app": "nginx"}}}},
               "template": {{"metadata": {{"labels": {{"app": "nginx"}}}},
                 "spec": {{"containers": [{{"name": "nginx", "image": "nginx:latest"}}]}}}}}}}}"#
    );
    let place = format!("/apis/apps/v1/namespaces/{}/deployments", plane.namespace());
    post(plane, &format!("{place}?fieldValidation=Strict&fieldManager=mgr"), "application/json", &body).await
}
