//! Numbers that may be a share of another number.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How a share is rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    Up,
    Down,
}

/// `value` of `total`; nothing, or something unreadable, is zero.
pub(crate) fn resolve(value: Option<&IntOrString>, total: i32, round: Round) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent: i64 = text.strip_suffix('%').and_then(|p| p.parse().ok()).unwrap_or(0);
            let hundredths = percent * i64::from(total);
            let rounded = match round {
                Round::Up => hundredths.div_euclid(100) + i64::from(hundredths.rem_euclid(100) != 0),
                Round::Down => hundredths.div_euclid(100),
            };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let percent = |p: &str| IntOrString::String(p.into());
        assert_eq!(resolve(Some(&percent("25%")), 10, Round::Up), 3);
        assert_eq!(resolve(Some(&percent("25%")), 10, Round::Down), 2);
        assert_eq!(resolve(Some(&percent("100%")), 7, Round::Down), 7);
        assert_eq!(resolve(Some(&IntOrString::Int(4)), 10, Round::Down), 4);
        assert_eq!(resolve(None, 10, Round::Up), 0);
    }
}
