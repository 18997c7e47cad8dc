//! What can be done at which path: a neutral list from which both versions of the documents are written.

use super::roots::names;
use crate::catalogue::{Resource, Subresource};

/// What an operation answers with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// An object of this group, version and kind.
    Object(String, String, String),
    /// Text or bytes.
    Text,
}

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub(super) path: String,
    /// The HTTP method in lower case.
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) description: String,
    /// `x-kubernetes-action`.
    pub(super) action: &'static str,
    /// `x-kubernetes-group-version-kind`.
    pub(super) kind: (String, String, String),
    /// The names of query parameters.
    pub(super) query: &'static [&'static str],
    /// The parameters in the path, in order.
    pub(super) path_parameters: Vec<&'static str>,
    /// The kind that the body is of.
    pub(super) body: Option<(String, String, String)>,
    pub(super) answer: Answer,
    /// The codes of success.
    pub(super) codes: &'static [(u16, &'static str)],
}

const OK: &[(u16, &str)] = &[(200, "OK")];
const CREATED: &[(u16, &str)] = &[(200, "OK"), (201, "Created")];
const ACCEPTED: &[(u16, &str)] = &[(200, "OK"), (201, "Created"), (202, "Accepted")];
const DELETED: &[(u16, &str)] = &[(200, "OK"), (202, "Accepted")];

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &[
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];

/// All operations on a resource and its subresources.
pub(super) fn of(row: &Resource) -> Vec<Operation> {
    let maker = Maker::new(row);
    let mut out = Vec::new();
    maker.collection(&mut out);
    maker.object(&mut out);
    for subresource in &row.subresources {
        maker.subresource(subresource, &mut out);
    }
    out
}

struct Maker<'a> {
    row: &'a Resource,
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    root: String,
    /// `CoreV1`
    prefix: String,
    /// `core_v1`
    tag: String,
    own: (String, String, String),
}

impl<'a> Maker<'a> {
    fn new(row: &'a Resource) -> Self {
        let root = if row.group.is_empty() {
            format!("/api/{}", row.version)
        } else {
            format!("/apis/{}/{}", row.group, row.version)
        };
        let (camel, tag) = names(&row.group);
        let prefix = format!("{camel}{}", capital(&row.version));
        let tag = format!("{tag}_{}", row.version);
        let own = (row.group.clone(), row.version.clone(), row.kind.clone());
        Self { row, root, prefix, tag, own }
    }

