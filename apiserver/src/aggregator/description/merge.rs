//! One OpenAPI document of version 2 out of several (`MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters` in kube-openapi):
//! the first that has a path keeps it, and of definitions and parameters that have one name and are not equal the later are renamed.
//!
//! The first document is some megabytes and stays as it is written but for what it has a namesake of.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::part::{self, DEFINITIONS};

const PARAMETERS: &str = "#/parameters/";
/// The extension that says which kinds a definition is of.
const KINDS: &str = "x-kubernetes-group-version-kind";

/// Names with what they stand for, of which some are not read yet.
type Named = BTreeMap<String, Box<RawValue>>;

/// Adds parts, each as [`part::part`] makes them, to a whole document. A part that cannot be read is left out.
///
/// # Errors
/// The document is none.
pub(crate) fn merge(document: &[u8], parts: &[(String, impl AsRef<[u8]>)]) -> Result<Vec<u8>, serde_json::Error> {
    let mut whole: Named = serde_json::from_slice(document)?;
    let mut take = |name: &str| -> Result<Named, serde_json::Error> {
        whole.remove(name).map_or_else(|| Ok(Named::new()), |raw| serde_json::from_str(raw.get()))
    };
    let mut merged =
        Merged { paths: take("paths")?, definitions: take("definitions")?, parameters: take("parameters")? };
    for (name, part) in parts {
        if let Err(error) = merged.add(part.as_ref()) {
            tracing::warn!(api_service = name, %error, "an OpenAPI document is left out");
        }
    }
    for (name, map) in
        [("paths", &merged.paths), ("definitions", &merged.definitions), ("parameters", &merged.parameters)]
    {
        whole.insert(name.into(), raw(map)?);
    }
    serde_json::to_vec(&whole)
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    to_raw_value(value)
}

struct Merged {
    paths: Named,
    definitions: Named,
    parameters: Named,
}

impl Merged {
    fn add(&mut self, part: &[u8]) -> Result<(), serde_json::Error> {
        let part: Value = serde_json::from_slice(part)?;
        let map = |name: &str| part[name].as_object().cloned().unwrap_or_default();
        let (all, definitions, mut parameters) = (map("paths"), map("definitions"), map("parameters"));
        let is_free = |path: &String| !self.paths.contains_key(path);
        let mut paths: Map<String, Value> =
            all.iter().filter(|(path, _)| is_free(path)).map(|(path, item)| (path.clone(), item.clone())).collect();
        if paths.is_empty() {
            return Ok(());
        }
        let mut definitions = match paths.len() == all.len() {
            true => definitions,
            false => used(&all, &paths, &parameters, definitions),
        };
        let renamed = Renames::of(&self.definitions, &definitions, is_equal_but_for_kinds)?;
        renamed.apply(DEFINITIONS, &mut definitions, [&mut paths, &mut parameters]);
        let renamed = Renames::of(&self.parameters, &parameters, |a, b| a == b)?;
        renamed.apply(PARAMETERS, &mut parameters, [&mut paths, &mut definitions]);
        for (name, definition) in definitions {
            match self.definitions.get(&name) {
                None => _ = self.definitions.insert(name, raw(&definition)?),
                Some(known) => {
                    if let Some(more) = with_kinds(serde_json::from_str(known.get())?, &definition) {
                        self.definitions.insert(name, raw(&more)?);
                    }
                }
            }
        }
        for (name, parameter) in parameters {
            if let Entry::Vacant(free) = self.parameters.entry(name) {
                free.insert(raw(&parameter)?);
            }
        }
        for (path, item) in paths {
            self.paths.insert(path, raw(&item)?);
        }
        Ok(())
    }
}

/// The definitions that are still used once some paths are gone.
fn used(
    all: &Map<String, Value>,
    kept: &Map<String, Value>,
    parameters: &Map<String, Value>,
    mut definitions: Map<String, Value>,
) -> Map<String, Value> {
    let names = |paths: &Map<String, Value>| {
        let mut names = HashSet::new();
        for value in paths.values().chain(definitions.values()).chain(parameters.values()) {
            part::references(value, &mut |reference| {
                names.extend(reference.strip_prefix(DEFINITIONS).map(str::to_string));
            });
        }
        names
    };
    let (before, after) = (names(all), names(kept));
    definitions.retain(|name, _| after.contains(name) || !before.contains(name));
    definitions
}

/// What is to be called differently.
struct Renames(HashMap<String, String>);

impl Renames {
    fn of(
        known: &Named,
        added: &Map<String, Value>,
        is_equal: impl Fn(&Value, &Value) -> bool,
    ) -> Result<Self, serde_json::Error> {
        let mut renames = HashMap::new();
        let mut taken: HashSet<String> = Default::default();
        for (name, value) in added {
            let read = |name: &str| known.get(name).map(|raw| serde_json::from_str::<Value>(raw.get())).transpose();
            let Some(found) = read(name)? else { continue };
            if is_equal(&found, value) {
                continue;
            }
            let mut number = 1;
            let next = loop {
                number += 1;
                let next = format!("{name}_v{number}");
                match read(&next)? {
                    // One that was renamed before may be this.
                    Some(found) if is_equal(&found, value) => break next,
                    Some(_) => {}
                    None if taken.contains(&next) || added.contains_key(&next) => {}
                    None => break next,
                }
            };
            taken.insert(next.clone());
            renames.insert(name.clone(), next);
        }
        Ok(Self(renames))
    }

