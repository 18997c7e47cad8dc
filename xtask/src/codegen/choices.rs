//! `enums.txt` and `unions.txt`: what a field may be, and which fields exclude each other, as markers in Go source say.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;

use super::go::Type;
use super::schema::{self, Definition, Tag};
use super::universe::Universe;

type Read<T> = Result<T, Box<dyn Error>>;

/// A line a field whose type, or the type of its items or values, is marked as an enumeration.
///
/// # Errors
/// A type that is not there.
pub(super) fn enums(universe: &Universe, definitions: &BTreeMap<String, Definition>) -> Read<String> {
    let mut lines = BTreeSet::new();
    for name in schema::stable(universe, definitions)? {
        for (owner, field) in schema::flattened(universe, definitions, &definitions[&name])? {
            if let Some(values) = values(universe, owner, &field.of)? {
                let brackets = match &field.of {
                    Type::List(_) => "[]",
                    Type::Map(..) => "{}",
                    _ => "",
                };
                lines.insert(format!("{name}.{}{brackets}\t{}\n", Tag::of(field).json, values.join(",")));
            }
        }
    }
    Ok(lines.into_iter().collect())
}

fn values(universe: &Universe, definition: &Definition, of: &Type) -> Read<Option<Vec<String>>> {
    match of {
        Type::Pointer(of) | Type::List(of) | Type::Map(_, of) => values(universe, definition, of),
        Type::Named(qualifier, name) => {
            let meant = universe.meant(&definition.home, definition.declared.file, qualifier, name)?;
            let Some((path, name)) = meant else { return Ok(None) };
            let package = universe.package(&path)?;
            let marked = package.types.get(&name).is_some_and(|of| of.markers.iter().any(|marker| marker == "enum"));
            if !marked {
                return Ok(None);
            }
            let constants = package.constants.iter().filter(|constant| constant.of == name);
            let values =
                constants.map(|constant| universe.text(&path, &constant.name)).collect::<Read<BTreeSet<_>>>()?;
            Ok(Some(values.into_iter().collect()))
        }
        Type::Struct(_) | Type::Other => Ok(None),
    }
}

/// A line a definition that is marked as a union: the field that tells which is meant, `-` if none does, and the others
/// with their names in Go.
pub(super) fn unions(definitions: &BTreeMap<String, Definition>) -> String {
    let mut text = String::new();
    for (name, definition) in definitions.iter().filter(|(_, definition)| definition.is_stable()) {
        if !definition.declared.markers.iter().any(|marker| marker == "union") {
            continue;
        }
        let is_discriminator = |field: &&super::go::Field| schema::is_marked(field, "unionDiscriminator");
        let discriminator = definition.fields().iter().find(is_discriminator);
        _ = write!(text, "{name} {}", discriminator.map_or("-".to_string(), |field| Tag::of(field).json));
        let mut members: Vec<_> = definition
            .fields()
            .iter()
            .filter(|field| !is_discriminator(field))
            .map(|f| (Tag::of(f).json, &f.name))
            .collect();
        members.sort();
        for (json, go) in members {
            _ = write!(text, " {json}={go}");
        }
        text.push('\n');
    }
    text
}
