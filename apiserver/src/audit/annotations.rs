//! What stages and plugins note of a request for whoever reads the audit log.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// How many bytes of names and values are kept of one request; what comes beyond is left out.
const BYTES_MAX: usize = 256 * 1024;

/// Texts by name, such as `authorization.k8s.io/decision`.
#[derive(Debug, Default)]
pub struct Annotations(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    texts: BTreeMap<String, String>,
    bytes: usize,
}

impl Annotations {
    /// Notes a text under a name. The first text of a name stays (`logAnnotation`).
    pub fn add(&self, name: String, text: String) {
        let mut kept = self.0.lock();
        let bytes = kept.bytes + name.len() + text.len();
        if bytes > BYTES_MAX || kept.texts.contains_key(&name) {
            tracing::warn!(name, "an audit annotation is left out: it is there already, or there are too many");
            return;
        }
        kept.bytes = bytes;
        kept.texts.insert(name, text);
    }

    /// All of them, by name.
    pub fn texts(&self) -> BTreeMap<String, String> {
        self.0.lock().texts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_stays_and_all_together_are_bounded() {
        let annotations = Annotations::default();
        annotations.add("a/b".into(), "first".into());
        annotations.add("a/b".into(), "second".into());
        annotations.add("a/long".into(), "x".repeat(BYTES_MAX));
        for number in 0..1_000 {
            annotations.add(format!("a/{number}"), "x".repeat(1_000));
        }
        let texts = annotations.texts();
        assert_eq!(texts["a/b"], "first");
        assert!(!texts.contains_key("a/long") && texts.len() > 200 && texts.len() < 300, "{}", texts.len());
    }
}
