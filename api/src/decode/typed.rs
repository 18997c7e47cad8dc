//! A tree becomes a value of a type, or an error that Go's decoder would give.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::shape::{self, fields_shape, is_omitted};
use super::tree::{TOO_DEEP, Tree, double};
use crate::quantity::Quantity;
use crate::schema::{Field, Kind, Type};
use crate::time;

/// No more findings of strict decoding than this are told.
const STRICT_MAX: usize = 100;

/// Converts a whole document. What strict decoding finds goes to `strict` if it is asked for.
pub(super) fn convert(
    tree: Tree<'_>,
    root: Type<'_>,
    custom: bool,
    is_strict: bool,
    strict: &mut Vec<String>,
) -> Result<Value, String> {
    convert_in(Wording::Decoder, tree, root, custom, is_strict, strict)
}

/// In whose words wrong types are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wording {
    /// Go's JSON decoder.
    Decoder,
    /// The converter from maps to structs (`runtime.DefaultUnstructuredConverter`).
    Converter,
}

/// As [`convert`], in chosen words.
pub(super) fn convert_in(
    wording: Wording,
    tree: Tree,
    root: Type<'_>,
    custom: bool,
    is_strict: bool,
    strict: &mut Vec<String>,
) -> Result<Value, String> {
    let mut coder = Coder {
        wording,
        lenient: custom,
        strict: is_strict.then_some(strict),
        strict_path: String::new(),
        context: None,
        fields: Vec::new(),
        error: None,
        fatal: false,
    };
    let value = coder.value(root, None, tree);
    match coder.error {
        Some(error) => Err(error),
        None => Ok(value.unwrap_or_else(|| shape::zero(root))),
    }
}

struct Coder<'a, 's> {
    wording: Wording,
    /// Wrong types are kept: the schema of a custom resource validates them later.
    lenient: bool,
    strict: Option<&'s mut Vec<String>>,
    /// Where we are, as strict decoding tells it.
    strict_path: String,
    /// The innermost struct.
    context: Option<Type<'a>>,
    /// The fields on the way, as type errors tell them.
    fields: Vec<&'a str>,
    /// The first error; a fatal one replaces it.
    error: Option<String>,
    /// Go's decoder stopped here.
    fatal: bool,
}

