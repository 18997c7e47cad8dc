//! The built-in rows, read once from `data/resources.txt`, and the columns of their tables from
//! `data/overlay/columns.txt`, where each resource is followed by the function of the reference that prints it.
//!
//! In `resources.txt` a line with `=` opens a group and version, in the order in which the reference lists them. A
//! line with `/` is a subresource of the resource above: name, kind, group and version if they are others, verbs.
//! Any other line is a resource: plural, kind, singular, `N` or `C` for its scope, verbs, short names, categories,
//! storage (`-` none, `#` and a hash, or another group and version), selectable fields. Of verbs `*` stands for all
//! eight and `+` for get, patch and update.

use std::sync::{Arc, OnceLock};

use super::flags::Flags;
use super::resource::{Column, Resource, SelectableField, Subresource};
use crate::kinds;
use crate::schema::Schema;

static RESOURCES: &str = include_str!("../../data/resources.txt");
static COLUMNS: &str = include_str!("../../data/overlay/columns.txt");

/// All built-in rows, in the reference's order of groups.
pub(super) fn rows() -> &'static [Arc<Resource>] {
    static ROWS: OnceLock<Vec<Arc<Resource>>> = OnceLock::new();
    ROWS.get_or_init(parse)
}

/// The place of a group in the reference's order; the groups of custom resources come last.
pub(super) fn group_place(group: &str) -> usize {
    let lines = RESOURCES.lines().filter_map(|line| line.strip_prefix('='));
    let mut groups = lines.map(|line| line.split('\t').next().unwrap_or(""));
    groups.position(|g| g == group).unwrap_or(usize::MAX)
}

/// The columns of a built-in resource's table as the reference prints it; none if it has no printer of its own.
pub fn columns(group: &str, version: &str, plural: &str) -> Option<Vec<Column>> {
    let wanted = if group.is_empty() { format!("={version}/{plural}") } else { format!("={group}/{version}/{plural}") };
    let mut lines = COLUMNS.lines().skip_while(|line| line.split('\t').next() != Some(&wanted));
    lines.next()?;
    let columns = lines.take_while(|line| !line.starts_with('=')).map(|line| {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or("");
        Column { name: next(), kind: next(), format: next(), priority: next().parse().unwrap_or(0) }
    });
    Some(columns.collect())
}

fn parse() -> Vec<Arc<Resource>> {
    let mut rows: Vec<Resource> = Vec::with_capacity(80);
    let (mut group, mut version) = ("", "");
    for line in RESOURCES.lines() {
        if let Some(head) = line.strip_prefix('=') {
            (group, version) = head.split_once('\t').expect("a group and a version");
        } else if let Some(sub) = line.strip_prefix('/') {
            rows.last_mut().expect("a resource comes first").subresources.push(subresource(sub));
        } else {
            rows.push(resource(group, version, line));
        }
    }
    rows.into_iter().map(Arc::new).collect()
}

fn resource(group: &str, version: &str, line: &'static str) -> Resource {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or("");
    let (plural, kind, singular, scope) = (next(), next(), next(), next());
    let (all, short_names, categories, storage, selectable) = (verbs(next()), next(), next(), next(), next());
    let (storage_group, storage_version, hash) = match storage {
        "-" => ("", "", String::new()),
        "" => (group, version, Resource::storage_hash(group, version, kind)),
        hash if hash.starts_with('#') => (group, version, hash[1..].to_string()),
        other => {
            let (group, version) = other.split_once('/').expect("a group and a version");
            (group, version, Resource::storage_hash(group, version, kind))
        }
    };
    let listed = all.iter().any(|v| v == "list");
    Resource {
        group: group.to_string(),
        version: version.to_string(),
        plural: plural.to_string(),
        singular: singular.to_string(),
        kind: kind.to_string(),
        list_kind: if listed { format!("{kind}List") } else { String::new() },
        namespaced: scope == "N",
        verbs: all,
        short_names: words(short_names),
        categories: words(categories),
        subresources: Vec::new(),
        storage_group: storage_group.to_string(),
        storage_version: storage_version.to_string(),
        storage_version_hash: hash,
        schema: Schema::of(group, version, kind).expect("the facts have every resource's kind"),
        custom: false,
        flags: Flags::builtin(group, plural),
        functions: kinds::of(group, plural),
        selectable: selectable.split(',').filter(|s| !s.is_empty()).map(selectable_field).collect(),
        printer_columns: Vec::new(),
        definition: None,
    }
}

fn subresource(line: &'static str) -> Subresource {
    let mut parts = line.split('\t');
    let mut next = || parts.next().unwrap_or("");
    let (name, kind, version, all) = (next(), next(), next(), next());
    let (group, version) = version.split_once('/').unwrap_or(("", ""));
    Subresource {
        name: name.to_string(),
        group: group.to_string(),
        version: version.to_string(),
        kind: kind.to_string(),
        verbs: verbs(all),
    }
}

/// `label`, `label=path|path`, `label=` for one that is never set, with `:b` or `:i` for a boolean or integer.
fn selectable_field(text: &'static str) -> SelectableField {
    let (text, zero) = match text.rsplit_once(':') {
        Some((text, "b")) => (text, "false"),
        Some((text, _)) => (text, "0"),
        None => (text, ""),
    };
    let (label, paths) = text.split_once('=').unwrap_or((text, text));
    let paths = paths.split('|').filter(|p| !p.is_empty());
    let paths = paths.map(|path| path.split('.').map(str::to_string).collect()).collect();
    SelectableField { label: label.to_string(), paths, zero }
}

fn verbs(text: &str) -> Vec<String> {
    match text {
        "*" => words("create,delete,deletecollection,get,list,patch,update,watch"),
        "+" => words("get,patch,update"),
        _ => words(text),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(',').filter(|w| !w.is_empty()).map(str::to_string).collect()
}
