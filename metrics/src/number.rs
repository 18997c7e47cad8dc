//! Numbers as Go writes them.

/// The exponents between which a number is written without one.
const EXPONENTS: std::ops::Range<i32> = -4..6;

/// A number as `strconv.FormatFloat(f, 'g', -1, 64)` writes it, which is how Prometheus' libraries in Go do.
pub fn go_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let shortest = format!("{number:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if EXPONENTS.contains(&exponent) {
        return format!("{number}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_written_as_in_go() {
        let cases = [
            (0.0, "0"),
            (834.0, "834"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (208_409_392.0, "2.08409392e+08"),
            (25_758_112_684.5, "2.57581126845e+10"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (6.399_999_999_999_999e-8, "6.399999999999999e-08"),
            (-3.0, "-3"),
            (10.5, "10.5"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (number, text) in cases {
            assert_eq!(super::go_float(number), text);
        }
    }
}
