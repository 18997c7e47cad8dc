//! The table as text: its fixed part, and the transactions that change its elements.
//!
//! No rule and no chain belongs to one service. A packet's address, protocol and port are looked up in a map whose verdict
//! goes to the chain for that *number of endpoints*, which draws a number and looks the endpoint up in one
//! map of all endpoints. A service is therefore only elements, and adding one to ten thousand is as cheap as adding the
//! first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use client::ObjectKey;

use super::element::{Front, Key, Protocol, Value};
use super::service::{Elements, INNER_OFFSET};
use crate::pod_network;

/// Chains for up to this many endpoints are in the table from the start. nft 1.0.6 cannot add a rule that draws from the
/// map of endpoints to a table that is there already ("conflicting protocols specified"), so a service with more endpoints,
/// the first of its size, has the whole table made anew.
const PICK_CHAINS_MIN: u32 = 32;
/// How many clients' last endpoints are kept in mind.
const AFFINITY_CLIENTS_MAX: u32 = 65_536;

/// The fixed part of the table of one cluster.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The pod network, which names the table and the bridge.
    pub network: pod_network::Config,
    /// The cluster's DNS service and the socket that answers it, if it is served from this process.
    pub dns: Option<(Ipv4Addr, SocketAddrV4)>,
}

/// The elements in the table, and who wants each.
#[derive(Debug, Default)]
pub struct Ruleset {
    services: HashMap<ObjectKey, Elements>,
    /// Everyone who wants a key; the first one's value is in the table. Only hairpins are commonly shared.
    owners: HashMap<Key, Vec<(ObjectKey, Value)>>,
    chains: BTreeSet<Value>,
}

/// The changes of one transaction, as `(old, new)` value of each key that was touched.
type Touched = BTreeMap<Key, (Option<Value>, Option<Value>)>;

impl Ruleset {
    /// Replaces what each service contributes and returns the transaction that brings the table there, empty if
    /// nothing changes. Nothing is returned if the table must be made anew ([`Ruleset::rebuild`]).
    pub fn update(&mut self, changes: impl IntoIterator<Item = (ObjectKey, Elements)>, table: &str) -> Option<String> {
        let mut touched = Touched::new();
        for (service, elements) in changes {
            self.replace(&service, elements, &mut touched);
        }
        touched.retain(|_, (old, new)| old != new);
        let mut text = String::new();
        let values: BTreeSet<Value> = touched.values().filter_map(|(_, new)| *new).collect();
        for value in values.iter().filter(|value| is_chain(value)) {
            if draws(*value) && !self.chains.contains(value) {
                return None;
            }
            self.need_chain(*value, table, &mut text);
        }
        if values.iter().any(|value| !self.has_next(*value)) {
            return None;
        }
        write_elements(touched, table, &mut text);
        Some(text)
    }

    /// The transaction that makes the whole table anew from what is known, whatever is in the kernel.
    pub fn rebuild(&mut self, frame: &Frame) -> String {
        let table = frame.network.table();
        self.chains = (1..=PICK_CHAINS_MIN).map(Value::Pick).collect();
        let touched: Touched =
            self.owners.iter().filter_map(|(key, owners)| Some((*key, (None, Some(owners.first()?.1))))).collect();
        let values: BTreeSet<Value> = touched.values().filter_map(|(_, new)| *new).filter(is_chain).collect();
        self.chains.extend(values.iter().flat_map(|value| [Some(*value), next(*value)]).flatten());
        let mut text = frame_text(frame);
        for chain in self.chains.iter().filter(|chain| draws(**chain)) {
            text.push_str(&chain_text(*chain, &table));
        }
        for chain in self.chains.iter().filter(|chain| !draws(**chain)) {
            text.push_str(&chain_text(*chain, &table));
        }
        write_elements(touched, &table, &mut text);
        text
    }

    /// The endpoints that a front leads to.
    #[must_use]
    pub fn endpoints(&self, front: Front) -> Vec<SocketAddrV4> {
        let value = |index| match self.owners.get(&Key::Endpoint(front, index))?.first()?.1 {
            Value::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        };
        (0..).map_while(value).collect()
    }

    /// The elements that a service contributes now.
    #[must_use]
    pub fn of_service(&self, service: &ObjectKey) -> Option<&Elements> {
        self.services.get(service)
    }

