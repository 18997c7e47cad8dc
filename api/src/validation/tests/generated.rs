//! Objects of every kind, made of the schema: whatever they hold, the rules neither panic nor miss a field. They are the same in every run.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::Object;
use crate::catalogue::{Catalogue, Resource};
use crate::kinds;
use crate::schema::{Kind, Schema, Type};
use crate::validation::at::At;
use crate::validation::metadata;
use crate::validation::{self, rules};

/// So many pairs of objects are made of each kind.
const ROUNDS: u64 = 40;
/// So deep below a list or map of the same type nothing more is made.
const DEPTH_MAX: usize = 12;
const CHOICES: &str = include_str!("../../../data/enums.txt");
const WORDS: [&str; 20] = [
    "",
    "a",
    "b",
    "a.b.c/d",
    "A_",
    "10.0.0.1",
    "fd00::1",
    "10.0.0.0/8",
    "*",
    "/a",
    "../b",
    "claim:a",
    "True",
    "a.b.c",
    "web",
    "None",
    "5m",
    "0-3",
    "1 * * * *",
    "v1",
];
const KEYS: [&str; 12] = [
    "a",
    "cpu",
    "memory",
    "storage",
    "hugepages-2Mi",
    "a.b/c",
    "requests.cpu",
    "pods",
    "ephemeral-storage",
    "kubernetes.io/config.mirror",
    "service.beta.kubernetes.io/load-balancer-source-ranges",
    "scheduler.alpha.kubernetes.io/taints",
];

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % below.max(1)
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.next(100) < percent
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.next(of.len())]
    }
}

/// What fields say that the schema leaves open.
const OPEN: [(&str, &[&str]); 8] = [
    (
        "io.k8s.api.batch.v1.JobCondition.type",
        &["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet", "Suspended"],
    ),
    ("io.k8s.api.batch.v1.JobCondition.status", &["True", "False"]),
    ("io.k8s.api.core.v1.Container.name", &["a", "b"]),
    ("io.k8s.api.core.v1.ContainerRestartRule.action", &["Restart", "RestartAllContainers"]),
    ("io.k8s.api.core.v1.ResourceStatus.name", &["a", "claim:a", "cpu"]),
    ("io.k8s.api.core.v1.ContainerStatus.name", &["a", "b"]),
    ("io.k8s.api.core.v1.ServiceSpec.clusterIP", &["None", "10.0.0.1", ""]),
    ("io.k8s.api.autoscaling.v2.MetricSpec.type", &["Object", "Pods", "External", "Resource", "ContainerResource"]),
];

struct Maker {
    dice: Dice,
    choices: Rc<HashMap<&'static str, Vec<&'static str>>>,
    /// How many of a hundred fields are there.
    filled: usize,
}

