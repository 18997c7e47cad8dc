//! Nothing that is done with an object takes time that grows with the square of a list in it. Lists and maps are filled
//! with few and with many items, and each stage of a write is measured: eight times as many items may take a few times
//! longer than eight times as long, not sixty-four times.
//!
//! By default these are the lists that rules compare items of. `SIZE_KIND=pods` takes every list and map of one kind,
//! `SIZE_KIND=all` of all; `SIZE_ITEMS` says how many items there are.

#[path = "size/clock.rs"]
mod clock;

use api::apply::{self, Request, Reset};
use api::catalogue::{Catalogue, Resource};
use api::decode::{self, FieldValidation, Format, Target};
use api::field::ErrorList;
use api::schema::{Kind, Type};
use api::validation::metadata;
use api::{Status, defaults, patch, protobuf, table};
use serde_json::{Map, Value, json};

/// How many items there are, and how many more in the second measurement.
const ITEMS: usize = 250;
const TIMES: usize = 8;
/// Time may grow by so much more than the items do: caches, sorting and the machine's mood.
const SLACK: u64 = 3;
/// What takes less is not looked at.
const NANOSECONDS_MIN: u64 = 15_000_000;
/// A measurement that looks bad is made again so often: something else may have run.
const TRIES: usize = 3;
/// How deep lists in lists are looked for.
const DEPTH_MAX: usize = 7;

/// The way to a list or map: names of fields, with `[]` where a list or map leads further.
type Way<'a> = Vec<(&'a str, Type<'a>)>;

fn ways<'a>(ty: Type<'a>, way: &mut Way<'a>, seen: &mut Vec<&'a str>, found: &mut Vec<Way<'a>>) {
    if way.len() >= DEPTH_MAX {
        return;
    }
    match ty.kind() {
        Kind::Struct => {
            let name = ty.name().unwrap_or("");
            if seen.contains(&name) {
                return;
            }
            seen.push(name);
            for field in ty.fields() {
                way.push((field.name(), field.ty()));
                if matches!(field.ty().kind(), Kind::List | Kind::Map) {
                    found.push(way.clone());
                }
                ways(field.ty(), way, seen, found);
                way.pop();
            }
            seen.pop();
        }
        Kind::List | Kind::Map => {
            if let Some(elem) = ty.elem() {
                ways(elem, way, seen, found);
            }
        }
        _ => {}
    }
}

/// A value of a type; those with different numbers differ.
fn sample(ty: Type<'_>, number: usize, depth: usize) -> Value {
    match ty.kind() {
        Kind::Struct => {
            let fields = ty
                .fields()
                .filter(|field| !matches!(field.ty().kind(), Kind::Struct | Kind::List | Kind::Map) || depth > 0);
            let fields =
                fields.map(|field| (field.name().to_string(), sample(field.ty(), number, depth.saturating_sub(1))));
            Value::Object(fields.filter(|(_, value)| !value.is_null()).collect())
        }
        Kind::List => ty.elem().map_or(Value::Null, |elem| json!([sample(elem, number, depth)])),
        Kind::Map => ty.elem().map_or(Value::Null, |elem| json!({format!("k{number}"): sample(elem, number, depth)})),
        Kind::String => format!("n{number}").into(),
        Kind::Bytes => "YQ==".into(),
        Kind::Boolean => true.into(),
        Kind::Int32 | Kind::Int64 | Kind::Double | Kind::IntOrString => (number % 30_000 + 1).into(),
        Kind::Quantity => format!("{}", number + 1).into(),
        Kind::Time | Kind::MicroTime => "2024-01-01T00:00:00Z".into(),
        Kind::Duration => "1s".into(),
        _ => Value::Null,
    }
}

