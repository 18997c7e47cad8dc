//! What users may do, as a webhook elsewhere says.

use std::sync::Arc;

use apiserver::authentication::options as authentication;
use apiserver::authorization::options as authorization;
use serde_json::{Value, json};

use super::elsewhere::{Answers, Elsewhere};
use super::identity::{Assembled, folder};

fn authorizers(webhook: &str, policy: &str) -> String {
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration", "authorizers": [
        {"type": "Webhook", "name": "hook", "webhook": {
            "timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1",
            "failurePolicy": policy, "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": webhook},
            "matchConditions": [
                {"expression": "!('system:masters' in request.groups)"},
                {"expression": "has(request.resourceAttributes) || request.user != 'skip'"},
            ],
        }},
        {"type": "RBAC", "name": "rbac"},
    ]})
    .to_string()
}

#[tokio::test]
async fn a_webhook_decides_what_users_may_do() {
    let answers: Answers = Arc::new(|_, body| {
        let review: Value = serde_json::from_slice(body).unwrap();
        let spec = &review["spec"];
        let status = match spec["user"].as_str().unwrap() {
            "yes" => json!({"allowed": true, "reason": "they may"}),
            "no" => json!({"allowed": false, "denied": true, "reason": "they may not"}),
            "both" => json!({"allowed": true, "denied": true}),
            "fails" => return (400, "bad".into()),
            "selects" => {
                json!({"allowed": spec["resourceAttributes"]["labelSelector"]["requirements"][0]["key"] == "app"})
            }
            _ => json!({"allowed": false, "reason": "no idea"}),
        };
        (200, json!({"kind": "SubjectAccessReview", "apiVersion": review["apiVersion"], "status": status}).to_string())
    });
    let webhook = Elsewhere::start(answers).await;
    let users = ["yes", "no", "both", "fails", "selects", "other", "skip"];
    let tokens: Vec<String> = users.iter().map(|user| format!("{user},{user},1")).collect();
    let folder = folder(&[
        ("tokens", tokens.join("\n") + "\nadmin,admin,1,system:masters\n"),
        ("webhook", webhook.kubeconfig("/authorize")),
    ]);
    let place = folder.path().join("webhook").display().to_string();
    std::fs::write(folder.path().join("config"), authorizers(&place, "NoOpinion")).unwrap();
    let rights = authorization::Options { config_file: Some(folder.path().join("config")), ..Default::default() };
    let users = authentication::Options { token_file: Some(folder.path().join("tokens")), ..Default::default() };
    let server = Assembled::new(folder, users, rights).unwrap();
    let code = async |user: &str, url: &str| server.ask(user, "GET", url, Value::Null).await;
    let pods = "/api/v1/namespaces/a/pods";
    assert_eq!(code("yes", pods).await.code, 200);
    let asked = webhook.calls();
    assert_eq!(code("yes", pods).await.code, 200);
    assert_eq!(webhook.calls(), asked, "it is remembered what is allowed");
    let refused = code("no", pods).await;
    assert_eq!(refused.code, 403);
    assert!(refused.at("message").as_str().unwrap().ends_with(": they may not"), "{}", refused.at("message"));
    let unknown = code("other", pods).await;
    assert!(unknown.code == 403 && unknown.at("message").as_str().unwrap().ends_with(": no idea"));
    assert_eq!((code("both", pods).await.code, code("fails", pods).await.code), (500, 500));
    assert_eq!(code("selects", pods).await.code, 403);
    assert_eq!(code("selects", &format!("{pods}?labelSelector=app%3Dx")).await.code, 200);
    let asked = webhook.calls();
    assert_eq!((code("admin", pods).await.code, code("skip", "/version").await.code), (200, 403));
    assert_eq!(webhook.calls(), asked, "neither is asked about");
    let review = |user: &str| {
        let about = json!({"verb": "list", "resource": "pods", "namespace": "a"});
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": about}})
    };
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let status = async |user: &str| server.ask("admin", "POST", reviews, review(user)).await.at("status");
    assert_eq!(status("yes").await, json!({"allowed": true, "reason": "they may"}));
    assert_eq!(status("no").await, json!({"allowed": false, "denied": true, "reason": "they may not"}));
    let failed = status("fails").await;
    assert!(failed["allowed"] == false && failed["evaluationError"].is_string(), "{failed}");
    let rules =
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "a"}});
    let rules = server.ask("admin", "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await;
    assert_eq!(rules.at("status.incomplete"), true);
    assert_eq!(rules.at("status.evaluationError"), "webhook authorizer does not support user rule resolution");

    let path = server.path("config");
    std::fs::write(&path, authorizers(&place, "Deny").replace("RBAC", "Node")).unwrap();
    server.followed.look().await;
    assert_eq!(code("yes", pods).await.code, 200, "types must stay: the file is no good");
    let gone = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration",
        "authorizers": [{"type": "RBAC", "name": "rbac"}]});
    std::fs::write(&path, gone.to_string()).unwrap();
    server.followed.look().await;
    assert_eq!(code("yes", pods).await.code, 403, "the webhook is not asked any more");
    let counted = server.metrics();
    let totals = "apiserver_authorization_config_controller_automatic_reloads_total{apiserver_id_hash=";
    assert!(counted.contains(totals) && counted.contains("status=\"success\"} 1"), "{counted}");
    assert!(
        counted.contains("apiserver_authorization_webhook_evaluations_total{name=\"hook\",result=\"error\"}"),
        "{counted}"
    );
    assert!(counted.contains("apiserver_authorization_match_condition_exclusions_total"), "{counted}");
}

#[tokio::test]
async fn a_webhook_that_is_not_there_costs_no_more_than_its_policy_says() {
    let folder = folder(&[("tokens", "a,a,1\n".into())]);
    let nowhere = "apiVersion: v1\nkind: Config\ncurrent-context: w\nclusters:\n- name: c\n  cluster:\n    server: \
                   https://127.0.0.1:1/x\ncontexts:\n- name: w\n  context:\n    cluster: c\n";
    std::fs::write(folder.path().join("webhook"), nowhere).unwrap();
    let place = folder.path().join("webhook").display().to_string();
    for (policy, code) in [("NoOpinion", 500), ("Deny", 500)] {
        let config = folder.path().join(policy);
        std::fs::write(&config, authorizers(&place, policy)).unwrap();
        let rights = authorization::Options { config_file: Some(config), ..Default::default() };
        let users = authentication::Options { token_file: Some(folder.path().join("tokens")), ..Default::default() };
        let server = Assembled::new(tempfile::tempdir().unwrap(), users, rights).unwrap();
        let answer = server.ask("a", "GET", "/api/v1/nodes", Value::Null).await;
        assert_eq!(answer.code, code, "{policy}");
        let message = answer.at("message");
        assert!(message.as_str().unwrap().contains("Internal Server Error: \"/api/v1/nodes\""), "{message}");
    }
}
