//! What the pages `/statusz` and `/flagz` of a component say to people (component-base's `zpages`).

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Between names and values; which of them comes is left to chance, so that nobody reads the text by program.
const DELIMITERS: [&str; 4] = [":", ": ", "=", " "];

/// What there is to say of a component.
#[derive(Debug, Clone)]
pub struct About {
    /// When it began.
    pub started: Timestamp,
    /// How long ago that was.
    pub up_seconds: i64,
    /// What it was made with.
    pub program: String,
    /// Its version, as major and minor.
    pub binary: String,
    /// The version that it behaves as.
    pub emulation: String,
    /// Where there is more to look at.
    pub paths: Vec<String>,
}

/// The page `statusz` of a component; `chance` chooses how it is written.
pub fn statusz(component: &str, about: &About, chance: u8) -> String {
    let (hours, minutes, seconds) = (about.up_seconds / 3600, about.up_seconds / 60 % 60, about.up_seconds % 60);
    let rows = [
        ("Started", about.started.strftime("%a %b %e %H:%M:%S UTC %Y").to_string()),
        ("Up", format!("{hours} hr {minutes:02} min {seconds:02} sec")),
        ("Go version", about.program.clone()),
        ("Binary version", about.binary.clone()),
        ("Emulation version", about.emulation.clone()),
        ("Paths", about.paths.join(" ")),
    ];
    let between = between(chance);
    let rows = rows.map(|(name, value)| format!("{name}{between} {value}\n"));
    format!("{}\n{}", head(component, "statusz"), rows.concat())
}

/// The page `flagz` of a component; `chance` chooses how it is written.
pub fn flagz(component: &str, flags: &BTreeMap<&str, &str>, chance: u8) -> String {
    let between = between(chance);
    let rows = flags.iter().map(|(name, value)| format!("{name}{between}{value}\n"));
    head(component, "flagz") + &rows.collect::<String>()
}

fn between(chance: u8) -> &'static str {
    DELIMITERS[usize::from(chance) % DELIMITERS.len()]
}

fn head(component: &str, page: &str) -> String {
    format!(
        "\n{component} {page}\nWarning: This endpoint is not meant to be machine parseable, has no formatting \
         compatibility guarantees and is for debugging purposes only.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_name_their_component() {
        let about = About {
            started: Timestamp::UNIX_EPOCH,
            up_seconds: 3_725,
            program: "p".into(),
            binary: "1.36".into(),
            emulation: "1.36".into(),
            paths: vec!["/a".into(), "/b".into()],
        };
        let text = statusz("kubelet", &about, 6);
        assert!(text.starts_with("\nkubelet statusz\nWarning: "), "{text}");
        assert!(text.ends_with("Paths= /a /b\n") && text.contains("Up= 1 hr 02 min 05 sec\n"), "{text}");
        let text = flagz("kubelet", &BTreeMap::from([("v", "2")]), 1);
        assert!(text.ends_with("\nv: 2\n"), "{text}");
    }
}
