//! What go-spew's `%#v` prints with the configuration of `dump.ForHash` (k8s.io/utils): types, no addresses, keys in order.

use serde_json::Value;

use super::amount;
use super::layout::{self, Kind, Type};

/// Seconds from the beginning of the year 1, from which Go counts, to 1970.
const UNIX_TO_GO_SECONDS: i64 = 62_135_596_800;
/// The time zone of a process that has none set, which is how the reference's controllers run.
const LOCATION: &str = "(*time.Location){name:(string)UTC zone:([]time.zone)<nil> tx:([]time.zoneTrans)<nil> \
                        extend:(string) cacheStart:(int64)0 cacheEnd:(int64)0 cacheZone:(*time.zone)<nil>}";

/// The value with its type.
pub(super) fn print(of: &Type, value: &Value) -> String {
    let mut printer = Printer { text: String::new() };
    printer.typed(of, Some(value));
    printer.text
}

struct Printer {
    text: String,
}

impl Printer {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// `(type)value`, as fields are printed.
    fn typed(&mut self, of: &Type, value: Option<&Value>) {
        self.add("(");
        self.add(&of.name());
        self.add(")");
        self.bare(of, value);
    }

    /// The value alone, as items and what pointers lead to are printed.
    fn bare(&mut self, of: &Type, value: Option<&Value>) {
        let value = value.filter(|value| !value.is_null());
        match (of, value) {
            (Type::Pointer(of), Some(value)) => self.bare(of, Some(value)),
            (Type::List(of), Some(Value::Array(items))) if !items.is_empty() => self.list(of, items),
            (Type::Map { values, .. }, Some(Value::Object(map))) if !map.is_empty() => self.map(values, map),
            (Type::Pointer(_) | Type::List(_) | Type::Map { .. }, _) => self.add("<nil>"),
            (Type::Scalar { kind, .. }, value) => self.scalar(*kind, value),
            (Type::Struct(name), value) => self.structure(name, value),
        }
    }

    fn list(&mut self, of: &Type, items: &[Value]) {
        self.add("[");
        for (i, item) in items.iter().enumerate() {
            self.add(if i == 0 { "" } else { " " });
            self.bare(of, Some(item));
        }
        self.add("]");
    }

    fn map(&mut self, of: &Type, map: &serde_json::Map<String, Value>) {
        let mut members: Vec<_> = map.iter().collect();
        members.sort_unstable_by_key(|(key, _)| *key);
        self.add("map[");
        for (i, (key, value)) in members.into_iter().enumerate() {
            self.add(if i == 0 { "" } else { " " });
            self.add(key);
            self.add(":");
            self.bare(of, Some(value));
        }
        self.add("]");
    }

    fn scalar(&mut self, kind: Kind, value: Option<&Value>) {
        match (kind, value) {
            (Kind::Text, value) => self.add(value.and_then(Value::as_str).unwrap_or("")),
            (Kind::Bool, value) => self.add(if value == Some(&Value::Bool(true)) { "true" } else { "false" }),
            (Kind::Whole, value) => self.add(&value.and_then(Value::as_i64).unwrap_or(0).to_string()),
        }
    }

    fn structure(&mut self, name: &str, value: Option<&Value>) {
        self.add("{");
        match name {
            "resource.Quantity" => self.add(&amount::shown(value.and_then(Value::as_str).unwrap_or(""))),
            "intstr.IntOrString" => {
                let text = value.and_then(Value::as_str);
                let whole = value.and_then(Value::as_i64).unwrap_or(0);
                let (sort, text) = (u8::from(text.is_some()), text.unwrap_or(""));
                self.add(&format!("Type:(intstr.Type){sort} IntVal:(int32){whole} StrVal:(string){text}"));
            }
            "v1.Time" => self.time(value.and_then(Value::as_str)),
            "v1.FieldsV1" => self.bytes(value),
            _ => self.fields(name, value),
        }
        self.add("}");
    }

    fn fields(&mut self, name: &str, value: Option<&Value>) {
        for (i, field) in layout::fields(name).unwrap_or_default().iter().enumerate() {
            self.add(if i == 0 { "" } else { " " });
            self.add(&field.name);
            self.add(":");
            let inner = if field.json.is_empty() { value } else { value.and_then(|value| value.get(field.json)) };
            self.typed(&field.of, inner);
        }
    }

    /// Whole seconds, which is all that JSON has of a time.
    fn time(&mut self, text: Option<&str>) {
        let seconds = text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|time| time.as_second());
        let (ext, location) = match seconds {
            Some(seconds) => (seconds + UNIX_TO_GO_SECONDS, LOCATION),
            None => (0, "(*time.Location)<nil>"),
        };
        self.add(&format!("Time:(time.Time){{wall:(uint64)0 ext:(int64){ext} loc:{location}}}"));
    }

    fn bytes(&mut self, value: Option<&Value>) {
        self.add("Raw:([]uint8)");
        let text = value.map(super::json_text);
        let bytes: Vec<_> = text.iter().flat_map(|text| text.bytes()).map(|byte| byte.to_string()).collect();
        self.add(&if bytes.is_empty() { "<nil>".to_owned() } else { format!("[{}]", bytes.join(" ")) });
    }
}
