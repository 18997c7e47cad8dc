//! Keys that are given twice, and fields that nothing has, in what is not read by a schema.

use std::collections::HashSet;

use super::tree::Tree;
use crate::field::beginning;

/// No more findings than this are told of one body.
const FINDINGS_MAX: usize = 100;
/// How much of the path of a finding is told, in bytes.
pub(super) const FINDING_BYTES_MAX: usize = 8 * 1024;

/// The keys that are given twice anywhere in a tree; if fields are named, also those of the items of a list at its root that
/// have another name.
pub(crate) fn findings(tree: &Tree, fields_of_items: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    find(tree, &mut String::new(), 0, fields_of_items, &mut findings);
    findings
}

fn find(tree: &Tree, path: &mut String, depth: usize, known: &[&str], findings: &mut Vec<String>) {
    let back = path.len();
    match tree {
        Tree::Array(items) => {
            for (place, item) in items.iter().enumerate().filter(|(_, item)| item.is_nested()) {
                path.push_str(&format!("[{place}]"));
                find(item, path, depth + 1, known, findings);
                path.truncate(back);
            }
        }
        Tree::Object(entries) => {
            let mut seen = HashSet::with_capacity(entries.len());
            for (key, value) in entries {
                if back > 0 {
                    path.push('.');
                }
                path.push_str(key);
                if !known.is_empty() && depth == 1 && !known.contains(&&**key) {
                    note(findings, "unknown field", path);
                } else {
                    if !seen.insert(&**key) {
                        note(findings, "duplicate field", path);
                    }
                    find(value, path, depth + 1, known, findings);
                }
                path.truncate(back);
            }
        }
        _ => {}
    }
}

fn note(findings: &mut Vec<String>, what: &str, path: &str) {
    if findings.len() < FINDINGS_MAX {
        let finding = format!("{what} {:?}", beginning(path, FINDING_BYTES_MAX));
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}
