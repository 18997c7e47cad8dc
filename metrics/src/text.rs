//! Families as text, and what is known of each by its name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use crate::number::go_float;

/// `name type bounds help`, by tabs, of every family that anything of ours writes.
const FAMILIES: &str = include_str!("../data/families.txt");

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations by bucket.
    Histogram,
    /// Observations with their sum and count.
    Summary,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// What the reference says of a family.
#[derive(Debug)]
pub struct Description {
    /// Its type.
    pub kind: Kind,
    /// The upper bounds of a histogram's buckets but for the last.
    pub bounds: &'static [f64],
    help: &'static str,
}

/// The description of a family.
///
/// # Panics
/// If the data file has none of the name, which a test of whatever writes the family finds.
pub fn describe(name: &str) -> &'static Description {
    static ALL: OnceLock<BTreeMap<&str, Description>> = OnceLock::new();
    let all = ALL.get_or_init(|| FAMILIES.lines().filter_map(read).collect());
    all.get(name).unwrap_or_else(|| panic!("data/families.txt does not describe {name}"))
}

fn read(line: &'static str) -> Option<(&'static str, Description)> {
    let mut fields = line.splitn(4, '\t');
    let (name, kind, bounds, help) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let kind = match kind {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => return None,
    };
    let bounds: Vec<f64> = bounds.split(',').filter_map(|bound| bound.parse().ok()).collect();
    Some((name, Description { kind, bounds: bounds.leak(), help }))
}

/// The labels of one series, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(String);

impl Labels {
    /// Labels by name, in the order of their names.
    pub fn new(names: &[&str], values: &[&str]) -> Self {
        let mut pairs: Vec<(&str, &str)> = names.iter().copied().zip(values.iter().copied()).collect();
        pairs.sort_unstable();
        let mut text = String::new();
        for (name, value) in pairs {
            let comma = if text.is_empty() { "" } else { "," };
            let value = value.replace('\\', r"\\").replace('\n', r"\n").replace('"', "\\\"");
            write!(text, "{comma}{name}=\"{value}\"").expect("a String can be written");
        }
        Self(text)
    }

    fn with(&self, more: &str) -> String {
        match (self.0.as_str(), more) {
            ("", "") => String::new(),
            ("", more) => format!("{{{more}}}"),
            (own, "") => format!("{{{own}}}"),
            (own, more) => format!("{{{own},{more}}}"),
        }
    }
}

/// Families and their series, put in order as they come.
#[derive(Debug, Default)]
pub struct Text(BTreeMap<&'static str, BTreeMap<Labels, String>>);

impl Text {
    /// One series with one value.
    pub fn sample(&mut self, name: &'static str, labels: &Labels, value: f64) {
        let line = format!("{name}{} {}\n", labels.with(""), go_float(value));
        self.0.entry(name).or_default().insert(labels.clone(), line);
    }

    /// One value of labels by name.
    pub fn value(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().copied().unzip();
        self.sample(name, &Labels::new(&names, &values), value);
    }

    /// One histogram; `counts` are those in each bucket alone, with one more than there are bounds.
    pub fn histogram(&mut self, name: &'static str, labels: &Labels, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut lines = String::new();
        let mut total = 0;
        for (count, bound) in counts.iter().zip(bounds.iter().copied().chain([f64::INFINITY])) {
            total += count;
            let bound = format!("le=\"{}\"", go_float(bound));
            writeln!(lines, "{name}_bucket{} {}", labels.with(&bound), go_float(total as f64))
                .expect("a String can be written");
        }
        self.end(name, labels, lines, sum, total);
    }

    /// One summary without quantiles.
    pub fn summary(&mut self, name: &'static str, labels: &Labels, sum: f64, count: u64) {
        self.end(name, labels, String::new(), sum, count);
    }

    fn end(&mut self, name: &'static str, labels: &Labels, mut lines: String, sum: f64, count: u64) {
        let shown = labels.with("");
        let (sum, count) = (go_float(sum), go_float(count as f64));
        write!(lines, "{name}_sum{shown} {sum}\n{name}_count{shown} {count}\n").expect("a String can be written");
        self.0.entry(name).or_default().insert(labels.clone(), lines);
    }

    /// Everything, families and series in the order of their names.
    pub fn finish(self) -> String {
        let mut out = String::new();
        for (name, series) in self.0 {
            let description = describe(name);
            let (help, kind) = (description.help, description.kind.name());
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a String can be written");
            series.values().for_each(|lines| out.push_str(lines));
        }
        out
    }
}
