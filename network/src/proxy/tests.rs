//! Service rules in network namespaces of the test's own, with connections that really go through them.

#![expect(unsafe_code, reason = "a thread leaves its network namespace")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;

use serde_json::{Value, json};

use super::*;
use crate::pod_network;

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own, which runs what it is given there. Both go when it is dropped.
struct Namespace {
    jobs: mpsc::Sender<Job>,
    thread: u32,
}

impl Namespace {
    fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (told, thread) = mpsc::channel();
        std::thread::spawn(move || {
            // SAFETY: only this thread moves, and it shares no state that depends on the namespace.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
            told.send(rustix::thread::gettid().as_raw_pid().cast_unsigned()).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        Self { jobs, thread: thread.recv().unwrap() }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, result) = mpsc::channel();
        self.jobs.send(Box::new(move || answer.send(job()).unwrap())).unwrap();
        result.recv().unwrap()
    }

    /// Runs `script`, one command a line.
    fn commands(&self, script: String) {
        self.run(move || {
            for line in script.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let output = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            }
        });
    }

    /// Connects and reads the answer, which tells the server's number and the client's address.
    fn call(&self, address: &str) -> Result<String, std::io::ErrorKind> {
        let address: SocketAddr = address.parse().unwrap();
        self.run(move || {
            let mut stream =
                TcpStream::connect_timeout(&address, Duration::from_secs(1)).map_err(|error| error.kind())?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map_err(|error| error.kind())?;
            Ok(text)
        })
    }
}

/// A host with three pods 10.211.0.2 to .4, each of which serves its number on TCP and UDP port 8080.
struct Machine {
    host: Namespace,
    pods: Vec<Namespace>,
    frame: Frame,
    _directory: tempfile::TempDir,
}

fn machine() -> Machine {
    let directory = tempfile::tempdir().unwrap();
    let network = pod_network::Config {
        id: "t".into(),
        pod_cidr: "10.211.0.0/24".parse().unwrap(),
        service_cidr: "10.212.0.0/16".parse().unwrap(),
        directory: directory.path().join("network"),
    };
    let host = Namespace::new();
    host.commands("ip link set lo up".into());
    let config = network.clone();
    host.run(move || block_on(pod_network::setup(&config))).unwrap();
    let pods = (2..5).map(|number| pod(&host, &network, number)).collect();
    Machine { host, pods, frame: Frame { network, dns: None }, _directory: directory }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn pod(host: &Namespace, network: &pod_network::Config, number: u8) -> Namespace {
    let pod = Namespace::new();
    let (bridge, thread) = (network.bridge(), pod.thread);
    host.commands(format!(
        "ip link add p{number} type veth peer name eth0 netns {thread}\n\
         ip link set p{number} master {bridge} up\n\
         bridge link set dev p{number} hairpin on"
    ));
    pod.commands(format!(
        "ip link set lo up\nip address add 10.211.0.{number}/24 dev eth0\nip link set eth0 up\n\
         ip route add default via 10.211.0.1"
    ));
    pod.run(move || {
        let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, client)) = listener.accept() {
                let _ = write!(stream, "{number} {}", client.ip());
            }
        });
        let socket = UdpSocket::bind("0.0.0.0:8080").unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 16];
            while let Ok((_, client)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&[number], client);
            }
        });
    });
    pod
}

