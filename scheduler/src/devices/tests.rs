//! What claims get, as data. The cases are those of the reference's table (`allocatortesting`), told in our own words.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::resource::v1::{AllocationResult, DeviceClass, ResourceClaim, ResourceSlice};
use serde_json::{Value, json};

use super::allocator::{Allocator, Failure};
use super::inventory::Inventory;
use super::ledger::Ledger;
use super::selectors::Selectors;
use crate::node::NodeInfo;

const DRIVER: &str = "driver.example";

fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

/// A slice that is a whole pool of the node `one`.
fn slice(name: &str, devices: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"driver": DRIVER, "nodeName": "one", "devices": devices,
        "pool": {"name": name, "generation": 1, "resourceSliceCount": 1}}})
}

fn plain(names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name})).collect()
}

fn request(name: &str, more: Value) -> Value {
    let mut exactly = json!({"deviceClassName": "any", "allocationMode": "ExactCount", "count": 1});
    let more = more.as_object().expect("fields").clone();
    exactly.as_object_mut().expect("an object").extend(more);
    json!({"name": name, "exactly": exactly})
}

fn claim(requests: Value) -> Value {
    json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"devices": {"requests": requests}}})
}

fn select(expression: &str) -> Value {
    json!({"selectors": [{"cel": {"expression": expression}}]})
}

/// What is there.
#[derive(Default)]
struct World {
    slices: Vec<Value>,
    taken: Vec<Value>,
}

impl World {
    fn of(slices: impl IntoIterator<Item = Value>) -> Self {
        Self { slices: slices.into_iter().collect(), taken: Vec::new() }
    }

    fn allocate(&self, claims: &[Value], steps: usize) -> Result<Option<Vec<AllocationResult>>, Failure> {
        let (mut inventory, mut ledger) = (Inventory::default(), Ledger::default());
        self.slices.iter().for_each(|slice| inventory.set(Arc::new(from::<ResourceSlice>(slice.clone()))));
        for (number, results) in self.taken.iter().enumerate() {
            let allocation = from(json!({"devices": {"results": [results]}}));
            ledger.set(&number.to_string(), Some(&allocation));
        }
        let mut node = NodeInfo::default();
        node.set_node(Arc::new(from(json!({"metadata": {"name": "one", "labels": {"zone": "a"}}}))));
        let claims: Vec<Arc<ResourceClaim>> = claims.iter().map(|claim| Arc::new(from(claim.clone()))).collect();
        let class = |name: &str| -> Option<Arc<DeviceClass>> {
            let spec = match name {
                "any" => json!({}),
                "small" => select("device.attributes['driver.example'].size == 'small'"),
                "told" => json!({"config": [{"opaque": {"driver": DRIVER, "parameters": {"of": "class"}}}]}),
                _ => return None,
            };
            Some(Arc::new(from(json!({"metadata": {"name": name}, "spec": spec}))))
        };
        let count = AtomicUsize::new(0);
        let allocator = Allocator {
            inventory: &inventory,
            ledger: &ledger,
            selectors: &Selectors::default(),
            classes: &class,
            is_over: &|| count.fetch_add(1, Ordering::Relaxed) > steps,
            share_id: &|| "share".into(),
        };
        allocator.allocate(&node, &claims)
    }

    /// What the claims get: `request=pool/device` for each device, `nothing`, or why it is not known.
    fn check(&self, claims: &[Value], expected: &str) {
        let text = match self.allocate(claims, 100_000) {
            Ok(None) => "nothing".to_string(),
            Err(Failure::TimedOut) => "timed out".to_string(),
            Err(Failure::OnNode(why) | Failure::Fatal(why)) => why,
            Ok(Some(found)) => {
                let of_claim = |allocation: &AllocationResult| {
                    let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
                    let shown = results.map(|result| {
                        let part = result.consumed_capacity.iter().flatten();
                        let part: Vec<String> = part.map(|(name, amount)| format!("{name}={}", amount.0)).collect();
                        let part = if part.is_empty() { String::new() } else { format!("({})", part.join(",")) };
                        format!("{}={}/{}{part}", result.request, result.pool, result.device)
                    });
                    shown.collect::<Vec<_>>().join(" ")
                };
                found.iter().map(of_claim).collect::<Vec<_>>().join("; ")
            }
        };
        assert_eq!(text, expected, "{claims:?}");
    }
}

