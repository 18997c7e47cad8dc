//! Every entry is of a kind that is served, and of subresources that it has.

use super::{Kind, of_group};
use crate::catalogue::Catalogue;

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
