//! The names of the cluster, looked up in Services and EndpointSlices at the moment of the question.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::services::has_address;
use client::{Informer, ObjectKey};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::endpoints::is_ready;

/// Lifetime of every answer, as CoreDNS gives it.
const TTL_SECONDS: u32 = 5;
/// The version of the naming scheme that `dns-version` tells.
const SCHEMA_VERSION: &str = "1.1.0";
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
const BY_SERVICE: &str = "dns-service";
const BY_ADDRESS: &str = "dns-address";

/// The zone's knowledge of a name.
#[derive(Debug)]
pub(super) enum Answer {
    /// The name is none of the cluster's.
    Foreign,
    /// The informers have not synced.
    NotSynced,
    /// Records, and such as the client will ask for next.
    Found {
        /// The answer section.
        answers: Vec<Record>,
        /// The additional section.
        additionals: Vec<Record>,
    },
    /// The name exists, without such records.
    NoData(Box<Record>),
    /// The name does not exist.
    NoName(Box<Record>),
}

/// The cluster's zone and its reverse names.
pub(super) struct Zone {
    domain: Name,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
}

/// One address behind a service, under its own name.
struct Member {
    name: String,
    address: IpAddr,
    ports: Vec<(String, String, u16)>,
}

impl Zone {
    pub(super) fn new(domain: &str, services: Informer<Service>, slices: Informer<EndpointSlice>) -> Self {
        slices.add_index(BY_SERVICE, |slice| service_of(slice).map(|key| key.to_string()).into_iter().collect());
        slices.add_index(BY_ADDRESS, |slice| {
            let endpoints = slice.endpoints.iter().flatten();
            endpoints.flat_map(|endpoint| endpoint.addresses.iter().cloned()).collect()
        });
        services.add_index(BY_ADDRESS, cluster_ips);
        let mut domain = Name::from_utf8(domain).unwrap_or_else(|_| Name::root());
        domain.set_fqdn(true);
        Self { domain, services, slices }
    }

    /// The answer for `name`.
    pub(super) fn answer(&self, name: &Name, wanted: RecordType) -> Answer {
        let synced = self.services.has_synced() && self.slices.has_synced();
        if let Ok(net) = name.parse_arpa_name() {
            if !synced {
                return Answer::NotSynced;
            }
            let full = net.prefix_len() == net.max_prefix_len();
            let names = if full { self.names_of(net.addr()) } else { Vec::new() };
            let records = names.into_iter().map(|target| record(name, RData::PTR(PTR(target)))).collect::<Vec<_>>();
            let found = wanted == RecordType::PTR && !records.is_empty();
            return if found { Answer::Found { answers: records, additionals: Vec::new() } } else { Answer::Foreign };
        }
        let lower = name.to_lowercase();
        if !self.domain.zone_of(&lower) {
            return Answer::Foreign;
        }
        if !synced {
            return Answer::NotSynced;
        }
        let count = lower.num_labels().saturating_sub(self.domain.num_labels());
        let labels: Vec<String> =
            lower.iter().take(usize::from(count)).map(|label| String::from_utf8_lossy(label).into_owned()).collect();
        let labels: Vec<&str> = labels.iter().rev().map(String::as_str).collect();
        self.answer_labels(name, &labels, wanted)
    }

