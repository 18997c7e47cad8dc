//! Which objects a list or watch is about: label and field selectors over entries of the store.

use std::sync::Arc;

use api::Status;
use api::catalogue::Resource;
use api::selector::{Attributes, FieldSelector, LabelSelector, extract};
use store::Entry;

use crate::memo::Memo;
use crate::options::ListOptions;

/// Where the value of a selected field is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Name,
    Namespace,
    /// A range of the extracted paths, and what counts if all are empty.
    Paths(std::ops::Range<usize>, &'static str),
}

#[derive(Debug, Clone)]
struct Condition {
    source: Source,
    value: String,
    negated: bool,
}

/// A compiled selection.
#[derive(Debug, Clone)]
pub struct Selection {
    resource: Arc<Resource>,
    labels: LabelSelector,
    conditions: Vec<Condition>,
    /// The paths of all selectable fields of the resource, which the memo of an entry holds the values of.
    paths: Arc<[String]>,
}

impl Selection {
    /// Compiles the selectors of a request for `resource`, of which `storage` is the row that objects are stored as.
    ///
    /// # Errors
    /// 400 for selectors that cannot be read, or name a field that cannot be selected.
    pub fn new(resource: &Arc<Resource>, storage: &Arc<Resource>, options: &ListOptions) -> Result<Self, Status> {
        let labels = LabelSelector::parse(&options.label_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        let fields = FieldSelector::parse(&options.field_selector).map_err(|e| Status::bad_request(e.to_string()))?;
        let paths: Vec<String> = match &resource.definition {
            Some(version) => version.versions.selectable_paths().to_vec(),
            None => storage.selectable.iter().flat_map(|f| &f.paths).map(|p| p.join(".")).collect(),
        };
        let mut conditions = Vec::new();
        for requirement in fields.requirements {
            let source = source(resource, &paths, &requirement.field)?;
            conditions.push(Condition { source, value: requirement.value, negated: requirement.negated });
        }
        Ok(Self { resource: storage.clone(), labels, conditions, paths: paths.into() })
    }

    /// Adds that the name must be this one.
    pub fn named(mut self, name: &str) -> Self {
        self.conditions.push(Condition { source: Source::Name, value: name.to_string(), negated: false });
        self
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.conditions.is_empty()
    }

    /// The one name that can be selected, if there is only one.
    pub fn name(&self) -> Option<&str> {
        self.conditions.iter().find(|c| c.source == Source::Name && !c.negated).map(|c| c.value.as_str())
    }

    /// The one namespace that can be selected, if there is only one.
    pub fn namespace(&self) -> Option<&str> {
        self.conditions.iter().find(|c| c.source == Source::Namespace && !c.negated).map(|c| c.value.as_str())
    }

    /// Whether an entry is selected.
    pub fn matches(&self, entry: &Entry) -> bool {
        if self.is_everything() {
            return true;
        }
        let by_key = |c: &Condition| match c.source {
            Source::Name | Source::Namespace => {
                let (namespace, name) = self.resource.split_key(entry.key()).unwrap_or_default();
                let found = if c.source == Source::Name { name } else { namespace };
                (found == c.value) != c.negated
            }
            Source::Paths(..) => true,
        };
        if !self.conditions.iter().all(by_key) {
            return false;
        }
        let needs_fields = self.conditions.iter().any(|c| matches!(c.source, Source::Paths(..)));
        if self.labels.is_everything() && !needs_fields {
            return true;
        }
        let facts = self.facts(entry);
        let by_field = |c: &Condition| match &c.source {
            Source::Paths(range, absent) => {
                let found = facts.fields[range.clone()].iter().find(|v| !v.is_empty());
                (found.map_or(*absent, |v| v) == c.value) != c.negated
            }
            Source::Name | Source::Namespace => true,
        };
        self.labels.matches(&*facts.labels) && self.conditions.iter().all(by_field)
    }

    /// The labels and selectable fields of an entry, computed once an entry.
    fn facts(&self, entry: &Entry) -> Arc<Attributes> {
        let compute = |bytes: &[u8]| {
            let paths: Vec<&str> = self.paths.iter().map(String::as_str).collect();
            Arc::new(extract(bytes, &paths))
        };
        // A definition that changed its selectable fields leaves memos with the old ones behind.
        let definition = self.resource.definition.as_ref().map_or(0, |version| version.versions.id());
        Memo::of(entry).attributes(definition, || compute(&entry.value()))
    }
}

/// Where the value of a field is that a client of this resource names so.
fn source(resource: &Resource, paths: &[String], label: &str) -> Result<Source, Status> {
    if !resource.is_selectable(label) {
        return Err(Status::bad_request(resource.unselectable(label)));
    }
    match label {
        "metadata.name" => return Ok(Source::Name),
        "metadata.namespace" => return Ok(Source::Namespace),
        _ => {}
    }
    if resource.custom
        && let Some(place) = paths.iter().position(|path| path == label)
    {
        return Ok(Source::Paths(place..place + 1, ""));
    }
    let field = resource.selectable.iter().find(|field| field.label == label);
    let wanted: Vec<String> = field.iter().flat_map(|field| &field.paths).map(|path| path.join(".")).collect();
    let zero = field.map_or("", |field| field.zero);
    if wanted.is_empty() {
        return Ok(Source::Paths(0..0, zero));
    }
    let start = paths.windows(wanted.len()).position(|some| some == wanted);
    let start = start.ok_or_else(|| Status::bad_request(resource.unselectable(label)))?;
    Ok(Source::Paths(start..start + wanted.len(), zero))
}
