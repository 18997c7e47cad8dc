//! The tables of `TestValidateAuthenticationConfiguration` and its parts in apiserver's `apis/apiserver/validation`.

use serde_json::{Value, json};

use super::*;
use crate::identity::aggregate;

fn bundle(text: &str) -> Option<String> {
    (text != "good").then(|| "data does not contain any valid RSA or ECDSA certificates".into())
}

fn base() -> Value {
    json!({
        "issuer": {"url": "https://issuer-url", "audiences": ["audience"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "prefix"}},
    })
}

fn problems(jwt: Value, more: Value, disallowed: &[&str]) -> String {
    let mut file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt,
    });
    merge(&mut file, more);
    let read = AuthenticationConfiguration::read(file.to_string().as_bytes()).unwrap();
    let disallowed: Vec<String> = disallowed.iter().map(ToString::to_string).collect();
    match read.validate(&disallowed, &bundle) {
        Ok(mappers) => {
            assert_eq!(mappers.len(), read.jwt.len());
            String::new()
        }
        Err(errors) => aggregate(&errors).unwrap(),
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// What is wrong with the authenticator that this makes of the base.
fn check(change: Value, expected: &str) {
    let mut jwt = base();
    merge(&mut jwt, change.clone());
    assert_eq!(problems(json!([jwt]), json!({}), &[]), expected, "{change}");
}

fn mappings(mappings: Value, expected: &str) {
    let mut jwt = base();
    jwt["claimMappings"] = mappings.clone();
    assert_eq!(problems(json!([jwt]), json!({}), &[]), expected, "{mappings}");
}

#[test]
fn issuers_have_urls() {
    let url = |url: &str, expected: &str| check(json!({"issuer": {"url": url}}), expected);
    url("", "jwt[0].issuer.url: Required value");
    url(
        "https://issuer-url:invalid-port",
        "jwt[0].issuer.url: Invalid value: \"https://issuer-url:invalid-port\": parse \"https://issuer-url:invalid-port\": \
         invalid port \":invalid-port\" after host",
    );
    let invalid = |url: &str, why: &str| format!("jwt[0].issuer.url: Invalid value: {url:?}: {why}");
    for (text, why) in [
        ("invalid-url", "URL scheme must be https"),
        ("http://issuer-url", "URL scheme must be https"),
        ("https://user:pass@issuer-url", "URL must not contain a username or password"),
        ("https://issuer-url?query", "URL must not contain a query"),
        ("https://issuer-url#fragment", "URL must not contain a fragment"),
    ] {
        url(text, &invalid(text, why));
    }
    let found = problems(json!([base()]), json!({}), &["a", "b", "https://issuer-url", "c"]);
    let why = "URL must not overlap with disallowed issuers: [a b c https://issuer-url]";
    assert_eq!(found, invalid("https://issuer-url", why));
    let twice = problems(json!([base(), base()]), json!({}), &[]);
    assert_eq!(twice, "jwt[1].issuer.url: Duplicate value: \"https://issuer-url\"");
    let many = problems(Value::from(vec![base(); 65]), json!({}), &[]);
    assert_eq!(many, "jwt: Too many: 65: must have at most 64 items");
    assert_eq!(problems(json!([]), json!({}), &[]), "", "an authenticator may come later");
}

#[test]
fn discovery_may_be_elsewhere() {
    let url = |url: &str, issuer: &str, why: &str| {
        let expected = match why {
            "" => String::new(),
            why => format!("jwt[0].issuer.discoveryURL: Invalid value: {url:?}: {why}"),
        };
        check(json!({"issuer": {"url": issuer, "discoveryURL": url}}), &expected);
    };
    let issuer = "https://issuer-url";
    url("https://oidc.oidc-namespace.svc", issuer, "");
    url("https://oidc.oidc-namespace.svc/path", issuer, "");
    url("http://oidc.oidc-namespace.svc", issuer, "URL scheme must be https");
    url("https://user:pass@oidc.svc", issuer, "URL must not contain a username or password");
    url("https://oidc.svc?query", issuer, "URL must not contain a query");
    url("https://oidc.svc#fragment", issuer, "URL must not contain a fragment");
    let same = "discoveryURL must be different from URL";
    url("https://issuer-url", issuer, same);
    url("https://issuer-url/", issuer, same);
    url("https://issuer-url///", issuer, same);
    url("https://issuer-url", "https://issuer-url/", same);
    let mut two = [base(), base()];
    for (jwt, issuer) in two.iter_mut().zip(["https://a", "https://b"]) {
        merge(jwt, json!({"issuer": {"url": issuer, "discoveryURL": "https://d/x"}}));
    }
    assert_eq!(problems(json!(two), json!({}), &[]), "jwt[1].issuer.discoveryURL: Duplicate value: \"https://d/x\"");
}

#[test]
fn audiences_authorities_and_ways() {
    let audiences = |list: Value, policy: &str, expected: &str| {
        check(json!({"issuer": {"audiences": list, "audienceMatchPolicy": policy}}), expected);
    };
    let none = "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required";
    audiences(json!([]), "", none);
    audiences(json!([""]), "", "jwt[0].issuer.audiences[0]: Required value");
    let policy = |value: &str, why: &str| format!("jwt[0].issuer.audienceMatchPolicy: Invalid value: {value:?}: {why}");
    let single = "audienceMatchPolicy must be empty or MatchAny for single audience";
    audiences(json!(["a"]), "MatchExact", &policy("MatchExact", single));
    audiences(json!(["a"]), "", "");
    audiences(json!(["a"]), "MatchAny", "");
    audiences(json!(["a", "a"]), "MatchAny", "jwt[0].issuer.audiences[1]: Duplicate value: \"a\"");
    audiences(json!(["a", "b"]), "", &policy("", "audienceMatchPolicy must be MatchAny for multiple audiences"));
    audiences(json!(["a", "b"]), "MatchAny", "");
    check(json!({"issuer": {"certificateAuthority": "good"}}), "");
    let bad = "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA \
               certificates";
    check(json!({"issuer": {"certificateAuthority": "invalid"}}), bad);
    let way = "jwt[0].issuer.egressSelectorType: Invalid value: \"panda\": egress selector must be either controlplane or \
               cluster";
    check(json!({"issuer": {"egressSelectorType": "panda"}}), way);
    check(json!({"issuer": {"egressSelectorType": "cluster"}}), "");
}

#[test]
fn claims_have_rules() {
    let rules = |rules: Value, expected: &str| {
        let expected =
            if expected.is_empty() { String::new() } else { format!("jwt[0].claimValidationRules{expected}") };
        check(json!({"claimValidationRules": rules}), &expected);
    };
    rules(json!([{}]), "[0]: Required value: claim or expression is required");
    let both = "[0]: Invalid value: \"claim\": claim and expression can't both be set";
    rules(json!([{"claim": "claim", "expression": "expression"}]), both);
    let message = "[0].message: Invalid value: \"m\": may not be specified when claim is set";
    rules(json!([{"claim": "claim", "message": "m"}]), message);
    let value = "[0].requiredValue: Invalid value: \"v\": may not be specified when expression is set";
    rules(json!([{"expression": "claims.foo == 'bar'", "requiredValue": "v"}]), value);
    rules(json!([{"claim": "claim"}, {"claim": "claim"}]), "[1].claim: Duplicate value: \"claim\"");
    let again = json!([{"expression": "claims.foo == 'bar'"}, {"expression": "claims.foo == 'bar'"}]);
    rules(again, "[1].expression: Duplicate value: \"claims.foo == 'bar'\"");
    let undeclared = "[0].expression: Invalid value: \"foo.bar\": compilation failed: ERROR: <input>:1:1: undeclared reference \
                      to 'foo' (in container '')\n | foo.bar\n | ^";
    rules(json!([{"expression": "foo.bar"}]), undeclared);
    let no_bool = "[0].expression: Invalid value: \"claims.foo\": must evaluate to bool";
    rules(json!([{"expression": "claims.foo"}]), no_bool);
    rules(json!([{"expression": "claims.foo == 'bar'"}, {"claim": "a", "requiredValue": "b"}]), "");
}

#[test]
fn claims_are_mapped() {
    let undeclared =
        "compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo.bar\n | ^";
    let both = "Invalid value: \"\": claim and expression can't both be set";
    let of = |field: &str, why: &str| format!("jwt[0].claimMappings.{field}: {why}");
    mappings(json!({"username": {"claim": "c", "expression": "claims.c"}}), &of("username", both));
    mappings(json!({"username": {}}), &of("username", "Required value: claim or expression is required"));
    let prefix = "Invalid value: \"p\": may not be specified when expression is set";
    mappings(json!({"username": {"expression": "claims.c", "prefix": "p"}}), &of("username.prefix", prefix));
    let missing =
        "Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing";
    mappings(json!({"username": {"claim": "c"}}), &of("username.prefix", missing));
    mappings(json!({"username": {"claim": "c", "prefix": ""}}), "");
    let invalid = format!("Invalid value: \"foo.bar\": {undeclared}");
    mappings(json!({"username": {"expression": "foo.bar"}}), &of("username.expression", &invalid));
    let with = |field: &str, value: Value| {
        let mut all = json!({"username": {"expression": "claims.username"}});
        all[field] = value;
        all
    };
    mappings(with("groups", json!({"claim": "c", "expression": "claims.c"})), &of("groups", both));
    mappings(with("groups", json!({"expression": "claims.c", "prefix": "p"})), &of("groups.prefix", prefix));
    mappings(with("groups", json!({"claim": "c"})), &of("groups.prefix", missing));
    mappings(with("groups", json!({"expression": "foo.bar"})), &of("groups.expression", &invalid));
    mappings(with("uid", json!({"claim": "c", "expression": "claims.c"})), &of("uid", both));
    mappings(with("uid", json!({"expression": "foo.bar"})), &of("uid.expression", &invalid));
    let extra = |key: &str, value: &str, expected: &str| {
        let expected = if expected.is_empty() { String::new() } else { of(&format!("extra[0].{expected}"), "") };
        let mappings_of = with("extra", json!([{"key": key, "valueExpression": value}]));
        mappings(mappings_of, expected.trim_end_matches(": "));
    };
    extra("", "claims.extra", "key: Required value");
    extra("example.org/foo", "", "valueExpression: Required value");
    extra("example.org/foo", "foo.bar", &format!("valueExpression: {invalid}"));
    let path = "key: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")";
    extra("foo", "claims.extra", path);
    extra("example.org/Foo", "claims.extra", "key: Invalid value: \"example.org/Foo\": must be lowercase");
    for reserved in ["k8s.io/foo", "example.k8s.io/foo", "kubernetes.io/foo", "example.kubernetes.io/foo"] {
        let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        extra(reserved, "claims.extra", &format!("key: Invalid value: {reserved:?}: {why}"));
    }
    for free in ["ak8s.io/foo", "example.ak8s.io/foo", "bkubernetes.io/foo", "example.bkubernetes.io/foo"] {
        extra(free, "claims.extra", "");
    }
    let twice = json!([
        {"key": "example.org/foo", "valueExpression": "claims.extra"},
        {"key": "example.org/foo", "valueExpression": "claims.extras"},
    ]);
    mappings(with("extra", twice), &of("extra[1].key", "Duplicate value: \"example.org/foo\""));
}

