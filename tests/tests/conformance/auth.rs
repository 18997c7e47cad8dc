//! Service accounts, certificates and reviews.

use serde_json::{Value, json};

use crate::case::{Conformance, test};
use crate::plane::{Plane, has};

/// The tests.
pub(crate) fn tests() -> Vec<Conformance> {
    vec![
        test("[sig-auth] ServiceAccounts should update a ServiceAccount [Conformance]", |plane| async move {
            let accounts = plane.of("v1", "serviceaccounts");
            accounts.create(json!({"metadata": {"name": "one"}, "automountServiceAccountToken": true})).await;
            let updated = accounts.change("one", |a| a["automountServiceAccountToken"] = json!(false)).await;
            assert_eq!(updated["automountServiceAccountToken"], false);
        }),
        test(
            "[sig-auth] ServiceAccounts should run through the lifecycle of a ServiceAccount [Conformance]",
            lifecycle,
        ),
        test(
            "[sig-auth] ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace [Conformance]",
            root_ca,
        ),
        test("[sig-auth] ServiceAccounts should allow opting out of API token automount [Conformance]", automount),
        test(
            "[sig-auth] ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview [Conformance]",
            token,
        ),
        test(
            "[sig-auth] ServiceAccounts ServiceAccountIssuerDiscovery should support OIDC discovery of service account issuer \
             [Conformance]",
            discovery,
        ),
        test("[sig-auth] SubjectReview should support SubjectReview API operations [Conformance]", reviews),
        test(
            "[sig-auth] Certificates API [Privileged:ClusterAdmin] should support CSR API operations [Conformance]",
            requests,
        ),
    ]
}

async fn lifecycle(plane: Plane) {
    let accounts = plane.of("v1", "serviceaccounts");
    let label = format!("labelSelector=static%3D{}", plane.namespace());
    let mut watch = accounts.watch(&label).await;
    let object = json!({"metadata": {"name": "one", "labels": {"static": plane.namespace()}}});
    accounts.create(object).await;
    watch.expect("ADDED", "one").await;
    accounts.strategic("one", json!({"automountServiceAccountToken": false})).await;
    watch.until("MODIFIED", "the patch", |a| a["automountServiceAccountToken"] == false).await;
    assert_eq!(plane.wide("v1", "serviceaccounts").list(&label).await.len(), 1);
    accounts.delete_all(&label).await;
    watch.expect("DELETED", "one").await;
}

/// It comes again when it is deleted, and is put right when it is changed.
async fn root_ca(plane: Plane) {
    let maps = plane.of("v1", "configmaps");
    let good = |m: &Value| m["data"]["ca.crt"].as_str().is_some_and(|text| text.starts_with("-----BEGIN CERTIFICATE"));
    let first = maps.until("kube-root-ca.crt", "it", good).await;
    maps.delete("kube-root-ca.crt").await;
    maps.until("kube-root-ca.crt", "it again", |m| good(m) && m["metadata"]["uid"] != first["metadata"]["uid"]).await;
    maps.merge("kube-root-ca.crt", json!({"data": {"ca.crt": ""}})).await;
    maps.until("kube-root-ca.crt", "the certificate again", good).await;
}

