//! The families that are declared, against those of the reference.
//!
//! `documented.txt` lists what the reference's own documentation says of them (`cargo xtask codegen --from` writes it):
//! name, type, labels, bounds of buckets, stability, where. `recorded.txt` has the same of running components, for what is not
//! documented or otherwise than it runs: types that are only called `custom`, bounds that are left to a default, stabilities
//! that have changed. A name that has two meanings has `cadvisor:` before it for the second. `left-out.txt` lists those that
//! are not served, below the reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use metrics::{Book, Description, Kind};

const DOCUMENTED: &str = include_str!("documented.txt");
const RECORDED: &str = include_str!("recorded.txt");
const LEFT_OUT: &str = include_str!("left-out.txt");

type Rows = BTreeMap<&'static str, Vec<&'static str>>;

fn rows(text: &'static str) -> Rows {
    let row = |line: &'static str| {
        let mut fields = line.split('\t');
        (fields.next().expect("a name"), fields.collect())
    };
    text.lines().map(row).collect()
}

/// What runs counts, where it is known.
fn reference() -> Rows {
    let mut all = rows(DOCUMENTED);
    all.extend(rows(RECORDED));
    all
}

/// What is recorded of what is documented says something else.
#[test]
fn nothing_is_recorded_that_is_documented_alike() {
    let (documented, bounds) = (rows(DOCUMENTED), |text: &str| -> Vec<f64> {
        text.split(',').filter_map(|bound| bound.parse().ok()).collect()
    });
    let facts = |row: &[&'static str]| {
        let since = row[4].split_once(" deprecated=").map_or("", |(_, since)| since);
        (row[0], row[1], bounds(row[2]), row[3], since)
    };
    let alike =
        |name: &&str, row: &[&'static str]| documented.get(name).is_some_and(|other| facts(other) == facts(row));
    let twice: Vec<_> =
        rows(RECORDED).into_iter().filter(|(name, row)| alike(name, row)).map(|(name, _)| name).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

fn left_out() -> BTreeSet<&'static str> {
    LEFT_OUT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Every family that is declared, by its name in the list.
fn declared() -> BTreeMap<String, &'static Description> {
    let of = |book: Book, prefix: &'static str| {
        book.all().iter().map(move |(name, description)| (format!("{prefix}{name}"), description))
    };
    of(Book::Components, "").chain(of(Book::Cadvisor, "cadvisor:")).collect()
}

#[test]
fn declared_families_are_as_in_the_reference() {
    let (reference, mut wrong) = (reference(), Vec::new());
    for (name, family) in declared() {
        let Some(facts) = reference.get(name.as_str()) else {
            wrong.push(format!("{name} is not in the list"));
            continue;
        };
        let [kind, labels, bounds, stability, place] = facts[..] else { panic!("{name}: {facts:?}") };
        let list = |text: &'static str| if text == "-" { Vec::new() } else { text.split(',').collect::<Vec<_>>() };
        let own = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let bounds: Vec<f64> = list(bounds).into_iter().map(|bound| bound.parse().expect("a number")).collect();
        let deprecated = place.split_once(" deprecated=").map_or("", |(_, since)| since);
        let mut is = |ok: bool, what: &str| {
            if !ok {
                wrong.push(format!("{name}: {what} differ from {facts:?}"));
            }
        };
        is(own == kind, "types");
        is(family.is_labelled(&list(labels)), "labels");
        is(family.bounds == bounds, "bounds");
        is(family.stability() == if stability == "-" { "" } else { stability }, "stabilities");
        is(family.deprecated() == deprecated, "deprecations");
        is(!family.help.is_empty(), "help texts");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_family_is_declared_or_left_out_for_a_reason() {
    let (declared, left_out) = (declared(), left_out());
    let missing: Vec<_> =
        reference().into_keys().filter(|name| !declared.contains_key(*name) && !left_out.contains(name)).collect();
    assert!(missing.is_empty(), "neither declared nor left out: {missing:?}");
    let both: Vec<_> = left_out.iter().filter(|name| declared.contains_key(**name)).collect();
    assert!(both.is_empty(), "declared and left out: {both:?}");
    let unknown: Vec<_> = left_out.iter().filter(|name| !reference().contains_key(**name)).collect();
    assert!(unknown.is_empty(), "left out and not in the list: {unknown:?}");
    let mut groups = LEFT_OUT.split("\n\n");
    assert!(groups.all(|group| group.trim_start().starts_with("# ")), "a group without a reason");
}

/// A declaration that nothing writes would be a promise that is not kept.
#[test]
fn every_declared_family_is_written_by_something() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut source = String::new();
    for part in ["apiserver", "client", "controllers", "kubelet", "metrics", "network", "scheduler"] {
        read(&workspace.join(part).join("src"), &mut source);
    }
    // Whatever stands in quotes, and some of what does not.
    let written: BTreeSet<&str> = source.split('"').collect();
    let is_written = |name: &str| written.contains(name.strip_prefix("cadvisor:").unwrap_or(name));
    let unused: Vec<_> = declared().into_keys().filter(|name| !is_written(name)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// Adds all Rust below a directory.
fn read(directory: &Path, source: &mut String) {
    let entries: Vec<PathBuf> =
        fs::read_dir(directory).expect("sources").map(|entry| entry.expect("one").path()).collect();
    for path in entries {
        if path.is_dir() {
            read(&path, source);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            source.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}
