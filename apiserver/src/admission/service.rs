//! Services on the way in.

use api::{Object, Status};
use serde_json::Value;

use super::{Attributes, Operation, forbidden, is};

/// `DenyServiceExternalIPs`: nobody takes an address that is not the cluster's to give.
pub(super) fn no_external_addresses(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    fn addresses(service: &Object) -> &[Value] {
        service.at(&["spec", "externalIPs"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
    let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
    let Some(service) = object.filter(|_| is_write && is(attributes, "", "services", "")) else { return Ok(()) };
    let had = |address: &Value| attributes.old.is_some_and(|old| addresses(old).contains(address));
    if addresses(service).iter().all(had) {
        return Ok(());
    }
    Err(forbidden(attributes, object, "Use of external IPs is denied by admission control"))
}
