//! What differs between two texts, in the form of a unified diff without a header (`diff.Diff` in apimachinery's
//! `util/diff`, which prints both sides as JSON and lets `difflib.SequenceMatcher` find what they share).

use std::collections::HashMap;

/// Lines shown around a change.
const CONTEXT: usize = 3;
/// In a text of at least so many lines, lines that are too common are no anchor.
const POPULAR_FROM_LINES: usize = 200;

/// A stretch that is the same in both: where it begins in each, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Match {
    old: usize,
    new: usize,
    size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    Equal,
    Changed,
}

/// What to do with a range of old lines to get a range of new ones.
#[derive(Debug, Clone, Copy)]
struct Step {
    tag: Tag,
    old: (usize, usize),
    new: (usize, usize),
}

/// The unified diff of two texts; empty if they are equal.
pub fn unified(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let mut out = String::new();
    for group in groups(steps(&old, &new)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (left, right) = (range(first.old.0, last.old.1), range(first.new.0, last.new.1));
        out.push_str(&format!("@@ -{left} +{right} @@\n"));
        for step in &group {
            let (before, after) = (&old[step.old.0..step.old.1], &new[step.new.0..step.new.1]);
            match step.tag {
                Tag::Equal => lines(&mut out, ' ', before),
                Tag::Changed => {
                    lines(&mut out, '-', before);
                    lines(&mut out, '+', after);
                }
            }
        }
    }
    out
}

fn lines(out: &mut String, mark: char, lines: &[&str]) {
    for line in lines {
        out.push(mark);
        out.push_str(line);
        out.push('\n');
    }
}

fn range(start: usize, end: usize) -> String {
    match end - start {
        1 => (start + 1).to_string(),
        0 => format!("{start},0"),
        length => format!("{},{length}", start + 1),
    }
}

/// The longest stretch that both share within bounds, the earliest of several (`find_longest_match`).
struct Matcher<'a> {
    old: &'a [&'a str],
    new: &'a [&'a str],
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(old: &'a [&'a str], new: &'a [&'a str]) -> Self {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, line) in new.iter().enumerate() {
            places.entry(line).or_default().push(index);
        }
        if new.len() >= POPULAR_FROM_LINES {
            let most = new.len() / 100 + 1;
            places.retain(|_, indexes| indexes.len() <= most);
        }
        Self { old, new, places }
    }

    fn longest(&self, old: (usize, usize), new: (usize, usize)) -> Match {
        let mut best = Match { old: old.0, new: new.0, size: 0 };
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for at in old.0..old.1 {
            let mut next = HashMap::new();
            let places = self.places.get(self.old[at]).map(Vec::as_slice).unwrap_or_default();
            for place in places.iter().copied().filter(|place| (new.0..new.1).contains(place)) {
                let size = place.checked_sub(1).and_then(|before| lengths.get(&before)).copied().unwrap_or(0) + 1;
                next.insert(place, size);
                if size > best.size {
                    best = Match { old: at + 1 - size, new: place + 1 - size, size };
                }
            }
            lengths = next;
        }
        // Lines that are too common to begin with may lengthen what was found.
        while best.old > old.0 && best.new > new.0 && self.old[best.old - 1] == self.new[best.new - 1] {
            best = Match { old: best.old - 1, new: best.new - 1, size: best.size + 1 };
        }
        while best.old + best.size < old.1
            && best.new + best.size < new.1
            && self.old[best.old + best.size] == self.new[best.new + best.size]
        {
            best.size += 1;
        }
        best
    }

    /// Everything that is shared, in order, neighbours joined.
    fn matches(&self) -> Vec<Match> {
        let mut found = Vec::new();
        let mut open = vec![((0, self.old.len()), (0, self.new.len()))];
        while let Some((old, new)) = open.pop() {
            let best = self.longest(old, new);
            if best.size == 0 {
                continue;
            }
            found.push(best);
            open.push(((old.0, best.old), (new.0, best.new)));
            open.push(((best.old + best.size, old.1), (best.new + best.size, new.1)));
        }
        found.sort_unstable();
        let mut joined: Vec<Match> = Vec::new();
        for one in found {
            match joined.last_mut() {
                Some(last) if last.old + last.size == one.old && last.new + last.size == one.new => {
                    last.size += one.size;
                }
                _ => joined.push(one),
            }
        }
        joined
    }
}

fn steps(old: &[&str], new: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut at, mut place) = (0, 0);
    let end = Match { old: old.len(), new: new.len(), size: 0 };
    for shared in Matcher::new(old, new).matches().into_iter().chain([end]) {
        if at < shared.old || place < shared.new {
            steps.push(Step { tag: Tag::Changed, old: (at, shared.old), new: (place, shared.new) });
        }
        (at, place) = (shared.old + shared.size, shared.new + shared.size);
        if shared.size > 0 {
            steps.push(Step { tag: Tag::Equal, old: (shared.old, at), new: (shared.new, place) });
        }
    }
    steps
}

/// Changes with the lines around them; those that are near each other are shown together.
fn groups(mut steps: Vec<Step>) -> Vec<Vec<Step>> {
    let (mut all, mut group) = (Vec::new(), Vec::new());
    if let Some(first) = steps.first_mut().filter(|step| step.tag == Tag::Equal) {
        first.old.0 = first.old.0.max(first.old.1.saturating_sub(CONTEXT));
        first.new.0 = first.new.0.max(first.new.1.saturating_sub(CONTEXT));
    }
    if let Some(last) = steps.last_mut().filter(|step| step.tag == Tag::Equal) {
        last.old.1 = last.old.1.min(last.old.0 + CONTEXT);
        last.new.1 = last.new.1.min(last.new.0 + CONTEXT);
    }
    for mut step in steps {
        if step.tag == Tag::Equal && step.old.1 - step.old.0 > 2 * CONTEXT {
            let head =
                Step { old: (step.old.0, step.old.0 + CONTEXT), new: (step.new.0, step.new.0 + CONTEXT), ..step };
            group.push(head);
            all.push(std::mem::take(&mut group));
            step.old.0 = step.old.1.saturating_sub(CONTEXT);
            step.new.0 = step.new.1.saturating_sub(CONTEXT);
        }
        group.push(step);
    }
    if !(group.is_empty() || group.len() == 1 && group[0].tag == Tag::Equal) {
        all.push(group);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn changes_with_their_context() {
        let check = |old: &str, new: &str, expected: &str| assert_eq!(unified(old, new), expected, "{old} {new}");
        check("a\nb", "a\nb", "");
        check("a\nb\nc", "a\nx\nc", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        check("1\n2\n3\n4\n5\n6", "1\n2\n3\n4\n6", "@@ -2,5 +2,4 @@\n 2\n 3\n 4\n-5\n 6\n");
        let (old, new) = ("a\n1\n2\n3\n4\n5\n6\n7\nb", "x\n1\n2\n3\n4\n5\n6\n7\ny");
        check(old, new, "@@ -1,4 +1,4 @@\n-a\n+x\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+y\n");
        check("", "a", "@@ -1 +1 @@\n-\n+a\n");
    }
}
