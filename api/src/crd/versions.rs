//! The versions of a definition: what an object that was stored under one is under the definition of now, and in another.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::definition::{items, text};
use crate::schema::{Schema, StructuralError};
use crate::{Object, decode, defaults};

/// All versions of a definition, served or not.
#[derive(Debug, Default)]
pub struct Versions {
    group: String,
    storage: String,
    schemas: Vec<(String, Schema)>,
    paths: Vec<String>,
    id: u64,
}

impl Versions {
    pub(super) fn new(spec: &Value) -> Result<Self, StructuralError> {
        let mut all = Self { group: text(spec, "group").to_string(), ..Self::default() };
        for version in items(spec, "versions") {
            let name = text(version, "name").to_string();
            if version["storage"].as_bool() == Some(true) {
                all.storage.clone_from(&name);
            }
            let schema = version.get("schema").and_then(|schema| schema.get("openAPIV3Schema"));
            all.schemas.push((name, Schema::structural(schema)?));
            let fields = items(version, "selectableFields").iter().map(|field| text(field, "jsonPath"));
            all.paths.extend(fields.map(|path| path.trim_start_matches('.').to_string()));
        }
        all.paths.sort();
        all.paths.dedup();
        let mut hasher = DefaultHasher::new();
        spec["versions"].to_string().hash(&mut hasher);
        all.id = hasher.finish().max(1);
        Ok(all)
    }

    /// Differs between definitions whose objects look different when they are read; never zero.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The paths of the fields that one version or another selects by, in order.
    pub fn selectable_paths(&self) -> &[String] {
        &self.paths
    }

    /// The schema of a version.
    pub fn schema(&self, version: &str) -> Option<&Schema> {
        self.schemas.iter().find(|(name, _)| name == version).map(|(_, schema)| schema)
    }

    /// A stored object as the definition has it now: pruned and with defaults, in the version that is stored
    /// (`crdConversionRESTOptionsGetter` in apiextensions makes the codec that does so on every read).
    pub fn current(&self, mut object: Object) -> Object {
        if let Some(schema) = self.schema(version_of(&object)) {
            decode::prune(schema, &mut object);
            defaults::apply(schema, &mut object);
        }
        self.to_storage(object)
    }

    /// An object in the version that is stored.
    pub fn to_storage(&self, object: Object) -> Object {
        self.convert(object, &self.storage)
    }

    /// An object in another version. Only the version's name changes, and what the other schema does not know is lost.
    pub fn convert(&self, mut object: Object, version: &str) -> Object {
        if version_of(&object) == version {
            return object;
        }
        object.0.insert("apiVersion".into(), format!("{}/{version}", self.group).into());
        if let Some(schema) = self.schema(version) {
            decode::prune(schema, &mut object);
        }
        object
    }
}

fn version_of(object: &Object) -> &str {
    object.api_version().rsplit('/').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn stored_objects_follow_their_definition() {
        let version = |name: &str, storage: bool, fields: Value| {
            json!({"name": name, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": fields}}})
        };
        let text = json!({"type": "string"});
        let defaulted = json!({"type": "string", "default": "d"});
        let spec = json!({"group": "g.example.com", "versions": [
            version("v1", true, json!({"a": defaulted, "one": text})),
            version("v2", false, json!({"a": text, "two": defaulted})),
        ]});
        let versions = Versions::new(&spec).unwrap();
        let object = |version: &str, fields: Value| {
            let mut object =
                json!({"apiVersion": format!("g.example.com/{version}"), "kind": "K", "metadata": {"name": "x"}});
            object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            Object::from_value(object).unwrap()
        };
        for (stored, current, two) in [
            // Defaults of the version that it is stored in.
            (object("v1", json!({})), object("v1", json!({"a": "d"})), object("v2", json!({"a": "d"}))),
            // What no schema knows goes, and what the other version does not know.
            (
                object("v1", json!({"a": "x", "one": "1", "old": true})),
                object("v1", json!({"a": "x", "one": "1"})),
                object("v2", json!({"a": "x"})),
            ),
            // What was stored when another version was.
            (object("v2", json!({"a": "x"})), object("v1", json!({"a": "x"})), object("v2", json!({"a": "x"}))),
        ] {
            let now = versions.current(stored.clone());
            assert_eq!(now, current, "{stored:?}");
            assert_eq!(versions.convert(now.clone(), "v2"), two, "{stored:?}");
            assert_eq!(versions.current(now), current, "nothing changes twice");
        }
        let mut other = spec.clone();
        other["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"]["default"] = json!("e");
        assert_ne!(Versions::new(&other).unwrap().id(), versions.id());
        assert_eq!(Versions::new(&spec).unwrap().id(), versions.id());
    }
}
