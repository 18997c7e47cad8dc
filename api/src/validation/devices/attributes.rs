//! The names and values of devices' attributes.

use std::sync::LazyLock;

use regex::Regex;

use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;
use crate::names;
use crate::validation::at::At;
use crate::validation::csi::driver_name;

const ID_LENGTH_MAX: usize = 32;
const DOMAIN_LENGTH_MAX: usize = 63;
const VALUE_LENGTH_MAX: usize = 64;
const ELLIPSIS: &str = "...";
/// The values that an attribute may have one of. (Lists stand behind a feature that is off.)
const VALUES: [&str; 4] = ["int", "bool", "string", "version"];

static SEMVER: LazyLock<Regex> = LazyLock::new(|| {
    let number = r"(0|[1-9][0-9]*)";
    let before = r"(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)";
    let build = r"[0-9a-zA-Z-]+";
    let text = format!(r"^{number}\.{number}\.{number}(-{before}(\.{before})*)?(\+{build}(\.{build})*)?$");
    Regex::new(&text).expect("the pattern is a constant")
});

/// The entries of a map by names of attributes, each with a path that stays short.
pub(super) fn by_name(at: &At<'_>, errors: &mut ErrorList, each: impl Fn(&At<'_>, &mut ErrorList)) {
    for (name, value) in at.entries() {
        qualified_name(name, &at.path, errors);
        each(&value.moved(at.path.key(&shortened(name, DOMAIN_LENGTH_MAX + 1 + ID_LENGTH_MAX))), errors);
    }
}

/// `truncateIfTooLong`
fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_string();
    }
    let left = max - ELLIPSIS.len();
    let (head, tail) = (left.div_ceil(2), text.len() - left / 2);
    format!("{}{ELLIPSIS}{}", text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default())
}

/// `validateQualifiedName`; of names with several slashes nothing is asked.
fn qualified_name(name: &str, path: &Path, errors: &mut ErrorList) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            match domain {
                "" => errors.push(FieldError::invalid(path, "", "the domain must not be empty")),
                _ => driver_name(&At::new(path.clone(), &domain.into()), errors),
            }
            match id {
                "" => errors.push(FieldError::invalid(path, "", "the name must not be empty")),
                _ => identifier(id, path, errors),
            }
        }
        _ => {}
    }
}

/// `validateFullyQualifiedName`
pub(super) fn fully_qualified_name(at: &At<'_>, errors: &mut ErrorList) {
    qualified_name(at.text(), &at.path, errors);
    if !at.text().contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(&at.path, at.text(), detail));
    }
}

/// `validateCIdentifier`
fn identifier(id: &str, path: &Path, errors: &mut ErrorList) {
    if id.len() > ID_LENGTH_MAX {
        errors.push(FieldError::too_long(path, ID_LENGTH_MAX));
    }
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !id.starts_with(is_letter) || !id.chars().all(|c| is_letter(c) || c.is_ascii_digit()) {
        let message = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                       alphanumeric characters or '_'";
        let detail = names::regex_error(message, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"]);
        errors.push(FieldError::invalid(path, id, detail));
    }
}

/// `validateDeviceAttribute`
pub(super) fn attribute(at: &At<'_>, errors: &mut ErrorList) {
    text(&at.field("string"), errors);
    version(&at.field("version"), errors);
    let shown = match at.fields(VALUES).iter().filter(|value| value.is_set()).count() {
        0 => "\"\"".to_string(),
        1 => return,
        _ => internal::shown("resource.DeviceAttribute", at.value),
    };
    errors.push(FieldError::invalid_text(&at.path, shown, "exactly one value must be specified"));
}

fn text(at: &At<'_>, errors: &mut ErrorList) {
    if at.text().len() > VALUE_LENGTH_MAX {
        errors.push(FieldError::too_long(&at.path, VALUE_LENGTH_MAX));
    }
}

fn version(at: &At<'_>, errors: &mut ErrorList) {
    if at.is_set() && !SEMVER.is_match(at.text()) {
        let detail = "must be a string compatible with semver.org spec 2.0.0";
        errors.push(FieldError::invalid(&at.path, at.text(), detail));
    }
    text(at, errors);
}
