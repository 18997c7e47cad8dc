//! The versions of a definition: what an object that was stored under one is under the definition of now, and in another.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use super::definition::{items, text};
use crate::schema::{Schema, StructuralError};
use crate::{Object, decode, defaults};

/// Why an object cannot be had in another version; the text is the reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// The definition leaves conversion to a webhook (`webhookConverter.Convert` in apiextensions), which is not asked here.
    #[error("conversion webhook for {group_version}, Kind={kind} failed: it was not asked")]
    Webhook {
        /// The version that the object is in.
        group_version: String,
        /// The object's kind.
        kind: String,
    },
    /// The object is in a version that the definition does not name.
    #[error("request to convert CR from an invalid group/version: {0}")]
    UnknownVersion(String),
}

/// The webhook that converts the objects of a definition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConversionWebhook {
    /// Where it is, as the definition says.
    pub client_config: Value,
    /// The versions of ConversionReview that it understands, the one that it likes best first.
    pub review_versions: Vec<String>,
}

impl ConversionWebhook {
    fn new(conversion: &Value) -> Option<Self> {
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let webhook = &conversion["webhook"];
        let versions = items(webhook, "conversionReviewVersions").iter().filter_map(Value::as_str);
        let review_versions = versions.map(str::to_string).collect();
        Some(Self { client_config: webhook["clientConfig"].clone(), review_versions })
    }
}

/// All versions of a definition, served or not.
#[derive(Debug, Default)]
pub struct Versions {
    group: String,
    storage: String,
    schemas: Vec<(String, Schema)>,
    /// The versions whose schemas have defaults.
    with_defaults: Vec<String>,
    webhook: Option<ConversionWebhook>,
    paths: Vec<String>,
    id: u64,
}

impl Versions {
    pub(crate) fn new(spec: &Value) -> Result<Self, StructuralError> {
        let webhook = ConversionWebhook::new(&spec["conversion"]);
        let mut all = Self { group: text(spec, "group").to_string(), webhook, ..Self::default() };
        for version in items(spec, "versions") {
            let name = text(version, "name").to_string();
            if version["storage"].as_bool() == Some(true) {
                all.storage.clone_from(&name);
            }
            let schema = version.get("schema").and_then(|schema| schema.get("openAPIV3Schema"));
            if schema.is_some_and(|schema| schema.to_string().contains("\"default\":")) {
                all.with_defaults.push(name.clone());
            }
            all.schemas.push((name, Schema::structural(schema)?));
            let fields = items(version, "selectableFields").iter().map(|field| text(field, "jsonPath"));
            all.paths.extend(fields.map(|path| path.trim_start_matches('.').to_string()));
        }
        all.paths.sort();
        all.paths.dedup();
        let mut hasher = DefaultHasher::new();
        spec["versions"].to_string().hash(&mut hasher);
        // Another webhook may convert otherwise.
        if all.webhook.is_some() {
            spec["conversion"].to_string().hash(&mut hasher);
        }
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

    /// The version that is stored.
    pub fn storage(&self) -> &str {
        &self.storage
    }

    /// Whether conversion is left to a webhook.
    pub fn uses_webhook(&self) -> bool {
        self.webhook.is_some()
    }

    /// The webhook that converts, if one does.
    pub fn webhook(&self) -> Option<&ConversionWebhook> {
        self.webhook.as_ref()
    }

    /// Whether an object that was checked in the version that is stored may get defaults when it is read: those of
    /// fields that were dropped after they were filled in, as the status of a new object is.
    pub fn adds_defaults(&self) -> bool {
        self.with_defaults.contains(&self.storage)
    }

    /// A stored object as the definition has it now: pruned and with defaults, in the version that it was stored in
    /// (`crdConversionRESTOptionsGetter` in apiextensions makes the codec that does so on every read).
    pub fn current(&self, mut object: Object) -> Object {
        if let Some(schema) = self.schema(version_of(&object)) {
            decode::prune(schema, &mut object);
            defaults::apply(schema, &mut object);
        }
        object
    }

    /// An object in the version that is stored.
    ///
    /// # Errors
    /// As [`Versions::convert`].
    pub fn to_storage(&self, object: Object) -> Result<Object, ConversionError> {
        self.convert(object, &self.storage)
    }

    /// An object in another version. Without a webhook only the version's name changes, and what the other schema does
    /// not know is lost.
    ///
    /// # Errors
    /// If the definition does not know the object's version, or wants a webhook to be asked.
    pub fn convert(&self, mut object: Object, version: &str) -> Result<Object, ConversionError> {
        if version_of(&object) == version {
            return Ok(object);
        }
        if self.schema(version_of(&object)).is_none() {
            return Err(ConversionError::UnknownVersion(object.api_version().to_string()));
        }
        if self.uses_webhook() {
            let (group_version, kind) = (object.api_version().to_string(), object.kind().to_string());
            return Err(ConversionError::Webhook { group_version, kind });
        }
        object.0.insert("apiVersion".into(), format!("{}/{version}", self.group).into());
        if let Some(schema) = self.schema(version) {
            decode::prune(schema, &mut object);
        }
        Ok(object)
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
            (
                object("v2", json!({"a": "x"})),
                object("v2", json!({"a": "x", "two": "d"})),
                object("v2", json!({"a": "x", "two": "d"})),
            ),
        ] {
            let now = versions.current(stored.clone());
            assert_eq!(now, current, "{stored:?}");
            assert_eq!(versions.convert(now.clone(), "v2"), Ok(two), "{stored:?}");
            assert_eq!(versions.current(now), current, "nothing changes twice");
        }
        let mut other = spec.clone();
        other["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"]["default"] = json!("e");
        assert_ne!(Versions::new(&other).unwrap().id(), versions.id());
        assert_eq!(Versions::new(&spec).unwrap().id(), versions.id());
    }
    #[test]
    fn only_the_webhook_converts_where_there_is_one() {
        let version = |name: &str, storage: bool| json!({"name": name, "storage": storage});
        let mut spec = json!({"group": "g.example.com", "versions": [version("v1", true), version("v2", false)]});
        let object = |version: &str| {
            let object = json!({"apiVersion": format!("g.example.com/{version}"), "kind": "K", "metadata": {}});
            Object::from_value(object).unwrap()
        };
        let plain = Versions::new(&spec).unwrap();
        assert_eq!(plain.convert(object("v1"), "v2"), Ok(object("v2")));
        let unknown = ConversionError::UnknownVersion("g.example.com/v3".into());
        assert_eq!(plain.convert(object("v3"), "v1"), Err(unknown));
        spec["conversion"] = json!({"strategy": "Webhook"});
        let hooked = Versions::new(&spec).unwrap();
        assert_ne!(plain.id(), hooked.id());
        assert_eq!(hooked.convert(object("v1"), "v1"), Ok(object("v1")));
        assert_eq!(hooked.to_storage(object("v1")), Ok(object("v1")));
        for (from, to) in [("v1", "v2"), ("v2", "v1")] {
            let why = hooked.convert(object(from), to).unwrap_err().to_string();
            assert!(why.starts_with(&format!("conversion webhook for g.example.com/{from}, Kind=K failed: ")), "{why}");
        }
    }
}
