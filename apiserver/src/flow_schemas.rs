//! Tells each flow schema whether the priority level that it names is there, as the reference's consumer of that
//! configuration does (`presyncFlowSchemaStatus` in `util/flowcontrol`). It writes through the API, as a client would.

use std::collections::BTreeSet;

use api::{Object, UserInfo};
use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use store::{Snapshot, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{ApiServer, clock};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// What the keys of both kinds begin with.
const KEYS: &str = "/registry/flowcontrol.apiserver.k8s.io/";
/// Who the conditions belong to.
const FIELD_MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
const CONDITION: &str = "Dangling";

/// Follows flow schemas and priority levels until `stop` is cancelled.
pub async fn follow(server: ApiServer, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            ended = run(&server) => {
                // The history went on without us: begin anew with the state.
                if !matches!(ended, Err(StoreError::Lagged | StoreError::Compacted { .. })) {
                    return;
                }
            }
        }
    }
}

async fn run(server: &ApiServer) -> Result<(), StoreError> {
    let registry = server.registry();
    loop {
        let snapshot = registry.snapshot();
        let mut events = registry.store().watch_prefix(snapshot.revision(), KEYS)?;
        synchronise(server, &snapshot).await;
        while !events.next().await?.iter().any(|batch| batch.iter().any(|event| event.key().starts_with(KEYS))) {}
    }
}

/// Writes the conditions that are not as they should be.
async fn synchronise(server: &ApiServer, snapshot: &Snapshot) {
    let registry = server.registry();
    let levels = registry.list_in(snapshot, GROUP, "prioritylevelconfigurations", "");
    let levels: BTreeSet<&str> = levels.iter().map(Object::name).collect();
    for schema in registry.list_in(snapshot, GROUP, "flowschemas", "") {
        let level = schema.str_at(&["spec", "priorityLevelConfiguration", "name"]);
        let wanted = wanted(level, levels.contains(level));
        if !holds(&schema, &wanted) {
            write(server, &schema, wanted).await;
        }
    }
}

/// The condition as it should be, without its time.
fn wanted(level: &str, exists: bool) -> Value {
    let (status, reason, end) = match exists {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {end}");
    json!({"type": CONDITION, "status": status, "reason": reason, "message": message})
}

fn current(schema: &Object) -> Option<&Value> {
    let conditions = schema.at(&["status", "conditions"]).and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| condition.get("type") == Some(&json!(CONDITION)))
}

fn holds(schema: &Object, wanted: &Value) -> bool {
    current(schema)
        .is_some_and(|found| ["status", "reason", "message"].iter().all(|field| found.get(field) == wanted.get(field)))
}

async fn write(server: &ApiServer, schema: &Object, mut condition: Value) {
    let before = current(schema).filter(|found| found.get("status") == condition.get("status"));
    let since = before.and_then(|found| found.get("lastTransitionTime")).cloned();
    let now = clock::time(server.registry().clock().now());
    condition["lastTransitionTime"] = since.unwrap_or_else(|| now.into());
    let body = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "FlowSchema",
        "metadata": {"name": schema.name()},
        "status": {"conditions": [condition]},
    });
    let path = format!("/apis/{GROUP}/v1/flowschemas/{}/status?fieldManager={FIELD_MANAGER}&force=true", schema.name());
    let user = UserInfo {
        username: "system:apiserver".into(),
        groups: vec!["system:masters".into(), "system:authenticated".into()],
        ..UserInfo::default()
    };
    let request = Request::patch(path).header(CONTENT_TYPE, "application/apply-patch+yaml").extension(user);
    let Ok(request) = request.body(Body::from(body.to_string())) else { return };
    let answer = server.handle(request).await;
    // One that is gone meanwhile needs no condition; any other failure is tried again with the next change.
    if !answer.status().is_success() {
        tracing::debug!(schema = schema.name(), status = %answer.status(), "the condition was not written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_whether_the_level_is_there() {
        let schema = Object::from_value(json!({"status": {"conditions": [wanted("a", true)]}})).unwrap();
        assert!(holds(&schema, &wanted("a", true)));
        assert!(!holds(&schema, &wanted("a", false)) && !holds(&schema, &wanted("b", true)));
        assert!(!holds(&Object::default(), &wanted("a", true)));
        assert_eq!(wanted("a", false)["reason"], "NotFound");
    }
}
