//! Certificate signing requests and reviews of access.

use http::Method;
use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, condition, has};
use crate::resource::Resource;

/// The tests.
pub fn tests() -> Vec<Conformance> {
    vec![
        test(
            "[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations [Conformance]",
            signing_requests,
        ),
        test("[sig-auth] SubjectReview should support SubjectReview API operations [Conformance]", subject_reviews),
    ]
}

/// The request of a certificate for `CN=e2e-test`, made once with openssl.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQ1dEQ0NBVUFDQVFBd0V6RVJNQThHQTFVRUF3d0laVEpsTFhSbGMzUXdnZ0\
    VpTUEwR0NTcUdTSWIzRFFFQgpBUVVBQTRJQkR3QXdnZ0VLQW9JQkFRQ2E0Z25XN1ZVNXBrZWFyd2ZSbVFzTTNVb3NaeGdqdkcyQW53UGVQa0ts\
    ClNnbXNXMnVmM2c2RDMwNWZXVGVtclh6NVpqbzh4b3ZuMXI1SlE1ajI2ZkNDakRyMlVoV0l0U1BhSE1BT3ZEUSsKc3VXem1TVW14QUcyTnFjYj\
    dNdlFRMVBEaWpmbUN0ejlaTlZGQ243MS83WEhlZXFyWkNUOFpCVkJNNS9zRGtxaQpDT3pTYmhPbEkrT0dlaUhUVmFhSnVlZ3B0RXBDRDJjNTY3\
    Y3N0UTM5Tmtvb1dseUhraUxRL3kxank0RVcrd2QrCnMzRlpOR2JyNHFtdFJWM0ZKeDBlbzVXcjBzeThrVFFpaFJBeHFyVjVHcklUY29Ya1J3ZD\
    d5MVR3R1EzNFo1Yk8KUG82Sk8yTWVFQmdtMHJOd0RkS3IyZmpaUUtSOGpONkl0VWNZRlpwTFFFTkJBZ01CQUFHZ0FEQU5CZ2txaGtpRwo5dzBC\
    QVFzRkFBT0NBUUVBRDJiQU42SjYrQU1IRm9CYlR1dGlzQXluSzhUdVBVdkxITzhBVlFNNUxmM1I4RzBMCkNoSWcvbGhlWTVHTktmNFFwSUNvTD\
    BRL0RINXA2bXhFaHhLYm9rVnZxNzE5dVl5UjlHZFJpWG11ODVTSEI4UXcKelVuN0x0TXNPSmFLWG1XZ2JRSk5MWnV0ZVI0dFdhRWJxS3BmNTJx\
    eXBoWm53dzk3SHVNN01EdHU2TE9jNTZPawpKVmVCeGdwcHBuSUw3MU1mUzZBYWExRFNRdkgzQXRMdDRka0V6MnI1d3d1Rkh5RytlS1E1UllWTH\
    Bvcm85emV2CmdCSGduWjVGN01DekpTZnAweVdZRzNyckpIMkdyTnZtNnZkSTdrSWpYaUpXODY0bnpBUlplNnpvS0lDWTdrNjEKRm8zS3dHWjZM\
    L3lCOHUwQVluNHErTWNEOGlSdjNhSjI4RDNzS0E9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

