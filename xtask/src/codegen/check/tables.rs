//! The files that name what `schema.txt` defines.

use std::collections::{BTreeMap, BTreeSet};

use super::Problems;
use super::facts::Facts;
use super::lines::Lines;
use crate::codegen::overlay::{self, Overlay};
use crate::codegen::{ENUMS, RESOURCES, UNIONS};

const VERBS: [&str; 10] = ["*", "+", "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The rows of `resources.txt`.
pub(super) struct Resources {
    /// By the name that files have for a resource, with its kind: group, version and kind.
    pub rows: BTreeMap<String, Row>,
    /// The groups and versions in their order.
    pub versions: Vec<(String, String)>,
}

/// What a line says of a resource.
pub(super) struct Row {
    pub kind: String,
    listed: bool,
    selectable: String,
    subresources: Vec<(String, String)>,
}

impl Resources {
    pub(super) fn read(text: &str, problems: &mut Problems) -> Self {
        let mut all = Self { rows: BTreeMap::new(), versions: Vec::new() };
        let (mut group, mut version, mut open) = ("", "", String::new());
        for line in text.lines() {
            let columns: Vec<_> = line[usize::from(line.starts_with(['=', '/']))..].split('\t').collect();
            let column = |at: usize| columns.get(at).copied().unwrap_or("");
            if line.starts_with('=') {
                (group, version) = (column(0), column(1));
                all.versions.push((group.to_string(), version.to_string()));
                continue;
            }
            let verbs = if line.starts_with('/') { column(3) } else { column(4) };
            let known = verbs.split(',').all(|verb| VERBS.contains(&verb));
            problems.unless(known, RESOURCES, || format!("{}: {verbs} are no verbs", column(0)));
            if line.starts_with('/') {
                let (group, version) = column(2).split_once('/').unwrap_or((group, version));
                let sub = (column(0).to_string(), format!("{group}\t{version}\t{}", column(1)));
                match all.rows.get_mut(&open) {
                    Some(row) => row.subresources.push(sub),
                    None => problems.add(RESOURCES, format!("{line} comes before any resource")),
                }
                continue;
            }
            open = overlay::resource(group, version, column(0));
            let row = Row {
                kind: format!("{group}\t{version}\t{}", column(1)),
                listed: verbs == "*" || verbs.split(',').any(|verb| verb == "list"),
                selectable: column(8).to_string(),
                subresources: Vec::new(),
            };
            problems.unless(matches!(column(3), "N" | "C"), RESOURCES, || format!("{open}: no scope"));
            let new = all.rows.insert(open.clone(), row).is_none();
            problems.unless(new, RESOURCES, || format!("{open} stands twice"));
        }
        all
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// That the kinds are known, with their lists.
    pub(super) fn check(&self, facts: &Facts, problems: &mut Problems) {
        let kinds = facts.kinds();
        for (name, row) in &self.rows {
            let mut needed = vec![row.kind.clone()];
            needed.extend(row.listed.then(|| format!("{}List", row.kind)));
            needed.extend(row.subresources.iter().map(|(_, kind)| kind.clone()));
            for kind in needed {
                let known = kinds.contains(kind.as_str());
                problems
                    .unless(known, RESOURCES, || format!("{name}: the schema has no kind {}", kind.replace('\t', " ")));
            }
        }
    }
}

/// That the resources have the selectable fields that the overlay says, and no others.
pub(super) fn selectable(overlay: &Overlay, resources: &Resources, problems: &mut Problems) {
    let lines = Lines::of(overlay::SELECTABLE, &overlay.selectable);
    lines.sorted(problems);
    lines.columns(&[3], problems);
    let stated: BTreeMap<&str, &str> =
        lines.lines.iter().map(|line| (line[0], line.get(1).copied().unwrap_or(""))).collect();
    for name in stated.keys() {
        problems.unless(resources.rows.contains_key(*name), overlay::SELECTABLE, || format!("there is no {name}"));
    }
    for (name, row) in &resources.rows {
        let same = stated.get(name.as_str()).copied().unwrap_or("") == row.selectable;
        problems.unless(same, RESOURCES, || format!("{name} selects by other fields than the overlay says"));
    }
}

/// That the flags are of resources, in order, each with its source.
pub(super) fn flags(text: &str, resources: &Resources, problems: &mut Problems) {
    let lines = Lines::of(overlay::FLAGS, text);
    lines.sorted(problems);
    for line in &lines.lines {
        let (group, plural) = line[0].rsplit_once('/').unwrap_or(("", line[0]));
        let is_row = |name: &String| {
            let (version, found) = name.rsplit_once('/').unwrap_or(("", name));
            found == plural && version.rsplit_once('/').map_or("", |(group, _)| group) == group
        };
        problems.unless(resources.rows.keys().any(is_row), overlay::FLAGS, || format!("there is no {}", line[0]));
        let is_cited = line.get(1).is_some_and(|source| source.contains('.'));
        problems.unless(is_cited && line.len() > 2, overlay::FLAGS, || format!("{} has no source or no flag", line[0]));
    }
}

/// That every resource that can be listed has columns, and that they are columns.
pub(super) fn columns(text: &str, resources: &Resources, problems: &mut Problems) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open = "";
    for line in text.lines() {
        if let Some(head) = line.strip_prefix('=') {
            let (name, source) = head.split_once('\t').unwrap_or((head, ""));
            problems.unless(source.contains('.'), overlay::COLUMNS, || format!("{name} has no source"));
            problems.unless(resources.rows.contains_key(name), overlay::COLUMNS, || format!("there is no {name}"));
            problems.unless(seen.insert(name, 0).is_none(), overlay::COLUMNS, || format!("{name} stands twice"));
            open = name;
            continue;
        }
        *seen.entry(open).or_default() += 1;
        let columns: Vec<_> = line.split('\t').collect();
        let format = matches!(columns.get(2), None | Some(&("" | "name")));
        let kind = matches!(columns.get(1), Some(&("string" | "integer" | "boolean" | "date")));
        let priority = columns.get(3).is_none_or(|priority| *priority == "1");
        problems.unless(format && kind && priority, overlay::COLUMNS, || format!("{open}: {line:?} is no column"));
    }
    for (name, row) in &resources.rows {
        let some = seen.get(name.as_str()).is_some_and(|count| *count > 0);
        problems.unless(some || !row.listed, overlay::COLUMNS, || format!("{name} has no columns"));
    }
}

/// That the fields exist and each default is of its field's sort.
pub(super) fn defaults(text: &str, facts: &Facts, problems: &mut Problems) {
    let mut before = "";
    for line in text.lines() {
        let (path, rest) = line.split_once('=').unwrap_or((line, ""));
        problems.unless(before < path, overlay::DEFAULTS, || format!("{path} stands after {before}"));
        before = path;
        let (value, source) = rest.split_once('\t').unwrap_or((rest, ""));
        problems.unless(source.contains('.'), overlay::DEFAULTS, || format!("{path} has no source"));
        let (definition, name) = path.rsplit_once('.').unwrap_or((path, ""));
        let Some(field) = facts.field(definition, name) else {
            problems.add(overlay::DEFAULTS, format!("there is no {path}"));
            continue;
        };
        let fits = serde_json::from_str(value).is_ok_and(|value| is_of(&value, field.of()));
        problems.unless(fits, overlay::DEFAULTS, || format!("{path}: {value} does not fit {}", field.of()));
    }
}

/// That the fields exist and are of features.
pub(super) fn disabled(text: &str, facts: &Facts, problems: &mut Problems) {
    let lines = Lines::of(overlay::DISABLED, text);
    lines.sorted(problems);
    lines.columns(&[3], problems);
    for line in &lines.lines {
        let field = line[0].rsplit_once('.').and_then(|(definition, name)| facts.field(definition, name));
        problems.unless(field.is_some(), overlay::DISABLED, || format!("there is no {}", line[0]));
    }
}

fn is_of(value: &serde_json::Value, of: &str) -> bool {
    match of.as_bytes().first() {
        Some(b's' | b'q') => value.is_string(),
        Some(b'i' | b'l') => value.is_i64(),
        Some(b'b') => value.is_boolean(),
        Some(b'x') => value.is_i64() || value.is_string(),
        Some(b'[') => value.is_array(),
        Some(b'{' | b'@') => value.is_object(),
        _ => false,
    }
}

/// That the fields exist and are texts, lists or maps of texts as their brackets say, and that values are sorted.
pub(super) fn enums(text: &str, facts: &Facts, problems: &mut Problems) {
    let lines = Lines::of(ENUMS, text);
    lines.sorted(problems);
    lines.columns(&[2], problems);
    for line in lines.lines.iter().filter(|line| line.len() == 2) {
        let (path, prefix) = match (line[0].strip_suffix("[]"), line[0].strip_suffix("{}")) {
            (Some(path), _) => (path, "[s"),
            (_, Some(path)) => (path, "{s"),
            _ => (line[0], "s"),
        };
        let field = path.rsplit_once('.').and_then(|(definition, name)| facts.field(definition, name));
        let fits = field.is_some_and(|field| field.of() == prefix);
        problems.unless(fits, ENUMS, || format!("{} is no field of this sort", line[0]));
        let values: Vec<_> = line[1].split(',').collect();
        problems.unless(values.is_sorted_by(|a, b| a < b), ENUMS, || format!("{}: values are not sorted", line[0]));
    }
}

/// That the definitions and their fields exist.
pub(super) fn unions(text: &str, facts: &Facts, problems: &mut Problems) {
    Lines::of(UNIONS, text).sorted(problems);
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or("");
        problems.unless(facts.has(name), UNIONS, || format!("there is no {name}"));
        for field in words.map(|word| word.split('=').next().unwrap_or("")).filter(|field| *field != "-") {
            problems.unless(facts.field(name, field).is_some(), UNIONS, || format!("{name} has no {field}"));
        }
    }
}

