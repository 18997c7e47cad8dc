//! What is written down of which requests: the policy file (`audit.k8s.io/v1`).

#[cfg(test)]
mod tests;

use std::path::Path as FilePath;

use api::decode::configuration_in;
use api::field::{ErrorList, FieldError, Path, aggregate};
use api::names;
use serde_json::Value;

use crate::authorization::Attributes;

/// How much is written down; a later one is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    None,
    /// Who asked what, and what came of it.
    Metadata,
    /// Also what was sent.
    Request,
    /// Also what was answered.
    RequestResponse,
}

impl Level {
    const ALL: [Self; 4] = [Self::None, Self::Metadata, Self::Request, Self::RequestResponse];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When something is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The request has come, and nothing is done yet.
    RequestReceived,
    /// The head of an answer that lasts was sent.
    ResponseStarted,
    /// The answer was sent.
    ResponseComplete,
    /// The server panicked.
    Panic,
}

impl Stage {
    const ALL: [Self; 4] = [Self::RequestReceived, Self::ResponseStarted, Self::ResponseComplete, Self::Panic];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Some stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages(u8);

impl Stages {
    /// Whether one is among them.
    pub fn has(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }

    fn read(names: &[String], path: &Path, errors: &mut ErrorList) -> Self {
        let mut stages = 0;
        for (at, name) in names.iter().enumerate() {
            match Stage::ALL.into_iter().find(|stage| stage.as_str() == name) {
                Some(stage) => stages |= 1 << stage as u8,
                None => {
                    let all = Stage::ALL.map(Stage::as_str).join(",");
                    let why = format!("allowed stages are {all}");
                    errors.push(FieldError::invalid(&path.index(at), name.as_str(), why));
                }
            }
        }
        Self(stages)
    }
}

/// What is written down of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// How much.
    pub level: Level,
    /// When not.
    pub omit: Stages,
    /// Whether objects are written down without their managed fields.
    pub omit_managed_fields: bool,
}

/// The rules, in order.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    /// For requests that no rule is about.
    otherwise: Decision,
}

#[derive(Debug, Clone)]
struct Rule {
    decision: Decision,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    namespaces: Vec<String>,
    resources: Vec<Resources>,
    paths: Vec<String>,
}

#[derive(Debug, Clone)]
struct Resources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(path: &FilePath) -> Result<Self, String> {
        let shown = path.display();
        let file = std::fs::read(path)
            .map_err(|error| format!("failed to read file path {:?}: {error}", shown.to_string()))?;
        Self::parse(&file).map_err(|why| format!("{why}: from file {shown}"))
    }

    /// Reads the text of a policy file (`LoadPolicyFromBytes`).
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let read = configuration_in(file, "Policy", |group| group == "audit.k8s.io");
        let (policy, unknown) = read.map_err(|error| format!("failed decoding: {error}"))?;
        // The reference goes on where strict decoding fails, and says so.
        for text in &unknown {
            tracing::warn!(text, "the audit policy says what is not known");
        }
        let mut errors = ErrorList::new();
        let omit = Stages::read(&texts(policy.get("omitStages")), &Path::new("omitStages"), &mut errors);
        let managed = policy["omitManagedFields"] == true;
        let otherwise = Decision { level: Level::None, omit, omit_managed_fields: managed };
        let rules = policy["rules"].as_array().into_iter().flatten().enumerate();
        let rules: Vec<Rule> = rules
            .filter_map(|(at, rule)| Rule::read(rule, otherwise, &Path::new("rules").index(at), &mut errors))
            .collect();
        if !errors.is_empty() {
            return Err(aggregate(errors.iter().map(ToString::to_string)));
        }
        if rules.is_empty() {
            return Err("loaded illegal policy with 0 rules".into());
        }
        Ok(Self { rules, otherwise })
    }

    /// What the first rule that is about a request says (`EvaluatePolicyRule`). A request of nobody has a user without name.
    pub fn decide(&self, asked: &Attributes<'_>) -> Decision {
        let rule = self.rules.iter().find(|rule| rule.is_about(asked));
        rule.map_or(self.otherwise, |rule| rule.decision)
    }
}

