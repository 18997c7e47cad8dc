//! Every entry is of a kind that is served, and names only what that has.

use super::{Kind, of_group};
use crate::catalogue::Catalogue;
use crate::schema::Type;
use crate::table::Cell;

#[test]
fn every_entry_is_of_a_resource() {
    let catalogue = Catalogue::builtin();
    let mut groups = catalogue.groups();
    groups.sort_unstable();
    let mut entries = 0;
    for group in groups {
        for kind in of_group(group) {
            let rows: Vec<_> = catalogue.iter().filter(|row| row.group == group && row.plural == kind.plural).collect();
            assert!(!rows.is_empty(), "{group} has no {}", kind.plural);
            assert!(rows.iter().all(|row| std::ptr::eq(row.functions, kind)), "the row has the entry");
            let has = |name: &str| rows.iter().all(|row| row.subresource(name).is_some());
            assert!(kind.through.iter().all(|through| has(through.subresource)), "{}", kind.plural);
            entries += 1;
        }
        assert!(of_group(group).windows(2).all(|pair| pair[0].plural < pair[1].plural), "{group} is sorted");
    }
    let with = |has: fn(&Kind) -> bool| catalogue.iter().filter(|row| has(row.functions)).count();
    assert!(entries >= 50 && with(|kind| kind.rules.is_some()) >= 45, "{entries}");
}

/// Whether objects of a type can have something at a path.
fn has(ty: Type<'_>, path: &[&str]) -> bool {
    let Some((name, below)) = path.split_first() else { return true };
    ty.child(name).is_some_and(|ty| has(ty, below))
}

#[test]
fn what_is_named_in_cells_flags_and_selectors_is_there() {
    let catalogue = Catalogue::builtin();
    let mut paths = 0;
    for row in catalogue.iter() {
        let mut check = |ty: Type<'_>, path: &[&str]| {
            assert!(has(ty, path), "{}/{} has no {}", row.group, row.plural, path.join("."));
            paths += 1;
        };
        for cell in row.functions.cells.into_iter().flatten() {
            match cell {
                Cell::Text(path, _) | Cell::Bool(path, _) => check(row.schema.root(), &split(path)),
                Cell::Int(path) | Cell::Count(path) | Cell::Labels(path) | Cell::Selector(path) => {
                    check(row.schema.root(), &split(path));
                }
                Cell::Name | Cell::Age | Cell::CreatedAt | Cell::Call(_) => {}
            }
        }
        let Some(storage) = catalogue.storage(row) else { continue };
        let stored = storage.schema.root();
        row.flags.disabled.iter().for_each(|path| check(stored, path));
        row.flags.reset.iter().flat_map(|(_, fields)| fields).for_each(|path| check(stored, path));
        for path in row.selectable.iter().flat_map(|field| &field.paths) {
            check(stored, &path.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    assert!(paths > 150, "{paths}");
}

fn split(path: &str) -> Vec<&str> {
    path.split('.').collect()
}