    fn scoped(&self) -> &'static str {
        if self.row.namespaced { "Namespaced" } else { "" }
    }

    fn collection_path(&self) -> String {
        let namespace = if self.row.namespaced { "/namespaces/{namespace}" } else { "" };
        format!("{}{namespace}/{}", self.root, self.row.plural)
    }

    fn operation(&self, method: &'static str, action: &'static str, id: String, description: String) -> Operation {
        Operation {
            path: String::new(),
            method,
            id,
            tag: self.tag.clone(),
            description,
            action,
            kind: self.own.clone(),
            query: &[],
            path_parameters: if self.row.namespaced { vec!["namespace"] } else { Vec::new() },
            body: None,
            answer: Answer::Object(self.own.0.clone(), self.own.1.clone(), self.own.2.clone()),
            codes: OK,
        }
    }

    fn collection(&self, out: &mut Vec<Operation>) {
        let (prefix, scoped, kind) = (&self.prefix, self.scoped(), &self.row.kind);
        let list = Answer::Object(self.row.group.clone(), self.row.version.clone(), self.row.list_kind.clone());
        let path = self.collection_path();
        if self.row.has_verb("list") {
            let describe = format!("list or watch objects of kind {kind}");
            let id = format!("list{prefix}{scoped}{kind}");
            let one = self.operation("get", "list", id, describe.clone());
            out.push(Operation { path: path.clone(), query: LIST, answer: list.clone(), ..one });
            if self.row.namespaced {
                let id = format!("list{prefix}{kind}ForAllNamespaces");
                let all = self.operation("get", "list", id, describe);
                let path = format!("{}/{}", self.root, self.row.plural);
                out.push(Operation { path, query: LIST, answer: list, path_parameters: Vec::new(), ..all });
            }
        }
        if self.row.has_verb("create") {
            let id = format!("create{prefix}{scoped}{kind}");
            let one = self.operation("post", "post", id, format!("create {} {kind}", article(kind)));
            let body = Some(self.own.clone());
            out.push(Operation { path: path.clone(), query: WRITE, body, codes: ACCEPTED, ..one });
        }
        if self.row.has_verb("deletecollection") {
            let id = format!("delete{prefix}Collection{scoped}{kind}");
            let one = self.operation("delete", "deletecollection", id, format!("delete collection of {kind}"));
            let body = Some(delete_options());
            out.push(Operation { path, query: DELETE_COLLECTION, body, answer: status(), ..one });
        }
    }

    fn object(&self, out: &mut Vec<Operation>) {
        let (prefix, scoped, kind) = (&self.prefix, self.scoped(), &self.row.kind);
        let path = format!("{}/{{name}}", self.collection_path());
        let start = out.len();
        for (verb, method, word) in [
            ("get", "get", "read"),
            ("update", "put", "replace"),
            ("patch", "patch", "patch"),
            ("delete", "delete", "delete"),
        ] {
            if !self.row.has_verb(verb) {
                continue;
            }
            let id = format!("{word}{prefix}{scoped}{kind}");
            let description = match word {
                "patch" => format!("partially update the specified {kind}"),
                "delete" => format!("delete {} {kind}", article(kind)),
                _ => format!("{word} the specified {kind}"),
            };
            let operation = self.operation(method, method, id, description);
            out.push(self.with_body(verb, operation, &self.own));
        }
        for operation in &mut out[start..] {
            operation.path.clone_from(&path);
            operation.path_parameters.insert(0, "name");
        }
    }

    /// Adds the body, parameters and codes that a verb has.
    fn with_body(&self, verb: &str, operation: Operation, kind: &(String, String, String)) -> Operation {
        match verb {
            "update" => Operation { query: WRITE, body: Some(kind.clone()), codes: CREATED, ..operation },
            "create" => Operation { query: WRITE, body: Some(kind.clone()), codes: ACCEPTED, ..operation },
            "patch" => Operation { query: PATCH, body: Some(meta("Patch")), codes: CREATED, ..operation },
            "delete" => {
                Operation { query: DELETE, body: Some(delete_options()), codes: DELETED, answer: status(), ..operation }
            }
            _ => operation,
        }
    }

    fn subresource(&self, sub: &Subresource, out: &mut Vec<Operation>) {
        let (prefix, scoped, kind) = (&self.prefix, self.scoped(), &self.row.kind);
        let name = capital(&sub.name);
        let path = format!("{}/{{name}}/{}", self.collection_path(), sub.name);
        let own =
            if sub.version.is_empty() { (&self.row.group, &self.row.version) } else { (&sub.group, &sub.version) };
        let of = (own.0.clone(), own.1.clone(), sub.kind.clone());
        let connects = sub.kind.ends_with("Options");
        let start = out.len();
        for verb in &sub.verbs {
            let (method, word) = match verb.as_str() {
                "get" => ("get", "read"),
                "update" => ("put", "replace"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                "create" => ("post", "create"),
                _ => continue,
            };
            if connects {
                let upper = method.to_uppercase();
                let id = format!("connect{prefix}{}{scoped}{kind}{name}", capital(method));
                let one = self.operation(
                    method,
                    "connect",
                    id,
                    format!("connect {upper} requests to {} of {kind}", sub.name),
                );
                out.push(Operation { kind: of.clone(), answer: Answer::Text, ..one });
                continue;
            }
            let id = format!("{word}{prefix}{scoped}{kind}{name}");
            let description = match word {
                "create" => format!("create {} of {} {kind}", sub.name, article(kind)),
                "patch" => format!("partially update {} of the specified {kind}", sub.name),
                _ => format!("{word} {} of the specified {kind}", sub.name),
            };
            let action = if word == "create" { "post" } else { method };
            let mut one = self.operation(method, action, id, description);
            one.kind.clone_from(&of);
            one.answer =
                if sub.name == "log" { Answer::Text } else { Answer::Object(of.0.clone(), of.1.clone(), of.2.clone()) };
            out.push(self.with_body(verb, one, &of));
        }
        for operation in &mut out[start..] {
            operation.path.clone_from(&path);
            operation.path_parameters.insert(0, "name");
        }
    }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().map(|c| c.to_ascii_uppercase()).chain(letters).collect()
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" }
}

fn meta(kind: &str) -> (String, String, String) {
    (String::new(), "v1".to_string(), kind.to_string())
}

fn delete_options() -> (String, String, String) {
    meta("DeleteOptions")
}

fn status() -> Answer {
    let (group, version, kind) = meta("Status");
    Answer::Object(group, version, kind)
}