    /// Renames what `named` has, and what refers to it, there and in the others.
    fn apply(&self, prefix: &str, named: &mut Map<String, Value>, others: [&mut Map<String, Value>; 2]) {
        if self.0.is_empty() {
            return;
        }
        let before = std::mem::take(named);
        named.extend(before.into_iter().map(|(name, value)| (self.0.get(&name).cloned().unwrap_or(name), value)));
        let [first, second] = others;
        for value in named.values_mut().chain(first.values_mut()).chain(second.values_mut()) {
            self.rename(prefix, value);
        }
    }

    fn rename(&self, prefix: &str, value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    match value {
                        Value::String(reference) if name == "$ref" => {
                            let next = reference.strip_prefix(prefix).and_then(|name| self.0.get(name));
                            if let Some(next) = next {
                                *reference = format!("{prefix}{next}");
                            }
                        }
                        value => self.rename(prefix, value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.rename(prefix, item)),
            _ => {}
        }
    }
}

fn is_equal_but_for_kinds(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let rest = |map: &Map<String, Value>| map.len() - usize::from(map.contains_key(KINDS));
    rest(a) == rest(b) && a.iter().all(|(name, value)| name == KINDS || b.get(name) == Some(value))
}

/// The known definition with the kinds of another, if it has some that it has not (`mergedGVKs`).
fn with_kinds(mut known: Value, other: &Value) -> Option<Value> {
    let added = other.get(KINDS)?.as_array()?;
    let before = known.get(KINDS).and_then(Value::as_array).cloned().unwrap_or_default();
    let missing: Vec<Value> = added.iter().filter(|kind| !before.contains(kind)).cloned().collect();
    if missing.is_empty() {
        return None;
    }
    let mut all: Vec<Value> = before.into_iter().chain(missing).collect();
    let text = |kind: &Value, field: &str| kind[field].as_str().unwrap_or("").to_string();
    all.sort_by_key(|kind| format!("{}/{}.{}", text(kind, "group"), text(kind, "version"), text(kind, "kind")));
    known.as_object_mut()?.insert(KINDS.into(), all.into());
    Some(known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(paths: Value, definitions: Value, parameters: Value) -> (String, Vec<u8>) {
        let part = json!({"paths": paths, "definitions": definitions, "parameters": parameters});
        ("v1.a".into(), serde_json::to_vec(&part).unwrap())
    }

    fn merged(whole: Value, parts: &[(String, Vec<u8>)]) -> Value {
        serde_json::from_slice(&merge(whole.to_string().as_bytes(), parts).unwrap()).unwrap()
    }

    #[test]
    fn the_first_keeps_its_paths_and_others_are_added() {
        let whole = json!({"swagger": "2.0", "info": {}, "paths": {"/a": 1}, "definitions": {"A": {"x": 1}}});
        let definitions = json!({"B": {}, "C": {}});
        let reference = json!({"$ref": "#/definitions/B"});
        let parts = [
            part(json!({"/a": {"$ref": "#/definitions/C"}, "/b": reference}), definitions, json!({"p": 1})),
            part(json!({"/a": 3}), json!({"D": {}}), json!({})),
            ("v1.b".into(), b"nothing".to_vec()),
        ];
        let found = merged(whole, &parts);
        assert_eq!(found["paths"], json!({"/a": 1, "/b": reference}));
        assert_eq!(found["definitions"], json!({"A": {"x": 1}, "B": {}}), "what only a dropped path uses goes");
        assert_eq!((&found["parameters"], &found["swagger"]), (&json!({"p": 1}), &json!("2.0")));
    }

    #[test]
    fn namesakes_that_differ_are_renamed_with_what_refers_to_them() {
        let kinds = |kinds: &[&str]| {
            kinds.iter().map(|kind| json!({"group": "", "version": "v1", "kind": kind})).collect::<Vec<_>>()
        };
        let whole = json!({"paths": {"/a": 1}, "definitions": {"Meta": {"x": 1}, "Options": {KINDS: kinds(&["A", "Z"])}},
            "parameters": {"p": {"name": "p"}}});
        let added = |x: i32, path: &str| {
            let uses = json!({"$ref": "#/definitions/Meta", "list": [{"$ref": "#/parameters/p"}]});
            let thing = json!({"properties": {"meta": {"$ref": "#/definitions/Meta"}}});
            let definitions = json!({"Meta": {"x": x}, format!("Thing{x}"): thing, "Options": {KINDS: kinds(&["B"])}});
            part(json!({path: uses}), definitions, json!({"p": {"name": "q"}}))
        };
        let found = merged(whole, &[added(2, "/b"), added(2, "/c"), added(3, "/d"), added(1, "/e")]);
        let definitions = &found["definitions"];
        assert_eq!(definitions["Meta"], json!({"x": 1}));
        assert_eq!((&definitions["Meta_v2"], &definitions["Meta_v3"]), (&json!({"x": 2}), &json!({"x": 3})));
        assert!(definitions.get("Meta_v4").is_none());
        let of = |path: &str| found["paths"][path]["$ref"].as_str().unwrap().to_string();
        assert_eq!(
            ["/b", "/c", "/d", "/e"].map(of),
            ["2", "2", "3", ""].map(|n| match n {
                "" => "#/definitions/Meta".to_string(),
                n => format!("#/definitions/Meta_v{n}"),
            })
        );
        let inner = |name: &str| definitions[name]["properties"]["meta"]["$ref"].clone();
        assert_eq!((inner("Thing2"), inner("Thing1")), ("#/definitions/Meta_v2".into(), "#/definitions/Meta".into()));
        assert_eq!(definitions["Options"][KINDS], json!(kinds(&["A", "B", "Z"])));
        assert_eq!(found["parameters"], json!({"p": {"name": "p"}, "p_v2": {"name": "q"}}));
        assert_eq!(found["paths"]["/b"]["list"][0]["$ref"], "#/parameters/p_v2");
    }
}
