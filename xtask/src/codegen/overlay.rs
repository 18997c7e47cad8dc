//! What is kept by hand because a source tree does not say it in a form that can be read: each entry cites its source,
//! `folder/of/package.Symbol`, which a tree is asked for.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

type Read<T> = Result<T, Box<dyn Error>>;

pub(super) const COLUMNS: &str = "api/data/overlay/columns.txt";
pub(super) const DEFAULTS: &str = "api/data/overlay/defaults.txt";
pub(super) const DISABLED: &str = "api/data/overlay/disabled.txt";
pub(super) const INTERNAL: &str = "api/data/overlay/internal.txt";
pub(super) const FLAGS: &str = "api/data/overlay/flags.txt";
pub(super) const SELECTABLE: &str = "api/data/overlay/selectable.txt";
pub(super) const BOOTSTRAP: &str = "apiserver/data/overlay/bootstrap.json";
pub(super) const FAMILIES: &str = "metrics/data/families.txt";

/// The packages of the internal types, by the names that `internal.txt` has for them.
const INTERNAL_PACKAGES: [(&str, &str); 12] = [
    ("apiextensions", "staging/src/k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"),
    ("apps", "pkg/apis/apps"),
    ("batch", "pkg/apis/batch"),
    ("core", "pkg/apis/core"),
    ("flowcontrol", "pkg/apis/flowcontrol"),
    ("metav1", "staging/src/k8s.io/apimachinery/pkg/apis/meta/v1"),
    ("networking", "pkg/apis/networking"),
    ("policy", "pkg/apis/policy"),
    ("rbac", "pkg/apis/rbac"),
    ("resource", "pkg/apis/resource"),
    ("storage", "pkg/apis/storage"),
    ("structured", "staging/src/k8s.io/dynamic-resource-allocation/structured/schedulerapi"),
];

/// The files of the overlay.
#[derive(Default)]
pub(super) struct Overlay {
    pub columns: String,
    pub defaults: String,
    pub disabled: String,
    pub internal: String,
    pub flags: String,
    pub selectable: String,
    pub bootstrap: String,
    pub families: String,
}

impl Overlay {
    /// Reads them below the project's root.
    ///
    /// # Errors
    /// A file that is not there.
    pub(super) fn read(root: &Path) -> Read<Self> {
        let text = |name: &str| std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"));
        Ok(Self {
            columns: text(COLUMNS)?,
            defaults: text(DEFAULTS)?,
            disabled: text(DISABLED)?,
            internal: text(INTERNAL)?,
            flags: text(FLAGS)?,
            selectable: text(SELECTABLE)?,
            bootstrap: text(BOOTSTRAP)?,
            families: text(FAMILIES)?,
        })
    }

    /// The selectable fields of a resource.
    pub(super) fn selectable(&self, group: &str, version: &str, plural: &str) -> Option<&str> {
        let name = resource(group, version, plural);
        let line = self.selectable.lines().find(|line| line.split('\t').next() == Some(&name))?;
        line.split('\t').nth(1)
    }

    /// Every source that an entry cites.
    pub(super) fn sources(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let headings = self.columns.lines().filter(|line| line.starts_with('='));
        found.extend(headings.filter_map(|line| line.split('\t').nth(1)).map(str::to_string));
        found.extend(self.defaults.lines().filter_map(|line| line.rsplit('\t').next()).map(str::to_string));
        found.extend(self.disabled.lines().filter_map(|line| line.split('\t').nth(2)).map(str::to_string));
        found.extend(self.flags.lines().filter_map(|line| line.split('\t').nth(1)).map(str::to_string));
        found.extend(self.selectable.lines().filter_map(|line| line.split('\t').nth(2)).map(str::to_string));
        found.extend(
            self.bootstrap.split("\"source\":\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_string),
        );
        for name in self.internal.lines().filter_map(|line| line.split(' ').next()) {
            let (folder, name) = internal_source(name);
            found.insert(format!("{folder}.{name}"));
        }
        found
    }

    /// The sources that a tree does not have any more.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn missing(&self, from: &Path) -> Read<Vec<String>> {
        let mut missing = BTreeSet::new();
        for source in self.sources() {
            let (folder, _) = source.rsplit_once('.').unwrap_or((&source, ""));
            if !from.join(folder).is_dir() {
                missing.insert(format!("{folder}, which is not in the tree"));
            } else if !is_declared(from, &source)? {
                missing.insert(format!("{source}, which is not there"));
            }
        }
        Ok(missing.into_iter().collect())
    }
}

/// The folder and the name of a type of `internal.txt`.
pub(super) fn internal_source(name: &str) -> (&str, &str) {
    let (package, name) = name.split_once('.').unwrap_or(("", name));
    (INTERNAL_PACKAGES.iter().find(|(known, _)| *known == package).map_or(package, |(_, folder)| folder), name)
}

/// How files name a resource: `v1/pods`, `apps/v1/deployments`.
pub(super) fn resource(group: &str, version: &str, plural: &str) -> String {
    if group.is_empty() { format!("{version}/{plural}") } else { format!("{group}/{version}/{plural}") }
}

/// Whether the package declares the function, method, type, variable or constant.
fn is_declared(from: &Path, source: &str) -> Read<bool> {
    let Some((folder, symbol)) = source.rsplit_once('.') else { return Ok(false) };
    let Ok(files) = std::fs::read_dir(from.join(folder)) else { return Ok(false) };
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "go") {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            if text.lines().any(|line| declares(line, symbol)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn declares(line: &str, symbol: &str) -> bool {
    let line = line.trim_start();
    let mut rest = line;
    if let Some(function) = line.strip_prefix("func ") {
        rest = match function.strip_prefix('(') {
            Some(method) => method.split_once(") ").map_or("", |(_, rest)| rest),
            None => function,
        };
    } else if let Some(declared) = ["type ", "var ", "const "].iter().find_map(|word| line.strip_prefix(word)) {
        rest = declared;
    } else if !line.contains('=') {
        return false;
    }
    rest.strip_prefix(symbol).is_some_and(|rest| rest.starts_with(['(', ' ', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_found_where_they_are_declared() {
        for line in ["func A(x int) {", "func (c *B) A() {", "type A struct {", "\tA = 1", "\tA   = []b{", "var A = 1"]
        {
            assert!(declares(line, "A"), "{line}");
        }
        for line in ["func AB() {", "\tA()", "\tx := A", "// func A()", "\treturn A == b"] {
            assert!(!declares(line, "A"), "{line}");
        }
    }
}
