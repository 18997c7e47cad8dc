//! The `Accept` header, read as the reference's library reads it, with its quirks (`ParseAccept` in goautoneg): a clause
//! that cannot be read is passed over, and a wildcard stands behind a type that is named, whatever their qualities are.

/// One clause of the header.
#[derive(Debug)]
pub struct Clause<'a> {
    kind: &'a str,
    sub: &'a str,
    params: Vec<(&'a str, &'a str)>,
    quality: f64,
}

/// The most clauses that are sorted with the library's own notion of order, which is none; more are sorted by quality.
const CLAUSES_MAX: usize = 12;

/// The clauses of an `Accept` header, the preferred first.
pub fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(clause).collect();
    if clauses.len() > CLAUSES_MAX {
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        return clauses;
    }
    for end in 1..clauses.len() {
        let mut at = end;
        while at > 0 && clauses[at].is_before(&clauses[at - 1]) {
            clauses.swap(at, at - 1);
            at -= 1;
        }
    }
    clauses
}

impl<'a> Clause<'a> {
    /// The value of a parameter: the last, if it is given more than once.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.iter().rfind(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// Whether a media type is meant: it is named, or all of its kind are, or all there are.
    pub fn fits(&self, media_type: &str) -> bool {
        let (kind, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        (self.kind == kind && (self.sub == sub || self.sub == "*")) || (self.kind == "*" && self.sub == "*")
    }

    /// As [`Clause::fits`], where any part may be a wildcard.
    pub fn fits_loosely(&self, media_type: &str) -> bool {
        let (kind, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        (self.kind == kind || self.kind == "*") && (self.sub == sub || self.sub == "*")
    }

    fn is_before(&self, other: &Self) -> bool {
        self.quality > other.quality || (self.kind != "*" && other.kind == "*") || (self.sub != "*" && other.sub == "*")
    }
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let (media_type, mut rest) = text.trim_matches(' ').split_once(';').unwrap_or((text.trim_matches(' '), ""));
    let (kind, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
    let kind = kind.trim_matches(' ');
    let sub = match sub {
        "" if kind == "*" => "*",
        "" => return None,
        sub => {
            let (sub, more) = sub.split_once('/').unwrap_or((sub, ""));
            if !more.is_empty() {
                return None;
            }
            sub.trim_matches(' ')
        }
    };
    let mut clause = Clause { kind, sub, params: Vec::new(), quality: 1.0 };
    while !rest.is_empty() {
        let (part, after) = rest.split_once(';').unwrap_or((rest, ""));
        rest = after;
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (value, more) = value.split_once('=').unwrap_or((value, ""));
        if value.is_empty() || !more.is_empty() {
            continue;
        }
        match name.trim_matches(' ') {
            "q" => clause.quality = value.parse().unwrap_or(0.0),
            name => clause.params.push((name, value.trim_matches(' '))),
        }
    }
    Some(clause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: &[&str]) {
        let found: Vec<String> = clauses(accept).iter().map(|c| format!("{}/{}", c.kind, c.sub)).collect();
        assert_eq!(found, expected, "{accept}");
    }

    #[test]
    fn the_preferred_come_first() {
        check("a/b, c/d", &["a/b", "c/d"]);
        check("a/b;q=0.5, c/d", &["c/d", "a/b"]);
        check("*/*, a/b;q=0.1", &["a/b", "*/*"]);
        check("a/*;q=0.9, a/b;q=0.1", &["a/b", "a/*"]);
        check("*", &["*/*"]);
        check("a, a/b/c, /, a/b", &["a/b"]);
        check("a/b;q=x, c/d;q=0.1", &["c/d", "a/b"]);
        check("a/b;broken, c/d", &["a/b", "c/d"]);
    }
}
