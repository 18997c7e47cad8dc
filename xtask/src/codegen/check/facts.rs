//! `schema.txt` as a graph: that every name in it exists, and that a definition does not contradict itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Problems;
use crate::codegen::{SCHEMA, universe};

/// One line of a definition.
struct Line {
    name: String,
    of: String,
    proto: String,
    flags: String,
    keys: String,
    merge_key: String,
    default: String,
}

struct Definition {
    name: String,
    kind: String,
    lines: Vec<Line>,
}

/// A field as it stands in an object, after what is embedded was put in its place.
pub(super) struct Field<'f> {
    line: &'f Line,
    proto: String,
}

impl Field<'_> {
    pub(super) fn of(&self) -> &str {
        &self.line.of
    }
}

/// All definitions by their short names.
pub(super) struct Facts {
    definitions: BTreeMap<String, Definition>,
}

impl Facts {
    pub(super) fn read(text: &str, problems: &mut Problems) -> Self {
        let mut definitions: Vec<Definition> = Vec::new();
        for line in text.lines() {
            if let Some(head) = line.strip_prefix('=') {
                let (name, mark) = head.split_once('\t').unwrap_or((head, ""));
                problems.unless(matches!(mark, "" | "a"), SCHEMA, || format!("{name}: {mark} is no mark"));
                definitions.push(Definition { name: name.to_string(), kind: String::new(), lines: Vec::new() });
                continue;
            }
            let Some(last) = definitions.last_mut() else {
                problems.add(SCHEMA, "the first line opens no definition");
                continue;
            };
            match line.strip_prefix('!') {
                Some(kind) => {
                    problems.unless(kind.split('\t').count() == 3, SCHEMA, || format!("{kind} is no kind"));
                    last.kind = kind.to_string();
                }
                None => last.lines.push(Line::read(line)),
            }
        }
        let sorted = definitions.is_sorted_by(|a, b| a.name < b.name);
        problems.unless(sorted, SCHEMA, || "the definitions are not sorted, or one stands twice".to_string());
        let mut by_name = BTreeMap::new();
        for definition in definitions {
            let short = universe::short_of(&definition.name).to_string();
            if let Some(other) = by_name.insert(short.clone(), definition) {
                problems.add(SCHEMA, format!("{} has the short name {short} too", other.name));
            }
        }
        Self { definitions: by_name }
    }

    pub(super) fn len(&self) -> usize {
        self.definitions.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.definitions.contains_key(universe::short_of(name))
    }

    /// The kinds: group, version and kind, by tabs.
    pub(super) fn kinds(&self) -> BTreeSet<&str> {
        self.definitions.values().map(|definition| definition.kind.as_str()).collect()
    }

