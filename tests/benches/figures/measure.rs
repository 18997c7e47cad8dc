//! Rounds of one figure, and the table.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use crate::Failure;

/// The values of one figure.
pub struct Round {
    unit: &'static str,
    values: Vec<f64>,
}

impl Round {
    pub fn new(unit: &'static str) -> Self {
        Self { unit, values: Vec::new() }
    }

    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    fn at(&self, share: f64) -> String {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return "-".into() };
        let value = sorted[(last as f64 * share).round() as usize];
        match value {
            v if v >= 1000.0 => format!("{v:.0} {}", self.unit),
            v if v >= 10.0 => format!("{v:.1} {}", self.unit),
            v => format!("{v:.2} {}", self.unit),
        }
    }
}

/// The table, printed row by row.
pub struct Figures {
    wanted: String,
}

impl Figures {
    /// Rows are measured whose name contains `wanted`.
    pub fn new(wanted: &str) -> Self {
        println!("| figure | bar | min | median | max |\n|---|---|---|---|---|");
        Self { wanted: wanted.to_string() }
    }

    /// Whether figures of this sort are to be measured.
    pub fn wants(&self, sort: &str) -> bool {
        self.wanted.is_empty() || sort.contains(&self.wanted)
    }

    /// Prints a row.
    pub fn row(&mut self, figure: &str, bar: &str, round: &Round) {
        println!("| {figure} | {bar} | {} | {} | {} |", round.at(0.0), round.at(0.5), round.at(1.0));
        let _ = std::io::stdout().flush();
    }
}

/// The time of one `fdatasync` after a write of 4 KB into a file of constant size, in milliseconds.
pub fn fdatasync_ms(directory: &Path) -> Result<f64, Failure> {
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
