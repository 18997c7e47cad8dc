//! `schema.txt`: every struct that stands in an object, from Go source.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;

use super::go::{Declared, Field, Type};
use super::universe::{self, Universe};

type Read<T> = Result<T, Box<dyn Error>>;

const META: &str = "k8s.io/apimachinery/pkg/apis/meta/v1";

/// The packages whose structs are definitions, beside the versions of the groups below [`GROUPS`].
const PACKAGES: [&str; 3] = [META, "k8s.io/apimachinery/pkg/apis/meta/v1beta1", "k8s.io/apimachinery/pkg/version"];

/// The folders of groups, each with a folder a version.
const GROUPS: [&str; 3] = ["k8s.io/api", "k8s.io/apiextensions-apiserver/pkg/apis", "k8s.io/kube-aggregator/pkg/apis"];

/// Kinds of `meta/v1` that every group version has (`metav1.AddToGroupVersion`) or none (`AddUnversionedTypes`), so
/// that their group is the empty one; the others belong to `meta.k8s.io`.
const EVERYWHERE: [&str; 7] =
    ["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "DeleteOptions", "Status", "WatchEvent"];

/// A struct and where it is declared.
pub(super) struct Definition {
    pub path: String,
    pub name: String,
    /// The package that its fields are written in.
    pub home: String,
    pub declared: Declared,
}

impl Definition {
    fn new(universe: &Universe, path: String, name: String) -> Read<Self> {
        let (home, declared) = universe.declared(&path, &name)?;
        Ok(Self { path, name, home, declared })
    }

    pub(super) fn full(&self) -> String {
        universe::full(&self.path, &self.name)
    }

    /// Whether its version is neither alpha nor beta.
    pub(super) fn is_stable(&self) -> bool {
        let version = self.path.rsplit('/').next().unwrap_or("");
        version.strip_prefix('v').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// Whether it has a kind and a version of its own.
    pub(super) fn is_typed(&self) -> bool {
        self.fields().iter().any(|field| field.embedded && field.name == "TypeMeta")
    }

    pub(super) fn fields(&self) -> &[Field] {
        match &self.declared.of {
            Type::Struct(fields) => fields,
            _ => &[],
        }
    }
}

/// All definitions by their names in OpenAPI: the structs that protobuf has a message for, kinds, what the server says
/// of its version, and all that these consist of.
///
/// # Errors
/// What is not there or not understood.
pub(super) fn definitions(universe: &Universe) -> Read<BTreeMap<String, Definition>> {
    let mut paths: Vec<String> = PACKAGES.map(str::to_string).to_vec();
    for group in GROUPS {
        paths.extend(universe.versions_under(group)?);
    }
    let mut found = BTreeMap::new();
    for path in paths {
        let messages = universe.messages(&path)?;
        for (name, declared) in &universe.package(&path)?.types {
            if declared.alias || !is_exported(name) || universe::has_form_of_its_own(&path, name) {
                continue;
            }
            let definition = Definition::new(universe, path.clone(), name.clone())?;
            let is_struct = matches!(definition.declared.of, Type::Struct(_));
            let is_version = (path.as_str(), name.as_str()) == ("k8s.io/apimachinery/pkg/version", "Info");
            if is_struct && (messages.contains(name) || is_version || definition.is_typed()) {
                add(universe, definition, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Adds a definition and those that it refers to.
fn add(universe: &Universe, definition: Definition, to: &mut BTreeMap<String, Definition>) -> Read<()> {
    let mut open = vec![definition];
    while let Some(definition) = open.pop() {
        if to.contains_key(&definition.full()) {
            continue;
        }
        for field in definition.fields().iter().filter(|field| is_exported(&field.name)) {
            for (path, name) in universe.structs_in(&definition.home, definition.declared.file, &field.of)? {
                open.push(Definition::new(universe, path, name)?);
            }
        }
        to.insert(definition.full(), definition);
    }
    Ok(())
}

fn is_exported(name: &str) -> bool {
    name.starts_with(char::is_uppercase)
}

/// The names of all definitions that objects of stable versions consist of: what the OpenAPI documents show.
///
/// # Errors
/// A type that is not there.
pub(super) fn stable(universe: &Universe, definitions: &BTreeMap<String, Definition>) -> Read<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let kinds = definitions.iter().filter(|(_, definition)| definition.is_typed() && definition.is_stable());
    let mut open: Vec<String> = kinds.map(|(name, _)| name.clone()).collect();
    while let Some(name) = open.pop() {
        let Some(definition) = definitions.get(&name).filter(|_| !found.contains(&name)) else { continue };
        for (owner, field) in flattened(universe, definitions, definition)? {
            let structs = universe.structs_in(&owner.home, owner.declared.file, &field.of)?;
            open.extend(structs.into_iter().map(|(path, name)| universe::full(&path, &name)));
        }
        found.insert(name);
    }
    Ok(found)
}

/// The fields of a definition and of those that it embeds, each with the definition that it is written in.
///
/// # Errors
/// A type that is not there.
pub(super) fn flattened<'d>(
    universe: &Universe,
    definitions: &'d BTreeMap<String, Definition>,
    definition: &'d Definition,
) -> Read<Vec<(&'d Definition, &'d Field)>> {
    let mut fields = Vec::new();
    for field in definition.fields().iter().filter(|field| is_exported(&field.name)) {
        let tag = Tag::of(field);
        if field.embedded && tag.json.is_empty() {
            let (path, name) = universe.embedded(&definition.home, definition.declared.file, &field.of)?;
            let inner = definitions.get(&universe::full(&path, &name)).ok_or("what is embedded is no definition")?;
            fields.extend(flattened(universe, definitions, inner)?);
        } else if tag.json != "-" && !tag.json.is_empty() {
            fields.push((definition, field));
        }
    }
    Ok(fields)
}

/// The text of the file.
///
/// # Errors
/// What a schema cannot say.
pub(super) fn write(universe: &Universe, definitions: &BTreeMap<String, Definition>) -> Read<String> {
    let mut text = String::new();
    for definition in definitions.values() {
        write_definition(&mut text, universe, definition)
            .map_err(|error| format!("{} ({}): {error}", definition.full(), definition.declared.place))?;
    }
    Ok(text)
}

fn write_definition(text: &mut String, universe: &Universe, definition: &Definition) -> Read<()> {
    write!(text, "={}", definition.full())?;
    if value(&definition.declared.markers, "structType") == Some("atomic") {
        text.push_str("\ta");
    }
    text.push('\n');
    if let Some(group) = group_of_kind(universe, definition)? {
        let version = definition.path.rsplit('/').next().unwrap_or("");
        writeln!(text, "!{group}\t{version}\t{}", definition.name)?;
    }
    for field in definition.fields() {
        let tag = Tag::of(field);
        if tag.json == "-" || !is_exported(&field.name) {
            continue;
        }
        if field.embedded && tag.json.is_empty() {
            let (path, name) = universe.embedded(&definition.home, definition.declared.file, &field.of)?;
            write_line(text, &["+", &format!("@{}", universe::short(&path, &name)), &tag.proto])?;
        } else if !tag.json.is_empty() {
            write_field(text, universe, definition, field, &tag)?;
        }
    }
    Ok(())
}

/// The group of a kind: a struct that has a kind and version of its own, or the one event of a watch.
fn group_of_kind(universe: &Universe, definition: &Definition) -> Read<Option<String>> {
    let everywhere = definition.path == META && EVERYWHERE.contains(&definition.name.as_str());
    if !definition.is_typed() && !everywhere {
        return Ok(None);
    }
    if everywhere {
        return Ok(Some(String::new()));
    }
    let package = universe.package(&definition.path)?;
    if package.constants.iter().any(|constant| constant.name == "GroupName") {
        return Ok(Some(universe.text(&definition.path, "GroupName")?));
    }
    let marked = value(&package.markers, "groupName");
    Ok(Some(marked.ok_or("its package has no GroupName")?.to_string()))
}

fn write_field(text: &mut String, universe: &Universe, definition: &Definition, field: &Field, tag: &Tag) -> Read<()> {
    let shape = universe.shape(&definition.home, definition.declared.file, field)?;
    let name = match capitalised(&tag.json) == field.name {
        true => tag.json.clone(),
        false => format!("{}/{}", tag.json, field.name),
    };
    let proto = if shape.wrapped { format!("{}.1", tag.proto) } else { tag.proto.clone() };
    let mut flags = String::new();
    let set = [('r', is_required(field, tag)), ('p', shape.pointer), ('o', tag.omits_empty), ('z', tag.omits_zero)];
    flags.extend(set.iter().filter(|(_, set)| *set).map(|(letter, _)| *letter));
    flags.push_str(topology(field)?);
    for (word, letter) in [("merge", 'P'), ("retainKeys", 'R'), ("replace", 'X')] {
        if tag.patch_strategy.split(',').any(|strategy| strategy == word) {
            flags.push(letter);
        }
    }
    let keys: Vec<_> = values(&field.markers, "listMapKey").collect();
    let default = default(universe, definition, field)?;
    write_line(text, &[&name, &shape.text, &proto, &flags, &shape.named, &keys.join(","), &tag.patch_key, &default])
}

/// Columns between tabs, without those at the end that are empty.
fn write_line(text: &mut String, columns: &[&str]) -> Read<()> {
    text.push_str(columns.join("\t").trim_end_matches('\t'));
    text.push('\n');
    Ok(())
}

/// A field's tag, taken apart.
#[derive(Debug, Default)]
pub(super) struct Tag {
    pub json: String,
    pub omits_empty: bool,
    pub omits_zero: bool,
    proto: String,
    patch_strategy: String,
    patch_key: String,
}

impl Tag {
    pub(super) fn of(field: &Field) -> Self {
        let part = |key: &str| {
            let start = field.tag.find(&format!("{key}:\""))? + key.len() + 2;
            field.tag[start..].split('"').next()
        };
        let json = part("json").unwrap_or("");
        let mut options = json.split(',');
        let name = options.next().unwrap_or("").to_string();
        let options: Vec<_> = options.collect();
        let inline = options.contains(&"inline");
        // Go takes the name of the field where the tag states none.
        let json = if name.is_empty() && !inline && !field.embedded { field.name.clone() } else { name };
        Self {
            json,
            omits_empty: options.contains(&"omitempty"),
            omits_zero: options.contains(&"omitzero"),
            proto: part("protobuf").and_then(|text| text.split(',').nth(1)).unwrap_or("").to_string(),
            patch_strategy: part("patchStrategy").unwrap_or("").to_string(),
            patch_key: part("patchMergeKey").unwrap_or("").to_string(),
        }
    }
}

/// Whether OpenAPI requires a field: what is marked so, and else what is neither optional nor left out when empty.
fn is_required(field: &Field, tag: &Tag) -> bool {
    let marked = |names: [&str; 2]| names.iter().any(|name| is_marked(field, name));
    if marked(["required", "k8s:required"]) {
        return true;
    }
    !marked(["optional", "k8s:optional"]) && !tag.omits_empty && !tag.omits_zero
}

/// Whether a field has the marker `+name`.
pub(super) fn is_marked(field: &Field, name: &str) -> bool {
    field.markers.iter().any(|marker| marker == name)
}

fn topology(field: &Field) -> Read<&'static str> {
    let of = |name: &str| value(&field.markers, name);
    Ok(match (of("listType"), of("mapType").or(of("structType"))) {
        (None, None) => "",
        (Some("atomic"), None) => "A",
        (Some("set"), None) => "S",
        (Some("map"), None) => "M",
        (None, Some("atomic")) => "a",
        (None, Some("granular")) => "g",
        _ => return Err(format!("{}: markers that contradict each other", field.name).into()),
    })
}

/// The default that a marker states, as JSON: a literal, or a constant.
fn default(universe: &Universe, definition: &Definition, field: &Field) -> Read<String> {
    let Some(stated) = value(&field.markers, "default") else { return Ok(String::new()) };
    let Some(name) = stated.strip_prefix("ref(").and_then(|rest| rest.strip_suffix(')')) else {
        let json: serde_json::Value = serde_json::from_str(stated)?;
        return Ok(json.to_string());
    };
    let (path, name) = name.rsplit_once('.').unwrap_or((&definition.home, name));
    Ok(serde_json::to_string(&universe.text(path, name)?)?)
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The value of a marker `name=value`.
pub(super) fn value<'a>(markers: &'a [String], name: &str) -> Option<&'a str> {
    values(markers, name).next()
}

fn values<'a>(markers: &'a [String], name: &str) -> impl Iterator<Item = &'a str> {
    markers.iter().filter_map(move |marker| marker.strip_prefix(name)?.strip_prefix('='))
}
