//! `cargo xtask codegen`: the data files that come out of a Kubernetes source tree, and what must hold of them.
//!
//! `--from DIR` reads a tree and writes every file that [`GENERATED`] lists; what a tree does not say in a form that can be
//! read is kept by hand in the overlay ([`overlay`]), whose sources the tree is asked for. `--check` needs no tree.

mod check;
mod choices;
mod families;
mod go;
mod overlay;
mod report;
mod resources;
mod roles;
mod schema;
mod universe;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use overlay::Overlay;
use universe::Universe;

type Read<T> = Result<T, Box<dyn Error>>;

/// The files that are generated.
pub(crate) const GENERATED: [&str; 6] = [SCHEMA, ENUMS, UNIONS, RESOURCES, ROLES, FAMILIES];

const SCHEMA: &str = "api/data/schema.txt";
const ENUMS: &str = "api/data/enums.txt";
const UNIONS: &str = "api/data/unions.txt";
const RESOURCES: &str = "api/data/resources.txt";
const ROLES: &str = "apiserver/data/roles.json";
const FAMILIES: &str = "metrics/tests/documented.txt";

/// Where the project stands.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Checks the project's files.
///
/// # Errors
/// A file that is not there, or that there are problems.
pub(crate) fn check() -> Result<(), Box<dyn Error>> {
    check::run(&root())
}

/// Writes all files below `into`, which is the project itself if none is named.
///
/// # Errors
/// What the tree lacks or says in a way that is not understood: every file that can be written is.
pub(crate) fn write(from: &Path, into: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let overlay = Overlay::read(&root())?;
    let into = into.map_or_else(root, Path::to_path_buf);
    let universe = Universe::new(from);
    let definitions = schema::definitions(&universe)?;
    let files: [(&str, Read<String>); GENERATED.len()] = [
        (SCHEMA, schema::write(&universe, &definitions)),
        (ENUMS, choices::enums(&universe, &definitions)),
        (UNIONS, Ok(choices::unions(&definitions))),
        (RESOURCES, resources::write(from, &overlay)),
        (ROLES, roles::write(from)),
        (FAMILIES, families::write(from)),
    ];
    let mut problems = Vec::new();
    let mut written = BTreeMap::new();
    let before = |name: &str| std::fs::read_to_string(root().join(name)).unwrap_or_default();
    let old = [SCHEMA, RESOURCES].map(before);
    for (name, text) in files {
        match text {
            Ok(text) => {
                println!("{name}: {}", put(&into.join(name), &text, &before(name))?);
                written.insert(name, text);
            }
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    let gone = overlay.missing(from)?;
    problems.extend(gone.into_iter().map(|source| format!("the overlay cites {source}")));
    for problem in &problems {
        println!("{problem}");
    }
    if let Some(after) = written.get(SCHEMA) {
        let resources = (old[1].as_str(), written.get(RESOURCES).map(String::as_str));
        let (root, before) = (&root(), &old[0]);
        let report =
            report::Report { root, from, before, after, resources, overlay: &overlay, definitions: &definitions };
        print!("{}", report.text()?);
    }
    if problems.is_empty() { Ok(()) } else { Err(format!("{} problems", problems.len()).into()) }
}

/// Writes a file; whether it differs from the one that the project has.
fn put(path: &Path, text: &str, before: &str) -> Read<&'static str> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text)?;
    Ok(if before == text { "as it was" } else { "changed" })
}
