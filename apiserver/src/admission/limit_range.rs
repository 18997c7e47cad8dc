//! `LimitRanger`: containers get the defaults of their namespace's limit ranges, and nothing is made outside of them.

use api::field::aggregate;
use api::pods::{self, Half};
use api::quantity::{Format, Quantity};
use api::resources::ResourceList;
use api::{Object, Status};
use serde_json::{Map, Value};

use super::{Attributes, Operation, forbidden, is};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
/// Above this, amounts are compared in units, below in thousandths.
const MILLI_MAX: i64 = i64::MAX / 1000;

const NO_REQUEST: &str = ".  No request is specified";

/// Gives containers the defaults.
pub(super) fn defaults(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(pod) = object.filter(|_| about_pod(attributes)) else { return Ok(()) };
    for range in ranges(attributes) {
        let mut said = Vec::new();
        for (field, kind) in [("containers", "container"), ("initContainers", "init container")] {
            let containers = pod.0.get_mut("spec").and_then(|spec| spec.get_mut(field)).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                fill(container, kind, &range, &mut said);
            }
        }
        if !said.is_empty() {
            let text = format!("LimitRanger plugin set: {}", said.join("; "));
            pod.set(&["metadata", "annotations", ANNOTATION], text);
        }
    }
    Ok(())
}

/// Refuses what is outside.
pub(super) fn limits(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    let claim = is(attributes, "", "persistentvolumeclaims", "");
    let Some(object) = object.filter(|_| claim || about_pod(attributes)) else { return Ok(()) };
    let spec = object.at(&["spec"]).unwrap_or(&Value::Null);
    for range in ranges(attributes) {
        let mut errors = Vec::new();
        for limit in items(&range) {
            match (limit["type"].as_str(), claim) {
                (Some("PersistentVolumeClaim"), true) => check_claim(limit, spec, &mut errors),
                (Some("Container"), false) => {
                    let lists = [&spec["containers"], &spec["initContainers"]];
                    for container in lists.into_iter().filter_map(Value::as_array).flatten() {
                        let of = (Half::Requests.list(container), Half::Limits.list(container));
                        check("Container", limit, &of, &mut errors);
                    }
                }
                (Some("Pod"), false) => {
                    let of = (pods::amounts(spec, Half::Requests), pods::amounts(spec, Half::Limits));
                    check("Pod", limit, &of, &mut errors);
                }
                _ => {}
            }
        }
        if !errors.is_empty() {
            return Err(forbidden(attributes, Some(object), &aggregate(errors)));
        }
    }
    Ok(())
}

/// A new pod, or one that is resized; nothing else changes what a pod asks for.
fn about_pod(attributes: &Attributes<'_>) -> bool {
    is(attributes, "", "pods", "") && attributes.operation == Operation::Create
        || is(attributes, "", "pods", "resize") && attributes.operation == Operation::Update
}

/// The limit ranges of the namespace; none for what is being deleted.
fn ranges(attributes: &Attributes<'_>) -> Vec<Object> {
    let deleted = |old: &Object| old.at(&["metadata", "deletionTimestamp"]).is_some();
    let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
    if !writes || attributes.old.is_some_and(deleted) {
        return Vec::new();
    }
    let registry = &attributes.ctx.registry;
    registry.list_in(&registry.snapshot(), "", "limitranges", attributes.namespace)
}

