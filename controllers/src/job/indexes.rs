//! Sets of completion indexes, as text: `1,3-5,7`.

use std::collections::BTreeSet;

/// Reads a set; what is not readable, or not below `completions`, is left out.
pub(super) fn parse(text: &str, completions: i32) -> BTreeSet<i32> {
    let mut set = BTreeSet::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            set.extend((first.max(0)..=last).take_while(|i| *i < completions));
        }
    }
    set
}

/// Writes a set; two neighbours are a pair, three or more a range.
pub(super) fn write(set: &BTreeSet<i32>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut run: Option<(i32, i32)> = None;
    let close = |run: Option<(i32, i32)>, parts: &mut Vec<String>| match run {
        Some((a, b)) if a == b => parts.push(a.to_string()),
        Some((a, b)) if a + 1 == b => parts.push(format!("{a},{b}")),
        Some((a, b)) => parts.push(format!("{a}-{b}")),
        None => {}
    };
    for i in set {
        run = match run {
            Some((a, b)) if b + 1 == *i => Some((a, *i)),
            other => {
                close(other, &mut parts);
                Some((*i, *i))
            }
        };
    }
    close(run, &mut parts);
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7", "0,1,3,4"] {
            assert_eq!(write(&parse(text, 100)), text);
        }
        assert_eq!(write(&parse("0-9,x", 3)), "0-2");
    }
}
