//! `cargo xtask codegen --check`: what must hold of the data files among themselves, without a source tree.

mod facts;
mod inventory;
mod lines;
mod objects;
mod tables;

use std::error::Error;
use std::path::Path;

use super::overlay::{self, Overlay};
use facts::Facts;
use lines::Lines;

type Read<T> = Result<T, Box<dyn Error>>;

/// What is wrong, each with its file.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, file: &str, what: impl AsRef<str>) {
        self.0.push(format!("{file}: {}", what.as_ref()));
    }

    fn unless(&mut self, holds: bool, file: &str, what: impl FnOnce() -> String) {
        if !holds {
            self.add(file, what());
        }
    }
}

/// Checks all files below the project's root and prints every problem.
///
/// # Errors
/// A file that is not there, or that there are problems.
pub(super) fn run(root: &Path) -> Result<(), Box<dyn Error>> {
    let mut problems = Problems::default();
    let overlay = Overlay::read(root)?;
    let text = |name: &str| std::fs::read_to_string(root.join(name)).map_err(|error| format!("{name}: {error}"));
    let facts = Facts::read(&text(super::SCHEMA)?, &mut problems);
    facts.check(&mut problems);
    let resources = tables::Resources::read(&text(super::RESOURCES)?, &mut problems);
    resources.check(&facts, &mut problems);
    tables::selectable(&overlay, &resources, &mut problems);
    tables::flags(&overlay.flags, &resources, &mut problems);
    tables::columns(&overlay.columns, &resources, &mut problems);
    tables::defaults(&overlay.defaults, &facts, &mut problems);
    tables::disabled(&overlay.disabled, &facts, &mut problems);
    tables::enums(&text(super::ENUMS)?, &facts, &mut problems);
    tables::unions(&text(super::UNIONS)?, &facts, &mut problems);
    tables::internal(&overlay.internal, &mut problems);
    tables::families(&overlay.families, &mut problems);
    Lines::of(ZONES, &text(ZONES)?).sorted(&mut problems);
    for (file, text) in [(overlay::BOOTSTRAP, overlay.bootstrap.clone()), (super::ROLES, text(super::ROLES)?)] {
        objects::check(file, &text, &resources, &mut problems);
    }
    objects::roles(&text(super::ROLES)?, &mut problems);
    objects::api_services(&overlay.bootstrap, &resources, &mut problems);
    inventory::check(root, &mut problems)?;
    for problem in &problems.0 {
        println!("{problem}");
    }
    println!("codegen: {} definitions, {} resources, {} problems", facts.len(), resources.len(), problems.0.len());
    if problems.0.is_empty() { Ok(()) } else { Err("the data files do not agree".into()) }
}

const ZONES: &str = "api/data/overlay/zones.txt";

#[cfg(test)]
mod tests;
