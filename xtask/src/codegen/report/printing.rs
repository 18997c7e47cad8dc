//! How the tree prints objects: the columns of its tables, and the fields of its internal types.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use crate::codegen::go::{Field, Package, Type};
use crate::codegen::overlay::{self, Overlay};
use crate::codegen::schema::Tag;

type Read<T> = Result<T, Box<dyn Error>>;

/// Resources whose columns stand otherwise in the reference's `AddHandlers`.
pub(super) fn other_columns(from: &Path, overlay: &Overlay) -> Read<Vec<String>> {
    let path = from.join("pkg/printers/internalversion/printers.go");
    let Ok(source) = std::fs::read_to_string(&path) else {
        return Ok(vec![format!("{}: not there", path.display())]);
    };
    let mut found = Vec::new();
    for section in overlay.columns.split('=').skip(1) {
        let (head, ours) = section.split_once('\n').unwrap_or((section, ""));
        let (name, symbol) = head.split_once('\t').unwrap_or((head, ""));
        let Some(function) = symbol.strip_prefix("pkg/printers/internalversion.") else { continue };
        let theirs = printed(&source, function);
        if theirs.as_deref() != Some(ours) {
            found.push(format!("{name} ({function}):\n{}", theirs.unwrap_or_else(|| "no handler".to_string())));
        }
    }
    Ok(found)
}

/// Types of `internal.txt` that have other fields, or the same in another order.
pub(super) fn internal_types(from: &Path, overlay: &Overlay) -> Read<Vec<String>> {
    let mut packages = BTreeMap::new();
    let mut found = Vec::new();
    for line in overlay.internal.lines() {
        let mut words = line.split(' ');
        let (folder, name) = overlay::internal_source(words.next().unwrap_or(""));
        // That it is not there at all is told where sources are asked for.
        if !from.join(folder).is_dir() {
            continue;
        }
        if !packages.contains_key(folder) {
            packages.insert(folder, Package::read(&from.join(folder))?);
        }
        let Some(Type::Struct(fields)) = packages[folder].types.get(name).map(|declared| &declared.of) else {
            found.push(format!("{folder}.{name}: no struct of the tree"));
            continue;
        };
        let ours: Vec<_> = words.map(printed_as).collect();
        let theirs: Vec<_> = fields.iter().map(printed_by_go).collect();
        if ours != theirs {
            let lacks = theirs.iter().filter(|name| !ours.contains(name)).cloned().collect::<Vec<_>>();
            let beyond = ours.iter().filter(|name| !theirs.contains(name)).cloned().collect::<Vec<_>>();
            found.push(format!("{folder}.{name}: lacks {lacks:?}, has {beyond:?} beyond, or in another order"));
        }
    }
    Ok(found)
}

/// The name of a field of `internal.txt`.
fn printed_as(word: &str) -> String {
    let embedded = word.split_once('+').map(|(_, of)| of.rsplit('.').next().unwrap_or(of));
    embedded.unwrap_or_else(|| word.split(['=', '?', ':']).next().unwrap_or(word)).to_string()
}

/// The name under which Go prints a field: its tag's, if it has one.
fn printed_by_go(field: &Field) -> String {
    let json = Tag::of(field).json;
    if field.embedded || json.is_empty() { field.name.clone() } else { json }
}

/// The columns that a function prints, as the overlay writes them.
fn printed(source: &str, function: &str) -> Option<String> {
    let handler = source.lines().find(|line| line.ends_with(&format!(", {function})")))?;
    let variable = handler.split_once("TableHandler(")?.1.split(',').next()?;
    // What is appended stands between the declaration and the handler too.
    let declared = source.split_once(&format!("{variable} := []metav1.TableColumnDefinition{{"))?.1;
    let block = declared.split(&format!("TableHandler({variable}")).next()?;
    let mut text = String::new();
    for line in block.lines().filter(|line| line.contains("Name: \"")) {
        let part = |key: &str| {
            line.split_once(&format!("{key}: \"")).and_then(|(_, rest)| rest.split('"').next()).unwrap_or("")
        };
        let priority =
            line.split_once("Priority: ").map_or("", |(_, rest)| rest.split([',', '}']).next().unwrap_or(""));
        let priority = if priority == "0" { "" } else { priority };
        let columns = [part("Name"), part("Type"), part("Format"), priority].join("\t");
        text.push_str(columns.trim_end_matches('\t'));
        text.push('\n');
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_with_what_is_appended() {
        let source = "\tx := []metav1.TableColumnDefinition{\n\t\t{Name: \"Name\", Type: \"string\", Format: \"name\", Description: y},\n\t}\n\
                      \tx = append(x, z{\n\t\t{Name: \"IP\", Type: \"string\", Priority: 1, Description: y},\n\t})\n\
                      \t_ = h.TableHandler(x, printX)\n\t_ = h.TableHandler(x, printXList)\n\tw := {Name: \"No\"}\n";
        assert_eq!(printed(source, "printX").as_deref(), Some("Name\tstring\tname\nIP\tstring\t\t1\n"));
        assert_eq!(printed(source, "printY"), None);
    }
}
