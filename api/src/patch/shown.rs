//! A patched object as the reference shows it in errors: the libraries that apply patches keep the text of what a patch
//! does not open, in the order of the Go structs, and sort the names of what it does. Of custom resources all are sorted.

use serde_json::{Map, Value};

use crate::schema::{Kind, Type};

/// The JSON of an object after a patch; it has no type if it is a custom resource. `opened` is the nested maps that the patch opened, with their names.
pub fn shown(object: &Map<String, Value>, ty: Option<Type<'_>>, opened: &Value) -> String {
    let mut out = String::new();
    Writer { root: ty }.map(&mut out, object, ty, Some(opened));
    out
}

struct Writer<'a> {
    /// The type of the whole object; none if all is sorted.
    root: Option<Type<'a>>,
}

impl<'a> Writer<'a> {
    fn value(&self, out: &mut String, value: &Value, ty: Option<Type<'a>>, opened: Option<&Value>) {
        // What was copied is of the type that it had where it comes from.
        if let Some(Value::String(from)) = opened {
            return self.value(out, value, self.type_at(from), None);
        }
        match value {
            Value::Object(map) => self.map(out, map, ty, opened.filter(|o| o.is_object())),
            Value::Array(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    // A list that a merge patch gives is opened as a whole.
                    let opened = opened.and_then(|o| match o {
                        Value::Array(given) => given.get(place).filter(|given| !given.is_string()),
                        other => other.get(place.to_string()),
                    });
                    self.value(out, item, ty.and_then(Type::elem), opened);
                }
                out.push(']');
            }
            scalar => out.push_str(&crate::json::to_text(scalar)),
        }
    }

    fn map(&self, out: &mut String, map: &Map<String, Value>, ty: Option<Type<'a>>, opened: Option<&Value>) {
        let mut names: Vec<&String> = map.keys().collect();
        if let Some(ty) = ty.filter(|_| opened.is_none()) {
            names.sort_by_key(|name| (ty.field(name).map_or(u16::MAX, |field| field.place()), *name));
        }
        out.push('{');
        for (place, name) in names.into_iter().enumerate() {
            if place > 0 {
                out.push(',');
            }
            out.push_str(&Value::from(name.as_str()).to_string());
            out.push(':');
            let below = opened.and_then(|o| o.get(name));
            self.value(out, &map[name], ty.and_then(|ty| ty.child(name)), below);
        }
        out.push('}');
    }

    fn type_at(&self, pointer: &str) -> Option<Type<'a>> {
        pointer.split('/').skip(1).try_fold(self.root?, |ty, part| match ty.kind() {
            Kind::List | Kind::Map => ty.elem(),
            _ => ty.child(part),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::json::opened;
    use crate::schema::Schema;

    #[track_caller]
    fn check(object: Value, opened: &Value, expected: &str) {
        let schema = Schema::of("", "v1", "Pod").unwrap();
        let text = shown(object.as_object().unwrap(), Some(schema.root()), opened);
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_not_opened_is_in_the_order_of_the_structs() {
        let container =
            json!({"imagePullPolicy": "Always", "image": "i", "name": "c", "terminationMessagePolicy": "File"});
        let pod = json!({"spec": {"hostname": "h", "containers": [container]}});
        let in_order = r#"{"name":"c","image":"i","terminationMessagePolicy":"File","imagePullPolicy":"Always"}"#;
        let nothing = opened(&json!([{"op": "add", "path": "/spec/hostname", "value": "h"}]));
        check(pod.clone(), &nothing, &format!(r#"{{"spec":{{"containers":[{in_order}],"hostname":"h"}}}}"#));
        let inside = opened(&json!([{"op": "remove", "path": "/spec/containers/0/tty"}]));
        let sorted = r#"{"image":"i","imagePullPolicy":"Always","name":"c","terminationMessagePolicy":"File"}"#;
        check(pod.clone(), &inside, &format!(r#"{{"spec":{{"containers":[{sorted}],"hostname":"h"}}}}"#));
        let given = json!({"spec": {"containers": [{"name": "c"}]}});
        check(pod, &given, &format!(r#"{{"spec":{{"containers":[{sorted}],"hostname":"h"}}}}"#));
    }

    #[test]
    fn what_is_copied_keeps_its_order() {
        let port = json!({"containerPort": 1, "name": "p"});
        let copied = json!({"spec": {"hostname": port.clone(), "containers": [{"ports": [port]}]}});
        let way = opened(&json!([{"op": "copy", "from": "/spec/containers/0/ports/0", "path": "/spec/hostname"}]));
        let port = r#"{"name":"p","containerPort":1}"#;
        check(copied, &way, &format!(r#"{{"spec":{{"containers":[{{"ports":[{port}]}}],"hostname":{port}}}}}"#));
    }
}
