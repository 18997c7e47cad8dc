//! The families of metrics that the tree documents, which those that we declare are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use serde::Deserialize;

/// Where the tree lists them; it makes that list itself, out of its code.
const SOURCE: &str = "test/instrumentation/documentation/documentation-list.yaml";
/// Where most of them are served.
const USUAL: &str = "/metrics";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    subsystem: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    stability_level: String,
    #[serde(default)]
    deprecated_version: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    const_labels: BTreeMap<String, String>,
    #[serde(default)]
    buckets: Vec<f64>,
    #[serde(default)]
    component_endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    component: String,
    endpoint: String,
}

/// The text of the file: a line a family, in order of name.
///
/// # Errors
/// If the list is not there or not understood.
pub(super) fn write(from: &Path) -> Result<String, Box<dyn Error>> {
    let path = from.join(SOURCE);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(lines(&text)?)
}

fn lines(text: &str) -> Result<String, serde_saphyr::Error> {
    let families: Vec<Family> = serde_saphyr::from_str(text)?;
    let lines: BTreeMap<String, String> = families.iter().map(|family| (family.full_name(), family.line())).collect();
    Ok(lines.into_iter().map(|(name, line)| format!("{name}\t{line}\n")).collect())
}

impl Family {
    fn full_name(&self) -> String {
        let parts = [&self.namespace, &self.subsystem, &self.name].map(String::as_str);
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
    }

    /// Type, labels, bounds of buckets, stability, and where it is served.
    fn line(&self) -> String {
        let kind = match self.kind.as_str() {
            "TimingRatioHistogram" => "histogram".to_string(),
            other => other.to_lowercase(),
        };
        let labels: BTreeSet<_> = self.labels.iter().chain(self.const_labels.keys()).map(String::as_str).collect();
        let bounds = self.buckets.iter().map(f64::to_string);
        let places: BTreeSet<_> = self.component_endpoints.iter().map(Endpoint::place).collect();
        let mut place = joined(places);
        if !self.deprecated_version.is_empty() {
            place.push_str(&format!(" deprecated={}", self.deprecated_version));
        }
        let stability = if self.stability_level.is_empty() { "-" } else { &self.stability_level };
        let labels = joined(labels.into_iter().map(str::to_string));
        [kind.as_str(), &labels, &joined(bounds), stability, &place].join("\t")
    }
}

impl Endpoint {
    fn place(&self) -> String {
        let page = self.endpoint.strip_prefix(USUAL).unwrap_or(&self.endpoint);
        format!("{}{page}", self.component)
    }
}

fn joined(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    if items.is_empty() { "-".into() } else { items.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_lines() {
        let list = "- name: duration_seconds\n  subsystem: one\n  namespace: a\n  help: Words of theirs.\n  type: Histogram\n  \
                    stabilityLevel: BETA\n  deprecatedVersion: 1.30.0\n  labels:\n  - z\n  - b\n  constLabels:\n    m: x\n  buckets:\n  - \
                    1e-05\n  - 2.5\n  - 10\n  componentEndpoints:\n  - component: kubelet\n    endpoint: /metrics/slis\n  - component: \
                    kube-proxy\n    endpoint: /metrics\n- name: a\n  type: TimingRatioHistogram\n";
        let expected = "a\thistogram\t-\t-\t-\t-\n\
                        a_one_duration_seconds\thistogram\tb,m,z\t0.00001,2.5,10\tBETA\tkube-proxy,kubelet/slis deprecated=1.30.0\n";
        assert_eq!(lines(list).expect("a list"), expected);
        assert!(lines("- type: Counter\n").is_err(), "a family without a name");
    }
}