fn taken(pool: &str, device: &str) -> Value {
    json!({"request": "r", "driver": DRIVER, "pool": pool, "device": device})
}

#[test]
fn devices_of_the_node_that_are_free_and_selected() {
    let world = World::of([slice("p", plain(&["a", "b"]))]);
    world.check(&[claim(json!([request("r", json!({}))]))], "r=p/a");
    world.check(&[claim(json!([request("r", json!({"count": 2}))]))], "r=p/a r=p/b");
    world.check(&[claim(json!([request("r", json!({"count": 3}))]))], "nothing");
    world.check(&[claim(json!([])), claim(json!([request("r", json!({}))]))], "; r=p/a");
    world.check(&[], "");
    let used = World { taken: vec![taken("p", "a")], ..World::of([slice("p", plain(&["a", "b"]))]) };
    used.check(&[claim(json!([request("r", json!({}))]))], "r=p/b");
    let mut elsewhere = slice("p", plain(&["a"]));
    elsewhere["spec"]["nodeName"] = json!("two");
    World::of([elsewhere]).check(&[claim(json!([request("r", json!({}))]))], "nothing");
    let unknown =
        "claim n/c, request r: could not retrieve device class nope: deviceclass.resource.k8s.io \"nope\" not found";
    world.check(&[claim(json!([request("r", json!({"deviceClassName": "nope"}))]))], unknown);
}

#[test]
fn the_search_goes_back_where_a_device_is_needed_elsewhere() {
    let size = |name: &str, size: &str| json!({"name": name, "attributes": {"size": {"string": size}}});
    let world = World::of([slice("p", json!([size("s", "small"), size("l", "large")]))]);
    let (any, small) = (request("any", json!({})), request("small", json!({"deviceClassName": "small"})));
    world.check(&[claim(json!([any, small]))], "any=p/l small=p/s");
    world.check(&[claim(json!([any])), claim(json!([small]))], "any=p/l; small=p/s");
    let large = request("r", select("device.attributes['driver.example'].size == 'large'"));
    world.check(&[claim(json!([large]))], "r=p/l");
    let broken = request("r", select("device.attributes['driver.example'].none == 1"));
    world.check(&[claim(json!([broken]))], "claim n/c: selector #0: CEL runtime error: no such key: none");
}

#[test]
fn pools_count_when_they_are_whole_and_only_their_newest_generation() {
    let part = |name: &str, generation: i64, count: i64, devices: &[&str]| {
        let mut slice = slice(name, plain(devices));
        slice["spec"]["pool"] = json!({"name": "p", "generation": generation, "resourceSliceCount": count});
        slice
    };
    let one = [claim(json!([request("r", json!({}))]))];
    World::of([part("s1", 1, 1, &["old"]), part("s2", 2, 1, &["new"])]).check(&one, "r=p/new");
    World::of([part("s1", 1, 2, &["a"])]).check(&one, "nothing");
    World::of([part("s2", 1, 2, &["b"]), part("s1", 1, 2, &["a"])]).check(&one, "r=p/a");
    let twice = World::of([part("s1", 1, 2, &["a"]), part("s2", 1, 2, &["a"])]);
    twice.check(&one, "invalid resource pools were encountered");
    let all = [claim(json!([request("r", json!({"allocationMode": "All"}))]))];
    twice.check(
        &all,
        "claim n/c, request r: asks for all devices, but resource pool driver.example/p is currently invalid",
    );
    let missing = World::of([part("s1", 1, 2, &["a"])]);
    let updated =
        "claim n/c, request r: asks for all devices, but resource pool driver.example/p is currently being updated";
    missing.check(&all, updated);
    // A whole pool of which a slice is another node's.
    let mut other = part("s2", 1, 2, &["b"]);
    other["spec"]["nodeName"] = json!("two");
    World::of([part("s1", 1, 2, &["a"]), other.clone()]).check(&all, "r=p/a");
    other["spec"]["pool"]["generation"] = json!(2);
    World::of([part("s1", 1, 2, &["a"]), other]).check(&one, "nothing");
    let good = slice("q", plain(&["x"]));
    World::of([part("s1", 1, 2, &["a"]), good]).check(&one, "r=q/x");
}