/// That the types that fields have exist.
pub(super) fn internal(text: &str, problems: &mut Problems) {
    Lines::of(overlay::INTERNAL, text).sorted(problems);
    let names: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    for line in text.lines() {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or("");
        for word in words {
            let of = match word.split_once('+') {
                Some((_, embedded)) => embedded,
                None => word.split_once(':').map_or("null", |(_, form)| form),
            };
            let of = of.trim_start_matches(['*', '[', ']', '{', '}']);
            let plain =
                matches!(of, "" | "null" | "false" | "true") || of.starts_with('"') || of.parse::<f64>().is_ok();
            problems.unless(plain || names.contains(of), overlay::INTERNAL, || format!("{name}: there is no {of}"));
        }
    }
}

/// That families are sorted, of a known type, with bounds that rise. That they are as the reference's is a test of the crate
/// `metrics`.
pub(super) fn families(text: &str, problems: &mut Problems) {
    const COLUMNS: usize = 5;
    let lines = Lines::of(overlay::FAMILIES, text);
    lines.sorted(problems);
    lines.columns(&[COLUMNS], problems);
    for line in lines.lines.iter().filter(|line| line.len() == COLUMNS) {
        let known = matches!(line[1], "counter" | "gauge" | "histogram" | "summary");
        problems.unless(known, overlay::FAMILIES, || format!("{}: {} is no type", line[0], line[1]));
        let bounds: Result<Vec<f64>, _> = line[3].split(',').filter(|bound| *bound != "-").map(str::parse).collect();
        let rise = bounds
            .is_ok_and(|bounds| bounds.is_sorted_by(|a, b| a < b) && bounds.is_empty() != (line[1] == "histogram"));
        problems.unless(rise, overlay::FAMILIES, || format!("{}: bounds that are none", line[0]));
    }
}
