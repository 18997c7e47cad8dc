//! No name of a field is misspelt: every place in the sources that reads a field by name is reached here with the type known,
//! and [`At`](crate::validation::at::At) panics where a type does not have the field.

use std::fs;
use std::path::{Path, PathBuf};

use super::{generated, recorded, refused};
use crate::validation::at::places;

/// The methods of `At` that take names.
const METHODS: [&str; 7] = ["at", "field", "fields", "items_by", "known", "name", "without"];
/// Ways to read a field of a bare value, past its type.
const BARE: [&str; 7] =
    [".get(\"", ".get_mut(\"", ".remove(\"", ".contains_key(\"", ".pointer(", ".pointer_mut(", "[\""];

/// A call of a method that takes names.
struct Call {
    line: usize,
    column: usize,
    argument: String,
}

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("the sources are there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let name = |path: &Path| path.strip_prefix(&root).expect("below it").to_string_lossy().replace('\\', "/");
    let mut files: Vec<String> = paths.iter().map(|path| name(path)).collect();
    let own = ["validation/at.rs", "validation/at/", "validation/tests"];
    let is_rule = |file: &String| file.starts_with("validation") || file.starts_with("kinds");
    files.retain(|file| is_rule(file) && !own.iter().any(|path| file.starts_with(path)));
    files.sort();
    let text = |file: &str| fs::read_to_string(root.join(file)).expect("a source can be read");
    files.into_iter().map(|file| (code(&text(&file)), file)).map(|(code, file)| (file, code)).collect()
}

/// The lines before the tests of a file, without what is commented.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let line = |line: &str| if line.trim_start().starts_with("//") { String::new() } else { line.to_string() };
    text[..end].lines().map(line).collect::<Vec<_>>().join("\n")
}

fn calls(code: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for method in METHODS {
        let token = format!(".{method}(");
        for (at, _) in code.match_indices(&token) {
            let before = &code[..=at];
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            let argument = code[at + token.len()..].trim_start();
            // Other types have a `name()`.
            if argument.starts_with(')') {
                continue;
            }
            found.push(Call {
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                argument: argument.to_string(),
            });
        }
    }
    found
}

/// Whether an argument is a literal, a list of literals, or begins with a constant, all of which is looked at.
fn is_fixed(argument: &str) -> bool {
    let list = argument.strip_prefix('&').unwrap_or(argument);
    if let Some(items) = list.strip_prefix('[') {
        let Some((items, _)) = items.split_once(']') else { return false };
        return items
            .split(',')
            .map(str::trim)
            .all(|item| is_constant(item) || item.starts_with('"') || item.is_empty());
    }
    list.starts_with('"') || is_constant(list)
}

fn is_constant(text: &str) -> bool {
    let path: &str = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':')).next().unwrap_or("");
    let name = path.rsplit("::").next().unwrap_or("");
    name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether a line reads a field of a bare value in this way; `""` is no name, and `["` alone begins a list.
fn is_bare(line: &str, way: &str) -> bool {
    let ends_value = |c: char| c.is_alphanumeric() || matches!(c, '_' | ']' | ')');
    let is_read = |at: usize| way != "[\"" || line[..at].ends_with(ends_value);
    line.match_indices(way).any(|(at, _)| is_read(at) && !line[at + way.len()..].starts_with('"'))
}

#[test]
fn every_name_is_known_to_the_schema() {
    let reached = places::reached_by(|| {
        recorded::all();
        refused::all();
        generated::all();
    });
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        for (number, line) in code.lines().enumerate() {
            if BARE.iter().any(|way| is_bare(line, way)) {
                wrong.push(format!("{file}:{}: a field is read past its type: {}", number + 1, line.trim()));
            }
        }
        for call in calls(&code) {
            let place = (file.as_str(), call.line as u32, call.column as u32);
            if !is_fixed(&call.argument) {
                wrong.push(format!("{file}:{}: a name is not written where it is used", call.line));
            } else if !reached.contains(&place) {
                let shown = call.argument.split([')', '\n']).next().unwrap_or("");
                wrong.push(format!("{file}:{}: no test reaches {shown}", call.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{} places:\n{}", wrong.len(), wrong.join("\n"));
}