#[test]
fn all_devices_are_all_or_none() {
    let all = || request("all", json!({"allocationMode": "All"}));
    let world = World::of([slice("p", plain(&["a", "b"])), slice("q", plain(&["c"]))]);
    world.check(&[claim(json!([all()]))], "all=p/a all=p/b all=q/c");
    world.check(&[claim(json!([all(), request("one", json!({}))]))], "nothing");
    let used =
        World { taken: vec![taken("q", "c")], ..World::of([slice("p", plain(&["a"])), slice("q", plain(&["c"]))]) };
    used.check(&[claim(json!([all()]))], "nothing");
    let admin = request("all", json!({"allocationMode": "All", "adminAccess": true}));
    used.check(&[claim(json!([admin]))], "all=p/a all=q/c");
    World::of([]).check(&[claim(json!([all()]))], "nothing");
}

#[test]
fn admins_share_what_others_have() {
    let admin = |name: &str| claim(json!([request(name, json!({"adminAccess": true}))]));
    let world = World { taken: vec![taken("p", "a")], ..World::of([slice("p", plain(&["a"]))]) };
    world.check(&[admin("r")], "r=p/a");
    world.check(&[admin("r"), admin("s")], "r=p/a; s=p/a");
    let two = claim(json!([request("r", json!({"adminAccess": true, "count": 2}))]));
    world.check(&[two], "nothing");
}

#[test]
fn too_many_devices_are_refused_at_once() {
    let names: Vec<String> = (0..40).map(|n| format!("d{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = World::of([slice("p", plain(&names))]);
    let many = "claim n/c: number of requested devices 33 exceeds the claim limit of 32";
    world.check(&[claim(json!([request("r", json!({"count": 33}))]))], many);
    let choice = json!([{"name": "r", "firstAvailable": [
        {"name": "big", "deviceClassName": "any", "allocationMode": "ExactCount", "count": 33},
        {"name": "few", "deviceClassName": "any", "allocationMode": "ExactCount", "count": 2}]}]);
    world.check(&[claim(choice)], "r/few=p/d00 r/few=p/d01");
    let hopeless = json!([request("r", json!({"count": 20})), request("s", select("false"))]);
    assert_eq!(world.allocate(&[claim(hopeless)], 2_000), Err(Failure::TimedOut));
}

#[test]
fn the_first_of_several_that_can_be_had() {
    let size = |name: &str, size: &str| json!({"name": name, "attributes": {"size": {"string": size}}});
    let world = World::of([slice("p", json!([size("a", "small"), size("b", "small")]))]);
    let option = |name: &str, count: i64, size: &str| {
        let mut option = select(&format!("device.attributes['driver.example'].size == '{size}'"));
        let more = json!({"name": name, "deviceClassName": "any", "allocationMode": "ExactCount", "count": count});
        option.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
        option
    };
    let several = |options: Value| json!({"name": "r", "firstAvailable": options});
    let wanted = several(json!([option("large", 1, "large"), option("two", 2, "small"), option("one", 1, "small")]));
    world.check(&[claim(json!([wanted]))], "r/two=p/a r/two=p/b");
    world.check(&[claim(json!([wanted, request("s", json!({}))]))], "r/one=p/a s=p/b");
    world.check(&[claim(json!([several(json!([option("large", 1, "large")]))]))], "nothing");
}

#[test]
fn constraints_hold_devices_together_or_apart() {
    let device = |name: &str, numa: i64| json!({"name": name, "attributes": {"numa": {"int": numa}}});
    let world = World::of([slice("p", json!([device("a", 1), device("b", 2), device("c", 2)]))]);
    let constrained = |requests: Value, constraint: Value| {
        let mut claim = claim(requests);
        claim["spec"]["devices"]["constraints"] = json!([constraint]);
        claim
    };
    let both = || json!([request("x", json!({})), request("y", json!({}))]);
    let same = json!({"matchAttribute": "driver.example/numa"});
    world.check(&[constrained(both(), same.clone())], "x=p/b y=p/c");
    world.check(&[constrained(both(), json!({"distinctAttribute": "driver.example/numa"}))], "x=p/a y=p/b");
    let only = json!({"matchAttribute": "driver.example/numa", "requests": ["x"]});
    world.check(&[constrained(both(), only)], "x=p/a y=p/b");
    world.check(&[constrained(both(), json!({"matchAttribute": "driver.example/none"}))], "nothing");
    world.check(
        &[constrained(both(), json!({}))],
        "claim n/c, constraint #0: empty constraint (unsupported constraint type?)",
    );
    let all = json!([request("x", json!({"allocationMode": "All"}))]);
    let broken =
        "claim n/c, request x: cannot add device driver.example/p/b because a claim constraint would not be satisfied";
    world.check(&[constrained(all, same)], broken);
}

#[test]
fn taints_keep_devices_from_those_who_do_not_bear_them() {
    let tainted = |effect: &str| json!([{"name": "a", "taints": [{"key": "k", "value": "v", "effect": effect}]}]);
    let one = |more: Value| [claim(json!([request("r", more)]))];
    let bears = json!({"tolerations": [{"key": "k", "operator": "Exists"}]});
    for effect in ["NoSchedule", "NoExecute"] {
        let world = World::of([slice("p", tainted(effect))]);
        world.check(&one(json!({})), "nothing");
        world.check(&one(bears.clone()), "r=p/a");
        world.check(&one(json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "w"}]})), "nothing");
    }
    World::of([slice("p", tainted("None"))]).check(&one(json!({})), "r=p/a");
}

