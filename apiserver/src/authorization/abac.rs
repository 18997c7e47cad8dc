//! ABAC: policies from a file, one a line (`pkg/auth/authorizer/abac`). What one of them matches is allowed.

use std::path::{Path, PathBuf};

use api::UserInfo;
use serde::Deserialize;

use super::rule::Rule;
use super::{Answer, Attributes, Authorizer, Decision, Rules};
use crate::Registry;

const GROUP: &str = "abac.authorization.kubernetes.io";
const ALL: &str = "*";
const AUTHENTICATED: &str = "system:authenticated";
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a file of policies was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("error reading policy file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is larger than any such file is.
    #[error("error reading policy file {0}: it has more than {FILE_BYTES_MAX} bytes")]
    TooLarge(PathBuf),
    /// A line is no policy.
    #[error("error reading policy file {path}, line {line}: {text}: {why}")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from one.
        line: usize,
        /// What stands there.
        text: String,
        /// What is wrong.
        why: String,
    },
}

/// What is allowed to whom (`abac.PolicySpec`). What is empty matches nothing, unless the policy is of the oldest version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    non_resource_path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    spec: Policy,
}

/// The policies of a file.
#[derive(Debug, Default)]
pub struct Abac {
    policies: Vec<Policy>,
}

impl Abac {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PolicyFileError`]
    pub fn read(path: &Path) -> Result<Self, PolicyFileError> {
        let failed = |source| PolicyFileError::Read { path: path.into(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            return Err(PolicyFileError::TooLarge(path.into()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text).map_err(|(line, why)| PolicyFileError::Line {
            path: path.into(),
            line,
            text: text.lines().nth(line - 1).unwrap_or_default().into(),
            why,
        })
    }

    /// Reads the text of a file; an error tells the line, from one.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut policies = Vec::new();
        for (place, line) in text.lines().enumerate() {
            if !line.trim().is_empty() && !line.trim().starts_with('#') {
                policies.push(policy(line).map_err(|why| (place + 1, why))?);
            }
        }
        Ok(Self { policies })
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // Only a line that says nothing of its version is of the oldest: read as that, one that is misspelt would allow everything.
    let mut policy = match (line.api_version.split_once('/'), line.api_version.as_str(), line.kind.as_str()) {
        (Some((GROUP, "v1beta1")), _, "Policy") => line.spec,
        (Some((GROUP, "v0")), _, "Policy") | (None, "", "" | "Policy") => oldest(text)?,
        (_, version, kind) => return Err(format!("no kind {kind:?} is registered for version {version:?}")),
    };
    if policy.user == ALL || policy.group == ALL {
        policy.group = AUTHENTICATED.into();
        policy.user.clear();
    }
    Ok(policy)
}

/// A policy of the version that had none (`Convert_v0_Policy_To_abac_Policy`), where nothing means everything.
fn oldest(text: &str) -> Result<Policy, String> {
    let mut policy: Policy = serde_json::from_str(text).map_err(|error| error.to_string())?;
    policy.non_resource_path = String::new();
    if policy.user.is_empty() && policy.group.is_empty() {
        policy.group = AUTHENTICATED.into();
    }
    if policy.namespace.is_empty() && policy.resource.is_empty() {
        policy.non_resource_path = ALL.into();
    }
    for field in [&mut policy.namespace, &mut policy.resource] {
        if field.is_empty() {
            *field = ALL.into();
        }
    }
    policy.api_group = ALL.into();
    Ok(policy)
}

impl Policy {
    fn allows(&self, asked: &Attributes<'_>) -> bool {
        let is = |ours: &str, theirs: &str| ours == ALL || ours == theirs;
        let reads = matches!(asked.verb, "get" | "list" | "watch");
        if !self.is_about(asked.user) || (self.readonly && !reads) {
            return false;
        }
        if !asked.is_resource_request {
            let path = self.non_resource_path.as_str();
            return is(path, asked.path) || (path.ends_with(ALL) && asked.path.starts_with(path.trim_end_matches(ALL)));
        }
        is(&self.namespace, asked.namespace) && is(&self.resource, asked.resource) && is(&self.api_group, asked.group)
    }

    fn is_about(&self, user: &UserInfo) -> bool {
        let named = self.user.is_empty() || self.user == ALL || self.user == user.username;
        let grouped = self.group.is_empty() || self.group == ALL || user.in_group(&self.group);
        named && grouped && !(self.user.is_empty() && self.group.is_empty())
    }

    fn rules(&self) -> impl Iterator<Item = Rule> {
        let verbs: Vec<String> = if self.readonly { &["get", "list", "watch"][..] } else { &[ALL] }
            .iter()
            .map(ToString::to_string)
            .collect();
        let of_resource = (!self.resource.is_empty()).then(|| Rule {
            verbs: verbs.clone(),
            api_groups: vec![self.api_group.clone()],
            resources: vec![self.resource.clone()],
            ..Rule::default()
        });
        let of_path = (!self.non_resource_path.is_empty()).then(|| Rule {
            verbs,
            non_resource_urls: vec![self.non_resource_path.clone()],
            ..Rule::default()
        });
        of_resource.into_iter().chain(of_path)
    }
}

impl Authorizer for Abac {
    fn authorize<'a>(&'a self, attributes: Attributes<'a>, _: &'a Registry) -> Answer<'a> {
        if self.policies.iter().any(|policy| policy.allows(&attributes)) {
            return Decision::Allow.into();
        }
        Decision::NoOpinion("No policy matched.".into()).into()
    }

    fn rules(&self, user: &UserInfo, namespace: &str, _: &Registry) -> Option<Rules> {
        let here = |policy: &&Policy| policy.namespace == ALL || policy.namespace == namespace;
        let policies = self.policies.iter().filter(|policy| policy.is_about(user)).filter(here);
        Some(Rules { rules: policies.flat_map(Policy::rules).collect(), ..Rules::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `example_policy_file.jsonl`'s sort of lines, and what they allow.
    #[test]
    fn policies_allow_what_they_match() {
        let v1 = |spec: &str| format!(r#"{{"apiVersion":"{GROUP}/v1beta1","kind":"Policy","spec":{spec}}}"#);
        let file = [
            "# who may do what".to_string(),
            String::new(),
            r#"{"user":"scheduler","resource":"pods","readonly":true}"#.into(),
            r#"{"user":"alice","namespace":"projectCaribou"}"#.into(),
            r#"{"readonly":true,"resource":"events"}"#.into(),
            v1(r#"{"user":"bob","namespace":"*","resource":"*","apiGroup":"apps"}"#),
            v1(r#"{"group":"debug","nonResourcePath":"/debug/*","readonly":true}"#),
            v1(r#"{"user":"*","nonResourcePath":"/healthz"}"#),
            v1(r#"{"resource":"*","namespace":"*","apiGroup":"*"}"#),
        ];
        let abac = Abac::parse(&file.join("\n")).unwrap();
        let check = |user: &str, groups: &[&str], asked: &str, expected: bool| {
            let words: Vec<&str> = asked.split(' ').collect();
            let user = UserInfo::new(user, groups);
            let attributes = match words[..] {
                [verb, path] => Attributes { verb, path, ..Attributes::of_path(&user) },
                [verb, group, resource, namespace] => Attributes {
                    verb,
                    group: group.trim_matches('-'),
                    resource,
                    namespace,
                    ..Attributes::of_resource(&user)
                },
                _ => panic!("{asked}"),
            };
            let allowed = abac.policies.iter().any(|policy| policy.allows(&attributes));
            assert_eq!(allowed, expected, "{} {asked}", user.username);
        };
        check("scheduler", &[], "list - pods any", true);
        check("scheduler", &[], "create - pods any", false);
        check("scheduler", &[], "get - secrets any", false);
        check("alice", &[], "delete x y projectCaribou", true);
        check("alice", &[], "delete x y other", false);
        check("alice", &[], "get /version", false);
        check("anybody", &[], "watch - events any", true);
        check("anybody", &[], "create - events any", false);
        check("bob", &[], "create apps deployments x", true);
        check("bob", &[], "create batch jobs x", false);
        check("anybody", &["debug"], "get /debug/pprof", true);
        check("anybody", &["debug"], "post /debug/pprof", false);
        check("anybody", &[], "get /healthz", true);
        check("system:anonymous", &["system:unauthenticated"], "get /healthz", false);
        check("nobody", &[], "get - nodes -", false);
        let rules = abac.policies.iter().filter(|policy| policy.is_about(&UserInfo::new("bob", &[])));
        let rules: Vec<Rule> = rules.flat_map(Policy::rules).collect();
        assert_eq!(rules.len(), 3, "{rules:?}");
    }

    #[test]
    fn bad_lines_are_told() {
        let check = |text: &str, line: usize, part: &str| {
            let (found, why) = Abac::parse(text).unwrap_err();
            assert!(found == line && why.contains(part), "{text}: {found} {why}");
        };
        check("{", 1, "EOF while parsing");
        check("\n# c\n{\"user\":1}", 3, "invalid type");
        // Each of these would be a policy of the oldest version that allows everybody everything.
        for (version, kind) in [
            ("apps/v1", "Deployment"),
            ("abac.authorization.kubernetes.io/v1beta1", "Polcy"),
            ("abac.authorization.kubernetes.io/v1beta1", ""),
            ("abac.authorization.kubernetes.io/v1", "Policy"),
            ("abac.authorization.kubernetes.io/v0", "policy"),
            ("abac.authorization.kubernetes.io", "Policy"),
            ("v1beta1", "Policy"),
            ("", "Rule"),
        ] {
            let line =
                format!(r#"{{"apiVersion":"{version}","kind":"{kind}","spec":{{"user":"bob","resource":"pods"}}}}"#);
            check(&line, 1, &format!("no kind {kind:?} is registered for version {version:?}"));
        }
    }
}