impl<'a> Coder<'a, '_> {
    /// The value, or none if it counts as absent. `named` is the Go name of a scalar's or collection's type.
    fn value(&mut self, ty: Type<'a>, named: Option<&'a str>, tree: Tree<'_>) -> Option<Value> {
        if self.fatal || (matches!(tree, Tree::Null) && !keeps_null(ty)) {
            return None;
        }
        match (ty.kind(), tree) {
            (Kind::Struct, Tree::Object(entries)) => Some(Value::Object(self.fields(ty, entries))),
            (Kind::List, Tree::Array(items)) => Some(self.items(ty, named, items)),
            (Kind::Map, Tree::Object(entries)) => Some(self.entries(ty, named, entries)),
            (Kind::Any, tree) if self.lenient => Some(self.untyped(tree)),
            (Kind::Any | Kind::Raw | Kind::Fields, tree) => self.whole(tree),
            (Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings, tree) => self.schema_or(ty, tree),
            (Kind::Quantity, tree) => self.quantity(tree),
            (Kind::Time | Kind::MicroTime, tree) => self.time(ty, tree),
            (Kind::IntOrString, tree) => self.int_or_string(tree),
            (_, tree) if self.lenient && !self.in_builtin() => self.whole(tree),
            (Kind::Struct | Kind::Map, Tree::Deep("object")) | (Kind::List, Tree::Deep("array")) => {
                self.stop(TOO_DEEP.to_string())
            }
            (Kind::String | Kind::Duration, Tree::String(text)) => Some(Value::String(text.into_owned())),
            (Kind::Bytes, Tree::String(text)) => self.bytes(&text),
            (Kind::Bytes, Tree::Array(items)) => self.numbers(items),
            (Kind::Boolean, Tree::Bool(yes)) => Some(Value::Bool(yes)),
            (Kind::Int32 | Kind::Int64 | Kind::Double, Tree::Number(text)) => self.number(ty, named, &text),
            (_, tree) => self.wrong(ty, named, tree.kind_name()),
        }
    }

    /// Whether the innermost struct is a built-in one (the metadata of a custom resource's object is).
    fn in_builtin(&self) -> bool {
        self.context.is_some_and(|ty| ty.name().is_some())
    }

    fn fields(&mut self, ty: Type<'a>, entries: Vec<(Cow<'_, str>, Tree<'_>)>) -> Map<String, Value> {
        let outer = self.context.replace(ty);
        let mut map = Map::new();
        let mut seen: SmallVec<[&str; 16]> = SmallVec::new();
        let mut seen_unknown = BTreeSet::new();
        for (key, tree) in entries {
            let back = self.enter_key(&key);
            if let Some(field) = ty.field(&key) {
                // Go decodes into what is there already: a map or struct given twice is merged.
                let before = if seen.contains(&field.name()) {
                    self.find("duplicate field");
                    map.get(field.name()).filter(|_| matches!(tree, Tree::Object(_))).cloned()
                } else {
                    seen.push(field.name());
                    None
                };
                self.field(field, key, tree, &mut map);
                if let Some(before) = before.filter(Value::is_object) {
                    let after = map.remove(field.name());
                    map.insert(field.name().to_string(), shape::overlay(field.ty(), before, after));
                }
            } else if let Some(elem) = ty.additional() {
                if map.contains_key(&*key) {
                    self.find("duplicate field");
                }
                let value = self.value(elem, None, tree).unwrap_or(Value::Null);
                map.insert(key.into_owned(), value);
            } else if ty.preserves_unknown_fields() {
                if map.contains_key(&*key) {
                    self.find("duplicate field");
                }
                let value = self.untyped(tree);
                map.insert(key.into_owned(), value);
            } else if seen_unknown.insert(key) {
                self.find("unknown field");
            }
            self.strict_path.truncate(back);
        }
        fields_shape(ty, &mut map);
        self.context = outer;
        map
    }

    fn field(&mut self, field: Field<'a>, key: Cow<'_, str>, tree: Tree<'_>, map: &mut Map<String, Value>) {
        let is_null = matches!(tree, Tree::Null);
        if is_null && field.pointer() && field.ty().kind() == Kind::Any && (!self.lenient || self.in_builtin()) {
            map.remove(field.name());
            return;
        }
        // The metadata of a custom object is decoded for itself, so that errors in it know nothing of what is around.
        let apart = self.lenient && self.fields.is_empty() && field.ty().name().is_some() && !self.in_builtin();
        let outer = self.fields.len();
        self.fields.extend(self.context.map_or(&[][..], |context| embedded(context, field)));
        self.fields.push(field.name());
        if apart {
            self.fields.clear();
        }
        let value = match tree {
            tree if apart && !is_null && !matches!(tree, Tree::Object(_)) => {
                let type_name = field.ty().name().map_or("", last_name);
                self.stop(format!("json: cannot unmarshal {} into Go value of type v1.{type_name}", tree.kind_name()))
            }
            tree => self.value(field.ty(), field.named_scalar(), tree),
        };
        if !self.fatal {
            self.fields.truncate(outer);
        }
        match value {
            // An empty list is kept until it is stored: defaults and validation tell it from none.
            Some(Value::Array(items)) if items.is_empty() && !self.lenient => {
                map.insert(key.into_owned(), Value::Array(items));
            }
            Some(value) if is_omitted(field, &value) => {
                map.remove(field.name());
            }
            Some(value) => {
                map.insert(key.into_owned(), value);
            }
            // A null unsets pointers, lists and maps, and leaves the rest as it was.
            None if is_null && self.lenient && !self.in_builtin() => {
                map.insert(key.into_owned(), Value::Null);
            }
            None if is_null && (field.pointer() || matches!(field.ty().kind(), Kind::List | Kind::Map)) => {
                map.remove(field.name());
            }
            None => {}
        }
    }

    fn items(&mut self, ty: Type<'a>, named: Option<&'a str>, items: Vec<Tree<'_>>) -> Value {
        let elem = ty.elem().expect("a list has items");
        let named = named.filter(|n| !n.starts_with('='));
        let back = self.strict_path.len();
        let mut out = Vec::with_capacity(items.len());
        for (place, tree) in items.into_iter().enumerate() {
            if self.strict.is_some() {
                self.strict_path.push('[');
                self.strict_path.push_str(itoa::Buffer::new().format(place));
                self.strict_path.push(']');
            }
            out.push(self.element(elem, named, tree));
            self.strict_path.truncate(back);
        }
        Value::Array(out)
    }

    fn entries(&mut self, ty: Type<'a>, named: Option<&'a str>, entries: Vec<(Cow<'_, str>, Tree<'_>)>) -> Value {
        let elem = ty.elem().expect("a map has values");
        let named = named.filter(|n| !n.starts_with('='));
        let mut map = Map::new();
        for (key, tree) in entries {
            let back = self.enter_key(&key);
            if map.contains_key(&*key) {
                self.find("duplicate field");
            }
            let value = self.element(elem, named, tree);
            map.insert(key.into_owned(), value);
            self.strict_path.truncate(back);
        }
        Value::Object(map)
    }

    /// An item of a list or value of a map, where a null is the zero value.
    fn element(&mut self, elem: Type<'a>, named: Option<&'a str>, tree: Tree<'_>) -> Value {
        let value = self.value(elem, named, tree);
        value.unwrap_or_else(|| if self.lenient { Value::Null } else { shape::zero_item(elem) })
    }

    /// A value as it is.
    fn whole(&mut self, tree: Tree<'_>) -> Option<Value> {
        match tree.into_value() {
            Ok(value) => Some(value),
            Err(error) => self.stop(error.to_string()),
        }
    }

    /// A value without a schema, in which strict decoding still finds duplicates.
    fn untyped(&mut self, tree: Tree<'_>) -> Value {
        match tree {
            Tree::Object(entries) => {
                let mut map = Map::new();
                for (key, tree) in entries {
                    let back = self.enter_key(&key);
                    if map.contains_key(&*key) {
                        self.find("duplicate field");
                    }
                    let value = self.untyped(tree);
                    map.insert(key.into_owned(), value);
                    self.strict_path.truncate(back);
                }
                Value::Object(map)
            }
            Tree::Array(items) => Value::Array(items.into_iter().map(|item| self.untyped(item)).collect()),
            other => self.whole(other).unwrap_or(Value::Null),
        }
    }

    fn number(&mut self, ty: Type<'a>, named: Option<&'a str>, text: &str) -> Option<Value> {
        let number = match ty.kind() {
            Kind::Int32 => text.parse::<i32>().ok().map(Value::from),
            Kind::Int64 => text.parse::<i64>().ok().map(Value::from),
            _ => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(double),
        };
        if number.is_none() && self.wording == Wording::Converter {
            self.save(format!("cannot convert float64 to {}", go_type(ty, None)));
            return None;
        }
        number.or_else(|| self.wrong(ty, named, &format!("number {text}")))
    }

    fn bytes(&mut self, text: &str) -> Option<Value> {
        match crate::base64::decode(text) {
            Ok(bytes) => Some(crate::base64::encode(&bytes).into()),
            Err(error) => {
                self.save(error.to_string());
                None
            }
        }
    }

    /// Bytes that are written as a list of numbers.
    fn numbers(&mut self, items: Vec<Tree<'_>>) -> Option<Value> {
        let mut bytes = Vec::with_capacity(items.len());
        for item in items {
            let byte = match item {
                Tree::Number(text) => text.parse().map_err(|_| format!("number {text}")),
                other => Err(other.kind_name().to_string()),
            };
            match byte {
                Ok(byte) => bytes.push(byte),
                Err(what) => self.save(self.type_error(&what, "uint8")),
            }
        }
        Some(crate::base64::encode(&bytes).into())
    }

    fn quantity(&mut self, tree: Tree<'_>) -> Option<Value> {
        let parsed = match tree {
            Tree::String(text) | Tree::Number(text) => Quantity::parse(text.trim()),
            Tree::Null => return Some("0".into()),
            _ => Quantity::parse("{}"),
        };
        match parsed {
            Ok(quantity) => Some(quantity.to_string().into()),
            Err(error) => self.stop(error.to_string()),
        }
    }

    fn time(&mut self, ty: Type<'a>, tree: Tree<'_>) -> Option<Value> {
        let Tree::String(text) = tree else { return self.stop_wrong(tree.kind_name(), "string") };
        let micro = ty.kind() == Kind::MicroTime;
        let parsed = if micro { time::normalize_micro(&text) } else { time::normalize(&text) };
        match parsed {
            Ok(text) => Some(text.into()),
            Err(error) => self.stop(error.to_string()),
        }
    }

    fn int_or_string(&mut self, tree: Tree<'_>) -> Option<Value> {
        match tree {
            Tree::String(text) => Some(text.into_owned().into()),
            Tree::Number(text) if self.lenient => self.whole(Tree::Number(text)),
            Tree::Number(text) => match text.parse::<i32>() {
                Ok(number) => Some(number.into()),
                Err(_) => self.stop_wrong(&format!("number {text}"), "int32"),
            },
            other if self.lenient => self.whole(other),
            other => self.stop_wrong(other.kind_name(), "int32"),
        }
    }

    /// `JSONSchemaPropsOrArray` and its like, which decode themselves and so are never strict inside.
    fn schema_or(&mut self, ty: Type<'a>, tree: Tree<'_>) -> Option<Value> {
        match (ty.kind(), tree) {
            (_, tree @ (Tree::Object(_) | Tree::Deep("object"))) => self.alone(ty.inner(), tree),
            (Kind::SchemaOrArray, Tree::Array(items)) => {
                let items: Option<Vec<Value>> = items.into_iter().map(|item| self.alone(ty.inner(), item)).collect();
                items.map(Value::Array)
            }
            (Kind::SchemaOrStrings, tree @ Tree::Array(_)) => self.whole(tree),
            (_, Tree::Deep("array")) => self.stop(TOO_DEEP.to_string()),
            (Kind::SchemaOrBool, Tree::Bool(yes)) => Some(yes.into()),
            (Kind::SchemaOrBool, _) => self.stop("boolean or JSON schema expected".to_string()),
            _ => None,
        }
    }

    fn alone(&mut self, ty: Type<'a>, tree: Tree<'_>) -> Option<Value> {
        match convert(tree, ty, false, false, &mut Vec::new()) {
            Ok(value) => Some(value),
            Err(error) => self.stop(error),
        }
    }

    fn wrong(&mut self, ty: Type<'a>, named: Option<&str>, what: &str) -> Option<Value> {
        let message = match self.wording {
            Wording::Decoder => self.type_error(what, &go_type(ty, named)),
            Wording::Converter => not_restored(ty, what),
        };
        self.save(message);
        None
    }

    fn stop_wrong(&mut self, what: &str, go_type: &str) -> Option<Value> {
        let message = self.type_error(what, go_type);
        self.stop(message)
    }

    fn type_error(&self, what: &str, go_type: &str) -> String {
        match self.context {
            Some(context) => {
                let name = context.name().map_or("", last_name);
                let fields = self.fields.join(".");
                format!("json: cannot unmarshal {what} into Go struct field {name}.{fields} of type {go_type}")
            }
            None => format!("json: cannot unmarshal {what} into Go value of type {go_type}"),
        }
    }

    /// Notes an error after which Go's decoder goes on; the first one counts.
    fn save(&mut self, message: String) {
        if !self.fatal {
            self.error.get_or_insert(message);
        }
    }

    /// Notes an error at which Go's decoder stops.
    fn stop(&mut self, message: String) -> Option<Value> {
        if !self.fatal {
            self.error = Some(message);
            self.fatal = true;
        }
        None
    }

    /// Adds a field or key to the strict path and returns its length before.
    fn enter_key(&mut self, key: &str) -> usize {
        let back = self.strict_path.len();
        if self.strict.is_some() {
            if back > 0 {
                self.strict_path.push('.');
            }
            self.strict_path.push_str(key);
        }
        back
    }

    fn find(&mut self, what: &str) {
        let Some(strict) = &mut self.strict else { return };
        let finding = format!("{what} {:?}", self.strict_path);
        if strict.len() < STRICT_MAX && !strict.contains(&finding) {
            strict.push(finding);
        }
    }
}