fn counters(devices: Value) -> [Value; 2] {
    let pool = json!({"name": "p", "generation": 1, "resourceSliceCount": 2});
    let shared = json!([{"name": "card", "counters": {"memory": {"value": "8Gi"}}}]);
    let mut with_devices = slice("devices", devices);
    with_devices["spec"]["pool"] = pool.clone();
    [
        json!({"metadata": {"name": "counters"}, "spec": {"driver": DRIVER, "nodeName": "one", "pool": pool,
        "sharedCounters": shared}}),
        with_devices,
    ]
}

#[test]
fn devices_share_counters() {
    let device = |name: &str, set: &str, memory: &str| {
        json!({"name": name,
        "consumesCounters": [{"counterSet": set, "counters": {"memory": {"value": memory}}}]})
    };
    let parts =
        || json!([device("half", "card", "4Gi"), device("other", "card", "4Gi"), device("whole", "card", "8Gi")]);
    let world = World::of(counters(parts()));
    let of = |count: i64| [claim(json!([request("r", json!({"count": count}))]))];
    world.check(&of(2), "r=p/half r=p/other");
    world.check(&of(3), "nothing");
    let used = World { taken: vec![taken("p", "half")], ..World::of(counters(parts())) };
    used.check(&of(1), "r=p/other");
    used.check(&of(2), "nothing");
    let wrong = World::of(counters(json!([device("half", "none", "4Gi")])));
    wrong.check(&of(1), "invalid resource pools were encountered");
}

