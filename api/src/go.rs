//! Habits of Go that clients see: what its packages read, print and say. Some is compared by programs (the hash of a pod
//! template is one of what Go prints, so moving a cluster in or out rolls nothing only if the same is printed here), the rest is
//! read by people in messages.

mod amount;
pub mod base64;
pub mod duration;
pub(crate) mod internal;
pub mod json;
mod layout;
mod marshal;
pub mod mime;
pub(crate) mod netip;
pub(crate) mod regexp;
mod spew;
pub mod strconv;
#[cfg(test)]
mod tests;
pub mod url;

use serde_json::Value;

use layout::Type;

/// The name of the type of a pod template.
pub const POD_TEMPLATE: &str = "core.v1.PodTemplateSpec";

/// A value of the type `name` as `dump.ForHash` of k8s.io/utils prints it, which is what `DeepHashObject` hashes.
///
/// The value is one that was served: quantities are canonical. A list or map that is empty counts as unset, as
/// it does for a controller, which gets protobuf. `None` for a type that stands below no pod template.
pub fn dump_for_hash(name: &str, value: &Value) -> Option<String> {
    layout::fields(name)?;
    Some(spew::print(&Type::Struct(name.into()), value))
}

/// A value of the type `name` as `json.Marshal` gives it back after it was read: with what Go does not leave out, and
/// without what it does. Whole numbers have gone through a `float64`, as they do in a patch made of a map.
///
/// `None` for a type that stands below no pod template.
pub fn marshal(name: &str, value: &Value) -> Option<Value> {
    layout::fields(name)?;
    Some(marshal::of(&Type::Struct(name.into()), Some(value)))
}

/// JSON as `json.Marshal` writes a map: names in order, and `<`, `>`, `&` and two separators escaped.
pub fn json_text(value: &Value) -> String {
    marshal::text(value)
}
