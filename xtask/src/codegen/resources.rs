//! `resources.txt`: the resources of stable versions, from the recorded discovery documents.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::overlay::Overlay;

type Read<T> = Result<T, Box<dyn Error>>;

const ALL: &str = "create,delete,deletecollection,get,list,patch,update,watch";
const USUAL: &str = "get,patch,update";

/// The text of the file: what discovery says, and the selectable fields of the overlay.
///
/// # Errors
/// A document that is not there or says less than it should.
pub(super) fn write(from: &Path, overlay: &Overlay) -> Read<String> {
    let versions = versions(from)?;
    let mut documents = BTreeMap::new();
    for (group, version) in &versions {
        let name = match group.as_str() {
            "" => format!("api__{version}.json"),
            group => format!("apis__{group}__{version}.json"),
        };
        let resources = read(&from.join("api/discovery").join(name))?["resources"].clone();
        documents.insert((group.clone(), version.clone()), resources);
    }
    let mut text = String::new();
    for (group, version) in versions {
        text.push_str(&format!("={group}\t{version}\n"));
        let resources = documents[&(group.clone(), version.clone())].as_array().cloned().unwrap_or_default();
        for resource in &resources {
            let line = match word(resource, "name")?.split_once('/') {
                Some((_, sub)) => subresource(resource, sub, (&group, &version))?,
                None => line(resource, (&group, &version), &documents, overlay)?,
            };
            text.push_str(line.trim_end_matches('\t'));
            text.push('\n');
        }
    }
    Ok(text)
}

/// The stable versions in the order in which discovery lists them.
fn versions(from: &Path) -> Read<Vec<(String, String)>> {
    let mut found = vec![(String::new(), "v1".to_string())];
    let groups = read(&from.join("api/discovery/aggregated_v2.json"))?;
    for group in groups["items"].as_array().into_iter().flatten() {
        for version in group["versions"].as_array().into_iter().flatten() {
            let version = word(version, "version")?;
            if version[1..].bytes().all(|byte| byte.is_ascii_digit()) {
                found.push((word(&group["metadata"], "name")?.to_string(), version.to_string()));
            }
        }
    }
    Ok(found)
}

type Documents = BTreeMap<(String, String), Value>;

fn line(resource: &Value, of: (&str, &str), documents: &Documents, overlay: &Overlay) -> Read<String> {
    let plural = word(resource, "name")?;
    let scope = if resource["namespaced"] == true { "N" } else { "C" };
    let storage = storage(resource, of, documents)?;
    let selectable = overlay.selectable(of.0, of.1, plural).unwrap_or("");
    let verbs = words(resource, "verbs");
    let verbs = if verbs == ALL { "*" } else { &verbs };
    let (kind, singular) = (word(resource, "kind")?, word(resource, "singularName")?);
    let (short, categories) = (words(resource, "shortNames"), words(resource, "categories"));
    Ok([plural, kind, singular, scope, verbs, &short, &categories, &storage, selectable].join("\t"))
}

/// Where objects are stored: nothing if under their own group and version, `-` if nowhere, the group and version of another
/// stable form of the same kind, or the hash of what else there may be.
fn storage(resource: &Value, of: (&str, &str), documents: &Documents) -> Read<String> {
    let Some(hash) = resource["storageVersionHash"].as_str() else { return Ok("-".to_string()) };
    let kind = word(resource, "kind")?;
    if hash == storage_hash(of.0, of.1, kind) {
        return Ok(String::new());
    }
    let other = documents.keys().find(|(group, version)| hash == storage_hash(group, version, kind));
    Ok(other.map_or_else(|| format!("#{hash}"), |(group, version)| format!("{group}/{version}")))
}

/// `storageVersionHash` (`discovery.StorageVersionHash`).
fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    STANDARD.encode(&Sha256::digest(format!("{group}/{version}/{kind}"))[..8])
}

fn subresource(resource: &Value, name: &str, of: (&str, &str)) -> Read<String> {
    let (group, version) = (resource["group"].as_str().unwrap_or(""), resource["version"].as_str().unwrap_or(""));
    let other = match (group, version) {
        ("", "") => String::new(),
        same if same == of => String::new(),
        (group, version) => format!("{group}/{version}"),
    };
    let verbs = words(resource, "verbs");
    let verbs = if verbs == USUAL { "+" } else { &verbs };
    Ok(format!("/{}", [name, word(resource, "kind")?, &other, verbs].join("\t")))
}

fn word<'v>(value: &'v Value, name: &str) -> Read<&'v str> {
    value[name].as_str().ok_or_else(|| format!("discovery: no {name} in {value}").into())
}

fn words(value: &Value, name: &str) -> String {
    let words: Vec<_> = value[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    words.join(",")
}

fn read(path: &Path) -> Read<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}
