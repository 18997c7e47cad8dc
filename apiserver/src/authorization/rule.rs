//! One rule of a role: what it matches, and what it covers of another.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Attributes;

const ALL: &str = "*";
/// Into how many rules of one verb, group, resource and name rules are taken apart to see whether others cover them.
const PARTS_MAX: usize = 100_000;

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

    /// How many rules [`Self::breakdown`] makes.
    fn parts(&self) -> usize {
        let names = self.resource_names.len().max(1);
        let of_resources = self.api_groups.len().saturating_mul(self.resources.len()).saturating_mul(names);
        of_resources.saturating_add(self.non_resource_urls.len()).saturating_mul(self.verbs.len())
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

/// What of `wanted` the rules in `held` do not allow, in short form and sorted; empty if they cover it all. Rules that
/// combine more than [`PARTS_MAX`] verbs, groups, resources and names are only covered as a whole.
pub fn not_covered(held: &[Rule], wanted: &[Rule]) -> Vec<String> {
    // Most who may do something may do all of it by one rule; nothing has to be taken apart then.
    let mut left: Vec<&Rule> = wanted.iter().filter(|rule| !held.iter().any(|own| own.covers(rule))).collect();
    let mut parts = 0usize;
    let is_small = |rule: &&Rule| {
        parts = parts.saturating_add(rule.parts());
        parts <= PARTS_MAX
    };
    let (small, large): (Vec<&Rule>, Vec<&Rule>) = left.drain(..).partition(is_small);
    let mut missing: Vec<Rule> = large.into_iter().cloned().collect();
    let mut places: HashMap<[Vec<String>; 3], usize> = HashMap::new();
    for part in small.into_iter().flat_map(Rule::breakdown) {
        if held.iter().any(|rule| rule.covers(&part)) {
            continue;
        }
        if part.resources.is_empty() {
            missing.push(part);
            continue;
        }
        // Rules that differ in the verb only are shown as one (CompactRules).
        let key = [part.api_groups.clone(), part.resources.clone(), part.resource_names.clone()];
        let place = *places.entry(key).or_insert(missing.len());
        match missing.get_mut(place) {
            Some(rule) => rule.verbs.extend(part.verbs),
            None => missing.push(part),
        }
    }
    let mut shown: Vec<String> = missing.iter().map(Rule::compact).collect();
    shown.sort();
    shown.dedup();
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: usize, groups: usize, resources: usize) -> Rule {
        let names = |prefix: &str, count: usize| (0..count).map(|i| format!("{prefix}{i}")).collect::<Vec<_>>();
        let (verbs, api_groups, resources) = (names("v", verbs), names("g", groups), names("r", resources));
        Rule { verbs, api_groups, resources, ..Rule::default() }
    }

    #[test]
    fn rules_that_combine_too_much_are_not_taken_apart() {
        let (large, small) = (rule(200, 200, 200), rule(2, 2, 2));
        assert!(not_covered(std::slice::from_ref(&large), std::slice::from_ref(&large)).is_empty());
        assert_eq!(not_covered(std::slice::from_ref(&small), std::slice::from_ref(&large)).len(), 1);
        let halves = [rule(1, 2, 2), Rule { verbs: vec!["v1".into()], ..rule(1, 2, 2) }];
        assert!(not_covered(&halves, std::slice::from_ref(&small)).is_empty());
        assert_eq!(not_covered(&halves[..1], &[small]).len(), 4, "one of each group and resource, with its verb");
    }
}
