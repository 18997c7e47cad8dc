//! The targets of a horizontal pod autoscaler (`formatHPAMetrics` in pkg/printers/internalversion).

use serde_json::Value;

use super::cells::{at, field, int, list};
use crate::Object;

/// Most metrics that are shown.
const SHOWN_MAX: usize = 2;

/// The current and wanted value of each metric.
pub(crate) fn targets(hpa: &Object) -> String {
    if at(hpa, "spec.targetCPUUtilizationPercentage").is_some() {
        let current = at(hpa, "status.currentCPUUtilizationPercentage").and_then(Value::as_i64);
        let current = current.map_or("<unknown>".into(), |c| format!("{c}%"));
        return format!("cpu: {current}/{}%", int(hpa, "spec.targetCPUUtilizationPercentage"));
    }
    let statuses = list(hpa, "status.currentMetrics");
    let specs = list(hpa, "spec.metrics");
    if specs.is_empty() {
        return "<none>".into();
    }
    let all: Vec<String> = specs.iter().enumerate().map(|(i, spec)| one(spec, statuses.get(i))).collect();
    let shown = all[..all.len().min(SHOWN_MAX)].join(", ");
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn one(spec: &Value, status: Option<&Value>) -> String {
    let (source, resource) = match field(spec, "type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".into(),
    };
    let target = &spec[source]["target"];
    let current = |name: &str| {
        let value = status.and_then(|s| s[source]["current"].get(name)).filter(|v| !v.is_null());
        value.map(printed)
    };
    let unknown = || "<unknown>".to_string();
    let name = field(&spec[source], "name");
    if let Some(average) = target.get("averageValue").filter(|v| !v.is_null()) {
        let current = current("averageValue").unwrap_or_else(unknown);
        return match source {
            "pods" => format!("{current}/{}", printed(average)),
            _ if resource => format!("{name}: {current}/{}", printed(average)),
            _ => format!("{current}/{} (avg)", printed(average)),
        };
    }
    if resource {
        let current = current("averageUtilization").map_or_else(unknown, |c| format!("{c}%"));
        let wanted = target.get("averageUtilization").filter(|v| !v.is_null());
        let wanted = wanted.map_or("<auto>".into(), |w| format!("{}%", printed(w)));
        return format!("{name}: {current}/{wanted}");
    }
    let current = current("value").unwrap_or_else(unknown);
    format!("{current}/{}", printed(target.get("value").unwrap_or(&Value::Null)))
}

fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "0".into(),
        other => other.to_string(),
    }
}
