//! What is checked of the claims of a token whose signature is good, as the reference checks it and says it.

use serde_json::json;

use super::*;

fn check(audiences: &[&str], claims: Value, expected: Result<(), &str>) {
    let verifier = Verifier {
        issuer: "https://auth.example.com".into(),
        audiences: audiences.iter().map(ToString::to_string).collect(),
        algorithms: Arc::new([Algorithm::Rs256]),
        keys: OnceLock::new(),
        problem: Mutex::default(),
        task: OnceLock::new(),
    };
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut all = json!({"iss": "https://auth.example.com", "aud": "us", "sub": "jane", "exp": now.as_second()});
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let found = verifier.judge(all.as_object().unwrap(), now);
    assert_eq!(found, expected.map_err(String::from), "{claims}");
}

#[test]
fn claims_are_judged() {
    let one = |claims: Value, expected: Result<(), &str>| check(&["us"], claims, expected);
    one(json!({}), Ok(()));
    one(json!({"aud": ["them", "us"]}), Ok(()));
    one(json!({"aud": "them"}), Err("oidc: expected audience \"us\" got [\"them\"]"));
    one(json!({"aud": null}), Err("oidc: expected audience \"us\" got []"));
    let several = "oidc: expected audience in [\"a\" \"b\"] got [\"us\"]";
    check(&["b", "a"], json!({}), Err(several));
    let number = "oidc: failed to unmarshal claims: json: cannot unmarshal number into Go struct field idToken.aud of type \
                  []string";
    one(json!({"aud": 1}), Err(number));
    let other = "oidc: id token issued by a different provider, expected \"https://auth.example.com\" got \"x\"";
    one(json!({"iss": "x"}), Err(other));
    let sub = "oidc: failed to unmarshal claims: json: cannot unmarshal number into Go struct field idToken.sub of type string";
    one(json!({"sub": 1}), Err(sub));
    let now = 1_767_225_600;
    one(json!({"exp": now - 1}), Err("oidc: token is expired (Token Expiry: 2025-12-31 23:59:59 +0000 UTC)"));
    one(json!({"exp": null}), Err("oidc: token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)"));
    one(json!({"exp": 1e300}), Ok(()));
    one(json!({"exp": now as f64 + 0.5, "nbf": now + 60}), Ok(()));
    let early = "oidc: current time 2026-01-01 00:00:00 +0000 UTC before the nbf (not before) time: 2026-01-01 00:01:01 +0000 UTC";
    one(json!({"nbf": now + 61}), Err(early));
    let source = json!({"groups": "s"});
    one(json!({"_claim_names": source}), Err("oidc: source does not exist"));
    one(json!({"_claim_names": source, "_claim_sources": {"s": {}}}), Ok(()));
    one(json!({"_claim_names": {"groups": ""}}), Err("oidc: failed to obtain source from claim name"));
}

#[test]
fn the_issuer_that_a_token_names_is_read_with_care() {
    use base64::Engine;
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let token = |payload: &str| format!("{}.{}.AA", encode("{\"alg\":\"RS256\"}"), encode(payload));
    assert_eq!(issuer_of(&token("{\"iss\":\"https://a\"}")), Ok("https://a".into()));
    assert_eq!(issuer_of(&token("{\"iss\":\"accounts.google.com\"}")), Ok(GOOGLE.into()));
    assert_eq!(issuer_of(&token("{}")), Ok(String::new()));
    for bad in [token("[]"), token("{\"iss\":1}"), "a.b".into(), String::new()] {
        assert!(issuer_of(&bad).is_err(), "{bad}");
    }
    assert_eq!(issuer_of(" {\"payload\":\"\"}"), Err("token is not compact JWT".into()));
}

#[tokio::test]
async fn rules_that_take_long_leave_the_threads_that_serve() {
    use api::identity::AuthenticationConfiguration;
    use futures::FutureExt;
    let each = |of: &str| format!("{of}.all(a, a != '')");
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{
        "issuer": {"url": "https://auth.example.com", "audiences": ["us"]},
        "claimMappings": {"username": {"expression": "claims.sub"}, "groups": {"expression": "claims.groups"}},
        "claimValidationRules": [{"expression": each("claims.list")}],
        "userValidationRules": [{"expression": each("user.groups")}],
    }]});
    let read = AuthenticationConfiguration::read(file.to_string().as_bytes()).unwrap();
    let mapper = Arc::new(read.validate(&[], &|_| None).unwrap().remove(0));
    let workers = Workers::default();
    let threads = workers.of(Arc::new(UserInfo::new("https://auth.example.com", &[])));
    for (list, groups, is_light) in [(2, 2, true), (400, 2, false), (2, 400, false)] {
        let claims = json!({"sub": "jane", "list": vec!["x"; list], "groups": vec!["x"; groups]});
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        let held = workers.held().await;
        let mut user = Box::pin(user_of(&mapper, claims, &threads));
        let at_once = user.as_mut().now_or_never();
        drop(held);
        assert_eq!(at_once.is_some(), is_light, "{list} {groups}");
        let user = match at_once {
            Some(user) => user,
            None => user.await,
        };
        assert_eq!(user.unwrap().username, "jane");
    }
}
