//! `componentstatuses`: how the parts of the control plane are, asked when somebody looks
//! (`pkg/registry/core/componentstatus`). They are parts of this process, so no connection is made to them.

use std::sync::Arc;

use api::Object;
use serde_json::json;

use crate::plug::endpoint::{Endpoints, Lister};
use crate::{Context, documents};

/// Whether a part works; if not, why.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The parts by name, beside the store.
pub struct ComponentStatuses(Vec<(&'static str, Check)>);

/// Plugs in the parts and their checks.
pub fn endpoints(endpoints: &mut Endpoints, parts: Vec<(&'static str, Check)>) {
    endpoints.lister("", "componentstatuses", Arc::new(ComponentStatuses(parts)));
}

impl Lister for ComponentStatuses {
    fn list(&self, ctx: &Context) -> Vec<Object> {
        let store = ("etcd-0", documents::health::store(&ctx.registry));
        let parts = self.0.iter().map(|(name, check)| (*name, check()));
        parts.chain([store]).map(|(name, result)| status(name, result)).collect()
    }

    fn kind_of_missing(&self) -> &'static str {
        "componentstatus"
    }
}

fn status(name: &str, result: Result<(), String>) -> Object {
    let (status, message) = match result {
        Ok(()) => ("True", "ok".to_string()),
        Err(why) => ("False", why),
    };
    let object = json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name},
        "conditions": [{"type": "Healthy", "status": status, "message": message}],
    });
    Object::from_value(object).expect("written as an object")
}
