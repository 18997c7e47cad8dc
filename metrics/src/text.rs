//! Families as text, and what is known of each by its name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use crate::number::go_float;

/// `name type labels bounds help`, by tabs, of every family that anything of ours writes.
const FAMILIES: &str = include_str!("../data/families.txt");
/// The same of those that the node's `/metrics/cadvisor` has, some of which are called as others elsewhere.
const CADVISOR: &str = include_str!("../data/cadvisor.txt");

/// Which families a text is made of: one name may mean two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Book {
    /// Those of the components themselves.
    #[default]
    Components,
    /// Those of the collector of containers' figures.
    Cadvisor,
}

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
    /// The names of its labels, in order.
    pub labels: Vec<&'static str>,
    /// The upper bounds of a histogram's buckets but for the last.
    pub bounds: &'static [f64],
    /// What it is, after how stable the reference promises it to be.
    pub help: &'static str,
}

impl Description {
    /// How stable the reference promises it to be; nothing where it promises nothing.
    pub fn stability(&self) -> &'static str {
        let stability = self.help.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        stability.map_or("", |(stability, _)| stability)
    }

    /// Whether these are the names of its labels, in whatever order.
    pub fn is_labelled(&self, names: &[&str]) -> bool {
        names.len() == self.labels.len() && names.iter().all(|name| self.labels.contains(name))
    }

    /// Since when it is deprecated; empty if it is not.
    pub fn deprecated(&self) -> &'static str {
        let since = self.help.split_once("(Deprecated since ").and_then(|(_, rest)| rest.split_once(')'));
        since.map_or("", |(version, _)| version)
    }
}

impl Book {
    /// Every family in it, by name.
    pub fn all(self) -> &'static BTreeMap<&'static str, Description> {
        static ALL: [OnceLock<BTreeMap<&str, Description>>; 2] = [const { OnceLock::new() }; 2];
        let (at, data) = match self {
            Self::Components => (0, FAMILIES),
            Self::Cadvisor => (1, CADVISOR),
        };
        ALL[at].get_or_init(|| data.lines().filter_map(read).collect())
    }

    fn describe(self, name: &str) -> &'static Description {
        self.all().get(name).unwrap_or_else(|| panic!("no data file describes {name}"))
    }
}

/// The description of a family.
///
/// # Panics
/// If the data file has none of the name, which a test of whatever writes the family finds.
pub fn describe(name: &str) -> &'static Description {
    Book::Components.describe(name)
}

fn read(line: &'static str) -> Option<(&'static str, Description)> {
    let mut fields = line.splitn(5, '\t');
    let (name, kind, labels, bounds, help) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let kind = match kind {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => return None,
    };
    let bounds: Vec<f64> = bounds.split(',').filter_map(|bound| bound.parse().ok()).collect();
    let labels = if labels == "-" { Vec::new() } else { labels.split(',').collect() };
    Some((name, Description { kind, labels, bounds: bounds.leak(), help }))
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
pub struct Text {
    book: Book,
    families: BTreeMap<&'static str, BTreeMap<Labels, String>>,
}

impl Text {
    /// A text of the families of a book.
    pub fn of(book: Book) -> Self {
        Self { book, ..Self::default() }
    }

    /// One series with one value.
    pub fn sample(&mut self, name: &'static str, labels: &Labels, value: f64) {
        self.put(name, labels, format!("{name}{} {}\n", labels.with(""), go_float(value)));
    }

    /// One value of labels by name.
    pub fn value(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        self.value_at(name, labels, value, None);
    }

    /// The same, as of a time in milliseconds since 1970 if one is known.
    pub fn value_at(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64, time: Option<i64>) {
        let (names, values): (Vec<&str>, Vec<&str>) = labels.iter().copied().unzip();
        debug_assert!(self.book.describe(name).is_labelled(&names), "{name} has other labels than {names:?}");
        let labels = Labels::new(&names, &values);
        let time = time.map_or_else(String::new, |time| format!(" {time}"));
        self.put(name, &labels, format!("{name}{} {}{time}\n", labels.with(""), go_float(value)));
    }

    fn put(&mut self, name: &'static str, labels: &Labels, lines: String) {
        self.families.entry(name).or_default().insert(labels.clone(), lines);
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
        self.put(name, labels, lines);
    }

    /// Everything, families and series in the order of their names.
    pub fn finish(self) -> String {
        let mut out = String::new();
        for (name, series) in self.families {
            let description = self.book.describe(name);
            let (help, kind) = (description.help, description.kind.name());
            write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("a String can be written");
            series.values().for_each(|lines| out.push_str(lines));
        }
        out
    }
}
