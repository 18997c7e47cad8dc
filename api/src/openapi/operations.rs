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
    /// The names of query parameters, in order.
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
    "shardSelector",
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
/// What subresources take that lead elsewhere, by kind of their options; logs have none of their own.
const CONNECT: &[(&str, &[&str])] = &[
    ("NodeProxyOptions", &["path"]),
    ("PodAttachOptions", &["container", "stderr", "stdin", "stdout", "tty"]),
    ("PodExecOptions", &["command", "container", "stderr", "stdin", "stdout", "tty"]),
    ("PodPortForwardOptions", &["ports"]),
    ("PodProxyOptions", &["path"]),
    ("ServiceProxyOptions", &["path"]),
];
const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
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
    "shardSelector",
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
            let watches = if self.row.has_verb("watch") { "list or watch" } else { "list" };
            let describe = format!("{watches} objects of kind {kind}");
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
        if self.row.has_verb("watch") && !self.row.custom {
            self.watch_of_all(out);
        }
        if self.row.has_verb("create") {
            let id = format!("create{prefix}{scoped}{kind}");
            let one = self.operation("post", "post", id, format!("create {}{kind}", article(kind)));
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

    /// The deprecated paths that watch a collection.
    fn watch_of_all(&self, out: &mut Vec<Operation>) {
        let (prefix, scoped, kind) = (&self.prefix, self.scoped(), &self.row.kind);
        let watch = |id: String, path: String, path_parameters: Vec<&'static str>| {
            let describe = format!(
                "watch individual changes to a list of {kind}. deprecated: use the 'watch' parameter with a list \
                 operation instead."
            );
            let one = self.operation("get", "watchlist", id, describe);
            Operation { path, query: LIST, answer: watch_event(), path_parameters, ..one }
        };
        let of_place = if self.row.namespaced { vec!["namespace"] } else { Vec::new() };
        out.push(watch(format!("watch{prefix}{scoped}{kind}List"), self.watched(&self.collection_path()), of_place));
        if self.row.namespaced {
            let path = format!("{}/watch/{}", self.root, self.row.plural);
            out.push(watch(format!("watch{prefix}{kind}ListForAllNamespaces"), path, Vec::new()));
        }
    }

    /// The deprecated path that watches one object.
    fn watch_of_one(&self, path: &str) -> Operation {
        let (prefix, scoped, kind) = (&self.prefix, self.scoped(), &self.row.kind);
        let describe = format!(
            "watch changes to an object of kind {kind}. deprecated: use the 'watch' parameter with a list operation \
             instead, filtered to a single item with the 'fieldSelector' parameter."
        );
        let mut one = self.operation("get", "watch", format!("watch{prefix}{scoped}{kind}"), describe);
        one.path_parameters.insert(0, "name");
        Operation { path: self.watched(path), query: LIST, answer: watch_event(), ..one }
    }

    fn watched(&self, path: &str) -> String {
        format!("{}/watch{}", self.root, path.strip_prefix(&self.root).unwrap_or(path))
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
                "delete" => format!("delete {}{kind}", article(kind)),
                _ => format!("{word} the specified {kind}"),
            };
            let operation = self.operation(method, method, id, description);
            out.push(self.with_body(verb, operation, &self.own));
        }
        for operation in &mut out[start..] {
            operation.path.clone_from(&path);
            operation.path_parameters.insert(0, "name");
        }
        if self.row.has_verb("watch") && self.row.has_verb("get") && !self.row.custom {
            out.push(self.watch_of_one(&path));
        }
    }

    /// Adds the body, parameters and codes that a verb has.
    fn with_body(&self, verb: &str, operation: Operation, kind: &(String, String, String)) -> Operation {
        match verb {
            "update" => Operation { query: WRITE, body: Some(kind.clone()), codes: CREATED, ..operation },
            "create" => Operation { query: WRITE, body: Some(kind.clone()), codes: ACCEPTED, ..operation },
            "patch" => Operation { query: PATCH, body: Some(meta("Patch")), codes: CREATED, ..operation },
            "delete" => {
                // The documents take a namespace's delete for one that answers with a status.
                let returns = self.row.flags.return_deleted && self.row.plural != "namespaces";
                let answer = if returns { operation.answer.clone() } else { status() };
                Operation { query: DELETE, body: Some(delete_options()), codes: DELETED, answer, ..operation }
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
        // Whatever is asked of a proxy goes on to what is behind it.
        let more: &[&str] = if connects && sub.name == "proxy" { &["head", "options"] } else { &[] };
        for verb in sub.verbs.iter().map(String::as_str).chain(more.iter().copied()) {
            let (method, word) = match verb {
                "get" => ("get", "read"),
                "update" => ("put", "replace"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                "create" => ("post", "create"),
                "head" => ("head", "connect"),
                "options" => ("options", "connect"),
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
                let query = CONNECT.iter().find(|(kind, _)| *kind == sub.kind).map_or(&[][..], |(_, query)| query);
                out.push(Operation { kind: of.clone(), answer: Answer::Text, query, ..one });
                continue;
            }
            let id = format!("{word}{prefix}{scoped}{kind}{name}");
            let description = match word {
                "create" => format!("create {} of {}{kind}", sub.name, article(kind)),
                "patch" => format!("partially update {} of the specified {kind}", sub.name),
                _ => format!("{word} {} of the specified {kind}", sub.name),
            };
            let action = if word == "create" { "post" } else { method };
            let mut one = self.operation(method, action, id, description);
            one.kind.clone_from(&of);
            if sub.name == "log" {
                one.query = LOG;
            }
            one.answer =
                if sub.name == "log" { Answer::Text } else { Answer::Object(of.0.clone(), of.1.clone(), of.2.clone()) };
            out.push(self.with_body(verb, one, &of));
        }
        for operation in &mut out[start..] {
            operation.path.clone_from(&path);
            operation.path_parameters.insert(0, "name");
        }
        if connects && sub.name == "proxy" {
            let deeper: Vec<Operation> = out[start..].iter().map(with_path).collect();
            out.extend(deeper);
        }
    }
}

/// The same for whatever lies below what is proxied to.
fn with_path(operation: &Operation) -> Operation {
    let mut deeper = operation.clone();
    deeper.path.push_str("/{path}");
    deeper.id.push_str("WithPath");
    deeper.path_parameters.push("path");
    deeper
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().map(|c| c.to_ascii_uppercase()).chain(letters).collect()
}

/// The article that a kind takes, with a space behind it; none for what is called in the plural (`GetArticleForNoun`).
fn article(kind: &str) -> &'static str {
    if kind.ends_with('s') && !kind.ends_with("ss") {
        return "";
    }
    if kind.starts_with(['A', 'E', 'I', 'O', 'U']) { "an " } else { "a " }
}

fn meta(kind: &str) -> (String, String, String) {
    (String::new(), "v1".to_string(), kind.to_string())
}

fn delete_options() -> (String, String, String) {
    meta("DeleteOptions")
}

fn watch_event() -> Answer {
    let (group, version, kind) = meta("WatchEvent");
    Answer::Object(group, version, kind)
}

fn status() -> Answer {
    let (group, version, kind) = meta("Status");
    Answer::Object(group, version, kind)
}
