//! A file of lines that are sorted by their first column.

use super::Problems;

/// The lines of a file, taken apart at tabs.
pub(super) struct Lines<'a> {
    file: &'a str,
    pub lines: Vec<Vec<&'a str>>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(file: &'a str, text: &'a str) -> Self {
        Self { file, lines: text.lines().map(|line| line.split('\t').collect()).collect() }
    }

    /// Tells which line does not come after the one before it: what stands twice included.
    pub(super) fn sorted(&self, problems: &mut Problems) {
        for pair in self.lines.windows(2) {
            let (before, after) = (pair[0][0], pair[1][0]);
            problems.unless(before < after, self.file, || format!("{after} stands after {before}"));
        }
    }

    /// Tells which line has another number of columns.
    pub(super) fn columns(&self, allowed: &[usize], problems: &mut Problems) {
        for line in &self.lines {
            let known = allowed.contains(&line.len());
            problems.unless(known, self.file, || format!("{} has {} columns", line[0], line.len()));
        }
    }
}
