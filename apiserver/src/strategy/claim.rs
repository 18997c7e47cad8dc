//! Claims: what a volume is filled from is said in an old field and in a new one (`pkg/api/persistentvolumeclaim`).

use api::Object;
use serde_json::{Value, json};

use super::Strategy;
use crate::Context;

/// Persistent volume claims.
pub(super) struct Claim;

const SNAPSHOTS: &str = "snapshot.storage.k8s.io";

impl Strategy for Claim {
    fn prepare_for_create(&self, _: &Context, new: &mut Object) {
        new.set(&["status"], json!({"phase": "Pending"}));
        sources(new, None);
    }

    fn prepare_for_update(&self, _: &Context, new: &mut Object, old: &Object) {
        sources(new, Some(old));
    }
}

fn is_set(claim: &Object, field: &str) -> bool {
    claim.at(&["spec", field]).is_some_and(|value| !value.is_null())
}

fn sources(new: &mut Object, old: Option<&Object>) {
    // A source in another namespace stands behind a feature that is off.
    let other_namespace = !new.str_at(&["spec", "dataSourceRef", "namespace"]).is_empty();
    if other_namespace && !old.is_some_and(|old| is_set(old, "dataSourceRef")) {
        new.remove(&["spec", "dataSourceRef"]);
    }
    let in_use = old.is_some_and(|old| is_set(old, "dataSource") || is_set(old, "dataSourceRef"));
    let group = new.str_at(&["spec", "dataSource", "apiGroup"]);
    let known = matches!(
        (new.str_at(&["spec", "dataSource", "kind"]), group),
        ("PersistentVolumeClaim", "") | ("VolumeSnapshot", SNAPSHOTS)
    );
    if !in_use && !is_set(new, "dataSourceRef") && !known {
        new.remove(&["spec", "dataSource"]);
    }
    match (is_set(new, "dataSource"), is_set(new, "dataSourceRef")) {
        (true, false) => copy(new, "dataSource", "dataSourceRef"),
        (false, true) if new.str_at(&["spec", "dataSourceRef", "namespace"]).is_empty() => {
            copy(new, "dataSourceRef", "dataSource");
        }
        _ => {}
    }
}

fn copy(claim: &mut Object, from: &str, to: &str) {
    let Some(Value::Object(mut source)) = claim.at(&["spec", from]).cloned() else { return };
    source.remove("namespace");
    claim.set(&["spec", to], Value::Object(source));
}