/// What the converter says of a value that is not of a type.
fn not_restored(ty: Type<'_>, what: &str) -> String {
    let given = match what.split(' ').next().unwrap_or(what) {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        other => other,
    };
    match ty.kind() {
        Kind::List | Kind::Bytes => format!("cannot restore slice from {given}"),
        Kind::Map => format!("cannot restore map from {given}"),
        Kind::Struct => format!("cannot restore struct from: {given}"),
        Kind::String if given == "int64" => "cannot convert int64 to string".to_string(),
        _ => format!("unrecognized type: {}", go_type(ty, None)),
    }
}

/// The types for which a null is not the same as nothing.
fn keeps_null(ty: Type<'_>) -> bool {
    ty.kind() == Kind::Any
}

/// The type's name in Go's errors.
fn go_type(ty: Type<'_>, named: Option<&str>) -> String {
    if let Some(whole) = named.and_then(|n| n.strip_prefix('=')) {
        return whole.to_string();
    }
    let elem = || ty.elem().map_or(String::new(), |elem| go_type(elem, named));
    match ty.kind() {
        Kind::List => format!("[]{}", elem()),
        Kind::Map => format!("map[string]{}", elem()),
        Kind::Struct => ty.name().map_or("map[string]interface {}".to_string(), short_name),
        Kind::String => named.unwrap_or("string").to_string(),
        Kind::Bytes => "[]uint8".to_string(),
        Kind::Boolean => named.unwrap_or("bool").to_string(),
        Kind::Int32 => named.unwrap_or("int32").to_string(),
        Kind::Int64 => named.unwrap_or("int64").to_string(),
        Kind::Double => named.unwrap_or("float64").to_string(),
        Kind::Quantity => "resource.Quantity".to_string(),
        Kind::Time => "v1.Time".to_string(),
        Kind::MicroTime => "v1.MicroTime".to_string(),
        Kind::Duration => "v1.Duration".to_string(),
        Kind::IntOrString => "intstr.IntOrString".to_string(),
        _ => "interface {}".to_string(),
    }
}