#[test]
fn an_address_is_a_name_only_if_it_is_asked_whether_somebody_looked_at_it() {
    let check = |username: &str, rules: Value, extra: Value, is_bad: bool| {
        let mut jwt = base();
        jwt["claimMappings"] = json!({"username": {"expression": username}, "extra": extra});
        jwt["claimValidationRules"] = rules;
        let found = problems(json!([jwt]), json!({}), &[]);
        let bad = "claims.email_verified must be used in claimMappings.username.expression or \
                   claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in \
                   claimMappings.username.expression";
        let expected = format!("jwt[0].claimMappings.username.expression: Invalid value: {username:?}: {bad}");
        assert_eq!(found, if is_bad { expected.as_str() } else { "" }, "{username}");
    };
    let none = json!([]);
    for username in [
        "claims.email",
        "['yay', string(claims.email), 'panda'].join(' ')",
        "claims.?email",
        "{claims.?email: \"panda\"}",
        "{\"fancy\": claims.?email}",
        "[\"a\"].map(i, i + claims.email)",
        "has(claims.email) ? claims.email : claims.sub",
        "claims.email.trim()",
    ] {
        check(username, none.clone(), none.clone(), true);
        check(username, json!([{"expression": "claims.?email_verified.orValue(true) == true"}]), none.clone(), false);
        let extra = json!([{"key": "example.org/foo", "valueExpression": "claims.email_verified"}]);
        check(username, none.clone(), extra, false);
    }
    let almost = json!([{"key": "example.org/foo", "valueExpression": "string(claims.email_verified_)"}]);
    check("claims.email", none.clone(), almost, true);
    let itself = "claims.email_verified ? claims.email : claims.sub";
    check(itself, none.clone(), none.clone(), false);
    check("claims.email_", none.clone(), none.clone(), false);
    check("claims.other.claims.email", none.clone(), none, false);
}

