//! `format` of a text that is written out, with a list that is (`stringFormatValidator` in cel-go).

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue};

use super::Checker;
use crate::cel::types::Type;
use crate::go::strconv;

/// The function.
pub(super) const FORMAT: &str = "format";

/// What is wrong, and with which argument if it is one.
type Fault = (Option<u64>, String);

impl Checker<'_> {
    /// Looks at a call of the function.
    pub(super) fn format(&mut self, id: u64, call: &CallExpr) {
        let (FORMAT, Some(target), [list]) = (call.func_name.as_str(), &call.target, call.args.as_slice()) else {
            return;
        };
        let (Expr::Literal(LiteralValue::String(text)), Expr::List(list)) = (&target.expr, &list.expr) else { return };
        let given = list.elements.len();
        match self.clauses(text.inner(), &list.elements) {
            Err((argument, why)) => self.report(argument.unwrap_or(id), why),
            Ok(asked) if asked < given => {
                let why = format!("too many arguments supplied to string.format (expected {asked}, got {given})");
                self.report(id, why);
            }
            Ok(_) => {}
        }
    }

    /// How many arguments a text asks for, which must be there and fit.
    fn clauses(&self, text: &str, arguments: &[IdedExpr]) -> Result<usize, Fault> {
        let (mut rest, mut asked) = (text.as_bytes(), 0);
        while let Some(sign) = rest.iter().position(|byte| *byte == b'%') {
            rest = &rest[sign + 1..];
            match rest.first() {
                Some(b'%') => rest = &rest[1..],
                None => return Err((None, "unexpected end of string".into())),
                Some(_) => {
                    let argument = arguments.get(asked).ok_or_else(|| (None, format!("index {asked} out of range")))?;
                    asked += 1;
                    let unread = |why: String| (None, format!("could not parse formatting clause: {why}"));
                    let verb = verb(&mut rest).map_err(unread)?;
                    let unfit = |(id, why): (u64, String)| (Some(id), format!("error during formatting: {why}"));
                    self.fits(verb, argument).map_err(unfit)?;
                }
            }
        }
        Ok(asked)
    }

    /// Whether an argument can be written as a verb says.
    fn fits(&self, verb: u8, argument: &IdedExpr) -> Result<(), (u64, String)> {
        use Type::{Bool, Bytes, Double, Int, String, Uint};
        let (fitting, why): (&[Type], &str) = match verb {
            b's' => return self.fits_text(argument),
            b'd' => (&[Int, Uint], "decimal clause can only be used on integers"),
            b'f' => (&[Double, String], "fixed-point clause can only be used on doubles"),
            b'e' => (&[Double, String], "scientific clause can only be used on doubles"),
            b'b' => (&[Int, Uint, Bool], "only integers and bools can be formatted as binary"),
            b'o' => (&[Int, Uint], "octal clause can only be used on integers"),
            _ => (&[Int, Uint, String, Bytes], "only integers, byte buffers, and strings can be formatted as hex"),
        };
        let found = self.checked.ty(argument);
        if *found == Type::Dyn || fitting.contains(found) {
            return Ok(());
        }
        Err((argument.id, format!("{why}, was given {}", runtime_name(found))))
    }

    fn fits_text(&self, part: &IdedExpr) -> Result<(), (u64, String)> {
        let found = self.checked.ty(part);
        if matches!(found, Type::Optional(_) | Type::Object(_) | Type::Library(_) | Type::Var(_) | Type::Error) {
            let all = "strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
            let why = format!("string clause can only be used on {all}, was given {}", runtime_name(found));
            return Err((part.id, why));
        }
        match &part.expr {
            Expr::List(list) => list.elements.iter().try_for_each(|item| self.fits_text(item)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.fits_text(&entry.key)?;
                    self.fits_text(&entry.value)
                }
                EntryExpr::StructField(_) => Ok(()),
            }),
            _ => Ok(()),
        }
    }
}

/// The verb that a text begins with, after a precision if there is one.
fn verb(text: &mut &[u8]) -> Result<u8, String> {
    if let Some(after) = text.strip_prefix(b".") {
        let precision = |why: &str| format!("error while parsing precision: {why}");
        let end = after.iter().position(|byte| !byte.is_ascii_digit());
        let end = end.ok_or_else(|| precision("could not find end of precision specifier"))?;
        let digits = String::from_utf8_lossy(&after[..end]);
        strconv::atoi(&digits)
            .map_err(|why| precision(&format!("error while converting precision to integer: {why}")))?;
        *text = &after[end..];
    }
    match text.split_first() {
        Some((verb, rest)) if b"sdfebxXo".contains(verb) => {
            *text = rest;
            Ok(*verb)
        }
        Some((other, _)) => Err(format!("unrecognized formatting clause \"{}\"", char::from(*other))),
        None => Err("unexpected end of string".into()),
    }
}

/// What a type is called when the expression runs.
fn runtime_name(found: &Type) -> String {
    match found {
        Type::List(_) => "list".into(),
        Type::Map(..) => "map".into(),
        Type::Optional(_) => "optional_type".into(),
        Type::Of(_) => "type".into(),
        Type::Null => "null_type".into(),
        Type::Duration => "google.protobuf.Duration".into(),
        Type::Timestamp => "google.protobuf.Timestamp".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::cel::{Type, checked};

    fn check(expression: &str, expected: &str) {
        let found = checked(expression, &[("d", Type::Dyn), ("i", Type::Int)]).err().unwrap_or_default();
        let found = found.lines().next().unwrap_or("").trim_start_matches("ERROR: <input>:");
        assert_eq!(found, expected, "{expression}");
    }

    #[test]
    fn formats_ask_for_what_they_are_given() {
        check(
            "'%s and %% %X'.format(['a', 'b']) + '%.2f %e'.format([1.5, d]) + '%d %x %o %b'.format([i, 1, 1, 1])",
            "",
        );
        check("'%s %d'.format(['a', dyn(1)]) + '%s'.format([[1, dyn('a')]]) + '%b'.format([true])", "");
        check("['a', dyn(1)].size() == 2", "1:10: expected type 'string' but found 'dyn'");
        check("'%s %s'.format(['a'])", "1:15: index 1 out of range");
        check("'%s'.format([])", "1:12: index 0 out of range");
        check("'%s'.format(['a', 'b'])", "1:12: too many arguments supplied to string.format (expected 1, got 2)");
        check("'a%'.format([1])", "1:12: unexpected end of string");
        check("'%q'.format([1])", "1:12: could not parse formatting clause: unrecognized formatting clause \"q\"");
        check(
            "'%.2'.format([1.0])",
            "1:13: could not parse formatting clause: error while parsing precision: could not find end of precision \
             specifier",
        );
        check(
            "'%d'.format(['a'])",
            "1:14: error during formatting: decimal clause can only be used on integers, was given string",
        );
        check(
            "'%s'.format([[quantity('1')]])",
            "1:23: error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, \
             lists, types, durations, and timestamps, was given kubernetes.Quantity",
        );
        check("['a', 1].size() == 2", "1:7: expected type 'string' but found 'int'");
    }
}