/// What Go's structs embed, and what that embeds: its errors name them on the way to a field.
const EMBEDDED: [(&str, &[&str]); 17] = [
    ("ConfigMapEnvSource", &["LocalObjectReference"]),
    ("ConfigMapKeySelector", &["LocalObjectReference"]),
    ("ConfigMapProjection", &["LocalObjectReference"]),
    ("ConfigMapVolumeSource", &["LocalObjectReference"]),
    ("DeviceAllocationConfiguration", &["DeviceConfiguration"]),
    ("DeviceClaimConfiguration", &["DeviceConfiguration"]),
    ("DeviceClassConfiguration", &["DeviceConfiguration"]),
    ("EphemeralContainer", &["EphemeralContainerCommon"]),
    ("IngressRule", &["IngressRuleValue"]),
    ("NamedRuleWithOperations", &["RuleWithOperations", "Rule"]),
    ("PersistentVolumeSpec", &["PersistentVolumeSource"]),
    ("Probe", &["ProbeHandler"]),
    ("RuleWithOperations", &["Rule"]),
    ("SecretEnvSource", &["LocalObjectReference"]),
    ("SecretKeySelector", &["LocalObjectReference"]),
    ("SecretProjection", &["LocalObjectReference"]),
    ("Volume", &["VolumeSource"]),
];

/// The structs that a field is embedded in: as many as its way in protobuf leads through.
fn embedded(context: Type<'_>, field: Field<'_>) -> &'static [&'static str] {
    let through = field.proto().len().saturating_sub(1);
    if through == 0 {
        return &[];
    }
    let name = context.name().map_or("", last_name);
    let found = EMBEDDED.iter().find(|(definition, _)| *definition == name);
    found.and_then(|(_, names)| names.get(..through)).unwrap_or(&[])
}

fn last_name(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn short_name(definition: &str) -> String {
    let mut parts = definition.rsplit('.');
    let (name, package) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    format!("{package}.{name}")
}
