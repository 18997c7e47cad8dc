//! Questions as resolvers ask them, and the answers in the order dig prints them.

use std::collections::BTreeMap;

use client::Informer;
use client::informer::drop_managed_fields;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn zone() -> Zone {
    let services = Informer::<Service>::detached(drop_managed_fields);
    let slices = Informer::<EndpointSlice>::detached(drop_managed_fields);
    let service = |name: &str, spec| json!({"metadata": {"name": name, "namespace": "d"}, "spec": spec});
    let ports = json!([{"name": "web", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let objects = [
        service("plain", json!({"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "ports": ports})),
        service("nginx", json!({"clusterIP": "None", "ports": [{"name": "web", "port": 80}]})),
        service("out", json!({"type": "ExternalName", "externalName": "example.org"})),
        service("in", json!({"type": "ExternalName", "externalName": "plain.d.svc.cluster.local"})),
    ];
    zone::feed(&services, objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect());
    let slice = json!({
        "metadata": {"name": "nginx-1", "namespace": "d", "labels": {"kubernetes.io/service-name": "nginx"}},
        "addressType": "IPv4", "ports": [{"name": "web", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": ["10.42.0.2"], "hostname": "web-0", "conditions": {"ready": true}},
            {"addresses": ["10.42.0.3"], "conditions": {}},
            {"addresses": ["10.42.0.4"], "hostname": "web-2", "conditions": {"ready": false}},
        ]
    });
    zone::feed(&slices, vec![serde_json::from_value(slice).unwrap()]);
    Zone::new("cluster.local", services, slices)
}

fn lines(zone: &Zone, name: &str, kind: RecordType) -> Vec<String> {
    let print = |record: &Record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data);
    match zone.answer(&Name::from_ascii(name).unwrap(), kind) {
        Answer::Foreign => vec!["foreign".into()],
        Answer::NotSynced => vec!["not synced".into()],
        Answer::NoData(_) => vec!["no data".into()],
        Answer::NoName(_) => vec!["no name".into()],
        Answer::Found { answers, additionals } => {
            answers.iter().map(print).chain(additionals.iter().map(|record| format!("+ {}", print(record)))).collect()
        }
    }
}

#[test]
fn names_of_the_cluster() {
    use RecordType as T;
    let zone = zone();
    let check = |name: &str, kind, expected: &[&str]| assert_eq!(lines(&zone, name, kind), expected, "{name} {kind}");
    check("plain.d.svc.cluster.local.", T::A, &["plain.d.svc.cluster.local. 5 A 10.43.0.9"]);
    check("PLAIN.d.SVC.cluster.local.", T::A, &["PLAIN.d.SVC.cluster.local. 5 A 10.43.0.9"]);
    check("plain.d.svc.cluster.local.", T::AAAA, &["no data"]);
    check("none.d.svc.cluster.local.", T::A, &["no name"]);
    check("d.svc.cluster.local.", T::A, &["no data"]);
    check("e.svc.cluster.local.", T::A, &["no name"]);
    check("example.org.d.svc.cluster.local.", T::A, &["no name"]);
    check("svc.cluster.local.", T::A, &["no data"]);
    check("example.org.", T::A, &["foreign"]);
    check("xcluster.local.", T::A, &["foreign"]);
    check(
        "nginx.d.svc.cluster.local.",
        T::A,
        &["nginx.d.svc.cluster.local. 5 A 10.42.0.2", "nginx.d.svc.cluster.local. 5 A 10.42.0.3"],
    );
    check("web-0.nginx.d.svc.cluster.local.", T::A, &["web-0.nginx.d.svc.cluster.local. 5 A 10.42.0.2"]);
    check("10-42-0-3.nginx.d.svc.cluster.local.", T::A, &["10-42-0-3.nginx.d.svc.cluster.local. 5 A 10.42.0.3"]);
    check("web-2.nginx.d.svc.cluster.local.", T::A, &["no name"]);
    check("1-2-3-4.d.pod.cluster.local.", T::A, &["1-2-3-4.d.pod.cluster.local. 5 A 1.2.3.4"]);
    check("x.d.pod.cluster.local.", T::A, &["no name"]);
    check("out.d.svc.cluster.local.", T::A, &["out.d.svc.cluster.local. 5 CNAME example.org."]);
    check("dns-version.cluster.local.", T::TXT, &["dns-version.cluster.local. 5 TXT 1.1.0"]);
}

#[test]
fn ports_and_reverse_names() {
    use RecordType as T;
    let zone = zone();
    let check = |name: &str, kind, expected: &[&str]| assert_eq!(lines(&zone, name, kind), expected, "{name} {kind}");
    check(
        "_web._tcp.plain.d.svc.cluster.local.",
        T::SRV,
        &[
            "_web._tcp.plain.d.svc.cluster.local. 5 SRV 0 100 80 plain.d.svc.cluster.local.",
            "+ plain.d.svc.cluster.local. 5 A 10.43.0.9",
        ],
    );
    check("_web._udp.plain.d.svc.cluster.local.", T::SRV, &["no name"]);
    check(
        "nginx.d.svc.cluster.local.",
        T::SRV,
        &[
            "nginx.d.svc.cluster.local. 5 SRV 0 50 8080 web-0.nginx.d.svc.cluster.local.",
            "nginx.d.svc.cluster.local. 5 SRV 0 50 8080 10-42-0-3.nginx.d.svc.cluster.local.",
            "+ web-0.nginx.d.svc.cluster.local. 5 A 10.42.0.2",
            "+ 10-42-0-3.nginx.d.svc.cluster.local. 5 A 10.42.0.3",
        ],
    );
    check("9.0.43.10.in-addr.arpa.", T::PTR, &["9.0.43.10.in-addr.arpa. 5 PTR plain.d.svc.cluster.local."]);
    check("2.0.42.10.in-addr.arpa.", T::PTR, &["2.0.42.10.in-addr.arpa. 5 PTR web-0.nginx.d.svc.cluster.local."]);
    check("77.0.42.10.in-addr.arpa.", T::PTR, &["foreign"]);
}

/// A server on this machine, whose upstream answers every question about an address with 192.0.2.1.
async fn server() -> SocketAddr {
    let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream_address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = upstream.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = message.queries[0].name().clone();
            message.add_answer(Record::from_rdata(name, 60, hickory_proto::rr::RData::A("192.0.2.1".parse().unwrap())));
            upstream.send_to(&message.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let (udp, tcp, address) = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let forwarder = Forwarder::new(Upstream::Fixed(vec![upstream_address]), vec![]);
    let mut server = Server::new(Handler { zone: zone(), forwarder });
    server.register_socket(udp);
    server.register_listener(tcp, std::time::Duration::from_secs(5), TCP_ANSWERS_MAX);
    tokio::spawn(async move { server.block_until_done().await });
    address
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_utf8(name).unwrap(), kind));
    message.to_vec().unwrap()
}

async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> (ResponseCode, BTreeMap<String, String>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question(name, kind), server).await.unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await.unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    let records = answer.answers.iter().map(|record| (record.name.to_string(), record.data.to_string())).collect();
    (answer.metadata.response_code, records)
}

#[tokio::test]
async fn answers_over_the_wire() {
    let server = server().await;
    let one = |name: &str, data: &str| BTreeMap::from([(name.to_owned(), data.to_owned())]);
    let found = ask(server, "plain.d.svc.cluster.local.", RecordType::A).await;
    assert_eq!(found, (ResponseCode::NoError, one("plain.d.svc.cluster.local.", "10.43.0.9")));
    assert_eq!(ask(server, "no.d.svc.cluster.local.", RecordType::A).await.0, ResponseCode::NXDomain);
    let forwarded = ask(server, "example.org.", RecordType::A).await;
    assert_eq!(forwarded, (ResponseCode::NoError, one("example.org.", "192.0.2.1")));
    let mut alias = one("out.d.svc.cluster.local.", "example.org.");
    alias.extend(one("example.org.", "192.0.2.1"));
    assert_eq!(ask(server, "out.d.svc.cluster.local.", RecordType::A).await, (ResponseCode::NoError, alias));
    let mut alias = one("in.d.svc.cluster.local.", "plain.d.svc.cluster.local.");
    alias.extend(one("plain.d.svc.cluster.local.", "10.43.0.9"));
    assert_eq!(ask(server, "in.d.svc.cluster.local.", RecordType::A).await, (ResponseCode::NoError, alias));

    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let bytes = question("plain.d.svc.cluster.local.", RecordType::A);
    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 1);
}

#[tokio::test]
async fn without_name_servers_foreign_names_fail() {
    let forwarder = Forwarder::new(Upstream::Fixed(vec![]), vec![]);
    let query = Query::query(Name::from_utf8("example.org.").unwrap(), RecordType::A);
    assert!(matches!(forwarder.forward(&query, false).await, Err(forward::Error::NoServers)));
}