    fn replace(&mut self, service: &ObjectKey, elements: Elements, touched: &mut Touched) {
        let old = self.services.remove(service).unwrap_or_default();
        for (key, _) in old.iter().filter(|(key, value)| elements.get(key) != Some(value)) {
            let owners = self.owners.entry(*key).or_default();
            let before = owners.first().map(|(_, value)| *value);
            owners.retain(|(owner, _)| owner != service);
            let after = owners.first().map(|(_, value)| *value);
            if owners.is_empty() {
                self.owners.remove(key);
            }
            touch(touched, *key, before, after);
        }
        for (key, value) in elements.iter().filter(|(key, value)| old.get(key) != Some(value)) {
            let owners = self.owners.entry(*key).or_default();
            let before = owners.first().map(|(_, value)| *value);
            owners.push((service.clone(), *value));
            touch(touched, *key, before, owners.first().map(|(_, value)| *value));
        }
        if !elements.is_empty() {
            self.services.insert(service.clone(), elements);
        }
    }

    fn need_chain(&mut self, value: Value, table: &str, text: &mut String) {
        if self.chains.insert(value) {
            text.push_str(&chain_text(value, table));
        }
    }

    /// Whether the chain that this one goes on to is in the table.
    fn has_next(&self, value: Value) -> bool {
        next(value).is_none_or(|next| self.chains.contains(&next))
    }
}

fn is_chain(value: &Value) -> bool {
    value.chain().is_some()
}

/// Whether the chain draws an endpoint.
fn draws(value: Value) -> bool {
    matches!(value, Value::Pick(_) | Value::PickInner(_))
}

/// The chain that a chain goes on to.
fn next(value: Value) -> Option<Value> {
    match value {
        Value::Affine(count) => Some(Value::Pick(count)),
        Value::AffineInner(count) => Some(Value::PickInner(count)),
        _ => None,
    }
}

/// Writes the changes, one command a set: what goes first, then what comes.
fn write_elements(touched: Touched, table: &str, text: &mut String) {
    let mut removed: BTreeMap<&str, String> = BTreeMap::new();
    let mut added: BTreeMap<&str, String> = BTreeMap::new();
    for (key, (old, new)) in touched {
        if let Some(old) = old {
            append(removed.entry(key.set()).or_default(), &key, old);
        }
        if let Some(new) = new {
            append(added.entry(key.set()).or_default(), &key, new);
        }
    }
    for (verb, sets) in [("delete", removed), ("add", added)] {
        for (set, elements) in sets {
            writeln!(text, "{verb} element ip {table} {set} {{ {elements} }}").expect("a String can be written");
        }
    }
}

fn touch(touched: &mut Touched, key: Key, before: Option<Value>, after: Option<Value>) {
    touched.entry(key).or_insert((before, after)).1 = after;
}

fn append(elements: &mut String, key: &Key, value: Value) {
    if !elements.is_empty() {
        elements.push_str(", ");
    }
    key.write(value, elements);
}

/// A chain that exists per number of endpoints, or per affinity time.
fn chain_text(value: Value, table: &str) -> String {
    let Some(name) = value.chain() else { return String::new() };
    let mut rules = Vec::new();
    match value {
        Value::Pick(count) | Value::PickInner(count) => {
            let offset =
                if matches!(value, Value::PickInner(_)) { format!(" offset {INNER_OFFSET}") } else { String::new() };
            let draw = format!("numgen random mod {count}{offset}");
            // The first map knows the service's own addresses; a packet that is not in it came through a node port.
            rules.push(format!("dnat ip to ip daddr . meta l4proto . th dport . {draw} map @endpoints"));
            rules.push(format!("dnat ip to meta l4proto . th dport . {draw} map @node-endpoints"));
        }
        Value::Affine(_) | Value::AffineInner(_) => {
            rules.push("dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity".to_owned());
            rules.extend(next(value).map(|next| next.to_string()));
        }
        Value::Remember(seconds) => {
            for protocol in Protocol::ALL {
                rules.push(format!(
                    "meta l4proto {0} update @affinity {{ ct original ip saddr . ct original ip daddr . meta l4proto . \
                     ct original proto-dst timeout {seconds}s : ip daddr . {0} dport }}",
                    protocol.nft()
                ));
            }
        }
        Value::Member | Value::Endpoint(_) | Value::Reject | Value::Drop => {}
    }
    let mut text = format!("add chain ip {table} {name}\nflush chain ip {table} {name}\n");
    for rule in rules {
        writeln!(text, "add rule ip {table} {name} {rule}").expect("a String can be written");
    }
    text
}