/// An object with so many items at the end of a way; with `same` they are all alike.
fn filled(resource: &Resource, way: &Way<'_>, items: usize, same: bool) -> Value {
    let number = |place: usize| if same { 0 } else { place };
    let (_, last) = way.last().expect("a way leads somewhere");
    let elem = last.elem();
    let list = |place| elem.map_or(Value::Null, |elem| sample(elem, number(place), 1));
    let mut value = match last.kind() {
        Kind::Map => Value::Object((0..items).map(|place| (format!("k{place}"), list(place))).collect()),
        _ => Value::Array((0..items).map(list).collect()),
    };
    for (place, (name, _)) in way.iter().enumerate().rev() {
        let mut around = Map::new();
        if let Some((_, ty)) = place.checked_sub(1).and_then(|before| way.get(before)) {
            let elem = if matches!(ty.kind(), Kind::List | Kind::Map) { ty.elem() } else { Some(*ty) };
            if let Some(Value::Object(own)) = elem.map(|elem| sample(elem, 0, 0)) {
                around = own;
            }
        }
        around.insert((*name).to_string(), value);
        value = Value::Object(around);
        value = match place.checked_sub(1).and_then(|before| way.get(before)).map(|(_, ty)| ty.kind()) {
            Some(Kind::List) => json!([value]),
            Some(Kind::Map) => json!({"k": value}),
            _ => value,
        };
    }
    value["apiVersion"] = resource.api_version().into();
    value["kind"] = resource.kind.as_str().into();
    value["metadata"]["name"] = "x".into();
    value["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111".into();
    value["metadata"]["resourceVersion"] = "1".into();
    if resource.namespaced {
        value["metadata"]["namespace"] = "n".into();
    }
    value
}

/// How long each stage of writes of an object takes.
fn stages(resource: &Resource, value: &Value) -> Vec<(&'static str, u64)> {
    let mut times = Vec::new();
    let mut measure = |stage: &'static str, work: &mut dyn FnMut()| {
        let before = clock::nanoseconds();
        work();
        times.push((stage, clock::nanoseconds() - before));
    };
    let body = value.to_string().into_bytes();
    let target = Target::of(resource);
    let mut decoded = None;
    measure("decode", &mut || {
        decoded = decode::decode(&body, Format::Json, &target, FieldValidation::Warn).ok();
    });
    let Some(mut object) = decoded.map(|decoded| decoded.object) else { return times };
    measure("default", &mut || defaults::apply(&resource.schema, &mut object));
    let group = resource.group.as_str();
    let mut errors = ErrorList::new();
    measure("validate", &mut || errors = resource.functions.errors("", &object, None));
    measure("validate update", &mut || _ = resource.functions.errors("", &object, Some(&object)));
    measure("validate status", &mut || _ = resource.functions.errors("status", &object, Some(&object)));
    measure("validate metadata", &mut || {
        _ = metadata::validate_kind_update(&object, &object, resource.namespaced, &resource.flags, "");
    });
    measure("status", &mut || _ = Status::invalid(group, &resource.kind, "x", &errors).to_json());
    measure("warnings", &mut || _ = resource.functions.warnings("", &object, None));
    let api_version = resource.api_version();
    let request = Request {
        schema: &resource.schema,
        api_version: &api_version,
        kind: &resource.kind,
        subresource: "",
        reset: Reset::of(&resource.flags, "", true),
        manager: "m",
        now: jiff_now(),
        convert: None,
    };
    let mut live = object.clone();
    measure("manage create", &mut || apply::update(&request, None, &mut live));
    let mut changed = live.clone();
    measure("manage update", &mut || apply::update(&request, Some(&live), &mut changed));
    measure("keep times", &mut || _ = apply::keep_times(&live, &mut changed));
    let mut configuration = object.clone();
    configuration.remove(&["metadata", "managedFields"]);
    measure("apply", &mut || _ = apply::apply(&request, Some(&live), configuration.clone(), true));
    measure("patch", &mut || {
        let mut patched = live.clone();
        _ = patch::strategic::apply(&mut patched.0, configuration.clone().into_value(), resource.schema.root());
    });
    measure("encode", &mut || _ = live.encode());
    measure("protobuf", &mut || {
        let bytes = protobuf::encode(&live, &resource.schema);
        _ = decode::decode(&bytes, Format::Protobuf, &target, FieldValidation::Ignore);
    });
    measure("table", &mut || {
        let printer = table::Printer::of(resource);
        _ = table::table(&printer, std::slice::from_ref(&live), jiff_now(), table::Include::Object, None, true);
    });
    times
}

fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::UNIX_EPOCH
}

/// The stages that take too long for so many items.
fn suspects(resource: &Resource, made: impl Fn(usize) -> Value, items: usize) -> Vec<String> {
    let (few, many) = (stages(resource, &made(items)), stages(resource, &made(items * TIMES)));
    let bad = few.iter().zip(&many).filter(|((_, few), (_, many))| {
        *many > NANOSECONDS_MIN && *many > (*few).max(NANOSECONDS_MIN / 100) * TIMES as u64 * SLACK
    });
    bad.map(|((stage, few), (_, many))| format!("{stage} {} µs -> {} µs", few / 1000, many / 1000)).collect()
}

