//! One rule of a role: what it matches, and what it covers of another.

use serde::{Deserialize, Serialize};

use super::Attributes;

const ALL: &str = "*";

/// `rbac/v1 PolicyRule`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// What may be done.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// In which groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// To which resources, as `resource`, `resource/subresource`, `*/subresource` or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// To which objects; all, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// On which paths that are no resources; a `*` at the end matches the rest.
    #[serde(default, rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

impl Rule {
    /// The rules in the `rules` field of a role; those that do not parse are left out.
    pub fn list(rules: Option<&serde_json::Value>) -> Vec<Self> {
        let rules = rules.and_then(serde_json::Value::as_array).map(Vec::as_slice).unwrap_or_default();
        rules.iter().filter_map(|rule| Self::deserialize(rule).ok()).collect()
    }

    /// Whether the rule allows what is asked (`RuleAllows`).
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        if !asked.is_resource_request {
            return self.non_resource_urls.iter().any(|url| path_matches(url, asked.path));
        }
        has(&self.api_groups, asked.group)
            && self.resources.iter().any(|resource| resource_matches(resource, asked.resource, asked.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == asked.name))
    }

    /// Whether everything that `other`, a rule of one verb, resource and so on, allows is allowed by this one.
    fn covers(&self, other: &Self) -> bool {
        let all = |ours: &[String], theirs: &[String]| theirs.iter().all(|item| has(ours, item));
        let resources = other.resources.iter().all(|resource| {
            has(&self.resources, resource)
                || resource.split_once('/').is_some_and(|(_, sub)| self.resources.contains(&format!("*/{sub}")))
        });
        let names = self.resource_names.is_empty()
            || (!other.resource_names.is_empty()
                && other.resource_names.iter().all(|name| self.resource_names.contains(name)));
        let urls =
            other.non_resource_urls.iter().all(|url| self.non_resource_urls.iter().any(|ours| path_matches(ours, url)));
        all(&self.verbs, &other.verbs) && all(&self.api_groups, &other.api_groups) && resources && names && urls
    }

    /// The rule as rules of one verb, one group, one resource and one name, or one verb and one path (`BreakdownRule`).
    fn breakdown(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = Self {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    parts.extend(
                        self.resource_names
                            .iter()
                            .map(|name| Self { resource_names: vec![name.clone()], ..part.clone() }),
                    );
                }
            }
        }
        for url in &self.non_resource_urls {
            parts.extend(self.verbs.iter().map(|verb| Self {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..Self::default()
            }));
        }
        parts
    }

    /// The rule as refusals show it (`CompactString`).
    fn compact(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = lists
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// A list as Go's `%q` shows it.
pub(super) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == ALL {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    // A subresource may have slashes itself, as the key of an extra that is to be impersonated.
    [resource, ALL].iter().any(|of| rule.strip_prefix(of).and_then(|rest| rest.strip_prefix('/')) == Some(subresource))
}

fn path_matches(rule: &str, path: &str) -> bool {
    rule == ALL || rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// What of `wanted` the rules in `held` do not allow, in short form and sorted; empty if they cover it all.
pub fn not_covered(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    let mut missing: Vec<Rule> = Vec::new();
    for part in wanted.iter().flat_map(Rule::breakdown) {
        if held.iter().any(|rule| rule.covers(&part)) {
            continue;
        }
        // Rules that differ in the verb only are shown as one (CompactRules).
        let same = |rule: &&mut Rule| {
            !part.resources.is_empty()
                && (&rule.api_groups, &rule.resources, &rule.resource_names)
                    == (&part.api_groups, &part.resources, &part.resource_names)
        };
        match missing.iter_mut().find(same) {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => missing.push(part),
        }
    }
    let mut shown: Vec<String> = missing.iter().map(Rule::compact).collect();
    shown.sort();
    shown.dedup();
    shown
}
