//! The operations that tell what there is to be found: the version, the groups, and the resources of each version.

use serde_json::{Map, Value, json};

use super::operations::capital;
use super::schemas::{Components, Dialect, META};

const ANSWERS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// What such an operation answers with.
#[derive(Debug, Clone)]
enum Answer {
    /// A definition, in any form.
    Discovery(&'static str),
    /// A definition, in JSON alone.
    Version(&'static str),
    /// Text of this type.
    Text(&'static str),
}

/// One operation, which is a GET.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// The path of its own document below `/openapi/v3`, if it has one.
    pub(super) document: Option<String>,
    path: String,
    id: String,
    tag: String,
    description: &'static str,
    answer: Answer,
}

/// The paths of the server as a whole.
pub(super) fn of_server() -> Vec<Root> {
    let root = |document: &str, id: &str, tag: &str, description, answer| Root {
        document: Some(document.to_string()),
        path: format!("/{document}/"),
        id: id.to_string(),
        tag: tag.to_string(),
        description,
        answer,
    };
    let issuer = "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'";
    let keys = "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)";
    vec![
        root(
            ".well-known/openid-configuration",
            "getServiceAccountIssuerOpenIDConfiguration",
            "WellKnown",
            issuer,
            Answer::Text("application/json"),
        ),
        root("api", "getCoreAPIVersions", "core", "get available API versions", Answer::Discovery("APIVersions")),
        root("apis", "getAPIVersions", "apis", "get available API versions", Answer::Discovery("APIGroupList")),
        root(
            "openid/v1/jwks",
            "getServiceAccountIssuerOpenIDKeyset",
            "openid",
            keys,
            Answer::Text("application/jwk-set+json"),
        ),
        root(
            "version",
            "getCodeVersion",
            "version",
            "get the version information for this server",
            Answer::Version("io.k8s.apimachinery.pkg.version.Info"),
        ),
    ]
}

/// The path of a group; the core has none.
pub(super) fn of_group(group: &str) -> Option<Root> {
    let (camel, tag) = names(group);
    (!group.is_empty()).then(|| Root {
        document: Some(format!("apis/{group}")),
        path: format!("/apis/{group}/"),
        id: format!("get{camel}APIGroup"),
        tag,
        description: "get information of a group",
        answer: Answer::Discovery("APIGroup"),
    })
}

/// The path of a version of a group, which is in the document of that version.
pub(super) fn of_version(group: &str, version: &str) -> Root {
    let (camel, tag) = names(group);
    Root {
        document: None,
        path: if group.is_empty() { format!("/api/{version}/") } else { format!("/apis/{group}/{version}/") },
        id: format!("get{camel}{}APIResources", capital(version)),
        tag: format!("{tag}_{version}"),
        description: "get available resources",
        answer: Answer::Discovery("APIResourceList"),
    }
}

/// `RbacAuthorization` and `rbacAuthorization`
pub(super) fn names(group: &str) -> (String, String) {
    let group = if group.is_empty() { "core" } else { group.trim_end_matches(".k8s.io") };
    let camel: String = group.split(['.', '-']).map(capital).collect();
    let mut letters = camel.chars();
    let first: String = letters.next().into_iter().map(|c| c.to_ascii_lowercase()).collect();
    let tag = format!("{first}{}", letters.as_str());
    (camel, tag)
}

/// Writes an operation.
pub(super) fn write(root: &Root, components: &mut Components<'_>, paths: &mut Map<String, Value>) {
    let (answer, types) = match root.answer {
        Answer::Discovery(kind) => (components.reference(&format!("{META}.{kind}")), ANSWERS),
        Answer::Version(definition) => (components.reference(definition), &ANSWERS[..1]),
        Answer::Text(ref media_type) => (json!({"type": "string"}), std::slice::from_ref(media_type)),
    };
    let mut entry = json!({"description": root.description, "operationId": root.id, "tags": [root.tag]});
    let good = match components.dialect() {
        Dialect::V3 => {
            let content: Map<String, Value> =
                types.iter().map(|name| ((*name).to_string(), json!({"schema": answer}))).collect();
            json!({"description": "OK", "content": content})
        }
        Dialect::V2 => {
            if !matches!(root.answer, Answer::Text(_)) {
                entry["consumes"] = json!(types);
            }
            entry["produces"] = json!(types);
            entry["schemes"] = json!(["https"]);
            json!({"description": "OK", "schema": answer})
        }
    };
    entry["responses"] = json!({"200": good, "401": {"description": "Unauthorized"}});
    paths.insert(root.path.clone(), json!({"get": entry}));
}