async fn signing_requests(plane: Plane) {
    let group = plane.get("/apis/certificates.k8s.io").await;
    assert!(has(&group["preferredVersion"], &json!({"version": "v1"})), "{group}");
    let resources = plane.get("/apis/certificates.k8s.io/v1").await;
    for name in ["", "/approval", "/status"] {
        let name = format!("certificatesigningrequests{name}");
        let found = |entry: &Value| entry["name"] == name;
        assert!(resources["resources"].as_array().is_some_and(|all| all.iter().any(found)), "{name}");
    }
    let requests = plane.wide("certificates.k8s.io/v1", "certificatesigningrequests");
    let label = plane.unique("csr");
    let names: Vec<String> = (0..3).map(|number| format!("{label}-{number}")).collect();
    let spec = json!({
        "request": REQUEST,
        "signerName": "example.com/e2e",
        "usages": ["digital signature", "key encipherment", "server auth"],
        "expirationSeconds": 3600,
    });
    let query = format!("labelSelector=special-label%3D{label}");
    let mut watch = requests.watch(&query).await;
    for name in &names {
        let metadata = json!({"name": name, "labels": {"special-label": label}});
        requests.create(json!({"metadata": metadata, "spec": spec.clone()})).await;
    }
    let name = names[0].as_str();
    assert_eq!(requests.get(name).await["metadata"]["name"], name);
    assert_eq!(requests.list(&query).await.len(), 3);
    requests.merge(name, json!({"metadata": {"annotations": {"patched": "true"}}})).await;
    let updated = requests.change(name, |object| object["metadata"]["annotations"]["updated"] = json!("true")).await;
    assert_eq!(updated["metadata"]["annotations"], json!({"patched": "true", "updated": "true"}));
    watch.expect("ADDED", name).await;
    let told = |object: &Value| object["metadata"]["annotations"]["updated"] == "true";
    watch.until("MODIFIED", "the update", told).await;
    approve(&requests, name).await;
    sign(&requests, name).await;
    requests.delete(name).await;
    watch.expect("DELETED", name).await;
    requests.try_get(name).await.refused(404, "not found");
    requests.delete_all(&query).await;
    assert!(requests.list(&query).await.is_empty());
}

async fn approve(requests: &Resource, name: &str) {
    let approval = requests.sub("approval");
    assert_eq!(approval.get(name).await["metadata"]["name"], name);
    let approved = json!({"type": "Approved", "status": "True", "reason": "E2E", "message": "set from a test"});
    let patch = json!({"metadata": {"annotations": {"patchedapproval": "true"}}});
    approval.merge(name, patch).await;
    approval.change(name, |object| object["status"]["conditions"] = json!([approved])).await;
    let after = requests.get(name).await;
    assert!(has(&condition(&after, "Approved"), &json!({"status": "True", "reason": "E2E"})), "{after}");
}

async fn sign(requests: &Resource, name: &str) {
    let status = requests.status();
    assert_eq!(status.get(name).await["metadata"]["name"], name);
    let certificate = json!(CERTIFICATE);
    let signed = status.merge(name, json!({"status": {"certificate": certificate}})).await;
    assert_eq!(signed["status"]["certificate"], certificate);
    let failing = json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set from a test"});
    status
        .change(name, |object| object["status"]["conditions"].as_array_mut().expect("a list").push(failing.clone()))
        .await;
    let after = requests.get(name).await;
    assert_eq!(after["status"]["certificate"], certificate);
    assert_eq!(condition(&after, "StatusUpdate")["status"], "True");
}

