//! What sets a kind apart in the generic registry, read from `data/overlay/flags.txt`: group and plural, the strategy of the
//! reference that says it, and flags, of which most kinds have few. What is not said is as it is for most.

use crate::validation::metadata::NameRule;

static FLAGS: &str = include_str!("../../data/overlay/flags.txt");

/// What a change of a kind's metadata is checked for beyond what the generic registry checks, so that causes repeat as they do
/// in the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Again {
    /// `nothing`: nothing more.
    Nothing,
    /// What may not change (`ValidateObjectMetaUpdate`).
    #[default]
    Changes,
    /// `whole`: all that a new object must have (`ValidateObjectMeta`).
    Whole,
    /// `both` of them.
    Both,
}

/// How `metadata.generation` counts changes of the desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Generation {
    /// It does not.
    #[default]
    None,
    /// `generation`: from one.
    Counted,
    /// `generation=later`: from one, which a new object does not have yet.
    Later,
    /// `generation=first`: it stays one.
    First,
}

/// How a client is told that a field cannot be selected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelError {
    /// By its name, as kinds without fields of their own do, or all custom ones.
    #[default]
    Plain,
    /// `label-error=kind`: with the kind.
    Kind,
    /// `label-error=type`: with group, version and kind.
    Type,
}

/// A path to a field.
pub(super) type FieldPath = Vec<&'static str>;

/// The fields that a write through one subresource (empty for the object itself) does not touch (`GetResetFields`).
pub(super) type Reset = (&'static str, Vec<FieldPath>);

/// What sets a kind apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `name=…`: what its names must look like.
    pub name: NameRule,
    /// `again=…`: what else of the metadata is checked when an object changes.
    pub again: Again,
    /// `again-below=…`: the same for a write through a subresource.
    pub again_below: Again,
    /// `generation`, `generation=…`
    pub generation: Generation,
    /// `labels-in-generation`: a change of labels counts as one of the desired state.
    pub labels_in_generation: bool,
    /// `annotations-in-generation`: a change of annotations counts as one of the desired state.
    pub annotations_in_generation: bool,
    /// `conditional-update`: an update must say which version it is of (`AllowUnconditionalUpdate`).
    pub conditional_update: bool,
    /// `create-on-update`: an update of what does not exist creates it (`AllowCreateOnUpdate`).
    pub create_on_update: bool,
    /// `orphan`: dependents are orphaned if nothing is said (`DefaultGarbageCollectionPolicy`).
    pub orphan: bool,
    /// `orphan-warning=…`: what the client is told who deletes and does not say what becomes of the dependents.
    pub orphan_warning: Option<&'static str>,
    /// `uncollected`: nothing can own them or be owned.
    pub uncollected: bool,
    /// `metadata-apart-from-status`: a write of the status leaves all metadata alone but the managed fields
    /// (`ResetObjectMetaForStatus`).
    pub metadata_apart_from_status: bool,
    /// `status-on-create`: a client may set the status when it creates the object.
    pub status_on_create: bool,
    /// `initial-status=…`: the status that an object begins with, as the reference writes its zero values.
    pub initial_status: Option<&'static str>,
    /// `return-deleted`: a delete answers with the object and not with a status (`ReturnDeletedObject`).
    pub return_deleted: bool,
    /// `metadata-last`: its own rules leave the metadata of a new object to the generic registry, which comes after them.
    pub metadata_last: bool,
    /// `uid-for-name`: an object without a name gets a uid for one.
    pub uid_for_name: bool,
    /// `any-finalizers`: finalizers are not checked as those of core objects are.
    pub any_finalizers: bool,
    /// `key=…`: the name under which errors show that the reference stores it, if it is not the plural.
    pub key: Option<&'static str>,
    /// `group-in-key`: errors show the group before that name.
    pub group_in_key: bool,
    /// `reset=SUBRESOURCE:FIELD,FIELD`: what is not `status` for the object itself and `spec` for its status.
    pub reset: Vec<Reset>,
    /// `disabled=…`: fields behind features that are off by default: they are dropped, unless the object has them already.
    pub disabled: Vec<FieldPath>,
    /// `label-error=kind`, `label-error=type`: how the client is told that a field cannot be selected by.
    pub label_error: LabelError,
    /// `deprecated=…`: what a client is told who still uses it.
    pub deprecated: Option<&'static str>,
    /// A write of the status owns nothing but the status, as for custom resources.
    pub status_alone: bool,
}