#[test]
fn several_claims_have_parts_of_a_device() {
    let device = |policy: Value| {
        json!([{"name": "a", "allowMultipleAllocations": true,
        "capacity": {"mem": {"value": "10", "requestPolicy": policy}}}])
    };
    let asks = |amount: &str| claim(json!([request("r", json!({"capacity": {"requests": {"mem": amount}}}))]));
    let world = World::of([slice("p", device(json!(null)))]);
    world.check(&[asks("4"), asks("6")], "r=p/a(mem=4); r=p/a(mem=6)");
    world.check(&[asks("4"), asks("7")], "nothing");
    world.check(&[claim(json!([request("r", json!({}))]))], "r=p/a(mem=10)");
    let steps = json!({"default": "1", "validRange": {"min": "1", "step": "2"}});
    World::of([slice("p", device(steps))]).check(&[asks("2")], "r=p/a(mem=3)");
    let mut part = taken("p", "a");
    part["shareID"] = json!("x");
    part["consumedCapacity"] = json!({"mem": "7"});
    let used = World { taken: vec![part], ..World::of([slice("p", device(json!(null)))]) };
    used.check(&[asks("3")], "r=p/a(mem=3)");
    used.check(&[asks("4")], "nothing");
    let dedicated = World { taken: vec![taken("p", "a")], ..World::of([slice("p", device(json!(null)))]) };
    dedicated.check(&[asks("3")], "nothing");
}

#[test]
fn an_allocation_says_where_and_what_drivers_are_told() {
    let mut anywhere = slice("p", plain(&["a", "b"]));
    anywhere["spec"]["nodeName"] = json!(null);
    let requirement = json!({"key": "zone", "operator": "In", "values": ["a"]});
    anywhere["spec"]["nodeSelector"] = json!({"nodeSelectorTerms": [{"matchExpressions": [requirement]}]});
    let told = |name: &str| request(name, json!({"deviceClassName": "told"}));
    let mut claim = claim(json!([told("r"), told("s")]));
    claim["spec"]["devices"]["config"] = json!([{"requests": ["s"], "opaque": {"driver": DRIVER, "parameters": {}}}]);
    let found = World::of([anywhere]).allocate(&[claim.clone()], 1_000).expect("an answer").expect("devices");
    let shown = serde_json::to_value(&found[0]).expect("an allocation");
    assert_eq!(shown["nodeSelector"]["nodeSelectorTerms"], json!([{"matchExpressions": [requirement]}]));
    let config = shown["devices"]["config"].as_array().expect("a list");
    let sources: Vec<_> = config.iter().map(|c| (c["source"].clone(), c["requests"].clone())).collect();
    assert_eq!(sources, [(json!("FromClass"), json!(["r", "s"])), (json!("FromClaim"), json!(["s"]))]);
    let local =
        World::of([slice("p", plain(&["a", "b"]))]).allocate(&[claim], 1_000).expect("an answer").expect("devices");
    let field = json!({"key": "metadata.name", "operator": "In", "values": ["one"]});
    let shown = serde_json::to_value(&local[0]).expect("an allocation");
    assert_eq!(shown["nodeSelector"]["nodeSelectorTerms"], json!([{"matchFields": [field]}]));
}

#[test]
fn each_device_may_say_for_itself_where_it_is() {
    let mut slice = slice(
        "p",
        json!([{"name": "a", "nodeName": "two"}, {"name": "b", "allNodes": true},
        {"name": "c", "nodeName": "one"}]),
    );
    slice["spec"]["nodeName"] = json!(null);
    slice["spec"]["perDeviceNodeSelection"] = json!(true);
    let all = claim(json!([request("r", json!({"allocationMode": "All"}))]));
    World::of([slice]).check(&[all], "r=p/b r=p/c");
}

#[test]
fn devices_that_must_get_ready_come_last() {
    let slow = json!([{"name": "a", "bindingConditions": ["Attached"], "bindingFailureConditions": ["Broken"]}]);
    let world = World::of([slice("p", slow), slice("q", plain(&["b"]))]);
    world.check(&[claim(json!([request("r", json!({}))]))], "r=q/b");
    let found = world.allocate(&[claim(json!([request("r", json!({"count": 2}))]))], 1_000).expect("an answer");
    let shown = serde_json::to_value(&found.expect("devices")[0]).expect("an allocation");
    assert_eq!(shown["devices"]["results"][1]["bindingConditions"], json!(["Attached"]));
}
