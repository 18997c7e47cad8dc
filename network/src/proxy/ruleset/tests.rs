//! Transactions: only differences, shared keys counted, chains made once.

use super::*;

fn front(port: u16) -> Front {
    Front { address: Some(Ipv4Addr::new(10, 43, 0, 9)), protocol: Protocol::Tcp, port }
}

fn service(port: u16, backends: &[u8]) -> Elements {
    let mut elements = Elements::new();
    let count = u32::try_from(backends.len()).unwrap();
    elements.insert(Key::Front(front(port)), Value::Pick(count));
    for (index, last) in (0..).zip(backends) {
        let address = Ipv4Addr::new(10, 42, 0, *last);
        elements.insert(Key::Endpoint(front(port), index), Value::Endpoint(SocketAddrV4::new(address, 80)));
        elements.insert(Key::Hairpin(address), Value::Member);
    }
    elements
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("d", name)
}

fn rules() -> Ruleset {
    let mut rules = Ruleset::default();
    rules.chains.extend([Value::Pick(1), Value::Pick(2)]);
    rules
}

#[test]
fn a_transaction_holds_only_the_difference() {
    let mut rules = rules();
    let first = rules.update([(key("a"), service(1, &[2])), (key("b"), service(2, &[2]))], "t").unwrap();
    assert!(first.contains("add element ip t hairpin { 10.42.0.2 . 10.42.0.2 }"), "{first}");
    let mut check = |name: &str, elements: Elements, expected: &[&str]| {
        let text = rules.update([(key(name), elements)], "t").unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    };
    check("a", service(1, &[2]), &[]);
    // The second service still needs the hairpin that the first gives up.
    check(
        "a",
        Elements::new(),
        &[
            "delete element ip t endpoints { 10.43.0.9 . tcp . 1 . 0 : 10.42.0.2 . 80 }",
            "delete element ip t fronts { 10.43.0.9 . tcp . 1 : goto pick-1 }",
        ],
    );
    check(
        "b",
        service(2, &[3]),
        &[
            "delete element ip t endpoints { 10.43.0.9 . tcp . 2 . 0 : 10.42.0.2 . 80 }",
            "delete element ip t hairpin { 10.42.0.2 . 10.42.0.2 }",
            "add element ip t endpoints { 10.43.0.9 . tcp . 2 . 0 : 10.42.0.3 . 80 }",
            "add element ip t hairpin { 10.42.0.3 . 10.42.0.3 }",
        ],
    );
}

#[test]
fn a_size_without_a_chain_needs_the_table_anew() {
    let mut rules = rules();
    assert_eq!(rules.update([(key("a"), service(1, &[2, 3, 4]))], "t"), None);
}

#[test]
fn of_two_services_with_one_front_the_first_wins_until_it_goes() {
    let mut rules = rules();
    let _ = rules.update([(key("a"), service(1, &[2]))], "t");
    assert!(!rules.update([(key("b"), service(1, &[3]))], "t").unwrap().contains("fronts"));
    let text = rules.update([(key("a"), Elements::new())], "t").unwrap();
    assert!(text.contains("endpoints { 10.43.0.9 . tcp . 1 . 0 : 10.42.0.3 . 80 }"), "{text}");
    assert_eq!(rules.endpoints(front(1)), [SocketAddrV4::new(Ipv4Addr::new(10, 42, 0, 3), 80)]);
}