    /// A field of a definition, by either of its names.
    pub(super) fn field(&self, definition: &str, name: &str) -> Option<Field<'_>> {
        self.fields(universe::short_of(definition)).into_iter().find(|field| field.line.name == name)
    }

    /// The fields of a definition.
    fn fields(&self, name: &str) -> Vec<Field<'_>> {
        let mut fields = Vec::new();
        self.flatten(name, Some(String::new()), 0, &mut fields);
        fields
    }

    fn flatten<'f>(&'f self, name: &str, below: Option<String>, depth: usize, to: &mut Vec<Field<'f>>) {
        // Deeper than any struct is embedded: one that embeds itself ends here and is told by `check`.
        if depth > DEPTH_MAX {
            return;
        }
        for line in self.definitions.get(name).map_or(&[][..], |definition| &definition.lines) {
            let number = below.as_ref().filter(|_| !line.proto.is_empty());
            let proto = number.map(|below| format!("{below}{}", line.proto));
            match line.embedded() {
                Some(inner) => self.flatten(inner, proto.map(|proto| proto + "."), depth + 1, to),
                None => to.push(Field { line, proto: proto.unwrap_or_default() }),
            }
        }
    }

    /// Checks every definition.
    pub(super) fn check(&self, problems: &mut Problems) {
        let mut kinds = BTreeSet::new();
        for (name, definition) in &self.definitions {
            let kind = &definition.kind;
            problems.unless(kind.is_empty() || kinds.insert(kind), SCHEMA, || format!("{name}: {kind} stands twice"));
            for line in &definition.lines {
                self.check_line(name, line, problems);
            }
            let fields = self.fields(name);
            let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
            for field in &fields {
                let new = names.insert(&field.line.name);
                problems.unless(new, SCHEMA, || format!("{name}: two fields are called {}", field.line.name));
                let new = field.proto.is_empty() || numbers.insert(&field.proto);
                problems.unless(new, SCHEMA, || format!("{name}: two fields have the number {}", field.proto));
                self.check_keys(name, field, problems);
            }
        }
    }

    fn check_line(&self, name: &str, line: &Line, problems: &mut Problems) {
        let field = &line.name;
        let of = line.of.trim_start_matches(['[', '{']);
        let (letter, reference) = of.split_once('@').map_or((of, None), |(letter, name)| (letter, Some(name)));
        let known = match reference {
            Some(_) => matches!(letter, "" | "A" | "B" | "S"),
            None => letter.len() == 1 && "syblidqtmuxrfjv".contains(letter),
        };
        problems.unless(known, SCHEMA, || format!("{name}.{field}: {} is no type", line.of));
        if let Some(reference) = reference {
            let there = self.definitions.contains_key(reference);
            problems.unless(there, SCHEMA, || format!("{name}.{field}: there is no {reference}"));
        }
        if let Some(inner) = line.embedded() {
            let deep = self.embeds(inner, name, 0);
            problems.unless(!deep, SCHEMA, || format!("{name} embeds itself"));
        }
        let numbers: Vec<_> = line.proto.split('.').filter(|number| !number.is_empty()).collect();
        let small = numbers.iter().all(|number| number.parse::<u8>().is_ok_and(|number| number > 0));
        problems.unless(small, SCHEMA, || format!("{name}.{field}: {} is no number", line.proto));
        let flags = line.flags.chars().all(|flag| "rpozAaSMgPRX".contains(flag));
        problems.unless(flags, SCHEMA, || format!("{name}.{field}: {} are no flags", line.flags));
        let json = line.default.is_empty() || serde_json::from_str::<serde_json::Value>(&line.default).is_ok();
        problems.unless(json, SCHEMA, || format!("{name}.{field}: {} is no JSON", line.default));
    }

    fn embeds(&self, inner: &str, outer: &str, depth: usize) -> bool {
        let lines = self.definitions.get(inner).map_or(&[][..], |definition| &definition.lines);
        let mut further = lines.iter().filter_map(Line::embedded);
        inner == outer || depth > DEPTH_MAX || further.any(|next| self.embeds(next, outer, depth + 1))
    }

    /// A list map has keys, each a field of its items; a merge key is one too, and a way in protobuf has three steps.
    fn check_keys(&self, name: &str, field: &Field<'_>, problems: &mut Problems) {
        let line = field.line;
        let shown = || format!("{name}.{}", line.name);
        let is_map = line.flags.contains('M');
        problems.unless(is_map != line.keys.is_empty(), SCHEMA, || format!("{}: a list map and keys", shown()));
        problems.unless(field.proto.split('.').count() <= 3, SCHEMA, || format!("{}: deeper than 3", shown()));
        let keys = line.keys.split(',').chain([line.merge_key.as_str()]).filter(|key| !key.is_empty());
        for key in keys {
            let item = line.of.strip_prefix("[@").and_then(|item| self.field(item, key));
            problems.unless(item.is_some(), SCHEMA, || format!("{}: its items have no {key}", shown()));
        }
    }
}

/// Structs that stand in each other, at most.
const DEPTH_MAX: usize = 8;

impl Line {
    fn read(line: &str) -> Self {
        let mut columns = line.split('\t').map(str::to_string);
        let mut next = || columns.next().unwrap_or_default();
        let (name, of, proto, flags) = (next(), next(), next(), next());
        let _named = next();
        let name = name.split('/').next().unwrap_or_default().to_string();
        Self { name, of, proto, flags, keys: next(), merge_key: next(), default: next() }
    }

    fn embedded(&self) -> Option<&str> {
        self.of.strip_prefix('@').filter(|_| self.name == "+")
    }
}
