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
