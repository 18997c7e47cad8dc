//! Pod Security (`metrics` of `k8s.io/pod-security-admission`).

use api::pod_security::{Level, LevelVersion, Mode, Version};
use metrics::{Collect, Counter, Family, Tally, Text};

use super::{FEW, RESOURCES_MAX};
use crate::plug::Operation;
use crate::plug::admission::Attributes;

/// What is counted of writes of pods and of what makes pods.
pub struct PodSecurityCounts {
    evaluations: Family<Tally, 7>,
    exemptions: Family<Counter, 3>,
    errors: Family<Counter, 4>,
}

impl Default for PodSecurityCounts {
    fn default() -> Self {
        let request = ["request_operation", "resource", "subresource"];
        let labels = ["decision", "policy_level", "policy_version", "mode", request[0], request[1], request[2]];
        let counts = Self {
            evaluations: Family::new("pod_security_evaluations_total", labels, RESOURCES_MAX),
            exemptions: Family::new("pod_security_exemptions_total", request, FEW),
            errors: Family::new("pod_security_errors_total", ["fatal", request[0], request[1], request[2]], FEW),
        };
        // These are there before anything is counted.
        for operation in ["create", "update"] {
            let labels = ["allow", "privileged", "latest", "enforce", operation, "pod", ""];
            counts.evaluations.with(labels, |_| ());
            for resource in ["pod", "controller"] {
                counts.exemptions.with([operation, resource, ""], |_| ());
            }
        }
        counts
    }
}

impl PodSecurityCounts {
    /// A pod was held against a policy.
    pub(crate) fn evaluated(&self, allowed: bool, policy: LevelVersion, mode: Mode, attributes: &Attributes<'_>) {
        let decision = if allowed { "allow" } else { "deny" };
        let [operation, resource, subresource] = request(attributes);
        let level = policy.level.as_str();
        let count = |version: &str| {
            let labels = [decision, level, version, mode.as_str(), operation, resource, subresource];
            self.evaluations.with(labels, Tally::add_one);
        };
        match policy.version {
            _ if policy.level == Level::Privileged => count("latest"),
            Version::Latest => count("latest"),
            // Who labels a namespace could make up any number of these.
            Version::Minor(minor) if minor > newest() => count("future"),
            version => count(&version.to_string()),
        }
    }

    /// Nothing was asked of a write.
    pub(crate) fn exempted(&self, attributes: &Attributes<'_>) {
        self.exemptions.with(request(attributes), Counter::add_one);
    }

    /// A write could not be judged, or not as its namespace asks.
    pub(crate) fn failed(&self, fatal: bool, attributes: &Attributes<'_>) {
        let [operation, resource, subresource] = request(attributes);
        let fatal = if fatal { "true" } else { "false" };
        self.errors.with([fatal, operation, resource, subresource], Counter::add_one);
    }
}

impl Collect for PodSecurityCounts {
    fn collect(&self, text: &mut Text) {
        self.evaluations.collect(text);
        self.exemptions.collect(text);
        self.errors.collect(text);
    }
}

fn newest() -> u64 {
    api::major_and_minor().rsplit('.').next().and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

fn request<'a>(attributes: &Attributes<'a>) -> [&'a str; 3] {
    let operation = match attributes.operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Connect => "connect",
    };
    let resource = match (attributes.resource.group.as_str(), attributes.resource.plural.as_str()) {
        ("", "pods") => "pod",
        ("", "namespaces") => "namespace",
        _ => "controller",
    };
    [operation, resource, attributes.subresource]
}
