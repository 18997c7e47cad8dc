//! What a tree has that the project has not yet: the work that a new version is.

mod printing;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use super::overlay::Overlay;
use super::schema::{Definition, Tag};
use super::universe::short_of;

type Read<T> = Result<T, Box<dyn Error>>;

/// The lines of a definition by the names of its fields, and its kind.
#[derive(Default)]
struct Block<'t> {
    kind: &'t str,
    fields: BTreeMap<&'t str, &'t str>,
}

/// What is compared: the schema as the project has it and as the tree gives it.
pub(super) struct Report<'r> {
    pub root: &'r Path,
    pub from: &'r Path,
    pub before: &'r str,
    pub after: &'r str,
    /// The text of `resources.txt` before, and after if the tree has discovery documents.
    pub resources: (&'r str, Option<&'r str>),
    pub overlay: &'r Overlay,
    pub definitions: &'r BTreeMap<String, Definition>,
}

impl Report<'_> {
    /// The text.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn text(&self) -> Read<String> {
        let (before, after) = (blocks(self.before), blocks(self.after));
        let mut text = String::new();
        section(&mut text, "new kinds", kinds(&after).difference(&kinds(&before)).cloned());
        section(&mut text, "kinds that are gone", kinds(&before).difference(&kinds(&after)).cloned());
        let (old, new) = (before.keys().collect::<BTreeSet<_>>(), after.keys().collect::<BTreeSet<_>>());
        section(&mut text, "new definitions", new.difference(&old).map(|name| short_of(name).to_string()));
        section(&mut text, "definitions that are gone", old.difference(&new).map(|name| short_of(name).to_string()));
        let (added, gone, changed) = self.fields(&before, &after);
        section(&mut text, "new fields of definitions that were there", added);
        section(&mut text, "fields that are gone", gone);
        section(&mut text, "fields that changed", changed);
        if let (before, Some(after)) = self.resources {
            section(&mut text, "lines of resources.txt that are new", lines_beyond(before, after));
            section(&mut text, "lines of resources.txt that are gone", lines_beyond(after, before));
        }
        section(&mut text, "kinds without columns", self.without_columns(&before, &after));
        section(
            &mut text,
            "columns that the reference has otherwise",
            printing::other_columns(self.from, self.overlay)?,
        );
        section(
            &mut text,
            "internal types whose fields are others",
            printing::internal_types(self.from, self.overlay)?,
        );
        section(&mut text, "functions that set defaults and are cited nowhere", self.defaults()?);
        section(&mut text, "disabled fields whose feature is on or gone", self.features());
        section(&mut text, "functions of CEL that the tables lack", self.functions()?);
        section(&mut text, "definitions without a validation", self.unvalidated(&before, &after)?);
        Ok(text)
    }

    /// Fields that are new, gone and changed in definitions of both.
    fn fields(&self, before: &Blocks<'_>, after: &Blocks<'_>) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut added, mut gone, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (name, new) in after {
            let Some(old) = before.get(name) else { continue };
            for (field, line) in &new.fields {
                match old.fields.get(field) {
                    None => {
                        added.push(format!("{}.{field}: {}{}", short_of(name), shown(line), self.markers(name, field)))
                    }
                    Some(other) if other != line => {
                        changed.push(format!("{}.{field}: {} was {}", short_of(name), shown(line), shown(other)));
                    }
                    Some(_) => {}
                }
            }
            let lost = old.fields.keys().filter(|field| !new.fields.contains_key(*field));
            gone.extend(lost.map(|field| format!("{}.{field}", short_of(name))));
        }
        (added, gone, changed)
    }

    /// The markers of a field that say when it is set and how it is validated.
    fn markers(&self, definition: &str, field: &str) -> String {
        let fields = self.definitions.get(definition).map_or(&[][..], Definition::fields);
        let found = fields.iter().find(|candidate| Tag::of(candidate).json == field);
        let markers = found.into_iter().flat_map(|field| &field.markers);
        let telling = markers.filter(|marker| marker.starts_with("featureGate") || marker.starts_with("k8s:"));
        telling.map(|marker| format!(" +{marker}")).collect()
    }

    /// New kinds of stable versions that have lists, and resources that can be listed, without columns in the overlay.
    fn without_columns(&self, before: &Blocks<'_>, after: &Blocks<'_>) -> Vec<String> {
        let mut found = Vec::new();
        for (name, block) in after {
            let stable = self.definitions.get(*name).is_some_and(Definition::is_stable);
            let listed = after.contains_key(format!("{name}List").as_str());
            if stable && listed && !block.kind.is_empty() && !before.contains_key(name) {
                found.push(shown(block.kind));
            }
        }
        let mut head = String::new();
        for line in self.resources.1.unwrap_or_default().lines() {
            let columns: Vec<_> = line.split('\t').collect();
            if let Some(version) = line.strip_prefix('=') {
                head = version.replace('\t', "/").trim_start_matches('/').to_string();
            } else if !line.starts_with('/')
                && columns.get(4).is_some_and(|verbs| *verbs == "*" || verbs.contains("list"))
            {
                let name = format!("{head}/{}", columns[0]);
                if !self.overlay.columns.contains(&format!("={name}\t")) {
                    found.push(name);
                }
            }
        }
        found
    }

    /// Functions that set defaults in stable versions and that neither the overlay nor the code cites.
    fn defaults(&self) -> Read<Vec<String>> {
        let code = sources(&self.root.join("api/src"))? + &sources(&self.root.join("apiserver/src"))?;
        let mut found = Vec::new();
        let Ok(groups) = std::fs::read_dir(self.from.join("pkg/apis")) else {
            return Ok(vec!["pkg/apis: not there".into()]);
        };
        for group in groups {
            let group = group?.file_name().to_string_lossy().into_owned();
            for version in ["v1", "v2"] {
                let file = self.from.join(format!("pkg/apis/{group}/{version}/defaults.go"));
                let text = std::fs::read_to_string(file).unwrap_or_default();
                let functions = text.lines().filter_map(|line| line.strip_prefix("func ")?.split('(').next());
                for function in functions.filter(|name| name.starts_with("SetDefaults_")) {
                    let symbol = format!("pkg/apis/{group}/{version}.{function}");
                    let cited = self.overlay.defaults.contains(&format!("\t{symbol}\n"));
                    if !cited && !is_cited(&code, function) {
                        found.push(symbol);
                    }
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Fields of `disabled.txt` whose feature is on by default, or not there any more.
    fn features(&self) -> Vec<String> {
        let path = self.from.join("pkg/features/kube_features.go");
        let Ok(source) = std::fs::read_to_string(&path) else { return vec![format!("{}: not there", path.display())] };
        let off = |feature: &str| {
            let versions = source.split_once(&format!("\t{feature}: {{\n"))?.1.split("\n\t}").next()?;
            versions.lines().last().map(|last| last.contains("Default: false"))
        };
        let lines = self.overlay.disabled.lines().filter(|line| {
            let feature = line.split('\t').nth(1).unwrap_or("");
            off(feature) != Some(true)
        });
        lines.map(shown).collect()
    }

    /// Functions that the libraries of Kubernetes declare and our table has not.
    fn functions(&self) -> Read<Vec<String>> {
        let table = std::fs::read_to_string(self.root.join("api/src/cel/functions/kubernetes.txt"))?;
        let known: BTreeSet<_> = table.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        let folder = self.from.join("staging/src/k8s.io/apiserver/pkg/cel/library");
        let Ok(files) = std::fs::read_dir(&folder) else { return Ok(vec![format!("{}: not there", folder.display())]) };
        let mut found = BTreeSet::new();
        for file in files {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with(".go") || name.ends_with("_test.go") {
                continue;
            }
            let text = std::fs::read_to_string(&path)?;
            let declared = text.split("map[string][]cel.FunctionOpt{").nth(1).and_then(|rest| rest.split("\n}").next());
            let names = declared
                .unwrap_or("")
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix('"')?.split_once("\": {"));
            found.extend(
                names
                    .map(|(name, _)| name.to_string())
                    .filter(|name| !known.contains(name.as_str()))
                    .map(|f| format!("{f} ({name})")),
            );
        }
        Ok(found.into_iter().collect())
    }

    /// Definitions of stable versions that are new or have new fields, with the fields that no validation names.
    fn unvalidated(&self, before: &Blocks<'_>, after: &Blocks<'_>) -> Read<Vec<String>> {
        let code = sources(&self.root.join("api/src/validation"))?;
        let named = |field: &str| code.contains(&format!("\"{field}\"")) || code.contains(&format!(".{field}\""));
        let mut found = Vec::new();
        for (name, block) in after {
            let stable = self.definitions.get(*name).is_some_and(Definition::is_stable);
            let old = before.get(name);
            let new = block.fields.keys().filter(|field| old.is_none_or(|old| !old.fields.contains_key(*field)));
            let new = new.filter(|field| !field.starts_with('@') && **field != "metadata");
            let bare: Vec<_> = new.filter(|field| !named(field)).map(ToString::to_string).collect();
            let a_list = block.kind.ends_with("List");
            if stable && !a_list && (!bare.is_empty() || old.is_none()) {
                let what = if old.is_none() { "a new definition" } else { "new fields" };
                let bare =
                    if bare.is_empty() { String::new() } else { format!(", named nowhere: {}", bare.join(", ")) };
                found.push(format!("{}: {what}{bare}", short_of(name)));
            }
        }
        Ok(found)
    }
}

type Blocks<'t> = BTreeMap<&'t str, Block<'t>>;

fn blocks(text: &str) -> Blocks<'_> {
    let mut found: Blocks<'_> = BTreeMap::new();
    let mut open = "";
    for line in text.lines() {
        if let Some(head) = line.strip_prefix('=') {
            open = head.split('\t').next().unwrap_or(head);
            found.entry(open).or_default();
            continue;
        }
        let block = found.entry(open).or_default();
        match line.strip_prefix('!') {
            Some(kind) => block.kind = kind,
            None => {
                let (name, rest) = line.split_once('\t').unwrap_or((line, ""));
                // Of embedded structs there may be several: each is its own name.
                let name = if name == "+" { rest.split('\t').next().unwrap_or(rest) } else { name };
                block.fields.insert(name.split('/').next().unwrap_or(name), rest);
            }
        }
    }
    found
}

/// The kinds: group, version and kind.
fn kinds(blocks: &Blocks<'_>) -> BTreeSet<String> {
    blocks.values().filter(|block| !block.kind.is_empty()).map(|block| block.kind.replace('\t', " ")).collect()
}

fn shown(line: &str) -> String {
    line.split('\t').filter(|column| !column.is_empty()).collect::<Vec<_>>().join(" ")
}

fn lines_beyond(before: &str, after: &str) -> Vec<String> {
    let known: BTreeSet<_> = before.lines().collect();
    after.lines().filter(|line| !known.contains(line)).map(shown).collect()
}

fn section(text: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<_> = lines.into_iter().collect();
    _ = writeln!(text, "\n== {title} ({})", lines.len());
    for line in lines {
        _ = writeln!(text, "{line}");
    }
}

/// Whether a text has a name that does not go on.
fn is_cited(text: &str, name: &str) -> bool {
    let mut behind = text.match_indices(name).map(|(at, _)| &text[at + name.len()..]);
    behind.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// All code below a folder.
fn sources(folder: &Path) -> Read<String> {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            text.push_str(&sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path)?);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cited_whole() {
        assert!(is_cited("see `SetDefaults_Pod`", "SetDefaults_Pod"));
        assert!(!is_cited("see `SetDefaults_PodSpec`", "SetDefaults_Pod"));
    }

    #[test]
    fn what_is_new_gone_or_changed_is_told() {
        let before = "=io.k8s.api.a.v1.A\n!a\tv1\tA\nold\ts\t1\nsame\ts\t2\nother/Other\ts\t3\n=io.k8s.api.a.v1.Gone\n";
        let after =
            "=io.k8s.api.a.v1.A\n!a\tv1\tA\nnew\ts\t1\nsame\ts\t2\nother/Other\tl\t3\n=io.k8s.api.a.v1.B\n!a\tv1\tB\n";
        let overlay = Overlay::default();
        let definitions = BTreeMap::new();
        let path = Path::new("");
        let resources = ("", None);
        let (overlay, definitions) = (&overlay, &definitions);
        let report = Report { root: path, from: path, before, after, resources, overlay, definitions };
        let (old, new) = (blocks(before), blocks(after));
        let (added, gone, changed) = report.fields(&old, &new);
        assert_eq!((added, gone), (vec!["a.v1.A.new: s 1".to_string()], vec!["a.v1.A.old".to_string()]));
        assert_eq!(changed, ["a.v1.A.other: l 3 was s 3"]);
        assert_eq!(kinds(&new).difference(&kinds(&old)).collect::<Vec<_>>(), ["a v1 B"]);
    }
}
