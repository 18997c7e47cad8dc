//! Rounds of one figure, the bar that it has to reach, and the table.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::Failure;

/// The values of one figure.
pub(crate) struct Round {
    unit: &'static str,
    values: Vec<f64>,
}

impl Round {
    pub(crate) fn new(unit: &'static str) -> Self {
        Self { unit, values: Vec::new() }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// The value that so large a share of the others is not above.
    fn value_at(&self, share: f64) -> Option<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        Some(sorted[(last as f64 * share).round() as usize])
    }

    /// The value that was added last.
    pub(crate) fn last(&self) -> f64 {
        self.values.last().copied().unwrap_or(f64::NAN)
    }

    /// The value that so large a share of the others is not above; not a number if there is none.
    pub(crate) fn at_share(&self, share: f64) -> f64 {
        self.value_at(share).unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.at_share(0.5)
    }

    fn at(&self, share: f64) -> String {
        self.value_at(share).map_or("-".into(), |value| format!("{} {}", shown(value), self.unit))
    }
}

fn shown(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Bar {
    /// It is told beside another.
    None,
    /// The median may not be more.
    AtMost(f64),
    /// The median may not be less.
    AtLeast(f64),
}

impl Bar {
    fn text(self, unit: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMost(bar) => format!("≤ {} {unit}", shown(bar)),
            Self::AtLeast(bar) => format!("≥ {} {unit}", shown(bar)),
        }
    }

    fn verdict(self, median: f64) -> &'static str {
        match self {
            Self::None => "",
            Self::AtMost(bar) if median <= bar => "reached",
            Self::AtLeast(bar) if median >= bar => "reached",
            _ => "**missed**",
        }
    }
}

/// The table, printed row by row.
pub(crate) struct Figures {
    wanted: String,
    missed: Vec<String>,
    skipped: Vec<String>,
}

impl Figures {
    /// Measures the parts whose name contains `wanted`.
    pub(crate) fn new(wanted: &str) -> Self {
        println!("| figure | bar | min | median | max | |\n|---|---|---|---|---|---|");
        Self { wanted: wanted.to_string(), missed: Vec::new(), skipped: Vec::new() }
    }

    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.wanted.is_empty() || part.contains(&self.wanted)
    }

    /// Prints a row.
    pub(crate) fn row(&mut self, figure: &str, bar: Bar, round: &Round) {
        let verdict = bar.verdict(round.median());
        if verdict == "**missed**" {
            self.missed.push(figure.trim().to_string());
        }
        let (min, median, max) = (round.at(0.0), round.at(0.5), round.at(1.0));
        println!("| {figure} | {} | {min} | {median} | {max} | {verdict} |", bar.text(round.unit));
        let _ = std::io::stdout().flush();
    }

    /// Prints a row that says why nothing was measured.
    pub(crate) fn skipped(&mut self, figures: &str, reason: &str) {
        self.skipped.push(figures.to_string());
        println!("| {figures} | | | | | not measured: {} |", reason.replace('\n', " ").replace('|', "/"));
    }

    /// Prints what missed its bar.
    pub(crate) fn end(&self) {
        let missed = self.missed.iter().chain(&self.skipped).cloned().collect::<Vec<_>>();
        match missed.as_slice() {
            [] => println!("\nEvery bar was reached."),
            missed => println!("\nMissed: {}.", missed.join("; ")),
        }
    }
}

/// The time of one `fdatasync` after a write of 4 KB into a file of constant size, in milliseconds.
pub(crate) fn fdatasync_ms(directory: &Path) -> Result<f64, Failure> {
    use std::os::unix::fs::FileExt;
    let path = directory.join("fdatasync");
    if !path.exists() {
        let file = File::create(&path)?;
        file.write_all_at(&[0; 65536], 0)?;
        file.sync_all()?;
    }
    let file = File::options().write(true).open(path)?;
    let start = Instant::now();
    file.write_all_at(&[1; 4096], 0)?;
    file.sync_data()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