/// A certificate that some signer may have made.
const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSURDVENDQWZHZ0F3SUJBZ0lVSWxmU2h3TEJidndZMDJMUzdBdVdVOFJpQnVNd0RRWUpLb1\
    pJaHZjTkFRRUwKQlFBd0V6RVJNQThHQTFVRUF3d0laVEpsTFhSbGMzUXdJQmNOTWpZeE1USXlNVGt4TlRBMldoZ1BNakV5TmpFdwpNamt4T1RF\
    MU1EWmFNQk14RVRBUEJnTlZCQU1NQ0dVeVpTMTBaWE4wTUlJQklqQU5CZ2txaGtpRzl3MEJBUUVGCkFBT0NBUThBTUlJQkNnS0NBUUVBbXVJSj\
    F1MVZPYVpIbXE4SDBaa0xETjFLTEdjWUk3eHRnSjhEM2o1Q3BVb0oKckZ0cm45NE9nOTlPWDFrM3BxMTgrV1k2UE1hTDU5YStTVU9ZOXVud2dv\
    dzY5bElWaUxVajJoekFEcncwUHJMbApzNWtsSnNRQnRqYW5HK3pMMEVOVHc0bzM1Z3JjL1dUVlJRcCs5ZisxeDNucXEyUWsvR1FWUVRPZjdBNU\
    tvZ2pzCjBtNFRwU1BqaG5vaDAxV21pYm5vS2JSS1FnOW5PZXUzTExVTi9UWktLRnBjaDVJaTBQOHRZOHVCRnZzSGZyTngKV1RSbTYrS3ByVVZk\
    eFNjZEhxT1ZxOUxNdkpFMElvVVFNYXExZVJxeUUzS0Y1RWNIZTh0VThCa04rR2VXemo2TwppVHRqSGhBWUp0S3pjQTNTcTluNDJVQ2tmSXplaU\
    xWSEdCV2FTMEJEUVFJREFRQUJvMU13VVRBZEJnTlZIUTRFCkZnUVVmOEhzdnJFMEZIOGU1d3daSDZZcHh0ejdPd293SHdZRFZSMGpCQmd3Rm9B\
    VWY4SHN2ckUwRkg4ZTV3d1oKSDZZcHh0ejdPd293RHdZRFZSMFRBUUgvQkFVd0F3RUIvekFOQmdrcWhraUc5dzBCQVFzRkFBT0NBUUVBYVNPSg\
    pKMlNiNXphME5yZks2SEpHbDZERUF3KzMrYmN2d2lIZjd6ZUFNeUlzMnBoRUNXZzZSR3IybFJ1N0VFYzJicWhxCnFMUDI5RmZLMEJYaWs1SjZR\
    RVJUUjg1Z3pNSVlFZmt4RDZka3NDeWJPdzkyeEE2R2VRVXdYOTMrMXArWFpFb0UKT3RWYU1FQ0NHaXkzYmh6Und4K0prOWlTampBSDh4T1hmTW\
    N3MHhlbzNPcC95cEFMZ213c2d5c2pVQ0hwSUE3KwphZzdPYUVwbkVuVUxid3JBQjRsTlZkaXpBZ0pQVjBqUXpkUVFrK1ZBMXRzOHNqTnFRZ2hk\
    VEJJRFdlREQ0OWFYClRPWUlNeVdNUG5nMkxXdHZUUWx5dEZQSzZwS1ZqRy9mN1htQVRaYUtocWZWalpaeUk1N3FSREd2TjB1QWo0TU4KRGE3eX\
    VpZkQ4RWErWFpxU0lnPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";

async fn subject_reviews(plane: Plane) {
    let namespace = plane.namespace().to_owned();
    plane.of("v1", "serviceaccounts").create(json!({"metadata": {"name": "e2e"}})).await;
    let user = format!("system:serviceaccount:{namespace}:e2e");
    let review = json!({"spec": {
        "user": user,
        "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": namespace, "version": "v1"},
    }});
    let local = format!("/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews");
    let places = ["/apis/authorization.k8s.io/v1/subjectaccessreviews", local.as_str()];
    let identity = api::UserInfo { username: user.clone(), ..Default::default() };
    let may_list = || async {
        let client = plane.client_as(identity.clone());
        let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = kube::Api::namespaced(client, &namespace);
        maps.list(&Default::default()).await.is_ok()
    };
    for allowed in [false, true] {
        if allowed {
            grant(&plane, &namespace).await;
            crate::plane::eventually("the grant to count", async || may_list().await).await;
        }
        assert_eq!(may_list().await, allowed);
        for place in places {
            let mut review = review.clone();
            if place == local {
                review["metadata"] = json!({"namespace": namespace});
            }
            let answer = plane.request(Method::POST, place, Some(&review)).await.ok();
            assert_eq!(answer["status"]["allowed"], allowed, "{place}: {answer}");
        }
    }
}

async fn grant(plane: &Plane, namespace: &str) {
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]});
    plane
        .of("rbac.authorization.k8s.io/v1", "roles")
        .create(json!({"metadata": {"name": "e2e"}, "rules": [rule]}))
        .await;
    let binding = json!({
        "metadata": {"name": "e2e"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "e2e"},
        "subjects": [{"kind": "ServiceAccount", "name": "e2e", "namespace": namespace}],
    });
    plane.of("rbac.authorization.k8s.io/v1", "rolebindings").create(binding).await;
}