/// The elements of one service with these endpoints.
fn service(spec: Value, endpoints: &[u8]) -> Elements {
    let service = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
    let endpoints: Vec<_> =
        endpoints.iter().map(|last| json!({"addresses": [format!("10.211.0.{last}")], "nodeName": "n"})).collect();
    let ports = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
    let slice = json!({"metadata": {}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
    service::elements(&service, &[Arc::new(serde_json::from_value(slice).unwrap())], "n")
}

impl Machine {
    fn apply(&self, text: String) {
        self.host.run(move || block_on(nft::apply(&text))).unwrap();
    }
}

#[test]
#[ignore = "needs root, nftables and the CNI plugins"]
fn connections_reach_the_endpoints() {
    let machine = machine();
    let mut rules = Ruleset::default();
    let (a, b, c) = (ObjectKey::new("d", "a"), ObjectKey::new("d", "b"), ObjectKey::new("d", "c"));
    let node_port =
        json!({"clusterIP": "10.212.0.9", "externalIPs": ["10.99.9.9"], "ports": [{"port": 80, "nodePort": 30080}]});
    let alone = json!({"clusterIP": "10.212.0.10", "ports": [{"port": 80}]});
    let empty = json!({"clusterIP": "10.212.0.11", "ports": [{"port": 80, "nodePort": 30081}]});
    let _ = rules.update(
        [(a.clone(), service(node_port.clone(), &[2, 3])), (b, service(alone, &[2])), (c, service(empty, &[]))],
        "",
    );
    machine.apply(rules.rebuild(&machine.frame));
    let table = machine.frame.network.table();
    let (host, pods) = (&machine.host, &machine.pods);

    let answers =
        |from: &Namespace, to: &str| -> BTreeSet<String> { (0..24).map(|_| from.call(to).unwrap()).collect() };
    let both = |client: &str| BTreeSet::from([format!("2 {client}"), format!("3 {client}")]);
    assert_eq!(answers(&pods[2], "10.212.0.9:80"), both("10.211.0.4"), "a pod keeps its address");
    assert_eq!(answers(&pods[2], "10.99.9.9:80"), both("10.211.0.4"), "external address");
    assert_eq!(answers(&pods[2], "10.211.0.1:30080"), both("10.211.0.4"), "node port");
    assert_eq!(answers(host, "10.212.0.9:80"), both("10.211.0.1"), "from the host");
    assert_eq!(answers(host, "127.0.0.1:30080"), both("10.211.0.1"), "node port on localhost");
    assert_eq!(pods[0].call("10.212.0.10:80"), Ok("2 10.211.0.1".into()), "hairpin");
    for refused in ["10.212.0.11:80", "10.212.0.9:81", "10.212.77.1:80", "10.211.0.1:30081"] {
        assert_eq!(pods[2].call(refused), Err(std::io::ErrorKind::ConnectionRefused), "{refused}");
        assert_eq!(host.call(refused), Err(std::io::ErrorKind::ConnectionRefused), "{refused}");
    }
    // An endpoint moves.
    machine.apply(rules.update([(a.clone(), service(node_port.clone(), &[4]))], &table).unwrap());
    assert_eq!(answers(&pods[0], "10.212.0.9:80"), BTreeSet::from(["4 10.211.0.2".to_owned()]));
    machine.apply(rules.update([(a.clone(), Elements::new())], &table).unwrap());
    assert_eq!(pods[2].call("10.212.0.9:80"), Err(std::io::ErrorKind::ConnectionRefused));
    // More endpoints than there are chains for.
    let many: Vec<u8> = (2..5).chain(100..160).collect();
    assert_eq!(rules.update([(a.clone(), service(node_port.clone(), &many))], &table), None);
    machine.apply(rules.rebuild(&machine.frame));
    assert_eq!(pods[0].call("10.212.0.10:80"), Ok("2 10.211.0.1".into()));
    machine.apply(rules.update([(a, service(node_port, &[3]))], &table).unwrap());
    assert_eq!(pods[0].call("10.212.0.9:80"), Ok("3 10.211.0.2".into()));
}

#[test]
#[ignore = "needs root, nftables and the CNI plugins"]
fn affinity_lasts_until_its_time_or_its_endpoint_is_over() {
    let machine = machine();
    let table = machine.frame.network.table();
    let mut rules = Ruleset::default();
    let key = ObjectKey::new("d", "a");
    let spec = json!({
        "clusterIP": "10.212.0.9", "ports": [{"port": 80, "nodePort": 30080}], "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}
    });
    let _ = rules.update([(key.clone(), service(spec.clone(), &[2, 3]))], "");
    machine.apply(rules.rebuild(&machine.frame));
    let client = &machine.pods[2];
    for address in ["10.212.0.9:80", "10.211.0.1:30080"] {
        let calls = || -> BTreeSet<String> { (0..20).map(|_| client.call(address).unwrap()).collect() };
        assert_eq!(calls().len(), 1, "{address}");
        let mut seen = BTreeSet::new();
        for _ in 0..12 {
            std::thread::sleep(Duration::from_millis(1100));
            seen.extend(calls());
            if seen.len() == 2 {
                break;
            }
        }
        assert_eq!(seen.len(), 2, "{address}: after the time the choice is free again");
    }
    let before = client.call("10.212.0.9:80").unwrap();
    let left = if before.starts_with('2') { 3 } else { 2 };
    let old = rules.of_service(&key).cloned();
    let new = service(spec, &[left]);
    assert!(lost_sticky_endpoint(old.as_ref(), &new));
    let mut text = rules.update([(key, new)], &table).unwrap();
    let name = table.clone();
    let (forget, rules) = machine.host.run(move || (block_on(forget_clients(&name, &rules)), rules));
    assert!(forget.contains("10.211.0.4 . 10.212.0.9 . tcp . 80"), "{forget}");
    text.push_str(&forget);
    machine.apply(text);
    assert!(client.call("10.212.0.9:80").unwrap().starts_with(&left.to_string()));
    drop(rules);
}

#[test]
#[ignore = "needs root, nftables and the CNI plugins"]
fn a_udp_client_follows_its_service() {
    let machine = machine();
    let table = machine.frame.network.table();
    let mut rules = Ruleset::default();
    let key = ObjectKey::new("d", "dns");
    let spec = json!({"clusterIP": "10.212.0.9", "ports": [{"port": 53, "protocol": "UDP"}]});
    let _ = rules.update([(key.clone(), service(spec.clone(), &[2]))], "");
    machine.apply(rules.rebuild(&machine.frame));
    let ask = |socket: UdpSocket| {
        machine.pods[2].run(move || {
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut answer = [0];
            let mut attempt = || {
                socket.send_to(b"x", "10.212.0.9:53").unwrap();
                socket.recv_from(&mut answer).map(|(_, from)| (answer[0], from.ip()))
            };
            // A link that just came up loses packets.
            let result = attempt().or_else(|_| attempt()).or_else(|_| attempt());
            (socket, result.map_err(|error| error.kind()))
        })
    };
    let service_ip: IpAddr = "10.212.0.9".parse().unwrap();
    let socket = machine.pods[2].run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    let (socket, answer) = ask(socket);
    assert_eq!(answer, Ok((2, service_ip)));
    let mut stale = conntrack::Stale::default();
    let new = service(spec, &[3]);
    stale.note(rules.of_service(&key), &new);
    machine.apply(rules.update([(key, new)], &table).unwrap());
    let (socket, answer) = ask(socket);
    assert_eq!(answer, Ok((2, service_ip)), "the entry is still there, or this test tests nothing");
    machine.host.run(move || stale.delete_now()).unwrap();
    assert_eq!(ask(socket).1, Ok((3, service_ip)));
}

/// Ten thousand services at once, one more and one less.
#[test]
#[ignore = "needs root, nftables and the CNI plugins"]
fn ten_thousand_services_are_reached() {
    let machine = machine();
    let table = machine.frame.network.table();
    let address = |number: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 212, 1, 0)) + number);
    let of = |number: u32| {
        let spec = json!({"clusterIP": address(number), "ports": [{"port": 80}]});
        (ObjectKey::new("d", number.to_string()), service(spec, &[2, 3, 4]))
    };
    let is_reached = |number: u32| machine.pods[0].call(&format!("{}:80", address(number))).is_ok();
    let mut rules = Ruleset::default();
    let _ = rules.update((0..10_000).map(of).collect::<Vec<_>>(), "");
    machine.apply(rules.rebuild(&machine.frame));
    assert!(is_reached(77) && is_reached(9_999) && !is_reached(10_000));
    machine.apply(rules.update([of(10_000)], &table).unwrap());
    machine.apply(rules.update([(of(77).0, Elements::new())], &table).unwrap());
    assert!(is_reached(10_000) && is_reached(9_999) && !is_reached(77));
}
