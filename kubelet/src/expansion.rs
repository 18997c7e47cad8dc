//! References of the form `$(NAME)` in commands, arguments and environment values.

/// Replaces every `$(NAME)` that `lookup` knows; an unknown one stays as it is, and `$$` stands for one `$`.
pub fn expand(input: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut output = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(position) = rest.find('$') {
        output.push_str(&rest[..position]);
        let after = &rest[position + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            output.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => output.push_str(&value),
                None => {
                    output.push_str("$(");
                    output.push_str(name);
                    output.push(')');
                }
            }
            rest = tail;
        } else {
            output.push('$');
            rest = after;
        }
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn check(input: &str, expected: &str) {
        let lookup = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "B" => Some("$(A)".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        assert_eq!(expand(input, lookup), expected, "{input}");
    }

    #[test]
    fn references() {
        check("plain", "plain");
        check("x$(A)y", "x1y");
        check("$(A)$(A)", "11");
        check("$(B)", "$(A)");
        check("$(NONE)", "$(NONE)");
        check("[$(EMPTY)]", "[]");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$1");
        check("$(A", "$(A");
        check("$A $", "$A $");
        check("äöü$(A)ß", "äöü1ß");
    }
}
