//! What each built-in kind does about its own objects beyond what its schema and its row of the catalogue say: one file a group,
//! one entry a kind. A row holds its kind, so nothing is looked up when a request comes; a custom resource's row holds
//! [`CUSTOM`], whose definition says the rest.

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod networking;
mod node;
mod policy;
mod rbac;
mod resource;
mod scheduling;
mod storage;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::Object;
use crate::field::ErrorList;
use crate::quota::Evaluator;
use crate::table::Cell;
use crate::validation::at::At;

/// All that is wrong with an object, given the one before it on an update.
pub(crate) type Rules = fn(&At<'_>, Option<&At<'_>>, &mut ErrorList);
/// What a client is told of an object, given the one before it on an update (`WarningsOnCreate`, `WarningsOnUpdate`).
pub(crate) type Warnings = fn(&At<'_>, Option<&At<'_>>) -> Vec<String>;
/// Where an object has a template of pods.
pub(crate) type Template = for<'a> fn(&At<'a>) -> At<'a>;

/// What one kind does about its own objects.
#[derive(Clone, Copy)]
pub struct Kind {
    plural: &'static str,
    rules: Option<Rules>,
    warnings: Option<Warnings>,
    template: Option<Template>,
    through: &'static [Through],
    cells: Option<&'static [Cell]>,
    evaluator: Option<&'static Evaluator>,
}

/// What a kind does about writes through one of its subresources.
#[derive(Clone, Copy)]
pub(crate) struct Through {
    subresource: &'static str,
    rules: Option<Rules>,
    warnings: Option<Warnings>,
}

/// A kind that does nothing of its own, as most custom ones: what they do is said by their definition.
pub static CUSTOM: Kind = Kind::named("");

/// The built-in kinds, by group.
const GROUPS: [(&str, &[Kind]); 19] = [
    ("", core::KINDS),
    ("admissionregistration.k8s.io", admissionregistration::KINDS),
    ("apiextensions.k8s.io", apiextensions::KINDS),
    ("apiregistration.k8s.io", apiregistration::KINDS),
    ("apps", apps::KINDS),
    ("autoscaling", autoscaling::KINDS),
    ("batch", batch::KINDS),
    ("certificates.k8s.io", certificates::KINDS),
    ("coordination.k8s.io", coordination::KINDS),
    ("discovery.k8s.io", discovery::KINDS),
    ("events.k8s.io", events::KINDS),
    ("flowcontrol.apiserver.k8s.io", flowcontrol::KINDS),
    ("networking.k8s.io", networking::KINDS),
    ("node.k8s.io", node::KINDS),
    ("policy", policy::KINDS),
    ("rbac.authorization.k8s.io", rbac::KINDS),
    ("resource.k8s.io", resource::KINDS),
    ("scheduling.k8s.io", scheduling::KINDS),
    ("storage.k8s.io", storage::KINDS),
];

/// The built-in kinds of a group.
fn of_group(group: &str) -> &'static [Kind] {
    GROUPS.iter().find(|(name, _)| *name == group).map_or(&[], |(_, kinds)| kinds)
}

/// Every built-in kind, with its group and plural.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static Kind)> {
    GROUPS.iter().flat_map(|(group, kinds)| kinds.iter().map(move |kind| (*group, kind.plural, kind)))
}

/// The built-in kind of this group and plural; one that does nothing if there is none.
pub fn of(group: &str, plural: &str) -> &'static Kind {
    of_group(group).iter().find(|kind| kind.plural == plural).unwrap_or(&CUSTOM)
}

impl Kind {
    const fn named(plural: &'static str) -> Self {
        Self { plural, rules: None, warnings: None, template: None, through: &[], cells: None, evaluator: None }
    }

    /// What is wrong with an object, also with what its scale makes of it.
    const fn validated(self, rules: Rules) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// What its clients are told.
    const fn warned(self, warnings: Warnings) -> Self {
        Self { warnings: Some(warnings), ..self }
    }

    /// Its template, whose pods clients are told of.
    const fn template(self, template: Template) -> Self {
        Self { template: Some(template), ..self }
    }

    /// Its subresources that have rules of their own.
    const fn through(self, through: &'static [Through]) -> Self {
        Self { through, ..self }
    }

    /// The cells of its table, in the order of its columns.
    const fn cells(self, cells: &'static [Cell]) -> Self {
        Self { cells: Some(cells), ..self }
    }

    /// How quotas count its objects beyond their number.
    const fn counted(self, evaluator: &'static Evaluator) -> Self {
        Self { evaluator: Some(evaluator), ..self }
    }

    fn subresource(&self, name: &str) -> Option<&Through> {
        self.through.iter().find(|through| through.subresource == name)
    }

    /// All that is wrong with an object beyond its metadata, after a write through a subresource (empty for the object
    /// itself).
    pub fn errors(&self, subresource: &str, new: &Object, old: Option<&Object>) -> ErrorList {
        let rules = match subresource {
            "" | "scale" => self.rules,
            name => self.subresource(name).and_then(|through| through.rules),
        };
        let mut errors = ErrorList::new();
        if let Some(rules) = rules {
            rules(&At::root(new), old.map(At::root).as_ref(), &mut errors);
        }
        errors
    }

    /// What a client is told of an object that is good, but not as it should be.
    pub fn warnings(&self, subresource: &str, new: &Object, old: Option<&Object>) -> Vec<String> {
        let own = match subresource {
            "" => self.warnings,
            name => self.subresource(name).and_then(|through| through.warnings),
        };
        if own.is_none() && self.template.is_none() {
            return Vec::new();
        }
        let (new, old) = (At::root(new), old.map(At::root));
        let mut all = own.map_or_else(Vec::new, |warnings| warnings(&new, old.as_ref()));
        if let Some(template) = self.template.filter(|_| subresource.is_empty()) {
            all.extend(crate::validation::warnings::of_template(template, &new, old.as_ref()));
        }
        all
    }

    /// The cells of a table, in the order of its columns; none if the kind has no printer of its own.
    pub(crate) fn table_cells(&self) -> Option<&'static [Cell]> {
        self.cells
    }
}

impl Kind {
    /// How quotas count its objects beyond their number.
    pub(crate) fn evaluator(&self) -> Option<&'static Evaluator> {
        self.evaluator
    }
}

impl Through {
    const fn named(subresource: &'static str) -> Self {
        Self { subresource, rules: None, warnings: None }
    }

    const fn validated(self, rules: Rules) -> Self {
        Self { rules: Some(rules), ..self }
    }

    const fn warned(self, warnings: Warnings) -> Self {
        Self { warnings: Some(warnings), ..self }
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.plural)
    }
}

impl Default for &'static Kind {
    fn default() -> Self {
        &CUSTOM
    }
}