/// The pod has the last word, then the account.
async fn automount(plane: Plane) {
    let (accounts, pods) = (plane.of("v1", "serviceaccounts"), plane.of("v1", "pods"));
    for (account, mounts) in [("mount", true), ("nomount", false)] {
        accounts.create(json!({"metadata": {"name": account}, "automountServiceAccountToken": mounts})).await;
    }
    let cases = [
        ("default", None, true),
        ("default", Some(true), true),
        ("default", Some(false), false),
        ("mount", None, true),
        ("mount", Some(true), true),
        ("mount", Some(false), false),
        ("nomount", None, false),
        ("nomount", Some(true), true),
        ("nomount", Some(false), false),
    ];
    for (n, (account, said, expect)) in cases.into_iter().enumerate() {
        let mut spec = json!({"serviceAccountName": account, "containers": [{"name": "c", "image": "a:1"}]});
        if let Some(said) = said {
            spec["automountServiceAccountToken"] = json!(said);
        }
        let made = pods.create(json!({"metadata": {"name": format!("pod-{n}")}, "spec": spec})).await;
        let mounts = made["spec"]["containers"][0]["volumeMounts"].as_array().cloned().unwrap_or_default();
        let token = |m: &Value| m["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount";
        assert_eq!(mounts.iter().any(token), expect, "{account} {said:?}");
    }
}

async fn token(plane: Plane) {
    let accounts = plane.of("v1", "serviceaccounts");
    let account = accounts.create(json!({"metadata": {"name": "one"}})).await;
    let asked =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let given = accounts.sub("token").try_post("one", &asked).await.ok();
    let token = given["status"]["token"].as_str().expect("a token");
    let review = |token: &str| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let reviews = plane.wide("authentication.k8s.io/v1", "tokenreviews");
    let good = reviews.create(review(token)).await;
    let user = json!({"authenticated": true, "user": {"uid": account["metadata"]["uid"],
        "username": format!("system:serviceaccount:{}:one", plane.namespace())}});
    assert!(has(&good["status"], &user), "{good}");
    let groups =
        ["system:serviceaccounts", &format!("system:serviceaccounts:{}", plane.namespace()), "system:authenticated"];
    assert_eq!(good["status"]["user"]["groups"], json!(groups));
    accounts.delete("one").await;
    let bad = reviews.create(review(token)).await;
    assert!(bad["status"]["authenticated"] != true && bad["status"]["error"].is_string(), "{bad}");
}

/// The documents tell of the issuer and the key of a token, also to a service account.
async fn discovery(plane: Plane) {
    let asked = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let given = plane.of("v1", "serviceaccounts").sub("token").try_post("default", &asked).await.ok();
    let token = given["status"]["token"].as_str().expect("a token");
    let part = |n: usize| {
        let text = token.split('.').nth(n).expect("a part");
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        let bytes = api::go::base64::decode(&(text.replace('-', "+").replace('_', "/") + &padding)).expect("base64");
        serde_json::from_slice::<Value>(&bytes).expect("JSON")
    };
    let account = api::UserInfo::new(
        format!("system:serviceaccount:{}:default", plane.namespace()),
        &["system:serviceaccounts", "system:authenticated"],
    );
    let read = async |path: &str| {
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        plane.client_as(account.clone()).request::<Value>(request).await.expect("it may be read")
    };
    let configuration = read("/.well-known/openid-configuration").await;
    assert_eq!(configuration["issuer"], part(1)["iss"]);
    assert!(configuration["jwks_uri"].as_str().is_some_and(|uri| uri.ends_with("/openid/v1/jwks")));
    let keys = read("/openid/v1/jwks").await;
    assert!(keys["keys"].as_array().is_some_and(|keys| keys.iter().any(|key| key["kid"] == part(0)["kid"])), "{keys}");
}

async fn reviews(plane: Plane) {
    let namespace = plane.namespace();
    let account = plane.of("v1", "serviceaccounts").create(json!({"metadata": {"name": "one"}})).await;
    let user = format!("system:serviceaccount:{namespace}:one");
    let groups =
        json!(["system:authenticated", "system:serviceaccounts", format!("system:serviceaccounts:{namespace}")]);
    let spec = json!({"user": user, "groups": groups, "uid": account["metadata"]["uid"],
        "resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": namespace, "version": "v1"}});
    let allowed = async || {
        let wide = plane.wide("authorization.k8s.io/v1", "subjectaccessreviews").create(json!({"spec": spec})).await;
        let local = json!({"metadata": {"namespace": namespace}, "spec": spec});
        let local = plane.of("authorization.k8s.io/v1", "localsubjectaccessreviews").create(local).await;
        assert_eq!(wide["status"]["allowed"], local["status"]["allowed"]);
        let user = api::UserInfo::new(&user, &["system:authenticated", "system:serviceaccounts"]);
        let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> =
            kube::Api::namespaced(plane.client_as(user), namespace);
        let may = maps.list(&kube::api::ListParams::default()).await.is_ok();
        assert_eq!(wide["status"]["allowed"], may, "the review says what happens");
        may
    };
    assert!(!allowed().await);
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    plane
        .of("rbac.authorization.k8s.io/v1", "roles")
        .create(json!({"metadata": {"name": "lists"}, "rules": rules}))
        .await;
    let binding = json!({"metadata": {"name": "lists"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lists"},
        "subjects": [{"kind": "ServiceAccount", "name": "one", "namespace": namespace}]});
    plane.of("rbac.authorization.k8s.io/v1", "rolebindings").create(binding).await;
    crate::plane::eventually("the role to hold", async || allowed().await).await;
}

/// A certificate request for `CN=e2e.example.com`; the key that signed it is nobody's.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIVU1Id0NBUUF3R2pFWU1CWUdBMVVFQXd3UFpUSmxMbVY0WVcxd2JHVXVZMj\
    l0TUZrd0V3WUhLb1pJemowQwpBUVlJS29aSXpqMERBUWNEUWdBRTFjdzZyRXpDVzZsOUxYTXJ3Qlhrb0JxNVJJSFZSUndmWnJ1aWp6Y0swcklY\
    CmdlNUdEYVUyQTdOaTd0NTZtL21jM2tkT2x0OXplZmhpR0hLN2NaTEdlcUFBTUFvR0NDcUdTTTQ5QkFNQ0EwZ0EKTUVVQ0lGSEpvN1ozcUkzeU\
    dobEVYdmtsaFM3blkraWNwTk51K1dzNGdxMXdUQ2prQWlFQXEwMm5uc0sycXlLaApRcUNlNmhWWitBVW1OdVExVERzRkxJNFJ3eDQ0dmNvPQot\
    LS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

async fn requests(plane: Plane) {
    let requests = plane.wide("certificates.k8s.io/v1", "certificatesigningrequests");
    let (name, label) = (plane.unique("request"), format!("labelSelector=of%3D{}", plane.namespace()));
    let mut watch = requests.watch(&label).await;
    let object = |name: &str| {
        json!({"metadata": {"name": name, "labels": {"of": plane.namespace()}},
        "spec": {"request": REQUEST, "signerName": "example.com/e2e", "expirationSeconds": 3600, "usages": ["client auth"]}})
    };
    for n in 1..=3 {
        let made = requests.create(object(&format!("{name}-{n}"))).await;
        assert_eq!(made["spec"]["username"], "kubernetes-admin");
    }
    let one = format!("{name}-1");
    watch.expect("ADDED", &one).await;
    assert_eq!(requests.list(&label).await.len(), 3);
    requests.merge(&one, json!({"metadata": {"annotations": {"patched": "true"}}})).await;
    requests.change(&one, |r| r["metadata"]["annotations"]["updated"] = json!("true")).await;
    watch.until("MODIFIED", "the update", |r| r["metadata"]["annotations"]["updated"] == "true").await;
    let added = |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": "it is a test"});
    let approval = requests.sub("approval");
    assert_eq!(approval.get(&one).await["metadata"]["name"], one.as_str());
    approval.merge(&one, json!({"status": {"conditions": [added("ApprovalPatch")]}})).await;
    let approved = approval.change(&one, |r| {
        let conditions = r["status"]["conditions"].as_array_mut().expect("conditions");
        conditions.push(added("Approved"));
    });
    assert_eq!(approved.await["status"]["conditions"].as_array().map(Vec::len), Some(2));
    let status = requests.status();
    let certificate = json!({"status": {"certificate": null, "conditions": [added("ApprovalPatch"), added("Approved"), added("StatusPatch")]}});
    status.merge(&one, certificate).await;
    status
        .change(&one, |r| r["status"]["conditions"].as_array_mut().expect("conditions").push(added("StatusUpdate")))
        .await;
    assert_eq!(status.get(&one).await["status"]["conditions"].as_array().map(Vec::len), Some(4));
    requests.delete(&one).await;
    requests.try_get(&one).await.refused(404, "not found");
    requests.delete_all(&label).await;
    assert!(requests.list(&label).await.is_empty());
}
