//! iSCSI: a target, and who asks for it.

use std::sync::LazyLock;

use regex::Regex;

use super::{local_secret, unit};
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

static INITIATORS: LazyLock<[(&str, Option<Regex>); 3]> = LazyLock::new(|| {
    [
        ("iqn", Regex::new(r"iqn\.\d{4}-\d{2}\.([[:alnum:]\-.]+)(:[^,;*&$|\s]+)$").ok()),
        ("eui", Regex::new(r"^eui.[[:alnum:]]{16}$").ok()),
        ("naa", Regex::new(r"^naa.[[:alnum:]]{32}$").ok()),
    ]
});

/// The name of a target or an initiator; `unknown` is said of one that begins with none of the known letters.
fn initiator(at: &At<'_>, unknown: &str, errors: &mut ErrorList) {
    let detail = match INITIATORS.iter().find(|(start, _)| at.text().starts_with(start)) {
        None => unknown,
        Some((_, Some(regex))) if !regex.is_match(at.text()) => "must be valid format",
        Some(_) => return,
    };
    errors.push(FieldError::invalid(&at.path, at.text(), detail));
}

fn common(at: &At<'_>, unknown: &str, errors: &mut ErrorList) {
    let name = at.field("iqn");
    if rules::required(&name, errors) {
        initiator(&name, unknown, errors);
    }
    unit(&at.field("lun"), errors);
    let authenticates = at.field("chapAuthDiscovery").is_true() || at.field("chapAuthSession").is_true();
    if authenticates && at.field("secretRef").is_absent() {
        errors.push(FieldError::required(&at.path.child("secretRef"), ""));
    }
}

fn own_initiator(at: &At<'_>, unknown: &str, errors: &mut ErrorList) {
    let own = at.field("initiatorName");
    if own.is_set() {
        initiator(&own.moved(at.path.child("initiatorname")), unknown, errors);
    }
}

/// Of a pod's volume.
pub(super) fn of_pod(at: &At<'_>, errors: &mut ErrorList) {
    let unknown = "must be valid format starting with iqn, eui, or naa";
    common(at, unknown, errors);
    own_initiator(at, unknown, errors);
}

/// Of a persistent volume.
pub(super) fn persistent(at: &At<'_>, errors: &mut ErrorList) {
    common(at, "must be valid format", errors);
    local_secret(at, errors);
    own_initiator(at, "must be valid format", errors);
}