impl Flags {
    /// Those of a built-in kind.
    pub(super) fn builtin(group: &str, plural: &str) -> Self {
        let name = if group.is_empty() { plural.to_string() } else { format!("{group}/{plural}") };
        let mut lines = FLAGS.lines().map(|line| line.split('\t'));
        let words = lines.find_map(|mut words| (words.next() == Some(&name)).then_some(words));
        let mut flags = Self::default();
        for word in words.into_iter().flat_map(|words| words.skip(1)) {
            let (flag, value) = word.split_once('=').unwrap_or((word, ""));
            assert!(flags.set(flag, value), "{name} has the flag {word:?}, which nobody knows");
        }
        flags
    }

    /// Those of a custom kind (`customResourceStrategy`).
    pub fn custom() -> Self {
        Self {
            generation: Generation::Counted,
            conditional_update: true,
            metadata_apart_from_status: true,
            any_finalizers: true,
            group_in_key: true,
            status_alone: true,
            ..Self::default()
        }
    }

    /// Whether a new object has the first generation.
    pub fn begins_with_generation(&self) -> bool {
        matches!(self.generation, Generation::Counted | Generation::First)
    }

    /// Whether the generation counts changes.
    pub fn counts_generation(&self) -> bool {
        matches!(self.generation, Generation::Counted | Generation::Later)
    }

    /// The fields of the metadata of which a change counts as a change of the desired state.
    pub fn counted_metadata(&self) -> impl Iterator<Item = &'static str> + use<> {
        let labels = self.labels_in_generation.then_some("labels");
        let annotations = self.annotations_in_generation.then_some("annotations");
        labels.into_iter().chain(annotations)
    }

    fn set(&mut self, flag: &str, value: &'static str) -> bool {
        match flag {
            "name" => return value.parse().map(|rule| self.name = rule).is_ok(),
            "again" => return again(value).map(|again| self.again = again).is_some(),
            "again-below" => return again(value).map(|again| self.again_below = again).is_some(),
            "generation" => return generation(value).map(|found| self.generation = found).is_some(),
            "labels-in-generation" => self.labels_in_generation = true,
            "annotations-in-generation" => self.annotations_in_generation = true,
            "conditional-update" => self.conditional_update = true,
            "create-on-update" => self.create_on_update = true,
            "orphan" => self.orphan = true,
            "orphan-warning" => self.orphan_warning = Some(value),
            "uncollected" => self.uncollected = true,
            "metadata-apart-from-status" => self.metadata_apart_from_status = true,
            "status-on-create" => self.status_on_create = true,
            "initial-status" => self.initial_status = Some(value),
            "return-deleted" => self.return_deleted = true,
            "metadata-last" => self.metadata_last = true,
            "uid-for-name" => self.uid_for_name = true,
            "any-finalizers" => self.any_finalizers = true,
            "key" => self.key = Some(value),
            "group-in-key" => self.group_in_key = true,
            "reset" => {
                let (subresource, fields) = value.split_once(':').unwrap_or(("", value));
                self.reset.push((subresource, fields.split(',').map(path).collect()));
            }
            "label-error" => self.label_error = if value == "kind" { LabelError::Kind } else { LabelError::Type },
            "disabled" => self.disabled.push(path(value)),
            "deprecated" => self.deprecated = Some(value),
            _ => return false,
        }
        true
    }
}

fn path(text: &'static str) -> FieldPath {
    text.split('.').collect()
}

fn again(value: &str) -> Option<Again> {
    Some(match value {
        "nothing" => Again::Nothing,
        "whole" => Again::Whole,
        "both" => Again::Both,
        _ => return None,
    })
}

fn generation(value: &str) -> Option<Generation> {
    Some(match value {
        "" => Generation::Counted,
        "later" => Generation::Later,
        "first" => Generation::First,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::FLAGS;
    use crate::catalogue::Catalogue;

    #[test]
    fn every_line_is_of_a_resource() {
        let catalogue = Catalogue::builtin();
        for line in FLAGS.lines() {
            let name = line.split('\t').next().unwrap_or("");
            let (group, plural) = name.rsplit_once('/').unwrap_or(("", name));
            assert!(catalogue.iter().any(|row| row.group == group && row.plural == plural), "{name}");
            assert!(line.split('\t').count() > 2, "{name} says something");
        }
    }

    #[test]
    fn flags_are_read() {
        let catalogue = Catalogue::builtin();
        let nodes = &catalogue.get("", "v1", "nodes").unwrap().flags;
        assert!(nodes.status_on_create && nodes.key == Some("minions") && !nodes.begins_with_generation());
        assert_eq!(nodes.disabled, [["spec", "configSource"], ["status", "config"]]);
        let pods = &catalogue.get("", "v1", "pods").unwrap().flags;
        assert_eq!(pods.reset[0], ("resize", vec![vec!["status"]]));
    }
}