    /// `labels` are those below the domain, the last first: `svc`, namespace, service, …
    fn answer_labels(&self, name: &Name, labels: &[&str], wanted: RecordType) -> Answer {
        match labels {
            [] => match wanted {
                RecordType::SOA => found(vec![self.soa(name)]),
                RecordType::NS => found(vec![record(name, RData::NS(NS(self.below("ns.dns"))))]),
                _ => self.no_data(),
            },
            ["dns-version"] if wanted == RecordType::TXT => {
                found(vec![record(name, RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()])))])
            }
            ["dns-version" | "svc" | "pod"] => self.no_data(),
            ["svc", namespace] => {
                if self.services.list_in(namespace).is_empty() {
                    self.no_name()
                } else {
                    self.no_data()
                }
            }
            ["pod", _] => self.no_data(),
            ["pod", _, dashed] => match dashed_address(dashed) {
                Some(address) => self.addresses(name, [address], wanted),
                None => self.no_name(),
            },
            ["svc", namespace, service] => self.service(name, namespace, service, wanted),
            ["svc", namespace, service, member] => self.member(name, namespace, service, member, wanted),
            ["svc", namespace, service, protocol, port] => match (protocol.strip_prefix('_'), port.strip_prefix('_')) {
                (Some(protocol), Some(port)) => self.port(name, namespace, service, (port, protocol), wanted),
                _ => self.no_name(),
            },
            _ => self.no_name(),
        }
    }

    fn service(&self, name: &Name, namespace: &str, service: &str, wanted: RecordType) -> Answer {
        let Some(object) = self.services.get(namespace, service) else { return self.no_name() };
        if let Some(target) = external_name(&object) {
            return match Name::from_utf8(target) {
                Ok(mut target) => {
                    target.set_fqdn(true);
                    found(vec![record(name, RData::CNAME(CNAME(target)))])
                }
                Err(_) => self.no_name(),
            };
        }
        if wanted == RecordType::SRV {
            return self.ports(name, &object, |_, _| true);
        }
        let addresses = cluster_ips(&object);
        if !addresses.is_empty() {
            return self.addresses(name, addresses.iter().filter_map(|address| address.parse().ok()), wanted);
        }
        let members = self.members(namespace, service);
        if members.is_empty() {
            return self.no_name();
        }
        self.addresses(name, members.into_iter().map(|member| member.address), wanted)
    }

    fn member(&self, name: &Name, namespace: &str, service: &str, member: &str, wanted: RecordType) -> Answer {
        if self.services.get(namespace, service).is_none() {
            return self.no_name();
        }
        // `_tcp.service` has names below it, and nothing itself.
        if ["_tcp", "_udp", "_sctp"].contains(&member) {
            return self.no_data();
        }
        let members = self.members(namespace, service);
        let matching: Vec<IpAddr> =
            members.iter().filter(|other| other.name == member).map(|other| other.address).collect();
        if matching.is_empty() { self.no_name() } else { self.addresses(name, matching, wanted) }
    }

    fn port(
        &self,
        name: &Name,
        namespace: &str,
        service: &str,
        (port, protocol): (&str, &str),
        wanted: RecordType,
    ) -> Answer {
        let Some(object) = self.services.get(namespace, service) else { return self.no_name() };
        match self.ports(name, &object, |name, other| name == port && other.eq_ignore_ascii_case(protocol)) {
            Answer::Found { .. } if wanted != RecordType::SRV => self.no_data(),
            Answer::NoData(_) => self.no_name(),
            other => other,
        }
    }

    /// SRV records: of a headless service one for each port of each address, otherwise one for each port.
    fn ports(&self, name: &Name, service: &Service, matches: impl Fn(&str, &str) -> bool) -> Answer {
        let key = ObjectKey::of(service);
        let mut targets: Vec<(u16, Name)> = Vec::new();
        let mut additionals = Vec::new();
        let own = self.below(&format!("{}.{}.svc", key.name, key.namespace));
        let addresses = cluster_ips(service);
        if addresses.is_empty() {
            for member in self.members(&key.namespace, &key.name) {
                let target = self.below(&format!("{}.{}.{}.svc", member.name, key.name, key.namespace));
                let ports = member.ports.iter().filter(|(port, protocol, _)| matches(port, protocol));
                let before = targets.len();
                targets.extend(ports.map(|(_, _, number)| (*number, target.clone())));
                if targets.len() > before {
                    additionals.push(address_record(&target, member.address));
                }
            }
        } else {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            for port in ports {
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                if matches(port.name.as_deref().unwrap_or_default(), protocol) {
                    targets.extend(u16::try_from(port.port).ok().map(|number| (number, own.clone())));
                }
            }
            let addresses = addresses.iter().filter_map(|address| address.parse().ok());
            additionals.extend(addresses.map(|address| address_record(&own, address)));
        }
        if targets.is_empty() {
            return self.no_data();
        }
        let weight = u16::try_from(100 / targets.len()).unwrap_or(1).max(1);
        let srv = |(port, target)| record(name, RData::SRV(SRV::new(0, weight, port, target)));
        Answer::Found { answers: targets.into_iter().map(srv).collect(), additionals }
    }

    /// The ready addresses of a service, each under its host name, or its address with dashes.
    fn members(&self, namespace: &str, service: &str) -> Vec<Member> {
        let key = ObjectKey::new(namespace, service);
        let mut seen = BTreeSet::new();
        let mut members = Vec::new();
        for slice in self.slices.indexed(BY_SERVICE, &key.to_string()) {
            let ports: Vec<_> = slice.ports.iter().flatten().filter_map(named_port).collect();
            for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
                for address in endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()) {
                    if seen.insert((address, ports.clone())) {
                        members.push(Member { name: member_name(endpoint, address), address, ports: ports.clone() });
                    }
                }
            }
        }
        members
    }

    /// The names that an address has: of a service, or of the services' members.
    fn names_of(&self, address: IpAddr) -> Vec<Name> {
        let text = address.to_string();
        let services = self.services.indexed(BY_ADDRESS, &text);
        if let Some(service) = services.first() {
            let key = ObjectKey::of(&**service);
            return vec![self.below(&format!("{}.{}.svc", key.name, key.namespace))];
        }
        let mut names = BTreeSet::new();
        for slice in self.slices.indexed(BY_ADDRESS, &text) {
            let Some(key) = service_of(&slice) else { continue };
            let endpoints = slice.endpoints.iter().flatten();
            for endpoint in endpoints.filter(|endpoint| is_ready(endpoint) && endpoint.addresses.contains(&text)) {
                let member = member_name(endpoint, address);
                names.insert(self.below(&format!("{member}.{}.{}.svc", key.name, key.namespace)));
            }
        }
        names.into_iter().collect()
    }

    fn addresses(&self, name: &Name, all: impl IntoIterator<Item = IpAddr>, wanted: RecordType) -> Answer {
        let unique: BTreeSet<IpAddr> = all.into_iter().collect();
        let records: Vec<Record> = unique.into_iter().map(|address| address_record(name, address)).collect();
        let wanted: Vec<Record> = records.into_iter().filter(|record| record.record_type() == wanted).collect();
        if wanted.is_empty() { self.no_data() } else { found(wanted) }
    }

    fn below(&self, labels: &str) -> Name {
        let name = Name::from_utf8(labels).and_then(|name| name.append_domain(&self.domain));
        name.unwrap_or_else(|_| self.domain.clone())
    }

    fn soa(&self, owner: &Name) -> Record {
        let (server, mail) = (self.below("ns.dns"), self.below("hostmaster"));
        record(owner, RData::SOA(SOA::new(server, mail, 1, 7200, 1800, 86400, TTL_SECONDS)))
    }

    fn no_data(&self) -> Answer {
        Answer::NoData(Box::new(self.soa(&self.domain)))
    }

    fn no_name(&self) -> Answer {
        Answer::NoName(Box::new(self.soa(&self.domain)))
    }
}

