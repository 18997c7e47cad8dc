//! Tells each flow schema whether the priority level that it names is there, as the reference's consumer of that
//! configuration does (`presyncFlowSchemaStatus` in `util/flowcontrol`). It writes through the API, as a client would.

use std::collections::BTreeSet;

use api::Object;
use http::Method;
use serde_json::{Value, json};

use crate::flow_control::GROUP;
use crate::post_start::condition;
use crate::{ApiServer, clock};

/// Who the conditions belong to.
const FIELD_MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";
const CONDITION: &str = "Dangling";

/// Writes the conditions that are not as they should be.
pub(super) async fn write(server: &ApiServer, schemas: &[Object], levels: &[Object]) {
    let levels: BTreeSet<&str> = levels.iter().map(Object::name).collect();
    for schema in schemas {
        let level = schema.str_at(&["spec", "priorityLevelConfiguration", "name"]);
        let wanted = wanted(level, levels.contains(level));
        let now = clock::time(server.registry().clock().now());
        if let Some(condition) = condition::due(schema, wanted, &now) {
            apply(server, schema, condition).await;
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

async fn apply(server: &ApiServer, schema: &Object, condition: Value) {
    let body = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "FlowSchema",
        "metadata": {"name": schema.name()},
        "status": {"conditions": [condition]},
    });
    let path = format!("/apis/{GROUP}/v1/flowschemas/{}/status?fieldManager={FIELD_MANAGER}&force=true", schema.name());
    let answered = server.ask_itself(&Method::PATCH, path, "application/apply-patch+yaml", body.to_string()).await;
    // One that is gone meanwhile needs no condition; any other failure is tried again with the next change.
    if let Err(error) = answered {
        tracing::debug!(schema = schema.name(), %error, "the condition was not written");
    }
}
