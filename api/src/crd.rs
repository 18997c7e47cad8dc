//! Custom resources: from a definition to rows of the catalogue, what makes a definition valid and established,
//! and what makes a custom object valid. All of it is pure; who calls it decides when.

mod definition;
mod embedded;
mod lists;
mod names;
mod node;
mod rules;
mod scale;
mod schema;
mod selectable;
mod values;
mod versions;

use std::sync::Arc;

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

pub use definition::{unrecognized_formats, validate, validate_status};
pub use names::{Conditions, conditions, is_established};
pub use node::Node;
pub use scale::Scale;
pub use versions::{ConversionError, ConversionWebhook, Versions};

use crate::cel::Declared;
use crate::field::{ErrorList, ErrorType, FieldError, Path};
use crate::{Object, status};

/// What a definition says of one version beyond the catalogue's row.
#[derive(Debug, Default)]
pub struct Version {
    /// The schema that objects are validated by; none keeps everything.
    pub schema: Option<Node>,
    /// All versions of the definition.
    pub versions: Arc<Versions>,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// The same schema as it was written, for the documents.
    pub written: Option<Box<RawValue>>,
    /// The kind of its objects; empty if any will do.
    pub kind: String,
    /// Whether the definition is going: nothing new may come then.
    pub terminating: bool,
    /// What clients of the version are warned with.
    pub deprecation_warning: Option<String>,
}

/// The version behind a row of the catalogue.
pub type Definition = Arc<Version>;

/// Is handed the evaluation of an object's rules, and runs it once: the time that it takes is for somebody else to know.
pub type Around<'a> = &'a mut dyn FnMut(&mut dyn FnMut());

impl Version {
    /// Whether objects have to keep rules beside the schema.
    pub fn has_rules(&self) -> bool {
        self.schema.as_ref().is_some_and(|schema| schema.has_rules)
    }

    /// The schema as it was written.
    pub fn open_api(&self) -> Option<Value> {
        self.written.as_ref().and_then(|text| serde_json::from_str(text.get()).ok())
    }

    /// The text of the schema; empty if there is none.
    pub fn open_api_text(&self) -> &str {
        self.written.as_ref().map_or("", |text| text.get())
    }

    /// Everything that is wrong with an object, new or changed (`customResourceStrategy.Validate` and
    /// `ValidateUpdate`). Metadata is validated elsewhere.
    ///
    /// What rules have against what did not change goes to `warnings`.
    pub fn validate(
        &self,
        object: &Object,
        old: Option<&Object>,
        warnings: &mut Vec<String>,
        around: Around<'_>,
    ) -> ErrorList {
        let kind = object.0.get("kind").and_then(Value::as_str).unwrap_or("");
        if !self.kind.is_empty() && kind != self.kind {
            return FieldError::invalid(&Path::new("kind"), kind, format!("must be {}", self.kind)).into();
        }
        let mut errors = ErrorList::new();
        if let Some(schema) = &self.schema {
            let of_schema = values::validate_object(schema, object);
            // Many errors may be in one list, which is compared as a whole.
            let mut known: HashMap<String, bool> = HashMap::new();
            let mut unchanged = |path: &Path, old: &Object| {
                let place = path.as_str().split_once('[').map_or(path.as_str(), |(list, _)| list).to_string();
                *known.entry(place).or_insert_with_key(|place| lists::unchanged(&Path::new(place), object, old))
            };
            let of_schema = of_schema.into_iter();
            errors.extend(of_schema.filter(|error| !old.is_some_and(|old| unchanged(&error.path, old))));
        }
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate(object));
        }
        self.finish(object, old, errors, warnings, around)
    }

    /// Everything that is wrong with an object whose status is written.
    pub fn validate_status(
        &self,
        object: &Object,
        old: &Object,
        warnings: &mut Vec<String>,
        around: Around<'_>,
    ) -> ErrorList {
        let mut errors = ErrorList::new();
        if let (Some(schema), Some(value)) =
            (self.schema.as_ref().and_then(|s| s.property("status")), object.0.get("status"))
            && old.0.get("status") != Some(value)
        {
            errors.extend(values::validate(schema, value, &Path::new("status")));
        }
        if let Some(scale) = &self.scale {
            errors.extend(scale.validate_status(object));
        }
        self.finish(object, Some(old), errors, warnings, around)
    }

    /// Lists that must be sets or maps, then the rules, unless the object is too wrong to evaluate them.
    fn finish(
        &self,
        object: &Object,
        old: Option<&Object>,
        mut errors: ErrorList,
        warnings: &mut Vec<String>,
        around: Around<'_>,
    ) -> ErrorList {
        let Some(schema) = &self.schema else { return errors };
        embedded::validate_object(schema, object, &mut errors);
        let has_no_name = object.name().is_empty();
        let were_wrong = old.is_some_and(|old| !lists::validate(schema, old).is_empty());
        if !were_wrong {
            errors.extend(lists::validate(schema, object));
        }
        if schema.has_rules && (has_no_name || errors.iter().any(blocks_rules)) {
            let why = "some validation rules were not checked because the object was invalid; correct the existing \
                       errors to complete validation";
            errors.push(FieldError::invalid(&Path::new("<nil>"), Value::Null, why));
        } else if schema.has_rules {
            around(&mut || {
                let found = rules::validate_object(schema, object, old);
                errors.extend(found.errors);
                warnings.extend(found.warnings);
            });
        }
        errors
    }
}

fn blocks_rules(error: &FieldError) -> bool {
    use ErrorType::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
    matches!(error.error_type, NotSupported | Required | TooLong | TooMany | TypeInvalid)
}

/// The name that a definition must have: `plural.group`.
pub fn definition_name(group: &str, plural: &str) -> String {
    status::group_resource(group, plural)
}

/// How expressions see objects of a schema; none if they do not.
pub(crate) fn declared(schema: &Value, name: &str) -> Option<Declared> {
    rules::declare(schema, name, true)
}

#[cfg(test)]
mod tests;
