//! From libyaml's events to the nodes of one document.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use libyaml_safer::{Error, ErrorKind, EventData, Parser, ScalarStyle};

/// Deepest nesting (`max_flow_level`, `max_indents`).
const NESTING_MAX: usize = 10_000;
/// The scanner looks at every open bracket for each token, so the nestings of all events together are limited as well.
const NESTING_SUM_MAX: usize = 120_000_000;
/// Most lines that look like directives: the parser compares each tag directive with all before it.
const DIRECTIVES_MAX: usize = 1_000;

const TAG_ENDS_WRONGLY: &str = "did not find expected whitespace or line break";

/// A place in [`Document::nodes`].
pub(super) type Place = usize;

/// A node and the line that it begins on, counted from zero.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) line: u64,
}

pub(super) enum Kind {
    Scalar {
        value: String,
        tag: Option<String>,
        plain: bool,
    },
    Sequence(Vec<Place>),
    /// Keys and values in turn.
    Mapping(Vec<Place>),
    Alias {
        name: String,
        target: Place,
    },
}

/// The nodes of one document.
#[derive(Default)]
pub(super) struct Document {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Option<Place>,
    /// Whether there is any alias.
    pub(super) aliases: bool,
}

/// Reads the first document.
pub(super) fn compose(text: &str) -> Result<Document, String> {
    if text.lines().filter(|line| line.starts_with('%')).nth(DIRECTIVES_MAX).is_some() {
        return Err("too many directives".to_string());
    }
    // The scanner panics where a block scalar ends with the input; the line break that prevents it is no part of the
    // scalar.
    let is_closed = text.ends_with('\n');
    let closed = if is_closed { Cow::Borrowed(text) } else { Cow::Owned(format!("{text}\n")) };
    let length = if is_closed { u64::MAX } else { text.chars().count() as u64 };
    let mut input = closed.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut input);
    let mut composer = Composer::default();
    loop {
        // The scanner panics where a comma ends a tag. (For go-yaml the comma is a part of the tag.)
        let event = catch_unwind(AssertUnwindSafe(|| parser.parse())).map_err(|_| TAG_ENDS_WRONGLY)?;
        let event = event.map_err(|error| told(&error))?;
        let line = event.start_mark.line;
        let is_last = event.end_mark.index > length;
        match event.data {
            EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
            EventData::StreamEnd | EventData::DocumentEnd { .. } => return Ok(composer.document),
            EventData::Alias { anchor } => {
                let target = composer.anchors.get(&anchor);
                let target = *target.ok_or_else(|| format!("unknown anchor '{anchor}' referenced"))?;
                composer.document.aliases = true;
                composer.add(Kind::Alias { name: anchor, target }, line);
            }
            EventData::Scalar { anchor, tag, mut value, plain_implicit, style, .. } => {
                if is_last && matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && value.ends_with('\n') {
                    value.pop();
                }
                let place = composer.add(Kind::Scalar { value, tag, plain: plain_implicit }, line);
                composer.anchor(anchor, place);
            }
            EventData::SequenceStart { anchor, .. } => composer.open(Kind::Sequence(Vec::new()), anchor, line)?,
            EventData::MappingStart { anchor, .. } => composer.open(Kind::Mapping(Vec::new()), anchor, line)?,
            EventData::SequenceEnd | EventData::MappingEnd => {
                composer.open.pop();
            }
        }
        composer.nestings += composer.open.len();
        if composer.nestings > NESTING_SUM_MAX {
            return Err(too_deep(line));
        }
    }
}

#[derive(Default)]
struct Composer {
    document: Document,
    anchors: HashMap<String, Place>,
    open: Vec<Place>,
    nestings: usize,
}

impl Composer {
    fn add(&mut self, kind: Kind, line: u64) -> Place {
        let place = self.document.nodes.len();
        self.document.nodes.push(Node { kind, line });
        match self.open.last() {
            None => self.document.root = Some(place),
            Some(&parent) => {
                if let Kind::Sequence(children) | Kind::Mapping(children) = &mut self.document.nodes[parent].kind {
                    children.push(place);
                }
            }
        }
        place
    }

    fn open(&mut self, kind: Kind, anchor: Option<String>, line: u64) -> Result<(), String> {
        if self.open.len() >= NESTING_MAX {
            return Err(too_deep(line));
        }
        let place = self.add(kind, line);
        self.anchor(anchor, place);
        self.open.push(place);
        Ok(())
    }

    fn anchor(&mut self, anchor: Option<String>, place: Place) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, place);
        }
    }
}

fn too_deep(line: u64) -> String {
    let place = if line == 0 { String::new() } else { format!("line {}: ", line + 1) };
    format!("{place}exceeded max depth of {NESTING_MAX}")
}

/// The parser's error as go-yaml words it (`parser.fail`), which numbers lines in its own way.
fn told(error: &Error) -> String {
    let line = match (error.problem_mark(), error.context_mark()) {
        (Some(mark), _) if mark.line != 0 => mark.line + u64::from(error.kind() == ErrorKind::Scanner),
        (_, Some(mark)) => mark.line,
        _ => 0,
    };
    let place = if line == 0 { String::new() } else { format!("line {line}: ") };
    format!("{place}{}", error.problem())
}
