//! When the change was that endpoints were written for, so that others can measure how long they took to come
//! (`TriggerTimeTracker` in the reference's `endpointslice`).

use std::collections::HashMap;

use client::ObjectKey;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use parking_lot::Mutex;

use crate::pod::condition;
use crate::selector::Labels;

/// The annotation that tells it.
pub(crate) const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// What was known of each service at its last sync.
#[derive(Default)]
pub(crate) struct TriggerTimes(Mutex<HashMap<ObjectKey, State>>);

#[derive(Default)]
struct State {
    service: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

impl TriggerTimes {
    /// The earliest change since the last sync of a service. Of one that is new, its creation.
    pub(crate) fn note<'a>(
        &self,
        key: &ObjectKey,
        service: &Service,
        pods: impl Iterator<Item = &'a Pod>,
    ) -> Option<Timestamp> {
        let changed = |pod: &Pod| condition(pod, "Ready")?.last_transition_time.as_ref().map(|t| t.0);
        let pods: HashMap<String, Timestamp> = pods.filter_map(|p| Some((p.name_any(), changed(p)?))).collect();
        let created = service.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let mut known = self.0.lock();
        let before = known.insert(key.clone(), State { service: created, pods: pods.clone() });
        let Some(before) = before else { return created };
        let newer = pods.iter().filter(|(name, at)| before.pods.get(*name).is_none_or(|old| *at > old));
        let replaced = created.filter(|at| before.service.is_none_or(|old| *at > old));
        newer.map(|(_, at)| *at).chain(replaced).min()
    }

    /// Forgets a service that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.0.lock().remove(key);
    }
}

/// Writes the time into annotations, or takes an older one away.
pub(crate) fn stamp(annotations: &mut Option<Labels>, time: Option<Timestamp>) {
    match time {
        Some(time) => _ = annotations.get_or_insert_default().insert(ANNOTATION.into(), time.to_string()),
        None => {
            if let Some(annotations) = annotations {
                annotations.remove(ANNOTATION);
            }
            annotations.take_if(|annotations| annotations.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_earliest_change_counts() {
        let times = TriggerTimes::default();
        let key = ObjectKey::new("ns", "s");
        let service = |second: u32| -> Service {
            let time = format!("2026-01-01T00:00:{second:02}Z");
            serde_json::from_value(json!({"metadata": {"name": "s", "creationTimestamp": time}})).expect("a service")
        };
        let pod = |name: &str, second: u32| -> Pod {
            let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": format!("2026-01-01T00:00:{second:02}Z")});
            let pod = json!({"metadata": {"name": name}, "status": {"conditions": [ready]}});
            serde_json::from_value(pod).expect("a pod")
        };
        let note = |service: Service, pods: &[Pod]| {
            times.note(&key, &service, pods.iter()).map(|t| t.to_string()[17..].to_owned())
        };
        assert_eq!(note(service(9), &[pod("a", 1)]).as_deref(), Some("09Z"), "a new service was created then");
        assert_eq!(note(service(9), &[pod("a", 1)]), None);
        assert_eq!(note(service(9), &[pod("a", 20), pod("b", 15), pod("c", 30)]).as_deref(), Some("15Z"));
        assert_eq!(note(service(9), &[pod("a", 20)]), None, "a pod that went is no change that we can date");
        assert_eq!(note(service(40), &[pod("a", 20)]).as_deref(), Some("40Z"));
        times.forget(&key);
        assert_eq!(note(service(40), &[]).as_deref(), Some("40Z"));
    }

    #[test]
    fn an_older_time_is_taken_away() {
        let mut annotations = None;
        stamp(&mut annotations, Timestamp::from_second(0).ok());
        assert_eq!(annotations.as_ref().map(|a| a[ANNOTATION].as_str()), Some("1970-01-01T00:00:00Z"));
        stamp(&mut annotations, None);
        assert_eq!(annotations, None);
    }
}
