//! APIServices.

use api::Object;
use serde_json::json;

use super::Strategy;
use crate::{Context, clock};

/// What an APIService without a service is said to be (`NewLocalAvailableAPIServiceCondition`): reason and message.
pub(crate) const LOCAL: (&str, &str) = ("Local", "Local APIServices are always available");

/// APIServices (`apiServerStrategy` in kube-aggregator's `pkg/registry/apiservice`).
pub(super) struct ApiService;

impl Strategy for ApiService {
    fn prepare_for_create(&self, ctx: &Context, new: &mut Object) {
        if new.at(&["spec", "service"]).is_some_and(serde_json::Value::is_object) {
            return;
        }
        let (reason, message) = LOCAL;
        let condition = json!({
            "type": "Available", "status": "True", "lastTransitionTime": clock::time(ctx.now),
            "reason": reason, "message": message,
        });
        new.set(&["status", "conditions"], vec![condition]);
    }
}
