//! The errors of one object, of which no more are kept than an answer can hold: whoever sends an object with a
//! hundred thousand bad fields gets a bounded answer, and checking it takes bounded memory.

use std::ops::{Deref, DerefMut};

use super::{ErrorType, FieldError, Path};

/// How many bytes of text the errors of one object have together, at most; further ones are only said to exist.
pub const ERRORS_BYTES_MAX: usize = 512 * 1024;
/// How long the explanation of one error may be in bytes.
const DETAIL_BYTES_MAX: usize = 64 * 1024;
/// What an error takes beside its texts, in an answer and in memory.
const ERROR_BYTES: usize = 96;
/// Stands for all errors that are not shown.
const MORE: &str = "there are more errors than are shown here";

/// All that is wrong with an object, in the order of checking. A list that is full ends with an error that says so and
/// takes no more: it is never empty because something was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorList {
    errors: Vec<FieldError>,
    bytes: usize,
    is_full: bool,
}

impl ErrorList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether further errors are left out. What is expensive to explain need not be explained any more.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Adds an error, unless the list is full.
    pub fn push(&mut self, error: FieldError) {
        let at = self.errors.len();
        self.insert(at, error);
    }

    /// Adds an error that is only made if it is kept.
    pub fn push_with(&mut self, error: impl FnOnce() -> FieldError) {
        if !self.is_full {
            self.push(error());
        }
    }

    /// Puts an error before others.
    pub fn insert(&mut self, at: usize, mut error: FieldError) {
        if self.is_full {
            return;
        }
        super::cut(&mut error.detail, DETAIL_BYTES_MAX);
        let value = error.value.as_ref().map_or(0, String::len);
        self.bytes += ERROR_BYTES + error.path.as_str().len() + value + error.detail.len();
        if self.bytes <= ERRORS_BYTES_MAX {
            self.errors.insert(at, error);
            return;
        }
        self.is_full = true;
        let (path, detail) = (Path::unnamed(), MORE.to_string());
        self.errors.push(FieldError { error_type: ErrorType::TooMany, path, value: None, detail });
    }

    /// Keeps the errors that are wanted. That there were more is never forgotten.
    pub fn retain(&mut self, mut wanted: impl FnMut(&FieldError) -> bool) {
        let more = if self.is_full { self.errors.pop() } else { None };
        self.errors.retain(|error| wanted(error));
        self.errors.extend(more);
    }
}

impl Deref for ErrorList {
    type Target = [FieldError];

    fn deref(&self) -> &[FieldError] {
        &self.errors
    }
}

impl DerefMut for ErrorList {
    fn deref_mut(&mut self) -> &mut [FieldError] {
        &mut self.errors
    }
}

impl Extend<FieldError> for ErrorList {
    fn extend<I: IntoIterator<Item = FieldError>>(&mut self, errors: I) {
        for error in errors {
            if self.is_full {
                return;
            }
            self.push(error);
        }
    }
}

impl FromIterator<FieldError> for ErrorList {
    fn from_iter<I: IntoIterator<Item = FieldError>>(errors: I) -> Self {
        let mut list = Self::new();
        list.extend(errors);
        list
    }
}

impl From<FieldError> for ErrorList {
    fn from(error: FieldError) -> Self {
        Self::from_iter([error])
    }
}

impl From<Vec<FieldError>> for ErrorList {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::from_iter(errors)
    }
}

impl IntoIterator for ErrorList {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.errors.into_iter()
    }
}

impl<'e> IntoIterator for &'e ErrorList {
    type Item = &'e FieldError;
    type IntoIter = std::slice::Iter<'e, FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.errors.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_says_so_and_stays_bounded() {
        let path = Path::new("metadata.labels");
        let mut errors = ErrorList::new();
        for _ in 0..100_000 {
            errors.push(FieldError::invalid(&path, "x".repeat(100), "no label"));
        }
        assert!(errors.is_full() && errors.len() < 5_000);
        let last = errors.last().map(ToString::to_string);
        assert_eq!(last.as_deref(), Some(": Too many: there are more errors than are shown here"));
        errors.retain(|_| false);
        assert_eq!(errors.len(), 1, "an object with errors that were left out is not valid");
        errors.push_with(|| unreachable!("a full list takes nothing"));
        let all: ErrorList = errors.into_iter().collect();
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn one_error_is_bounded() {
        let long = serde_json::Value::from(vec!["<&>".repeat(1_000); 1_000]);
        let error = FieldError::invalid(&Path::new("a"), long, "why");
        assert!(error.to_string().len() < 40_000, "{}", error.to_string().len());
        let text = FieldError::invalid(&Path::new("a"), "ü".repeat(1 << 20), "why").to_string();
        assert!(text.len() < 40_000 && text.contains("üü") && text.ends_with("...: why"), "{}", text.len());
        let deep = (0..10_000).fold(Path::new("a"), |path, _| path.child("a_name_of_some_length"));
        assert!(deep.as_str().len() < 20_000);
    }
}
