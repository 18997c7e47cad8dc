//! Certificates that are asked for through the API, as `test/e2e/auth/certificates.go` has it, and what becomes of requests
//! that must not be signed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle::{Cluster, ClusterConfig};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, PostParams};
use kube::config::{Config, KubeConfigOptions};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A new key, and a request for a certificate of it, both PEM.
fn request(name: &str, group: Option<&str>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.distinguished_name.push(DnType::CommonName, name);
    let asked = params.serialize_request(&key).unwrap().pem().unwrap();
    (key.serialize_pem(), asked)
}

fn object(asked: &str, signer: &str, usages: &[&str]) -> CertificateSigningRequest {
    let object = json!({
        "metadata": {"generateName": "tester-"},
        "spec": {
            "request": STANDARD.encode(asked),
            "signerName": format!("kubernetes.io/{signer}"),
            "usages": usages,
            "expirationSeconds": 3600,
        },
    });
    serde_json::from_value(object).unwrap()
}

async fn create<K>(client: &kube::Client, object: Value)
where
    K: kube::Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
{
    let object: K = serde_json::from_value(object).unwrap();
    Api::<K>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
}

async fn approve(requests: &Api<CertificateSigningRequest>, made: CertificateSigningRequest) -> String {
    let name = made.metadata.name.clone().unwrap();
    let mut body = serde_json::to_value(made).unwrap();
    body["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "E2E", "message": "x"}]});
    requests.replace_subresource("approval", &name, &PostParams::default(), &body).await.unwrap();
    name
}

/// The request once it has a certificate or has failed.
async fn settled(requests: &Api<CertificateSigningRequest>, name: &str) -> Value {
    let settled = async {
        loop {
            let found = serde_json::to_value(requests.get(name).await.unwrap()).unwrap();
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if found["status"]["certificate"].is_string() || conditions.iter().any(|c| c["type"] == "Failed") {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, settled).await.expect("the request is worked on")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_built_with_a_signing_request() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.client());
    let rules = json!([{"verbs": ["create"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"]}]);
    create::<ClusterRole>(&cluster.client(), json!({"metadata": {"name": "tester"}, "rules": rules})).await;
    let binding = json!({
        "metadata": {"name": "tester"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tester"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "tester-csr"}],
    });
    create::<ClusterRoleBinding>(&cluster.client(), binding).await;
    let (key, asked) = request("tester-csr", None);
    let usages = ["digital signature", "key encipherment", "client auth"];
    let template = object(&asked, "kube-apiserver-client", &usages);
    let made = requests.create(&PostParams::default(), &template).await.unwrap();
    let name = approve(&requests, made).await;
    let signed = settled(&requests, &name).await;
    let certificate = signed["status"]["certificate"].as_str().expect("a certificate").to_owned();
    let mut kubeconfig = cluster.kubeconfig();
    let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
    user.client_certificate_data = Some(certificate);
    user.client_key_data = Some(STANDARD.encode(&key).into());
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let own: Api<CertificateSigningRequest> = Api::all(client);
    let made = own.create(&PostParams::default(), &template).await.expect("the certificate is one of a client");
    assert_eq!(made.spec.username.as_deref(), Some("tester-csr"));
    // What the signer does not sign fails, and says why.
    let wrong = object(&asked, "kube-apiserver-client", &["client auth", "server auth"]);
    let made = requests.create(&PostParams::default(), &wrong).await.unwrap();
    let name = approve(&requests, made).await;
    let failed = settled(&requests, &name).await;
    let condition = &failed["status"]["conditions"][1];
    assert_eq!((&condition["type"], &condition["reason"]), (&json!("Failed"), &json!("SignerValidationFailure")));
    assert_eq!(condition["message"], "invalid usage for client certificate: server auth");
    assert!(failed["status"]["certificate"].is_null());
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_ask_gets_its_certificate_by_itself() {
    let cluster = Cluster::start(ClusterConfig::in_memory()).await.unwrap();
    let requests: Api<CertificateSigningRequest> = Api::all(cluster.client());
    let node = cluster.client_as(api::UserInfo::new("system:node:a", &["system:nodes"]));
    let (_, asked) = request("system:node:a", Some("system:nodes"));
    let usages = ["digital signature", "client auth"];
    let object = object(&asked, "kube-apiserver-client-kubelet", &usages);
    let made = Api::<CertificateSigningRequest>::all(node).create(&PostParams::default(), &object).await.unwrap();
    let name = made.metadata.name.unwrap();
    let role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
    let binding = json!({
        "metadata": {"name": "nodes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    });
    let before = requests.get(&name).await.unwrap();
    assert!(before.status.is_none_or(|status| status.certificate.is_none()), "nobody said that it may");
    create::<ClusterRoleBinding>(&cluster.client(), binding).await;
    let signed = settled(&requests, &name).await;
    assert!(signed["status"]["certificate"].is_string());
    let condition = &signed["status"]["conditions"][0];
    assert_eq!(condition["reason"], "AutoApproved");
    assert_eq!(condition["message"], "Auto approving self kubelet client certificate after SubjectAccessReview.");
    cluster.stop().await.unwrap();
}
