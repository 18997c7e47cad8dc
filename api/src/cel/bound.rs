//! Values of JSON as variables that are read where they are: texts are not copied, and what no expression reads is left out.

use std::any::Any;
use std::collections::HashMap;
use std::sync::OnceLock;

use cel::common::traits::Indexer;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, NULL_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{ExecutionError, Value};
use serde_json::{Map, Value as Json};

use super::reads::Reads;

/// A value as the interpreter has it.
pub(crate) type Boxed<'v> = Box<dyn Val + 'v>;

/// The value of a variable, made ready when it is first read.
pub(crate) struct Bound<'v> {
    source: Source<'v>,
    reads: &'v Reads,
    value: OnceLock<Boxed<'v>>,
    /// The same as the counter of costs has it.
    whole: OnceLock<Value>,
    longest: OnceLock<u64>,
}

enum Source<'v> {
    Null,
    Object(&'v Map<String, Json>),
    Later(OnceLock<Json>, Box<dyn Fn() -> Json + Send + Sync + 'v>),
    Made(Value),
}

impl<'v> Bound<'v> {
    fn new(source: Source<'v>, reads: &'v Reads) -> Self {
        Self { source, reads, value: OnceLock::new(), whole: OnceLock::new(), longest: OnceLock::new() }
    }

    /// Nothing.
    pub(crate) fn null() -> Self {
        Self::new(Source::Null, Reads::ALL)
    }

    /// What is read of an object, or nothing.
    pub(crate) fn object(object: Option<&'v Map<String, Json>>, reads: &'v Reads) -> Self {
        Self::new(object.map_or(Source::Null, Source::Object), reads)
    }

    /// What is read of a value that is not made before it is needed.
    pub(crate) fn later(make: impl Fn() -> Json + Send + Sync + 'v) -> Self {
        Self::new(Source::Later(OnceLock::new(), Box::new(make)), Reads::ALL)
    }

    /// A value of a library.
    pub(crate) fn made(value: Value) -> Self {
        Self::new(Source::Made(value), Reads::ALL)
    }
}

/// A value that is made ready when it is first read.
pub(crate) trait Readable: Send + Sync {
    /// The value.
    fn value<'b>(&'b self) -> &'b (dyn Val + 'b);

    /// The value as the counter of costs has it.
    fn whole(&self) -> &Value;

    /// How long the longest list, map or text in it is.
    fn longest(&self) -> u64;
}

impl Readable for Bound<'_> {
    fn value<'b>(&'b self) -> &'b (dyn Val + 'b) {
        let value = self.value.get_or_init(|| match &self.source {
            Source::Null => Box::new(Nothing),
            Source::Object(map) => of_map(map, self.reads),
            Source::Later(json, make) => copied(json.get_or_init(make)),
            Source::Made(value) => boxed(value.clone()),
        });
        &**value
    }

    fn whole(&self) -> &Value {
        self.whole.get_or_init(|| Value::try_from(self.value()).unwrap_or(Value::Null))
    }

    fn longest(&self) -> u64 {
        *self.longest.get_or_init(|| match &self.source {
            Source::Null | Source::Made(_) => 1,
            Source::Object(map) => longest_of_map(map, self.reads),
            Source::Later(json, make) => longest(json.get_or_init(make), self.reads),
        })
    }
}

/// A value that the interpreter gave, as it takes one.
pub(super) fn boxed(value: Value) -> Boxed<'static> {
    let boxed: Result<Boxed<'static>, ExecutionError> = value.try_into();
    boxed.unwrap_or_else(|_| Box::new(Nothing))
}

/// What is read of a value.
fn borrowed<'v>(value: &'v Json, reads: &Reads) -> Boxed<'v> {
    match value {
        Json::Array(_) | Json::String(_) if reads.is_presence() => Box::new(Nothing),
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(items) => {
            let items: Vec<Boxed<'v>> = items.iter().map(|item| borrowed(item, Reads::ALL)).collect();
            Box::new(CelList::from(items))
        }
        Json::Object(map) => of_map(map, reads),
        scalar => of_scalar(scalar),
    }
}

fn of_map<'v>(map: &'v Map<String, Json>, reads: &Reads) -> Boxed<'v> {
    let read = |(name, value): (&'v String, &'v Json)| {
        let reads = reads.field(name)?;
        Some((CelMapKey::from(name.as_str()), borrowed(value, reads)))
    };
    let fields: HashMap<CelMapKey<'v>, Boxed<'v>> = map.iter().filter_map(read).collect();
    Box::new(CelMap::from(fields))
}

/// A value that owns what it is made of.
fn copied<'v>(value: &Json) -> Boxed<'v> {
    match value {
        Json::String(text) => Box::new(CelString::from(text.clone())),
        Json::Array(items) => Box::new(CelList::from(items.iter().map(copied).collect::<Vec<Boxed<'v>>>())),
        Json::Object(map) => {
            let fields = map.iter().map(|(name, value)| (CelMapKey::from(name.clone()), copied(value)));
            Box::new(CelMap::from(fields.collect::<HashMap<CelMapKey<'v>, Boxed<'v>>>()))
        }
        scalar => of_scalar(scalar),
    }
}

fn of_scalar<'v>(value: &Json) -> Boxed<'v> {
    match value {
        Json::Bool(b) => Box::new(CelBool::from(*b)),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Box::new(CelInt::from(n)),
            None => Box::new(CelDouble::from(n.as_f64().unwrap_or(0.0))),
        },
        _ => Box::new(Nothing),
    }
}

fn longest(value: &Json, reads: &Reads) -> u64 {
    match value {
        Json::Object(map) => longest_of_map(map, reads),
        _ if reads.is_presence() => 1,
        other => super::longest(other),
    }
}

fn longest_of_map(map: &Map<String, Json>, reads: &Reads) -> u64 {
    let read = map.iter().filter_map(|(name, value)| Some(longest(value, reads.field(name)?)));
    read.max().unwrap_or(0).max(map.len() as u64)
}

/// Null, of which no field is there either: for the interpreter's own it would be an error to ask.
#[derive(Debug)]
pub(super) struct Nothing;

static NULL: CelNull = CelNull;

impl Val for Nothing {
    fn get_type(&self) -> &Type {
        &NULL_TYPE
    }

    fn cel_type() -> &'static Type {
        &NULL_TYPE
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other.downcast_ref::<CelNull>().is_some()
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(Self)
    }

    /// As the interpreter's own null, so that it takes it for one.
    fn as_any(&self) -> Option<&dyn Any> {
        Some(&NULL)
    }
}

impl StaticVal for Nothing {}

impl Indexer for Nothing {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Err(missing(index))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Err(missing(index))
    }
}

/// The error about a key that is not there.
pub(super) fn missing(key: &dyn Val) -> ExecutionError {
    match Value::try_from(key) {
        Ok(Value::String(name)) => ExecutionError::NoSuchKey(name),
        Ok(Value::Int(n)) => ExecutionError::no_such_key(&n.to_string()),
        _ => ExecutionError::no_such_key(""),
    }
}
