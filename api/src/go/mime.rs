//! Media types as Go's package `mime` reads them.

/// The media type of a header, in small letters and without its parameters, which must be good (`ParseMediaType`).
///
/// # Errors
/// That function's text.
pub fn media_type(text: &str) -> Result<String, &'static str> {
    let end = text.find(';').unwrap_or(text.len());
    let (base, mut rest) = text.split_at(end);
    let media_type = base.trim().to_ascii_lowercase();
    check(&media_type)?;
    let mut known: Vec<(String, String)> = Vec::new();
    while !rest.trim_start().is_empty() {
        let Some((name, value, after)) = parameter(rest) else {
            // Semicolons at the end are common.
            return if rest.trim() == ";" { Ok(media_type) } else { Err("mime: invalid media parameter") };
        };
        if known.iter().any(|(other, of_it)| *other == name && *of_it != value) {
            return Err("mime: duplicate parameter name");
        }
        known.push((name, value));
        rest = after;
    }
    Ok(media_type)
}

/// A type, mostly with a slash and a subtype (`checkMediaTypeDisposition`).
fn check(text: &str) -> Result<(), &'static str> {
    let (first, rest) = token(text);
    match (first, rest.strip_prefix('/')) {
        ("", _) => Err("mime: no media type"),
        (_, None) if rest.is_empty() => Ok(()),
        (_, None) => Err("mime: expected slash after first token"),
        (_, Some(rest)) => match token(rest) {
            ("", _) => Err("mime: expected token after slash"),
            (_, "") => Ok(()),
            _ => Err("mime: unexpected content after media subtype"),
        },
    }
}

/// A parameter with the semicolon before it, and what comes after.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.trim_start().strip_prefix(';')?.trim_start());
    if name.is_empty() {
        return None;
    }
    let (value, rest) = value(rest.trim_start().strip_prefix('=')?.trim_start())?;
    Some((name.to_ascii_lowercase(), value, rest))
}

/// A token, or a text in quotes.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (!value.is_empty()).then(|| (value.to_string(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\r' | '\n' => return None,
            '\\' if characters.peek().is_some_and(|(_, next)| SPECIAL.contains(*next)) => {
                value.extend(characters.next().map(|(_, next)| next));
            }
            other => value.push(other),
        }
    }
    None
}

/// What ends a token.
const SPECIAL: &str = "()<>@,;:\\\"/[]?=";

fn token(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_graphic() && !SPECIAL.contains(c);
    text.split_at(text.find(|c| !is_part(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for text in [
            "application/json",
            " Application/JSON ",
            "application/json;",
            "application/json; ",
            "application/json; charset=utf-8",
            "application/json;charset=\"utf-8\" ;",
            "application/json; a=b; A=b",
            "application/json; stream=watch",
            "application/json; a=\"x\\\"y;z\"; b=c",
        ] {
            assert_eq!(media_type(text), Ok("application/json".into()), "{text}");
        }
        assert_eq!(media_type("json"), Ok("json".into()));
        for (text, why) in [
            ("", "mime: no media type"),
            (";", "mime: no media type"),
            ("application/ json", "mime: expected token after slash"),
            ("application/json/x", "mime: unexpected content after media subtype"),
            ("application json", "mime: expected slash after first token"),
            ("application/json; charset", "mime: invalid media parameter"),
            ("application/json; =x", "mime: invalid media parameter"),
            ("application/json; a=", "mime: invalid media parameter"),
            ("application/json; a=\"b", "mime: invalid media parameter"),
            ("application/json;;", "mime: invalid media parameter"),
            ("application/json; a=b c=d", "mime: invalid media parameter"),
            ("application/json; a=b; a=c", "mime: duplicate parameter name"),
        ] {
            assert_eq!(media_type(text), Err(why), "{text}");
        }
    }
}
