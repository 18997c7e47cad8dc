//! Field selectors (`fields.ParseSelector`): equality on a few named fields.

use std::fmt;

use super::{Lookup, SelectorError};

/// One field that must (or must not) have one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's label, such as `spec.nodeName`.
    pub field: String,
    /// The value.
    pub value: String,
    /// Whether the field must differ from the value.
    pub negated: bool,
}

/// Requirements that must all hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSelector {
    /// The requirements, in order of their text.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// The selector that everything matches.
    pub fn everything() -> Self {
        Self::default()
    }

    /// The selector for one field with one value.
    pub fn equals(field: &str, value: &str) -> Self {
        let requirement = FieldRequirement { field: field.into(), value: value.into(), negated: false };
        Self { requirements: vec![requirement] }
    }

    /// Reads `a=b,c!=d`; commas, equals signs and backslashes in values are escaped with a backslash.
    ///
    /// # Errors
    /// With the wording of `fields.ParseSelector`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let (field, negated, value) = split_term(term)
                .ok_or_else(|| SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
            requirements.push(FieldRequirement { field: field.to_string(), value: unescape(value)?, negated });
        }
        // A single term that names nothing and wants nothing lets everything through.
        if let [only] = &*requirements
            && !only.negated
            && only.field.is_empty()
            && only.value.is_empty()
        {
            return Ok(Self::everything());
        }
        Ok(Self { requirements })
    }

    /// Whether it lets everything through.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether fields satisfy every requirement; an absent field is empty.
    pub fn matches(&self, fields: &(impl Lookup + ?Sized)) -> bool {
        self.requirements.iter().all(|r| (fields.lookup(&r.field).unwrap_or("") == r.value) != r.negated)
    }

    /// The value that `field` must have, if one is asked for.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| !r.negated && r.field == field).map(|r| r.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let value = r.value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            write!(f, "{comma}{}{}{value}", r.field, if r.negated { "!=" } else { "=" })?;
        }
        Ok(())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.char_indices().find(|(i, c)| *c == '=' || term[*i..].starts_with("!="))?.0;
    let (field, rest) = term.split_at(at);
    let negated = rest.starts_with("!=");
    let value = rest.strip_prefix("!=").or_else(|| rest.strip_prefix("==")).or_else(|| rest.strip_prefix('='))?;
    Some((field, negated, value))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            ',' | '=' => {
                let code = u32::from(c);
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {code}")));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[(&str, &str)] = &[("metadata.name", "a"), ("x", "p,q=r\\")];

    fn check(text: &str, canonical: &str, matches: bool) {
        let selector = FieldSelector::parse(text).unwrap();
        assert_eq!(selector.to_string(), canonical, "{text}");
        assert_eq!(selector.matches(FIELDS), matches, "{text}");
    }

    #[test]
    fn parses_and_matches() {
        check("", "", true);
        check("metadata.name=a", "metadata.name=a", true);
        check("metadata.name==a", "metadata.name=a", true);
        check("metadata.name!=a", "metadata.name!=a", false);
        check("metadata.name=b", "metadata.name=b", false);
        check("y=", "y=", true);
        check("y!=", "y!=", false);
        check(r"x=p\,q\=r\\", r"x=p\,q\=r\\", true);
        check("metadata.name=a,,y!=z", "metadata.name=a,y!=z", true);
        for everything in ["=", "==", ",=", "=,"] {
            check(everything, "", true);
        }
        check("!=", "!=", false);
    }

    fn check_error(text: &str, expect: &str) {
        assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), expect);
    }

    #[test]
    fn errors() {
        check_error("a", "invalid selector: 'a'; can't understand 'a'");
        check_error("a=b=c", "invalid field selector: unescaped character in value: 61");
        check_error(r"a=\x", r"invalid field selector: invalid escape sequence: \x");
        check_error("a=b\\", "invalid field selector: invalid escape sequence: \\");
    }
}
