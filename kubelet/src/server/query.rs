//! Query parameters.

/// The parameters of a request, in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), decode(value, true))
        });
        Self(decoded.collect())
    }

    /// The first value of a parameter, if it is given and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(have, _)| have == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(have, _)| have == name).map(|(_, value)| value.clone()).collect()
    }

    /// Whether a parameter is true.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| matches!(value, "1" | "true" | "True" | "TRUE" | "t" | "T"))
    }
}

/// Undoes percent encoding, and in a query `+` for a space.
pub(super) fn decode(text: &str, is_query: bool) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, escape.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(value)) => {
                plain.push(value);
                at += 2;
            }
            (b'+', _) if is_query => plain.push(b' '),
            _ => plain.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("command=sh&command=-c&command=echo+%22a%26b%22%0A&tty=1&x=%zz&y"));
        assert_eq!(query.all("command"), ["sh", "-c", "echo \"a&b\"\n"]);
        assert!(query.flag("tty") && !query.flag("x"));
        assert_eq!((query.get("x"), query.get("y")), (Some("%zz"), None));
    }
}