/// The fixed part: the table made anew, with empty maps and the chains that hang on the kernel's hooks.
///
/// TCP is refused with a reset, because the kernel sends only one ICMP error a second to one client.
fn frame_text(frame: &Frame) -> String {
    let table = frame.network.table();
    let pods = frame.network.pod_cidr.trunc();
    let bridge = frame.network.bridge();
    let services = frame.network.service_cidr.trunc();
    let dns = dns_rules(frame.dns);
    let sticky: String = Protocol::ALL.iter().map(|protocol| sticky_rules(*protocol)).collect();
    let base = pod_network::base_rules(&frame.network);
    let front = "ipv4_addr . inet_proto . inet_service";
    format!(
        r#"add table ip {table}
delete table ip {table}
table ip {table} {{
  map fronts {{ type {front} : verdict; }}
  map node-fronts {{ type inet_proto . inet_service : verdict; }}
  map inner {{ type {front} : verdict; }}
  map node-inner {{ type inet_proto . inet_service : verdict; }}
  map endpoints {{ typeof ip daddr . meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }}
  map node-endpoints {{ typeof meta l4proto . th dport . numgen random mod 2 : ip daddr . th dport; }}
  map affinity {{
    type ipv4_addr . {front} : ipv4_addr . inet_service;
    flags dynamic,timeout; size {AFFINITY_CLIENTS_MAX};
  }}
  map sticky {{ type {front} : verdict; }}
  map node-sticky {{ type inet_proto . inet_service : verdict; }}
  map refused {{ type {front} : verdict; }}
  map node-refused {{ type inet_proto . inet_service : verdict; }}
  set guarded {{ type {front}; }}
  set admitted {{ type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}

  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject
  }}

  chain services {{{dns}
    ip daddr . meta l4proto . th dport vmap @fronts
    fib daddr type local meta l4proto . th dport vmap @node-fronts
  }}
  chain inner-services {{
    ip daddr . meta l4proto . th dport vmap @inner
    fib daddr type local meta l4proto . th dport vmap @node-inner
    goto services
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat - 5;
    ip saddr {pods} goto inner-services
    goto services
  }}
  chain output {{
    type nat hook output priority -105;
    goto inner-services
  }}

  chain guard {{
    type filter hook prerouting priority dstnat - 10;
    ct state new ip daddr . meta l4proto . th dport @guarded ip daddr . meta l4proto . th dport . ip saddr != @admitted drop
    iifname "{bridge}" ip daddr 127.0.0.0/8 drop
  }}

  chain unserved {{
    ip daddr {services} ip daddr . meta l4proto . th dport vmap @refused
    ip daddr {services} goto refuse
    ip daddr . meta l4proto . th dport vmap @refused
    ct status dnat return
    fib daddr type local meta l4proto . th dport vmap @node-refused
  }}
  chain forward {{ type filter hook forward priority filter - 5; ct state new jump unserved; }}
  chain input {{ type filter hook input priority filter - 5; ct state new jump unserved; }}
  chain local {{ type filter hook output priority filter - 5; ct state new jump unserved; }}

  chain remember {{{sticky}
  }}
  chain remember-out {{ type filter hook postrouting priority srcnat - 5; ct state new ct status dnat jump remember; }}
  chain remember-in {{ type filter hook input priority filter + 5; ct state new ct status dnat jump remember; }}

  chain postrouting {{
    type nat hook postrouting priority srcnat - 1;
    ct status dnat ip saddr . ip daddr @hairpin masquerade
    ct status dnat ip saddr 127.0.0.0/8 oifname != "lo" masquerade
    ct status dnat ip daddr != {pods} fib saddr type != local masquerade
  }}
}}
{base}"#
    )
}

/// The cluster's DNS is served by this process; the rule is fixed, so that it works before any service is known.
fn dns_rules(dns: Option<(Ipv4Addr, SocketAddrV4)>) -> String {
    let Some((service, socket)) = dns else { return String::new() };
    let rule = |protocol: &str| format!("\n    ip daddr {service} {protocol} dport 53 dnat ip to {socket}");
    rule("udp") + &rule("tcp")
}

fn sticky_rules(protocol: Protocol) -> String {
    let protocol = protocol.nft();
    let head = format!("\n    meta l4proto {protocol}");
    format!(
        "{head} ct original ip daddr . meta l4proto . ct original proto-dst vmap @sticky\
         {head} meta l4proto . ct original proto-dst vmap @node-sticky"
    )
}

#[cfg(test)]
mod tests;
