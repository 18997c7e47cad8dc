//! What a machine can check of the layout and the rules of the code.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines a file may have; over this it is more than one idea.
const LINES_MAX: usize = 400;

/// Which of our crates each crate may use. What is absent here is an invariant of ARCHITECTURE.md.
const EDGES: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("store", &[]),
    ("xtask", &[]),
    ("files", &[]),
    ("metrics", &[]),
    ("apiserver", &["api", "metrics", "store"]),
    ("client", &["api", "metrics"]),
    ("controllers", &["api", "client", "metrics"]),
    ("scheduler", &["api", "client", "metrics"]),
    ("network", &["api", "client", "files", "metrics"]),
    ("kubelet", &["api", "client", "files", "metrics"]),
    (
        "coracle",
        &["api", "apiserver", "client", "controllers", "files", "kubelet", "metrics", "network", "scheduler", "store"],
    ),
    ("tests", &["api", "client", "coracle"]),
];

/// What the tests of a crate may use besides.
const TEST_EDGES: &[(&str, &[&str])] = &[("kubelet", &["network"])];

/// Crates that must not see these packages, directly.
const FOREIGN: &[(&str, &[&str])] = &[
    ("api", &["tokio", "axum", "hyper", "futures", "sled"]),
    ("store", &["serde_json", "k8s-openapi", "kube", "api"]),
    ("client", &["axum", "sled"]),
];

/// Modules that must not use these modules of their crate, and why.
const INNER_EDGES: &[(&str, &[&str], &str)] =
    &[("api/src/cel", &["crd"], "CEL knows types and values; who has schemas tells it of them")];

/// Text that may not stand in code, with the files where it may and the reason.
const BANNED: &[(&str, &[&str], &str)] = &[
    ("SystemTime::now", &["clock.rs"], "time is a parameter"),
    ("Instant::now", &["clock.rs"], "time is a parameter"),
    ("Timestamp::now", &["clock.rs"], "time is a parameter"),
    ("rand::rng", &["clock.rs"], "randomness is a parameter"),
    ("Uuid::new_v4", &["clock.rs"], "randomness is a parameter"),
    ("todo!(", &[], "nothing is left for later in silence"),
    ("unimplemented!(", &[], "nothing is left for later in silence"),
    ("dbg!(", &[], "left over"),
    ("#[allow(", &[], "use #[expect(.., reason = ..)]"),
    (".unwrap()", &[], "use ? or expect with the invariant"),
];

/// Runs every check and prints every problem.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut problems = edges(&root)?;
    let mut files = Vec::new();
    for (name, _) in EDGES {
        collect(&root.join(name), &mut files)?;
    }
    files.sort();
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        let shown = file.strip_prefix(&root).unwrap_or(file).display().to_string();
        problems.extend(check_file(&shown, &text));
    }
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} files, {} problems", files.len(), problems.len());
    if problems.is_empty() { Ok(()) } else { Err("the tree is not tidy".into()) }
}

/// Dependency edges as `cargo metadata` tells them.
fn edges(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut problems = check_edges(&metadata);
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let mut files = Vec::new();
        if let Some(folder) = package["manifest_path"].as_str().and_then(|path| Path::new(path).parent()) {
            collect(folder, &mut files)?;
        }
        let source: Vec<String> = files.iter().map(std::fs::read_to_string).collect::<Result<_, _>>()?;
        problems.extend(check_used(package, &source.concat()));
    }
    Ok(problems)
}

/// That a crate's source names each of its dependencies: one that it does not need is built, audited and updated for nothing.
fn check_used(package: &Value, source: &str) -> Vec<String> {
    let code: String = source.lines().flat_map(|line| [line.split("//").next().unwrap_or(""), "\n"]).collect();
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let names = dependencies.filter_map(|one| one["rename"].as_str().or(one["name"].as_str()));
    let unused = names.filter(|name| !uses(&code, &name.replace('-', "_")));
    unused.map(|name| format!("crate {} does not use {name}", package["name"].as_str().unwrap_or(""))).collect()
}

/// Whether a path begins with this crate, or it is imported itself.
fn uses(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let begins = !before.strip_suffix("::").unwrap_or(before).ends_with(is_word);
        let imported = before.ends_with("use ") && [";", " as "].iter().any(|end| after.starts_with(end));
        begins && (after.starts_with("::") || imported)
    })
}

