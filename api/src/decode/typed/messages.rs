//! What is said of a value of a wrong type, with the names that types have in Go.

use serde_json::Value;

use super::{Coder, Wording};
use crate::go::json::cannot_unmarshal;
use crate::schema::{Field, Kind, Type};

impl<'a> Coder<'a, '_> {
    pub(super) fn wrong(&mut self, ty: Type<'a>, named: Option<&str>, what: &str) -> Option<Value> {
        let message = match self.wording {
            Wording::Decoder => self.type_error(what, &go_type(ty, named)),
            Wording::Converter => not_restored(ty, what),
        };
        self.save(message);
        None
    }

    pub(super) fn stop_wrong(&mut self, what: &str, go_type: &str) -> Option<Value> {
        let message = self.type_error(what, go_type);
        self.stop(message)
    }

    pub(super) fn type_error(&self, what: &str, go_type: &str) -> String {
        match self.context {
            Some(context) => {
                let name = context.name().map_or("", last_name);
                let fields = self.fields.join(".");
                format!("json: cannot unmarshal {what} into Go struct field {name}.{fields} of type {go_type}")
            }
            None => cannot_unmarshal(what, go_type),
        }
    }
}

/// What the converter says of a value that is not of a type.
fn not_restored(ty: Type<'_>, what: &str) -> String {
    let given = match what.split(' ').next().unwrap_or(what) {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        other => other,
    };
    match ty.kind() {
        Kind::List | Kind::Bytes => format!("cannot restore slice from {given}"),
        Kind::Map => format!("cannot restore map from {given}"),
        Kind::Struct => format!("cannot restore struct from: {given}"),
        Kind::String if given == "int64" => "cannot convert int64 to string".to_string(),
        _ => format!("unrecognized type: {}", go_type(ty, None)),
    }
}

/// The type's name in Go's errors.
pub(super) fn go_type(ty: Type<'_>, named: Option<&str>) -> String {
    if let Some(whole) = named.and_then(|n| n.strip_prefix('=')) {
        return whole.to_string();
    }
    let elem = || ty.elem().map_or(String::new(), |elem| go_type(elem, named));
    match ty.kind() {
        Kind::List => format!("[]{}", elem()),
        Kind::Map => format!("map[string]{}", elem()),
        Kind::Struct => ty.name().map_or("map[string]interface {}".to_string(), short_name),
        Kind::String => named.unwrap_or("string").to_string(),
        Kind::Bytes => "[]uint8".to_string(),
        Kind::Boolean => named.unwrap_or("bool").to_string(),
        Kind::Int32 => named.unwrap_or("int32").to_string(),
        Kind::Int64 => named.unwrap_or("int64").to_string(),
        Kind::Double => named.unwrap_or("float64").to_string(),
        Kind::Quantity => "resource.Quantity".to_string(),
        Kind::Time => "v1.Time".to_string(),
        Kind::MicroTime => "v1.MicroTime".to_string(),
        Kind::Duration => "v1.Duration".to_string(),
        Kind::IntOrString => "intstr.IntOrString".to_string(),
        _ => "interface {}".to_string(),
    }
}

/// What Go's structs embed, and what that embeds: its errors name them on the way to a field.
const EMBEDDED: [(&str, &[&str]); 17] = [
    ("ConfigMapEnvSource", &["LocalObjectReference"]),
    ("ConfigMapKeySelector", &["LocalObjectReference"]),
    ("ConfigMapProjection", &["LocalObjectReference"]),
    ("ConfigMapVolumeSource", &["LocalObjectReference"]),
    ("DeviceAllocationConfiguration", &["DeviceConfiguration"]),
    ("DeviceClaimConfiguration", &["DeviceConfiguration"]),
    ("DeviceClassConfiguration", &["DeviceConfiguration"]),
    ("EphemeralContainer", &["EphemeralContainerCommon"]),
    ("IngressRule", &["IngressRuleValue"]),
    ("NamedRuleWithOperations", &["RuleWithOperations", "Rule"]),
    ("PersistentVolumeSpec", &["PersistentVolumeSource"]),
    ("Probe", &["ProbeHandler"]),
    ("RuleWithOperations", &["Rule"]),
    ("SecretEnvSource", &["LocalObjectReference"]),
    ("SecretKeySelector", &["LocalObjectReference"]),
    ("SecretProjection", &["LocalObjectReference"]),
    ("Volume", &["VolumeSource"]),
];

/// The structs that a field is embedded in: as many as its way in protobuf leads through.
pub(super) fn embedded(context: Type<'_>, field: Field<'_>) -> &'static [&'static str] {
    let through = field.proto().len().saturating_sub(1);
    if through == 0 {
        return &[];
    }
    let name = context.name().map_or("", last_name);
    let found = EMBEDDED.iter().find(|(definition, _)| *definition == name);
    found.and_then(|(_, names)| names.get(..through)).unwrap_or(&[])
}

pub(super) fn last_name(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short_name(definition: &str) -> String {
    let mut parts = definition.rsplit('.');
    let (name, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    format!("{package}.{name}")
}