impl Rule {
    fn read(rule: &Value, base: Decision, path: &Path, errors: &mut ErrorList) -> Option<Self> {
        let level = rule["level"].as_str().unwrap_or("");
        let known = Level::ALL.into_iter().find(|known| known.as_str() == level);
        if level.is_empty() {
            errors.push(FieldError::required(&path.child("level"), ""));
        } else if known.is_none() {
            errors.push(FieldError::not_supported(&path.child("level"), level, &Level::ALL.map(Level::as_str)));
        }
        let of = |field: &str| texts(rule.get(field));
        let (paths, namespaces) = (of("nonResourceURLs"), of("namespaces"));
        let place = path.child("nonResourceURLs");
        check_paths(&paths, &place, errors);
        let resources: Vec<Resources> = rule["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|resources| Resources::read(resources, &path.child("resources"), errors))
            .collect();
        let omit = Stages::read(&of("omitStages"), &path.child("omitStages"), errors);
        if !paths.is_empty() && (!resources.is_empty() || !namespaces.is_empty()) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(&place, rule["nonResourceURLs"].clone(), why));
        }
        let omit_managed_fields = rule["omitManagedFields"].as_bool().unwrap_or(base.omit_managed_fields);
        let decision = Decision { level: known?, omit: Stages(base.omit.0 | omit.0), omit_managed_fields };
        let (users, groups, verbs) = (of("users"), of("userGroups"), of("verbs"));
        Some(Self { decision, users, groups, verbs, namespaces, resources, paths })
    }

    fn is_about(&self, asked: &Attributes<'_>) -> bool {
        let has = |list: &[String], text: &str| list.iter().any(|item| item == text);
        let fits = |list: &[String], text: &str| list.is_empty() || has(list, text);
        let of_groups = self.groups.is_empty() || asked.user.groups.iter().any(|group| has(&self.groups, group));
        if !fits(&self.users, &asked.user.username) || !of_groups || !fits(&self.verbs, asked.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return asked.is_resource_request
                && fits(&self.namespaces, asked.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|resources| resources.has(asked)));
        }
        if self.paths.is_empty() {
            return true;
        }
        let leads = |spec: &String| match spec.as_str() {
            "*" => true,
            spec if spec == asked.path => true,
            spec => spec.ends_with('*') && asked.path.starts_with(spec.trim_end_matches('*')),
        };
        !asked.is_resource_request && self.paths.iter().any(leads)
    }
}

impl Resources {
    fn read(resources: &Value, path: &Path, errors: &mut ErrorList) -> Self {
        let group = resources["group"].as_str().unwrap_or("").to_owned();
        if !group.is_empty() && group != "*" {
            let faults = names::dns1123_subdomain(&group);
            if !faults.is_empty() {
                errors.push(FieldError::invalid(&path.child("group"), group.as_str(), faults.join(",")));
            }
        }
        let all =
            Self { group, resources: texts(resources.get("resources")), names: texts(resources.get("resourceNames")) };
        if !all.names.is_empty() && all.resources.is_empty() {
            let why = "using resourceNames requires at least one resource";
            errors.push(FieldError::invalid(&path.child("resourceNames"), resources["resourceNames"].clone(), why));
        }
        all
    }

    fn has(&self, asked: &Attributes<'_>) -> bool {
        if self.group != asked.group && self.group != "*" {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.names.is_empty() && !self.names.iter().any(|name| name == asked.name) {
            return false;
        }
        let (resource, part) = (asked.resource, asked.subresource);
        self.resources.iter().any(|spec| match spec.split_once('/') {
            _ if spec == "*" => true,
            None => part.is_empty() && spec == resource,
            Some((of, "*")) if of == resource => true,
            Some(("*", of)) if !part.is_empty() && of == part => true,
            Some((of, of_part)) => of == resource && of_part == part && !part.is_empty(),
        })
    }
}

/// `validateNonResourceURLs`
fn check_paths(paths: &[String], place: &Path, errors: &mut ErrorList) {
    for (at, path) in paths.iter().enumerate().filter(|(_, path)| *path != "*") {
        let mut refuse = |why: &str| errors.push(FieldError::invalid(&place.index(at), path.as_str(), why));
        if !path.starts_with('/') {
            refuse("non-resource URL rules must begin with a '/' character");
        }
        if path.find('*').is_some_and(|star| star + 1 < path.len()) {
            refuse("non-resource URL wildcards '*' must be the final character of the rule");
        }
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}