#[test]
fn users_have_rules() {
    let rules = |rules: Value, expected: &str| {
        let expected =
            if expected.is_empty() { String::new() } else { format!("jwt[0].userValidationRules{expected}") };
        check(json!({"userValidationRules": rules}), &expected);
    };
    rules(json!([{}]), "[0].expression: Required value");
    let one = json!({"expression": "user.username == 'foo'"});
    rules(json!([one, one]), "[1].expression: Duplicate value: \"user.username == 'foo'\"");
    rules(
        json!([{"expression": "user.username"}]),
        "[0].expression: Invalid value: \"user.username\": must evaluate to bool",
    );
    rules(json!([one, {"expression": "!user.username.startsWith('system:')"}]), "");
}

#[test]
fn nobody_may_be_asked_for_some_paths() {
    let conditions = json!([{"path": "/livez"}]);
    let off = json!({"anonymous": {"enabled": false, "conditions": conditions}});
    let expected = "anonymous.conditions: Invalid value: [{\"Path\":\"/livez\"}]: enabled should be set to true when conditions \
                    are defined";
    assert_eq!(problems(json!([]), off, &[]), expected);
    assert_eq!(problems(json!([]), json!({"anonymous": {"enabled": true, "conditions": conditions}}), &[]), "");
}

#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let refused = |file: &str, expected: &str| {
        let why = AuthenticationConfiguration::read(file.as_bytes()).unwrap_err().to_string();
        assert!(why.contains(expected), "{file}: {why}");
    };
    refused("", "empty config data");
    let head = "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n";
    refused(&format!("{head}jwt:\n- issuer:\n    uri: https://a\n"), "unknown field \"jwt[0].issuer.uri\"");
    refused(&format!("{head}jwt: 7\n"), "cannot unmarshal number");
    let read = AuthenticationConfiguration::read(format!("{head}anonymous:\n  enabled: true\n").as_bytes()).unwrap();
    assert_eq!(read.anonymous, Some(AnonymousAuth { enabled: true, conditions: Vec::new() }));
}
