//! Match conditions of webhooks.

use api::UserInfo;

use super::*;

/// `AdmissionWebhook should be able to create and update validating webhook configurations with match conditions`
#[tokio::test]
async fn a_webhook_is_called_where_all_conditions_hold() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "asked")).await;
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    let conditions = json!([
        condition("not-bob", "request.userInfo.username != 'bob'"),
        condition("named", "has(object.metadata.labels) && object.metadata.labels.ask == 'yes'"),
        condition("may", "!authorizer.path('/skip').check('get').allowed() || request.operation == 'CREATE'"),
    ]);
    let hooks = json!([hook(&at, "/all", json!([rule(&["configmaps"])]), json!({"matchConditions": conditions}))]);
    validate(&server, "conditional", hooks).await;
    let labelled = |name: &str| {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"ask": "yes"});
        object
    };
    assert_eq!(make(&server, config_map("plain")).await.0, 201);
    let refused = make(&server, labelled("asked")).await;
    assert!(told(&refused).1.ends_with("denied the request: asked"), "{refused:?}");
    let bob = UserInfo::new("bob", &["system:masters"]);
    assert_eq!(server.ask(bob, "POST", CONFIG_MAPS, labelled("bobs")).await.0, 201);
}

#[tokio::test]
async fn a_condition_that_fails_counts_by_the_failure_policy() {
    let server = Server::new().await;
    let at = Hook::start(&["127.0.0.1"], |_, asked| deny(&asked, "asked")).await;
    let conditions = json!([{"name": "fails", "expression": "object.data.nope == 'x'"}]);
    let hook = |path: &str, policy: &str| {
        let more = json!({"matchConditions": conditions, "failurePolicy": policy});
        json!([hook(&at, path, json!([rule(&["configmaps"])]), more)])
    };
    validate(&server, "ignores", hook("/ignores", "Ignore")).await;
    assert_eq!(make(&server, config_map("one")).await.0, 201);
    validate(&server, "fails", hook("/fails", "Fail")).await;
    let refused = make(&server, config_map("two")).await;
    let why =
        "configmaps \"two\" is forbidden: expression 'object.data.nope == 'x'' resulted in error: no such key: nope";
    assert_eq!(told(&refused), (403, why));
}