fn items(range: &Object) -> &[Value] {
    range.at(&["spec", "limits"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn fill(container: &mut Value, kind: &str, range: &Object, said: &mut Vec<String>) {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    for (half, field) in [("requests", "defaultRequest"), ("limits", "default")] {
        let mut set = Vec::new();
        let of_containers = items(range).iter().filter(|limit| limit["type"] == "Container");
        for (resource, amount) in of_containers.filter_map(|limit| limit[field].as_object()).flatten() {
            let Some(map) = map_at(container, half) else { continue };
            if !map.contains_key(resource) {
                set.push(resource.clone());
                map.insert(resource.clone(), amount.clone());
            }
        }
        if !set.is_empty() {
            set.sort();
            said.push(format!("{} {} for {kind} {name}", set.join(", "), &half[..half.len() - 1]));
        }
    }
}

fn map_at<'a>(container: &'a mut Value, half: &str) -> Option<&'a mut Map<String, Value>> {
    let empty = || Value::Object(Map::new());
    let resources = container.as_object_mut()?.entry("resources").or_insert_with(empty);
    resources.as_object_mut()?.entry(half).or_insert_with(empty).as_object_mut()
}

fn check(kind: &'static str, limit: &Value, of: &(ResourceList, ResourceList), errors: &mut Vec<String>) {
    let rules: [(&str, Rule); 3] =
        [("min", |bound| bound.min()), ("max", |bound| bound.max()), ("maxLimitRequestRatio", |bound| bound.ratio())];
    check_by(&rules, kind, limit, (&of.0, &of.1), errors);
}

fn check_claim(limit: &Value, spec: &Value, errors: &mut Vec<String>) {
    let rules: [(&str, Rule); 2] = [("min", |bound| bound.min()), ("max", |bound| bound.max_request())];
    let (requests, no_limits) = (Half::Requests.list(spec), ResourceList::default());
    check_by(&rules, "PersistentVolumeClaim", limit, (&requests, &no_limits), errors);
}

fn check_by(
    rules: &[(&str, Rule)],
    kind: &'static str,
    limit: &Value,
    (requests, limits): (&ResourceList, &ResourceList),
    errors: &mut Vec<String>,
) {
    for (field, rule) in rules {
        for (name, amount) in &ResourceList::of(limit.get(field)).0 {
            let (request, limit) = (requests.0.get(name), limits.0.get(name));
            errors.extend(rule(&Bound { kind, name, amount, request, limit }));
        }
    }
}

/// What is wrong with a request and a limit, given a bound.
type Rule = fn(&Bound<'_>) -> Option<String>;

/// A bound of a resource, and what is asked for.
struct Bound<'a> {
    kind: &'static str,
    name: &'a str,
    amount: &'a Quantity,
    request: Option<&'a Quantity>,
    limit: Option<&'a Quantity>,
}

impl Bound<'_> {
    fn min(&self) -> Option<String> {
        let why = match (self.request, self.limit) {
            (None, _) => NO_REQUEST.to_owned(),
            (Some(request), _) if over(self.amount, request) => format!(", but request is {request}"),
            (_, Some(limit)) if over(self.amount, limit) => format!(", but limit is {limit}"),
            _ => return None,
        };
        Some(self.usage("minimum", &why))
    }

    fn max(&self) -> Option<String> {
        let why = match (self.request, self.limit) {
            (_, None) => ".  No limit is specified".to_owned(),
            (_, Some(limit)) if over(limit, self.amount) => format!(", but limit is {limit}"),
            (Some(request), _) if over(request, self.amount) => format!(", but request is {request}"),
            _ => return None,
        };
        Some(self.usage("maximum", &why))
    }

    /// The same of what has no limits.
    fn max_request(&self) -> Option<String> {
        let why = match self.request {
            None => NO_REQUEST.to_owned(),
            Some(request) if over(request, self.amount) => format!(", but request is {request}"),
            Some(_) => return None,
        };
        Some(self.usage("maximum", &why))
    }

    fn usage(&self, which: &str, why: &str) -> String {
        format!("{which} {} usage per {} is {}{why}", self.name, self.kind, self.amount)
    }

    fn ratio(&self) -> Option<String> {
        let start = format!("{} max limit to request ratio per {} is {}", self.name, self.kind, self.amount);
        let Some(request) = self.request.filter(|request| !request.is_zero()) else {
            return Some(format!("{start}, but no request is specified or request is 0"));
        };
        let Some(limit) = self.limit.filter(|limit| !limit.is_zero()) else {
            return Some(format!("{start}, but no limit is specified or limit is 0"));
        };
        let (request, limit) = same_precision(request, limit, self.amount);
        let ratio = limit as f64 / request as f64;
        (ratio > self.amount.as_f64()).then(|| format!("{start}, but provided ratio is {ratio:.6}"))
    }
}

/// Both amounts in thousandths if that fits, else in units.
fn same_precision(request: &Quantity, limit: &Quantity, bound: &Quantity) -> (i64, i64) {
    let fits = [request, limit, bound].iter().all(|amount| amount.value() <= MILLI_MAX);
    if fits { (request.milli_value(), limit.milli_value()) } else { (request.value(), limit.value()) }
}

/// Whether one amount is more than another, to the thousandth.
fn over(one: &Quantity, other: &Quantity) -> bool {
    let milli = |amount: &Quantity| Quantity::from_milli(amount.milli_value(), Format::DecimalSI);
    if one.value().max(other.value()) <= MILLI_MAX { milli(one) > milli(other) } else { one.value() > other.value() }
}
