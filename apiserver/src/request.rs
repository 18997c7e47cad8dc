//! From method and path to verb, group, version, resource, namespace, name and subresource
//! (`RequestInfoFactory.NewRequestInfo` in apiserver's `endpoints/request`).

pub mod query;
pub(crate) mod upgrade;

use api::selector::FieldSelector;
use http::Method;

pub use query::Query;

/// Verbs that may stand in the path before the resource.
const PATH_VERBS: [&str; 2] = ["proxy", "watch"];
/// Verbs under which everything after the name belongs to the name.
const VERBS_WITHOUT_SUBRESOURCES: [&str; 1] = ["proxy"];
/// What comes after a namespace's name and is no resource.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// What is asked, as far as method, path and query say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether this is about a resource; if not, only `verb` and `path` count.
    pub is_resource_request: bool,
    /// The decoded path.
    pub path: String,
    /// `get`, `list`, …; the method in lower case for what is no resource.
    pub verb: String,
    /// `api` or `apis`.
    pub api_prefix: String,
    /// The group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The namespace; empty for cluster-scoped requests and across namespaces.
    pub namespace: String,
    /// The resource, plural.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The name, or empty. A `metadata.name` field selector sets it on lists and watches.
    pub name: String,
    /// The path's segments from the resource on.
    pub parts: Vec<String>,
}

impl RequestInfo {
    /// Reads method, decoded path and query.
    ///
    /// # Errors
    /// A text if the path begins as a resource's and does not go on as one.
    pub fn new(method: &Method, path: &str, query: &Query) -> Result<Self, String> {
        let mut info = Self { path: path.to_string(), verb: method.as_str().to_ascii_lowercase(), ..Self::default() };
        let trimmed = path.trim_matches('/');
        let mut parts: Vec<&str> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').collect() };
        if parts.len() < 3 || !matches!(parts[0], "api" | "apis") {
            return Ok(info);
        }
        info.api_prefix = parts.remove(0).to_string();
        if info.api_prefix == "apis" {
            if parts.len() < 3 {
                return Ok(info);
            }
            info.group = parts.remove(0).to_string();
        }
        info.is_resource_request = true;
        info.version = parts.remove(0).to_string();
        if PATH_VERBS.contains(&parts[0]) {
            if parts.len() < 2 {
                return Err(format!("unable to determine kind and namespace from url, {path}"));
            }
            info.verb = parts.remove(0).to_string();
        } else {
            info.verb = verb_of(method).to_string();
        }
        info.take_parts(&parts);
        info.refine(query);
        Ok(info)
    }

    fn take_parts(&mut self, mut parts: &[&str]) {
        if parts[0] == "namespaces" && parts.len() > 1 {
            self.namespace = parts[1].to_string();
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2]) {
                parts = &parts[2..];
            }
        }
        self.parts = parts.iter().map(|p| p.to_string()).collect();
        self.resource = parts[0].to_string();
        if let Some(name) = parts.get(1) {
            self.name = name.to_string();
        }
        if let Some(subresource) = parts.get(2)
            && !VERBS_WITHOUT_SUBRESOURCES.contains(&self.verb.as_str())
        {
            self.subresource = subresource.to_string();
        }
    }

    /// Tells list and watch from get, and deletecollection from delete.
    fn refine(&mut self, query: &Query) {
        if !self.name.is_empty() {
            return;
        }
        if self.verb == "get" {
            self.verb = if query.flag("watch") { "watch" } else { "list" }.to_string();
            if let Some(name) = query.get("fieldSelector").and_then(selected_name) {
                self.name = name;
            }
        } else if self.verb == "delete" {
            self.verb = "deletecollection".to_string();
        }
    }

    /// Whether the verb came from the path (`/api/v1/watch/…`), which is deprecated.
    pub fn is_watch_path(&self) -> bool {
        let after = if self.api_prefix == "apis" { 3 } else { 2 };
        self.path.trim_matches('/').split('/').nth(after) == Some("watch")
    }

    /// Whether the request may last (`LongRunningFunc` of kube-apiserver): a watch, or a connection to a pod or node.
    pub fn is_long_running(&self) -> bool {
        let connects = matches!(self.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy" | "log");
        matches!(self.verb.as_str(), "watch" | "proxy") || connects
    }

    /// `group/version`, or `version` in the core group.
    pub fn group_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The name that a field selector pins `metadata.name` to, if it does and the name may stand in a path. The selector is read as
/// the list reads it: who may list one name must not list others by a comma within a value.
fn selected_name(selector: &str) -> Option<String> {
    let selector = FieldSelector::parse(selector).ok()?;
    let name = selector.required("metadata.name")?;
    let good = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%']);
    good.then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected` is `verb group/version namespace resource name subresource` with `-` for what is empty.
    fn check(method: &str, url: &str, expected: &str) {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let info = RequestInfo::new(&method.parse().unwrap(), path, &Query::parse(query)).unwrap();
        let or = |s: &str| if s.is_empty() { "-".to_string() } else { s.to_string() };
        let found = if info.is_resource_request {
            let fields = [&info.namespace, &info.resource, &info.name, &info.subresource];
            let fields: Vec<String> = fields.iter().map(|s| or(s)).collect();
            format!("{} {} {}", info.verb, info.group_version(), fields.join(" "))
        } else {
            format!("{} {}", info.verb, info.path)
        };
        assert_eq!(found, expected, "{method} {url}");
    }

    #[test]
    fn paths_become_verbs_and_resources() {
        check("GET", "/api/v1/namespaces", "list v1 - namespaces - -");
        check("GET", "/api/v1/namespaces/a", "get v1 a namespaces a -");
        check("PUT", "/api/v1/namespaces/a/finalize", "update v1 a namespaces a finalize");
        check("GET", "/api/v1/namespaces/a/pods", "list v1 a pods - -");
        check("GET", "/api/v1/namespaces/a/pods?watch=1", "watch v1 a pods - -");
        check("GET", "/api/v1/namespaces/a/pods?watch=false", "list v1 a pods - -");
        check("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list v1 - pods x -");
        let escaped = "/api/v1/pods?fieldSelector=status.podIP!%3Dy%5C%2Cmetadata.name%3Dx";
        check("GET", escaped, "list v1 - pods - -");
        check("GET", "/api/v1/pods?fieldSelector=metadata.name!%3Dx", "list v1 - pods - -");
        check("GET", "/api/v1/watch/namespaces/a/pods/b", "watch v1 a pods b -");
        check("POST", "/apis/apps/v1/namespaces/a/deployments", "create apps/v1 a deployments - -");
        check("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch apps/v1 a deployments d scale");
        check("DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps/v1 a deployments - -");
        check("GET", "/apis/apps/v1", "get /apis/apps/v1");
        check("GET", "/healthz", "get /healthz");
    }
}
