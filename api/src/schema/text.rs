//! The text of `data/schema.txt`, line by line, and the short names of definitions.
//!
//! A line that starts with `=` opens a definition: its name, and `a` if it is atomic. A line with `!` gives its group,
//! version and kind. `+` puts the fields of another definition here, as Go does with a struct that is embedded: its
//! name behind `@`, and its number in protobuf. Any other line is a field, in Go's order: name (with Go's behind `/`
//! if that is not the same with a capital), type, number in protobuf, flags, named scalar (or, behind `=`, named list
//! or map), list map keys, merge key and default, separated by tabs. Types are letters (`s` string, `i` and `l`
//! integers, `b` boolean, `d` double, `y` bytes, and the special ones), `@NAME` for a definition, `[` and `{` before the
//! type of a list's items and a map's values.

/// What the short name of a definition leaves out: the first of these that it begins with.
const PREFIXES: &str = include_str!("../../data/overlay/prefixes.txt");

/// The name of a definition as references write it: `core.v1.Pod` of `io.k8s.api.core.v1.Pod`.
pub(super) fn short(name: &str) -> &str {
    PREFIXES.lines().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

/// A definition: its name, whether it is atomic, its group, version and kind if it is one's, and its fields' lines.
pub(super) struct Block {
    pub(super) name: &'static str,
    pub(super) atomic: bool,
    pub(super) kind: Option<(&'static str, &'static str, &'static str)>,
    pub(super) lines: &'static str,
}

/// All definitions of the text.
pub(super) fn blocks(text: &'static str) -> impl Iterator<Item = Block> {
    let text = text.strip_prefix('=').unwrap_or(text);
    text.split("\n=").map(|block| {
        let (head, mut lines) = block.split_once('\n').unwrap_or((block, ""));
        let (name, atomic) = head.split_once('\t').unwrap_or((head, ""));
        let mut kind = None;
        if let Some(rest) = lines.strip_prefix('!') {
            let (words, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            let mut words = words.split('\t');
            let mut next = || words.next().unwrap_or("");
            kind = Some((next(), next(), next()));
            lines = rest;
        }
        Block { name, atomic: atomic == "a", kind, lines }
    })
}

/// What a line says of a struct.
pub(crate) enum Member {
    /// The fields of another definition, and their number in protobuf.
    Embedded { of: &'static str, proto: &'static str },
    /// A field of its own.
    Field(Line),
}

/// A field as its line writes it.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// Go's name; empty if it is the other with a capital.
    pub(crate) go_name: &'static str,
    pub(crate) ty: &'static str,
    pub(crate) proto: &'static str,
    pub(crate) flags: &'static str,
    pub(crate) named: &'static str,
    pub(crate) keys: &'static str,
    pub(crate) merge_key: &'static str,
    pub(crate) default: &'static str,
}

/// The members of a definition, in Go's order.
pub(crate) fn members(lines: &'static str) -> impl Iterator<Item = Member> {
    lines.lines().map(|line| {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap_or("");
        let (name, ty, proto) = (next(), next(), next());
        if name == "+" {
            return Member::Embedded { of: ty.trim_start_matches('@'), proto };
        }
        // Nearly no name has a second one, and no name is long.
        let (name, go_name) = name.split_once('/').unwrap_or((name, ""));
        let (flags, named, keys, merge_key, default) = (next(), next(), next(), next(), next());
        Member::Field(Line { name, go_name, ty, proto, flags, named, keys, merge_key, default })
    })
}
