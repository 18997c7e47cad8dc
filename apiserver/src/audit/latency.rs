//! How long the layers of the server took for a request (`LatencyTrackers` in apiserver's `endpoints/request`).

use std::time::Duration;

use api::go::duration;
use parking_lot::Mutex;

/// Only requests that took longer have it written down (`writeLatencyToAnnotation`).
const THRESHOLD: Duration = Duration::from_millis(500);
const LAYERS: usize = 7;

/// A layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// Waiting for a place among the requests under way.
    Queue,
    /// Finding out who asks.
    Authentication,
    /// Finding out whether they may.
    Authorization,
    /// Writing to the store; what is read of it takes no time of its own.
    Store,
    /// Finding out as whom they ask.
    Impersonation,
    /// Mutating webhooks, one after the other.
    MutatingWebhook,
    /// Validating webhooks, all at once.
    ValidatingWebhook,
}

impl Layer {
    /// Its name, and whether all times of it are summed up: else the longest counts.
    fn told(self) -> (&'static str, bool) {
        match self {
            Self::Queue => ("apf-queue-wait", false),
            Self::Authentication => ("authentication", true),
            Self::Authorization => ("authorization", false),
            Self::Store => ("etcd", true),
            Self::Impersonation => ("impersonation", true),
            Self::MutatingWebhook => ("mutating-webhook", true),
            Self::ValidatingWebhook => ("validating-webhook", false),
        }
    }
}

/// The times of one request.
#[derive(Default)]
pub(super) struct Latencies(Mutex<[(Option<&'static str>, Duration); LAYERS]>);

impl Latencies {
    /// A layer took so long.
    pub(super) fn took(&self, layer: Layer, time: Duration) {
        let (name, is_sum) = layer.told();
        let known = &mut self.0.lock()[layer as usize];
        *known = (Some(name), if is_sum { known.1 + time } else { known.1.max(time) });
    }

    /// What is written down of a request that took so long altogether.
    pub(super) fn annotations(&self, total: Duration) -> Vec<(String, String)> {
        if total <= THRESHOLD {
            return Vec::new();
        }
        let times = *self.0.lock();
        let taken =
            times.into_iter().filter_map(|(name, time)| Some((name?, time))).filter(|(_, time)| !time.is_zero());
        let mut all: Vec<(&str, Duration)> = taken.collect();
        if !all.is_empty() {
            all.push(("total", total));
        }
        let text = |time: Duration| duration::format(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        all.into_iter().map(|(name, time)| (format!("apiserver.latency.k8s.io/{name}"), text(time))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_long_requests_are_told() {
        let latencies = Latencies::default();
        let long = Duration::from_secs(2);
        assert!(latencies.annotations(long).is_empty(), "no layer is known");
        for (layer, milliseconds) in [
            (Layer::MutatingWebhook, 300),
            (Layer::MutatingWebhook, 200),
            (Layer::ValidatingWebhook, 300),
            (Layer::ValidatingWebhook, 1_200),
            (Layer::ValidatingWebhook, 4),
            (Layer::Store, 0),
        ] {
            latencies.took(layer, Duration::from_millis(milliseconds));
        }
        assert!(latencies.annotations(THRESHOLD).is_empty());
        let told = latencies.annotations(long);
        let told: Vec<_> = told.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let expected = [
            ("apiserver.latency.k8s.io/mutating-webhook", "500ms"),
            ("apiserver.latency.k8s.io/validating-webhook", "1.2s"),
            ("apiserver.latency.k8s.io/total", "2s"),
        ];
        assert_eq!(told, expected);
    }
}
