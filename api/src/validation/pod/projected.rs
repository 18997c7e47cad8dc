//! Projected volumes: several sources in one directory (`validateProjectionSources`).

use std::collections::BTreeSet;

use super::volumes::{downward_file, key_to_path, mode};
use crate::field::{ErrorList, FieldError};
use crate::validation::at::At;
use crate::validation::rules;

const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// A projected volume. Sources that stand behind disabled features were dropped before.
pub(super) fn check(at: &At<'_>, errors: &mut ErrorList) {
    mode(&at.field("defaultMode"), errors);
    let mut paths = BTreeSet::new();
    for source in at.field("sources").items() {
        let mut count = 0;
        for inner in source.fields(["secret", "configMap"]) {
            if inner.is_absent() {
                continue;
            }
            count += 1;
            rules::required(&inner.field("name"), errors);
            for item in inner.field("items").items() {
                key_to_path(&item, errors);
                let path = item.field("path").text();
                if !path.is_empty() && !paths.insert(path) {
                    let name = inner.field("name").text();
                    errors.push(FieldError::invalid(&at.path, name, "conflicting duplicate paths"));
                }
            }
        }
        let downward = source.field("downwardAPI");
        count += usize::from(downward.is_set());
        for file in downward.field("items").items() {
            downward_file(&downward.path, &file, errors);
            let path = file.field("path").text();
            if !path.is_empty() && !paths.insert(path) {
                errors.push(FieldError::invalid(&at.path, path, "conflicting duplicate paths"));
            }
        }
        let token = source.field("serviceAccountToken");
        if token.is_set() {
            count += 1;
            self::token(at, &token, errors);
        }
        if count > 1 {
            let detail = "may not specify more than 1 volume type per source";
            errors.push(FieldError::forbidden(&source.path, detail));
        }
    }
}

/// A token's path is blamed on the volume.
fn token(volume: &At<'_>, token: &At<'_>, errors: &mut ErrorList) {
    let seconds = token.field("expirationSeconds");
    let number = seconds.number().unwrap_or(0);
    if number < TOKEN_SECONDS_MIN {
        errors.push(FieldError::invalid(&seconds.path, number, "may not specify a duration less than 10 minutes"));
    }
    if number > TOKEN_SECONDS_MAX {
        errors.push(FieldError::invalid(&seconds.path, number, "may not specify a duration larger than 2^32 seconds"));
    }
    let path = token.field("path").moved(volume.path.child("path"));
    if rules::required(&path, errors) {
        rules::local_path(&path, errors);
    }
}