impl Maker {
    fn value(&mut self, ty: Type<'static>, choices: &[&str], depth: usize) -> Value {
        let dice = &mut self.dice;
        match ty.kind() {
            Kind::Struct => self.fields(ty, depth),
            Kind::List => {
                let elem = ty.elem().expect("a list has items");
                let count = if depth > DEPTH_MAX { 0 } else { dice.next(4) };
                (0..count).map(|_| self.value(elem, choices, depth + 1)).collect()
            }
            Kind::Map => {
                let elem = ty.elem().expect("a map has values");
                let count = if depth > DEPTH_MAX { 0 } else { dice.next(4) };
                let mut map = Map::new();
                for _ in 0..count {
                    let key = self.dice.one(&KEYS).to_string();
                    map.insert(key, self.value(elem, choices, depth + 1));
                }
                map.into()
            }
            Kind::Boolean => dice.chance(50).into(),
            Kind::Int32 | Kind::Int64 => [-1, 0, 1, 2, 80, 600, 100_001, 70_000_000][dice.next(8)].into(),
            Kind::Double => json!(0.5),
            Kind::Quantity => dice.one(&["1", "500m", "-1", "2Gi", "0", "3Mi"]).into(),
            Kind::Time => dice.one(&["2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]).into(),
            Kind::MicroTime => "2026-01-01T00:00:00.000000Z".into(),
            Kind::Duration => "1m0s".into(),
            Kind::IntOrString => [json!(1), json!("50%"), json!("web"), json!(-1), json!("101%")][dice.next(5)].clone(),
            Kind::Bytes => dice.one(&["", "YQ==", "eyJhIjoxfQ=="]).into(),
            Kind::String if !choices.is_empty() && dice.chance(85) => dice.one(choices).into(),
            Kind::String => dice.one(&WORDS).into(),
            _ => json!({}),
        }
    }

    fn fields(&mut self, ty: Type<'static>, depth: usize) -> Value {
        let mut map = Map::new();
        let definition = ty.name().unwrap_or("");
        for field in ty.fields() {
            if !self.dice.chance(if depth < 2 { 90 } else { self.filled }) || depth > DEPTH_MAX {
                continue;
            }
            let choices =
                self.choices.get(format!("{definition}.{}", field.name()).as_str()).cloned().unwrap_or_default();
            map.insert(field.name().to_string(), self.value(field.ty(), &choices, depth + 1));
        }
        map.into()
    }

    /// A value that differs from another in some places.
    fn changed(&mut self, value: &Value, ty: Type<'static>, depth: usize) -> Value {
        if self.dice.chance(6) {
            return self.value(ty, &[], depth);
        }
        match (value, ty.kind()) {
            (Value::Object(map), Kind::Struct) => {
                let mut changed = Map::new();
                for (name, value) in map {
                    if self.dice.chance(3) {
                        continue;
                    }
                    let field = ty.field(name).expect("the field was made");
                    changed.insert(name.clone(), self.changed(value, field.ty(), depth + 1));
                }
                changed.into()
            }
            (Value::Array(items), Kind::List) => {
                let elem = ty.elem().expect("a list has items");
                items.iter().map(|item| self.changed(item, elem, depth + 1)).collect()
            }
            _ => value.clone(),
        }
    }

    fn pair(&mut self, group: &str, version: &str, kind: &str) -> (Object, Object) {
        let ty = Schema::builtin_type(group, version, kind).expect("a built-in kind");
        let api_version = if group.is_empty() { version.to_string() } else { format!("{group}/{version}") };
        let value = self.fields(ty, 0);
        let other = self.changed(&value, ty, 1);
        let object = |mut value: Value| {
            value["apiVersion"] = api_version.as_str().into();
            value["kind"] = kind.into();
            let mut object = Object::from_value(value).expect("a struct is an object");
            if self.filled.is_multiple_of(2) {
                crate::defaults::apply(&Schema::of(group, version, kind).expect("a kind"), &mut object);
            }
            object
        };
        (object(value), object(if other.is_object() { other } else { json!({}) }))
    }
}

/// What fields may say, by definition and field.
fn choices() -> HashMap<&'static str, Vec<&'static str>> {
    let line = |line: &'static str| line.split_once('\t').map(|(field, choices)| (field, choices.split(',').collect()));
    let mut all: HashMap<_, _> = CHOICES.lines().filter_map(line).collect();
    all.extend(OPEN.map(|(field, choices)| (field, choices.to_vec())));
    all
}

fn run(row: &Resource, maker: &mut Maker) {
    let (new, old) = maker.pair(&row.group, &row.version, &row.kind);
    let subresources = row.subresources.iter().map(|subresource| subresource.name.as_str());
    for subresource in subresources.chain([""]) {
        for old in [None, Some(&old), Some(&new)] {
            row.functions.errors(subresource, &new, old);
            row.functions.warnings(subresource, &new, old);
        }
        metadata::validate_kind_update(&new, &old, row.namespaced, &row.flags, subresource);
    }
    metadata::validate(&new, row.namespaced, row.flags.name);
    match row.plural.as_str() {
        "events" => {
            for old in [None, Some(&old)] {
                kinds::of("events.k8s.io", "events").errors("", &new, old);
            }
        }
        "services" => drop(validation::cluster_ips(&new, Some(&old))),
        "subjectaccessreviews" => {
            let attributes = At::root(&new).at(&["spec", "resourceAttributes"]);
            rules::review_selectors(&attributes, &mut crate::field::ErrorList::new());
        }
        _ => {}
    }
}

/// What objects that are made at random hardly ever are: plural, subresource, object, and the one before it.
const RARE: [(&str, &str, &str, &str); 11] = [
    (
        "batch/v1 Job jobs",
        "status",
        r#"{"status":{"active":1,"terminating":1,"conditions":[{"type":"Complete","status":"True"}]}}"#,
        "{}",
    ),
    ("batch/v1 Job jobs", "status", r#"{"status":{"startTime":"2"}}"#, r#"{"status":{"startTime":"1"}}"#),
    (
        "/v1 PersistentVolumeClaim persistentvolumeclaims",
        "",
        r#"{"spec":{"resources":{"requests":{"storage":"1"}}},"status":{"phase":"Bound"}}"#,
        r#"{"spec":{"resources":{"requests":{"storage":"2"}}}}"#,
    ),
    ("/v1 Node nodes", "", r#"{"metadata":{"annotations":{"scheduler.alpha.kubernetes.io/taints":"[{}]"}}}"#, ""),
    ("/v1 Pod pods", "", r#"{"metadata":{"annotations":{"scheduler.alpha.kubernetes.io/tolerations":"[{}]"}}}"#, ""),
    (
        "/v1 Service services",
        "",
        r#"{"spec":{"type":"ClusterIP","clusterIPs":["10.0.0.1"]}}"#,
        r#"{"spec":{"type":"ClusterIP","clusterIPs":["10.0.0.1","fd00::1"]}}"#,
    ),
    (
        "/v1 Pod pods",
        "status",
        r#"{"status":{"containerStatuses":[{"name":"a"}]}}"#,
        r#"{"spec":{"containers":[{"name":"a","restartPolicy":"Never","restartPolicyRules":[{"action":"Restart",
            "exitCodes":{"operator":"In","values":[1]}}]}]},
            "status":{"containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":1}}}]}}"#,
    ),
    (
        "/v1 Pod pods",
        "status",
        r#"{"status":{"containerStatuses":[{"name":"a"}]}}"#,
        r#"{"spec":{"containers":[{"name":"a"}]},
            "status":{"containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":1}}}]}}"#,
    ),
    (
        "/v1 PodTemplate podtemplates",
        "",
        r#"{"template":{"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/a":"localhost/b"}},
            "spec":{"containers":[{"name":"a"}],"securityContext":{"appArmorProfile":{"type":"Localhost"}}}}}"#,
        "",
    ),
    ("scheduling.k8s.io/v1 PriorityClass priorityclasses", "", r#"{"metadata":{"name":"system-a"}}"#, ""),
    (
        "networking.k8s.io/v1 Ingress ingresses",
        "",
        r#"{"metadata":{"annotations":{"kubernetes.io/ingress.class":"a"}}}"#,
        "",
    ),
];

