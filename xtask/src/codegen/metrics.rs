//! `families.txt`: what the reference documents of the metrics that we write.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use serde::Deserialize;

use super::overlay::Overlay;

type Read<T> = Result<T, Box<dyn Error>>;

/// One entry of the reference's documentation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Documented {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    subsystem: String,
    name: String,
    #[serde(default)]
    help: String,
    #[serde(rename = "type")]
    kind: String,
    stability_level: String,
    #[serde(default)]
    buckets: Vec<f64>,
}

/// The text of the file: the overlay's names with what the tree documents, and its own lines as they are.
///
/// # Errors
/// A family that is not documented.
pub fn write(from: &Path, overlay: &Overlay) -> Read<String> {
    let path = from.join("test/instrumentation/documentation/documentation-list.yaml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let all: Vec<Documented> = serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut known = BTreeMap::new();
    for family in &all {
        let parts = [family.namespace.as_str(), &family.subsystem, &family.name];
        let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_");
        known.entry(name).or_insert(family);
    }
    let mut text = String::new();
    for line in overlay.families.lines() {
        let own: Vec<_> = line.split('\t').collect();
        match own.as_slice() {
            [name, kind, bounds, help, _] => text.push_str(&[*name, kind, bounds, help].join("\t")),
            _ => {
                let family = known.get(line).ok_or_else(|| format!("{}: no family {line}", path.display()))?;
                text.push_str(&family.line(line));
            }
        }
        text.push('\n');
    }
    Ok(text)
}

impl Documented {
    fn line(&self, name: &str) -> String {
        let bounds: Vec<_> = self.buckets.iter().map(|bound| shortest(*bound)).collect();
        let bounds = if bounds.is_empty() { "-".to_string() } else { bounds.join(",") };
        let help = format!("[{}] {}", self.stability_level, self.help);
        [name, &self.kind.to_lowercase(), &bounds, &help].join("\t")
    }
}

/// As `strconv.FormatFloat(x, 'g', -1, 64)` writes it: with an exponent from a million up and below a ten thousandth.
fn shortest(number: f64) -> String {
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, expect) in [
            (0.0, "0"),
            (15.0, "15"),
            (50000.0, "50000"),
            (1_050_000.0, "1.05e+06"),
            (16_777_216.0, "1.6777216e+07"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (9.999_999_999_999_999e-6, "9.999999999999999e-06"),
        ] {
            assert_eq!(shortest(number), expect);
        }
    }
}
