//! Objects that the reference refused, and its words: one file a group.
//!
//! `kind` begins the cases of a kind and `base` gives an object that is good. A case is `create` or `update`, with the path that
//! differs from the base and its value (none: the field is taken away); below it are all errors, in order.

use serde_json::Value;

use crate::Object;
use crate::kinds;
use crate::schema::Schema;

struct Kind<'a> {
    group: &'a str,
    resource: &'a str,
    schema: Schema,
    base: Value,
}

impl Kind<'_> {
    fn errors(&self, change: &str) -> Vec<String> {
        let (verb, change) = change.split_once(' ').expect("a verb and a change");
        let change: Vec<Value> = serde_json::from_str(change).expect("a path and a value");
        let mut new = self.base.clone();
        apply(&mut new, change[0].as_array().expect("a path"), change.get(1));
        let (new, old) = (self.object(new), self.object(self.base.clone()));
        let old = (verb == "update").then_some(&old);
        let errors = kinds::of(self.group, self.resource).errors("", &new, old);
        errors.iter().map(ToString::to_string).collect()
    }

    fn object(&self, value: Value) -> Object {
        let mut object = Object::from_value(value).expect("an object");
        crate::defaults::apply(&self.schema, &mut object);
        object
    }
}

/// Sets or takes away what is at a path; maps on the way are made.
fn apply(value: &mut Value, path: &[Value], new: Option<&Value>) {
    let (first, rest) = path.split_first().expect("a path has a name");
    if let (Value::Array(items), Some(index)) = (&mut *value, first.as_u64()) {
        let index = usize::try_from(index).expect("a small index");
        match (rest.is_empty(), new) {
            (true, None) => drop(items.remove(index)),
            (true, Some(new)) if index == items.len() => items.push(new.clone()),
            (true, Some(new)) => items[index] = new.clone(),
            (false, _) => apply(&mut items[index], rest, new),
        }
        return;
    }
    let name = first.as_str().expect("a name");
    if !value.is_object() {
        *value = serde_json::json!({});
    }
    let map = value.as_object_mut().expect("made above");
    match (rest.is_empty(), new) {
        (true, None) => drop(map.remove(name)),
        (true, Some(new)) => drop(map.insert(name.to_string(), new.clone())),
        (false, _) => apply(map.entry(name).or_insert(Value::Null), rest, new),
    }
}

#[track_caller]
fn check(file: &str) {
    let mut kind: Option<Kind<'_>> = None;
    let mut wrong = Vec::new();
    let mut lines = file.lines().peekable();
    while let Some(line) = lines.next() {
        let (word, rest) = line.split_once(' ').expect("two words");
        match word {
            "kind" => {
                let words: Vec<&str> = rest.split(' ').collect();
                let (group, version) = words[0].split_once('/').expect("a group and a version");
                let schema = Schema::of(group, version, words[1]).expect("a kind of the facts");
                kind = Some(Kind { group, resource: words[2], schema, base: Value::Null });
            }
            "base" => kind.as_mut().expect("a kind").base = serde_json::from_str(rest).expect("an object"),
            _ => {
                let mut expected = Vec::new();
                while let Some(error) = lines.next_if(|line| line.starts_with("  ")) {
                    expected.push(error.trim_start().to_string());
                }
                let kind = kind.as_ref().expect("a kind");
                let found = kind.errors(line);
                if found != expected {
                    wrong.push(format!("{} {line}\n  wanted {expected:#?}\n  found {found:#?}", kind.resource));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! groups {
    ($($group:ident)*) => {
        $(#[test]
        fn $group() {
            check(include_str!(concat!(stringify!($group), ".txt")));
        })*

        /// Every case, for the test of names.
        pub(super) fn all() {
            $($group();)*
        }
    };
}

groups! {
    admissionregistration apps autoscaling batch certificates coordination core discovery flowcontrol networking node policy
    rbac resource scheduling storage
}