fn rare(kind: &str, subresource: &str, new: &str, old: &str) {
    let words: Vec<&str> = kind.split(' ').collect();
    let group = words[0].split('/').next().expect("a group and a version");
    let object = |text: &str| {
        let mut value: Value = serde_json::from_str(text).expect("a case is JSON");
        value["apiVersion"] = words[0].trim_start_matches('/').into();
        value["kind"] = words[1].into();
        Object::from_value(value).expect("a case is an object")
    };
    let (new, old) = (object(new), (!old.is_empty()).then(|| object(old)));
    kinds::of(group, words[2]).errors(subresource, &new, old.as_ref());
    kinds::of(group, words[2]).warnings(subresource, &new, old.as_ref());
}

/// Runs the rules of every kind.
pub(super) fn all() {
    for (kind, subresource, new, old) in RARE {
        rare(kind, subresource, new, old);
    }
    let (catalogue, choices) = (Catalogue::builtin(), Rc::new(choices()));
    let of_storage = |row: &&std::sync::Arc<Resource>| {
        let is_storage = row.version == row.storage_version && row.group == row.storage_group;
        (is_storage || !row.stored()) && row.group != "apiextensions.k8s.io"
    };
    for row in catalogue.iter().filter(of_storage) {
        for round in 0..ROUNDS {
            let seed = 0x9e37_79b9_7f4a_7c15 ^ (round + 1).wrapping_mul(0x2545_f491_4f6c_dd1d);
            let filled = 20 + usize::try_from(round).unwrap_or(0) * 13 % 75;
            run(row, &mut Maker { dice: Dice(seed), choices: choices.clone(), filled });
        }
    }
}
