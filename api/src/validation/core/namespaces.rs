//! Namespaces.

use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;

/// `ValidateNamespace`; an update changes nothing but the metadata.
pub(crate) fn namespace(new: &At<'_>, old: Option<&At<'_>>, errors: &mut ErrorList) {
    let list = new.at(&["spec", "finalizers"]);
    for finalizer in list.items().filter(|_| old.is_none()) {
        one(finalizer.text(), &list.path, errors);
    }
}

/// `ValidateNamespaceFinalizeUpdate`
pub(crate) fn finalize(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    for finalizer in new.at(&["spec", "finalizers"]).items() {
        one(finalizer.text(), &finalizer.path, errors);
    }
}

fn one(name: &str, path: &Path, errors: &mut ErrorList) {
    for message in names::label_key(name) {
        errors.push(FieldError::invalid(path, name, message));
    }
    if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid(path, name, detail));
    }
}

/// `ValidateNamespaceStatusUpdate`
pub(crate) fn status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let goes = new.at(&["metadata", "deletionTimestamp"]).is_set();
    let phase = new.at(&["status", "phase"]).text();
    let detail = match (goes, phase) {
        (false, "Active") | (true, "Terminating") => return,
        (false, _) => "may only be 'Active' if `deletionTimestamp` is empty",
        (true, _) => "may only be 'Terminating' if `deletionTimestamp` is not empty",
    };
    errors.push(FieldError::invalid(&Path::new("status").child("Phase"), phase, detail));
}