fn check_edges(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let in_tests: BTreeMap<&str, &[&str]> = TEST_EDGES.iter().copied().collect();
    let foreign: BTreeMap<&str, &[&str]> = FOREIGN.iter().copied().collect();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("");
        let Some(may) = allowed.get(name) else {
            problems.push(format!("crate {name} is not in the table of edges"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or("");
            let in_test = dependency["kind"] == "dev" && in_tests.get(name).is_some_and(|list| list.contains(&on));
            if allowed.contains_key(on) && !may.contains(&on) && !in_test {
                problems.push(format!("crate {name} may not use {on}"));
            }
            if dependency["kind"].is_null() && foreign.get(name).is_some_and(|list| list.contains(&on)) {
                problems.push(format!("crate {name} may not use {on}"));
            }
        }
    }
    problems
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_file(name: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let file = name.rsplit('/').next().unwrap_or(name);
    if !text.starts_with("//!") {
        problems.push(format!("{name}:1: the first line is not a `//!` that says what the file is"));
    }
    if file == "mod.rs" {
        problems.push(format!("{name}: use name.rs beside the folder, not mod.rs"));
    }
    if matches!(file, "util.rs" | "utils.rs" | "helper.rs" | "helpers.rs" | "common.rs" | "manager.rs") {
        problems.push(format!("{name}: a file is named after what it is"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{name}: {lines} lines, over {LINES_MAX}"));
    }
    let passes = |line: &str| line.contains("println!(\"skipped");
    if let Some(number) = text.lines().position(passes).filter(|_| !name.starts_with("xtask/")) {
        problems.push(format!("{name}:{}: a test that cannot run is ignored, and does not pass", number + 1));
    }
    problems.extend(check_inner_edges(name, text));
    if !name.starts_with("xtask/") && !is_test(name) {
        problems.extend(check_banned(name, file, text));
    }
    problems
}

/// Looks at all code of a module, tests too.
fn check_inner_edges(name: &str, text: &str) -> Vec<String> {
    let within = |module: &str| name.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
    let mut problems = Vec::new();
    for (module, others, reason) in INNER_EDGES.iter().filter(|(module, ..)| within(module)) {
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            for other in others.iter().filter(|other| code.contains(&format!("{other}::"))) {
                problems.push(format!("{name}:{}: {module} may not use {other}: {reason}", number + 1));
            }
        }
    }
    problems
}

fn is_test(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    parts[..parts.len() - 1].iter().any(|part| matches!(*part, "tests" | "examples" | "benches"))
        || parts.last().is_some_and(|file| *file == "tests.rs" || file.ends_with("_tests.rs"))
}

/// Follows the items that are only there in tests, as rustfmt lays them out.
#[derive(Default)]
struct TestItems {
    /// How far the attribute is from the margin, as long as its item has not ended.
    indent: Option<usize>,
    /// Whether the item's block has begun.
    in_block: bool,
}

impl TestItems {
    /// Whether a line, the next of its file, belongs to one.
    fn has(&mut self, line: &str) -> bool {
        let text = line.trim_start();
        let at = line.len() - text.len();
        let Some(indent) = self.indent else {
            if text.starts_with("#[cfg(test)]") {
                (self.indent, self.in_block) = (Some(at), false);
            }
            return self.indent.is_some();
        };
        let is_end = if self.in_block { at == indent && text.starts_with('}') } else { text.ends_with([';', ',']) };
        self.in_block |= text.ends_with('{') && !text.starts_with("#[");
        if is_end || (!self.in_block && text.ends_with('}')) {
            self.indent = None;
        }
        true
    }
}

/// Looks at code; what is only there in tests may do more.
fn check_banned(name: &str, file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut tests = TestItems::default();
    for (number, line) in text.lines().enumerate() {
        if tests.has(line) {
            continue;
        }
        let code = line.split("//").next().unwrap_or("");
        for (banned, except, reason) in BANNED {
            if code.contains(banned) && !except.contains(&file) {
                problems.push(format!("{name}:{}: {banned}: {reason}", number + 1));
            }
        }
        let polls = code.contains("time::sleep(") || code.contains("time::interval(");
        if name.starts_with("controllers/") && polls {
            problems.push(format!("{name}:{}: a controller does not sleep", number + 1));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(check_file("api/src/x.rs", "//! X.\nfn a() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn each_rule_can_fail() {
        let check = |name: &str, text: &str, expect: &str| {
            let problems = check_file(name, text);
            assert!(problems.iter().any(|p| p.contains(expect)), "{name}: {problems:?}");
        };
        check("api/src/x.rs", "fn a() {}\n", "first line");
        check("api/src/x.rs", "//! X.\n    println!(\"skipped: no root\");\n", "ignored");
        check("api/src/x/mod.rs", "//! X\n", "mod.rs");
        check("api/src/util.rs", "//! X\n", "named after");
        check("api/src/x.rs", "//! X\nlet a = b.unwrap();\n", "unwrap");
        check("api/src/x.rs", "//! X\nInstant::now();\n", "parameter");
        check("controllers/src/x.rs", "//! X\ntokio::time::sleep(d);\n", "does not sleep");
        check("api/src/cel/x.rs", "//! X\nuse crate::crd::Node;\n", "may not use crd");
        check("api/src/cel.rs", "//! X\nuse crate::{crd::Node, names};\n", "may not use crd");
        check("api/src/x.rs", &format!("//! X\n{}", "\n".repeat(LINES_MAX)), "lines, over");
    }

    #[test]
    fn dependencies_are_used() {
        let package = json!({"name": "a", "dependencies": [{"name": "some-thing"}, {"name": "http"}, {"name": "x", "rename": "y"}]});
        let check = |source: &str, unused: &[&str]| {
            let expected: Vec<String> = unused.iter().map(|name| format!("crate a does not use {name}")).collect();
            assert_eq!(check_used(&package, source), expected, "{source}");
        };
        check("", &["some-thing", "http", "y"]);
        check("use some_thing::{A, B};\n::http::get(); y::z!();", &[]);
        check("use some_thing;\nuse http as web;\n#[y::main]", &[]);
        check("// some_thing::A\naxum::http::get(\"http\"); my::y(); let y: u8 = x::Y;", &["some-thing", "http", "y"]);
        check("awesome_thing::a(); http::x(); y ::z();", &["some-thing", "y"]);
    }

    #[test]
    fn code_after_tests_is_looked_at() {
        let check = |text: &str, expected: usize| {
            assert_eq!(check_banned("api/src/x.rs", "x.rs", text).len(), expected, "{text}");
        };
        check("#[cfg(test)]\nmod tests {\n    fn a() {\n        x.unwrap();\n    }\n}\n", 0);
        check("#[cfg(test)]\nmod tests;\nfn a() {\n    x.unwrap();\n}\n", 1);
        check("#[cfg(test)]\nfn a() {\n    x.unwrap();\n}\nfn b() {\n    x.unwrap();\n}\n", 1);
        check("    #[cfg(test)]\n    pub x: u8,\n    y.unwrap();\n", 1);
        check("#[cfg(test)]\n#[derive(Debug)]\nstruct A {\n    x: u8,\n}\nfn b() {\n    x.unwrap();\n}\n", 1);
    }

    #[test]
    fn edges_are_checked() {
        let metadata = json!({"packages": [
            {"name": "api", "dependencies": [{"name": "store", "kind": null}, {"name": "tokio", "kind": null}]},
            {"name": "network", "dependencies": [{"name": "kubelet", "kind": null}, {"name": "store", "kind": "dev"}]},
            {"name": "kubelet", "dependencies": [{"name": "network", "kind": "dev"}]},
            {"name": "stray", "dependencies": []},
        ]});
        assert_eq!(
            check_edges(&metadata),
            [
                "crate api may not use store",
                "crate api may not use tokio",
                "crate network may not use kubelet",
                "crate network may not use store",
                "crate stray is not in the table of edges",
            ]
        );
        let metadata = json!({"packages": [{"name": "kubelet", "dependencies": [{"name": "network", "kind": null}]}]});
        assert_eq!(check_edges(&metadata), ["crate kubelet may not use network"]);
    }
}
