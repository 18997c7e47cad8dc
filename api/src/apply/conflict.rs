//! Conflicts between managers, and how they are told.

use super::managers::{Identity, Managers, Operation};
use super::set::path_text;
use crate::Status;
use crate::status::{StatusCause, StatusDetails};

/// A field that the configuration sets and another manager owns with another value.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    pub(crate) owner: Identity,
    pub(crate) path: Vec<super::PathElement>,
}

/// All conflicts, by owner.
pub(crate) fn of(sets: &Managers) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (owner, manager) in &sets.0 {
        let of_owner = manager.set.paths().into_iter().map(|path| Conflict { owner: owner.clone(), path });
        conflicts.extend(of_owner);
    }
    conflicts
}

fn owner_text(owner: &Identity) -> String {
    let mut text = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        text.push_str(&format!(" with subresource {:?}", owner.subresource));
    }
    if owner.operation == Operation::Update {
        text.push_str(&format!(" using {}", owner.api_version));
    }
    text
}

/// The message of the error.
pub(crate) fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        let (owner, path) = (owner_text(&one.owner), path_text(&one.path));
        return format!("Apply failed with 1 conflict: conflict with {owner}: {path}");
    }
    let mut lines = Vec::new();
    let mut last: Option<&Identity> = None;
    for conflict in conflicts {
        if last != Some(&conflict.owner) {
            lines.push(format!("conflicts with {}:", owner_text(&conflict.owner)));
            last = Some(&conflict.owner);
        }
        lines.push(format!("- {}", path_text(&conflict.path)));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// `NewApplyConflict`
pub(crate) fn status(conflicts: &[Conflict]) -> Status {
    let causes = conflicts.iter().map(|conflict| StatusCause {
        reason: "FieldManagerConflict".into(),
        message: format!("conflict with {}", owner_text(&conflict.owner)),
        field: path_text(&conflict.path),
    });
    let details = StatusDetails { causes: causes.collect(), ..Default::default() };
    Status::failure(409, "Conflict", message(conflicts)).with_details(details)
}

/// `schema.GroupVersionKind` as Go prints it.
pub(crate) fn group_version_kind(api_version: &str, kind: &str) -> String {
    let version = if api_version.contains('/') { api_version.to_string() } else { format!("/{api_version}") };
    format!("{version}, Kind={kind}")
}