/// Where an alias leads, if the record is one.
pub(super) fn alias_target(record: &Record) -> Option<Name> {
    match &record.data {
        RData::CNAME(CNAME(target)) => Some(target.clone()),
        _ => None,
    }
}

fn found(answers: Vec<Record>) -> Answer {
    Answer::Found { answers, additionals: Vec::new() }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL_SECONDS, data)
}

fn address_record(name: &Name, address: IpAddr) -> Record {
    match address {
        IpAddr::V4(address) => record(name, RData::A(A(address))),
        IpAddr::V6(address) => record(name, RData::AAAA(AAAA(address))),
    }
}

fn cluster_ips(service: &Service) -> Vec<String> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let mut addresses: BTreeSet<&String> = spec.cluster_ips.iter().flatten().collect();
    addresses.extend(&spec.cluster_ip);
    addresses.into_iter().filter(|address| has_address(address)).cloned().collect()
}

fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") { spec.external_name.as_deref() } else { None }
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

fn named_port(port: &k8s_openapi::api::discovery::v1::EndpointPort) -> Option<(String, String, u16)> {
    let number = u16::try_from(port.port?).ok()?;
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    Some((port.name.clone().unwrap_or_default(), protocol, number))
}

fn member_name(endpoint: &Endpoint, address: IpAddr) -> String {
    let dashed = || address.to_string().replace(['.', ':'], "-");
    endpoint.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(dashed)
}

/// The address of a pod name: `10-42-0-7`, or an IPv6 address with dashes for colons.
fn dashed_address(text: &str) -> Option<IpAddr> {
    let v4 = text.replace('-', ".").parse::<std::net::Ipv4Addr>().map(IpAddr::V4);
    v4.or_else(|_| text.replace('-', ":").parse::<std::net::Ipv6Addr>().map(IpAddr::V6)).ok()
}

/// The services behind the zone, for tests.
#[cfg(test)]
pub(super) fn feed<K: client::informer::Cached>(informer: &Informer<K>, objects: Vec<K>) {
    use client::informer::Event;
    let mut relist = None;
    informer.feed(&mut relist, Event::Init);
    for object in objects {
        informer.feed(&mut relist, Event::InitApply(object));
    }
    informer.feed(&mut relist, Event::InitDone);
}