/// Those that take too long each time.
fn suspects_again(resource: &Resource, made: impl Fn(usize) -> Value, items: usize) -> Vec<String> {
    let mut found = suspects(resource, &made, items);
    for _ in 1..TRIES {
        if found.is_empty() {
            break;
        }
        found = suspects(resource, &made, items);
    }
    found
}

fn check(resource: &Resource, way: &Way<'_>, items: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    for same in [false, true] {
        let found = suspects_again(resource, |items| filled(resource, way, items, same), items);
        let names: Vec<&str> = way.iter().map(|(name, _)| *name).collect();
        wrong.extend(
            found.into_iter().map(|stage| format!("{} {} same={same}: {stage}", resource.plural, names.join("."))),
        );
    }
    wrong
}

/// Lists whose items are compared with one another, or with those of another list.
const COMPARED: &[(&str, &[&str])] = &[
    (
        "configmaps",
        &["data", "metadata.labels", "metadata.ownerReferences", "metadata.finalizers", "metadata.managedFields"],
    ),
    (
        "pods",
        &[
            "spec.containers",
            "spec.containers.env",
            "spec.containers.ports",
            "spec.containers.volumeMounts",
            "spec.initContainers",
            "spec.imagePullSecrets",
            "spec.resourceClaims",
            "spec.schedulingGates",
            "spec.tolerations",
            "spec.topologySpreadConstraints",
            "spec.volumes",
            "spec.volumes.projected.sources",
            "status.conditions",
            "status.containerStatuses",
            "status.podIPs",
        ],
    ),
    ("services", &["spec.ports", "status.loadBalancer.ingress"]),
    ("ingresses", &["spec.rules", "spec.tls"]),
    ("networkpolicies", &["spec.ingress", "spec.ingress.from"]),
    ("endpoints", &["subsets", "subsets.addresses"]),
    ("endpointslices", &["endpoints", "ports"]),
    ("storageclasses", &["allowedTopologies", "mountOptions"]),
    ("customresourcedefinitions", &["spec.versions", "spec.names.shortNames", "status.storedVersions"]),
    ("clusterroles", &["rules", "rules.verbs"]),
];

fn is_compared(plural: &str, names: &str) -> bool {
    COMPARED.iter().any(|(kind, ways)| *kind == plural && ways.contains(&names))
}

#[test]
fn no_stage_is_quadratic_in_a_list() {
    let items = std::env::var("SIZE_ITEMS").ok().and_then(|text| text.parse().ok()).unwrap_or(ITEMS);
    let only = std::env::var("SIZE_KIND").unwrap_or_default();
    let catalogue = Catalogue::builtin();
    let (mut wrong, mut seen) = (Vec::new(), std::collections::HashSet::new());
    for resource in catalogue.iter().filter(|resource| matches!(only.as_str(), "" | "all") || resource.plural == only) {
        let mut found = Vec::new();
        ways(resource.schema.root(), &mut Vec::new(), &mut Vec::new(), &mut found);
        for way in found {
            let names = way.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(".");
            // What is in many kinds is measured in one of them.
            let shared = ["template.", "metadata."].iter().filter_map(|part| names.find(part)).min();
            let key = shared.map_or_else(|| format!("{} {names}", resource.plural), |at| names[at..].to_string());
            let is_wanted = !only.is_empty() || is_compared(&resource.plural, &names);
            if is_wanted && seen.insert(key) {
                wrong.extend(check(resource, &way, items));
            }
        }
    }
    let wanted: usize = COMPARED.iter().map(|(_, ways)| ways.len()).sum();
    assert!(!only.is_empty() || seen.len() == wanted, "{} of {wanted} are known: {seen:?}", seen.len());
    assert!(wrong.is_empty(), "{} are suspect:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_stage_is_quadratic_in_the_versions_of_a_definition() {
    let catalogue = Catalogue::builtin();
    let resource = catalogue.get("apiextensions.k8s.io", "v1", "customresourcedefinitions").expect("it is built in");
    let version = |place: usize| {
        json!({"name": format!("v{}", place + 1), "served": true, "storage": place == 0,
            "schema": {"openAPIV3Schema": {"type": "object"}},
            "additionalPrinterColumns": [{"name": "a", "type": "string", "jsonPath": ".a"}]})
    };
    let made = |items: usize| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "xs.a.io", "uid": "u", "resourceVersion": "1"},
            "spec": {"group": "a.io", "scope": "Namespaced", "names": {"plural": "xs", "kind": "X", "singular": "x", "listKind": "XList"},
                "versions": (0..items).map(version).collect::<Vec<_>>()}})
    };
    let found = suspects_again(resource, made, ITEMS);
    assert!(found.is_empty(), "{found:?}");
}
