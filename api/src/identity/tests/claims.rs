//! The cases of `TestToken` in apiserver's `token/oidc` that are about claims.

use serde_json::json;

use super::*;
use crate::identity::AuthenticationConfiguration;

fn mapper(jwt: Value) -> ClaimsMapper {
    let mut jwt = jwt;
    jwt["issuer"] = json!({"url": "https://auth.example.com", "audiences": ["my-client"]});
    let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt]});
    let read = AuthenticationConfiguration::read(file.to_string().as_bytes()).unwrap();
    let mapped = read.validate(&[], &|_| None);
    mapped.unwrap_or_else(|errors| panic!("{:?}", crate::identity::aggregate(&errors))).remove(0)
}

fn check(jwt: Value, claims: Value, expected: Result<Value, &str>) {
    let Value::Object(given) = claims.clone() else { panic!("claims are an object") };
    let mapper = mapper(jwt.clone());
    let found = mapper.user(&given).and_then(|user| mapper.check(user)).map(|user| serde_json::to_value(user).unwrap());
    let expected = expected.map(|mut user| {
        let groups = user.as_object_mut().unwrap().entry("groups").or_insert_with(|| json!([]));
        groups.as_array_mut().unwrap().push("system:authenticated".into());
        user
    });
    assert_eq!(found, expected.map_err(String::from), "{jwt} {claims}");
}

fn named(claim: &str, prefix: &str) -> Value {
    json!({"claimMappings": {"username": {"claim": claim, "prefix": prefix}}})
}

fn grouped(prefix: &str) -> Value {
    let groups = json!({"claim": "groups", "prefix": prefix});
    json!({"claimMappings": {"username": {"claim": "username", "prefix": ""}, "groups": groups}})
}

#[test]
fn names_come_from_claims() {
    check(named("username", ""), json!({"username": "jane"}), Ok(json!({"username": "jane"})));
    check(named("username", "oidc:"), json!({"username": "jane"}), Ok(json!({"username": "oidc:jane"})));
    let absent = "oidc: parse username claims \"username\": claim not present";
    check(named("username", ""), json!({}), Err(absent));
    let number = "oidc: parse username claims \"username\": json: cannot unmarshal number into Go value of type string";
    check(named("username", ""), json!({"username": 1}), Err(number));
    let id = json!({"authentication.kubernetes.io/credential-id": ["JTI=x"]});
    check(named("username", ""), json!({"username": "jane", "jti": "x"}), Ok(json!({"username": "jane", "extra": id})));
    check(named("username", ""), json!({"username": "jane", "jti": 7}), Ok(json!({"username": "jane"})));
}

#[test]
fn an_address_must_not_be_known_to_be_unverified() {
    let jane = || Ok(json!({"username": "jane@example.com"}));
    let with = |verified: Value| json!({"email": "jane@example.com", "email_verified": verified});
    check(named("email", ""), with(json!(true)), jane());
    check(named("email", ""), json!({"email": "jane@example.com"}), jane());
    check(named("email", ""), with(json!(false)), Err("oidc: email not verified"));
    check(named("email", ""), with(Value::Null), Err("oidc: email not verified"));
    let text = "oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool";
    check(named("email", ""), with(json!("true")), Err(text));
}

#[test]
fn groups_come_from_claims() {
    let jane = |groups: Value| Ok(json!({"username": "jane", "groups": groups}));
    let with = |groups: Value| json!({"username": "jane", "groups": groups});
    check(grouped(""), with(json!(["team1", "team2"])), jane(json!(["team1", "team2"])));
    check(grouped("groups:"), with(json!(["team1", "team2"])), jane(json!(["groups:team1", "groups:team2"])));
    check(grouped(""), with(json!("team1")), jane(json!(["team1"])));
    check(grouped(""), json!({"username": "jane"}), Ok(json!({"username": "jane"})));
    check(grouped(""), with(Value::Null), jane(json!([])));
    let number = "oidc: parse groups claim \"groups\": json: cannot unmarshal number into Go value of type string";
    check(grouped(""), with(json!(42)), Err(number));
    let array = "oidc: parse groups claim \"groups\": json: cannot unmarshal array into Go value of type string";
    check(grouped(""), with(json!(["a", 1])), Err(array));
}

#[test]
fn claims_may_be_required() {
    let rule = |value: &str| {
        let mut jwt = named("username", "");
        jwt["claimValidationRules"] = json!([{"claim": "hd", "requiredValue": value}]);
        jwt
    };
    check(rule("example.com"), json!({"username": "jane", "hd": "example.com"}), Ok(json!({"username": "jane"})));
    check(rule("example.com"), json!({"username": "jane"}), Err("oidc: required claim hd not present in ID token"));
    let other = "oidc: required claim hd value does not match. Got = example.org, want = example.com";
    check(rule("example.com"), json!({"username": "jane", "hd": "example.org"}), Err(other));
    let number = "oidc: parse claim hd: json: cannot unmarshal number into Go value of type string";
    check(rule("example.com"), json!({"username": "jane", "hd": 1}), Err(number));
}

#[test]
fn rules_are_run_on_claims_and_on_the_user() {
    let exactly = r#"sets.equivalent(claims.aud, ["bar", "foo", "baz"])"#;
    let mut jwt = named("username", "");
    jwt["claimValidationRules"] =
        json!([{"expression": exactly, "message": "audience must exactly contain [bar, foo, baz]"}]);
    let claims = |aud: Value| json!({"username": "jane", "aud": aud});
    check(jwt.clone(), claims(json!(["foo", "bar", "baz"])), Ok(json!({"username": "jane"})));
    let why = format!(
        "oidc: error evaluating claim validation expression: validation expression '{exactly}' failed: audience must exactly \
         contain [bar, foo, baz]"
    );
    check(jwt, claims(json!(["foo", "bar"])), Err(&why));
    let mut jwt = named("username", "system:");
    jwt["userValidationRules"] = json!([{
        "expression": "!user.username.startsWith('system:')", "message": "username cannot used reserved system: prefix",
    }]);
    let why = "oidc: error evaluating user info validation rule: validation expression \
               '!user.username.startsWith('system:')' failed: username cannot used reserved system: prefix";
    check(jwt, json!({"username": "jane"}), Err(why));
    let mut jwt = json!({"claimMappings": {
        "username": {"expression": "claims.username"}, "groups": {"expression": "claims.groups"},
    }});
    jwt["userValidationRules"] = json!([{
        "expression": "user.groups.all(group, !group.startsWith('system:'))", "message": "no",
    }]);
    let claims = json!({"username": "jane", "groups": ["team1", "system:masters"]});
    let why = "oidc: error evaluating user info validation rule: validation expression \
               'user.groups.all(group, !group.startsWith('system:'))' failed: no";
    check(jwt, claims, Err(why));
    let mut jwt = named("username", "");
    jwt["claimValidationRules"] = json!([{"expression": "claims.hd == \"example.com\""}]);
    let why = "oidc: error evaluating claim validation expression: expression 'claims.hd == \"example.com\"' resulted in error: \
               no such key: hd";
    check(jwt, json!({"username": "jane"}), Err(why));
}

/// The two cases with names below names, and with names that stand for others.
#[test]
fn expressions_reach_everything_in_the_claims() {
    let jwt = json!({
        "claimValidationRules": [{"expression": "claims.turtle.foo.other1.bit1 && !claims.turtle.foo.bar.other1.bit2"}],
        "claimMappings": {
            "username": {"expression": "claims.turtle.foo.bar.baz.panda[0]"},
            "uid": {"expression": "claims.turtle.foo.bar.baz.panda[1]"},
            "groups": {"expression": "claims.turtle.foo.bar.baz.?a.b.c.d.orValue(['claus'])"},
            "extra": [
                {"key": "bio.snorlax.org/1", "valueExpression": "string(claims.turtle.foo.bar.other1.bit2)"},
                {"key": "bio.snorlax.org/2", "valueExpression": "string(claims.turtle.foo.bar.baz.other1.bit3)"},
                {"key": "bio.snorlax.org/3", "valueExpression": "[string(claims.turtle.foo.bar.baz.other1.bit1)] + ['a', 'b']"},
                {"key": "bio.snorlax.org/4", "valueExpression": "''"},
            ],
        },
        "userValidationRules": [
            {"expression": "user.username != \"bad\""},
            {"expression": "user.uid == \"007\""},
            {"expression": "\"claus\" in user.groups"},
            {"expression": "user.extra.bio__dot__snorlax__dot__org__slash__3.size() == 3"},
        ],
    });
    let bits = json!({"bit1": true, "bit2": false, "bit3": 1});
    let baz = json!({"other1": bits, "panda": ["snorlax", "007"]});
    let claims = json!({"turtle": {"foo": {"other1": bits, "bar": {"other1": bits, "baz": baz}}}});
    let extra = json!({
        "bio.snorlax.org/1": ["false"], "bio.snorlax.org/2": ["1"], "bio.snorlax.org/3": ["true", "a", "b"],
    });
    check(jwt, claims, Ok(json!({"username": "snorlax", "uid": "007", "groups": ["claus"], "extra": extra})));
}

#[test]
fn expressions_must_give_texts() {
    let username = |source: &str| json!({"claimMappings": {"username": {"expression": source}}});
    let why = "oidc: error evaluating username claim expression: username claim expression must return a string";
    check(username("claims.n"), json!({"n": 1}), Err(why));
    check(username("claims.n"), json!({"n": ""}), Err("oidc: empty username via CEL expression is not allowed"));
    let mut groups = username("claims.n");
    groups["claimMappings"]["groups"] = json!({"expression": "claims.g"});
    let why = "oidc: error evaluating group claim expression: expression must return a string or a list of strings";
    for bad in [json!(1), json!([1]), json!(["a", 1]), json!({"a": "b"}), json!(true)] {
        check(groups.clone(), json!({"n": "jane", "g": bad}), Err(why));
    }
    for (given, expected) in [(json!("a"), json!(["a"])), (json!(["", "a"]), json!(["a"])), (Value::Null, json!([]))] {
        check(groups.clone(), json!({"n": "jane", "g": given}), Ok(json!({"username": "jane", "groups": expected})));
    }
    let mut uid = username("claims.n");
    uid["claimMappings"]["uid"] = json!({"expression": "claims.u"});
    let why = "oidc: error evaluating uid claim expression: uid claim expression must return a string";
    check(uid, json!({"n": "jane", "u": 1}), Err(why));
    let mut uid = username("claims.n");
    uid["claimMappings"]["uid"] = json!({"claim": "u"});
    check(uid.clone(), json!({"n": "jane", "u": "1"}), Ok(json!({"username": "jane", "uid": "1"})));
    check(uid, json!({"n": "jane"}), Err("oidc: parse uid claim \"u\": claim not present"));
}

#[test]
fn what_takes_long_is_told_apart_from_what_does_not() {
    let each = |of: &str| format!("{of}.all(a, a != '')");
    let jwt = json!({
        "claimMappings": {
            "username": {"expression": "claims.sub"}, "groups": {"expression": "claims.groups"},
        },
        "claimValidationRules": [{"expression": each("claims.list")}],
        "userValidationRules": [{"expression": each("user.groups")}],
    });
    let mapper = mapper(jwt);
    let long = |length: usize| vec!["x"; length];
    let check = |list: usize, groups: usize, expected: (bool, bool)| {
        let Value::Object(claims) = json!({"sub": "jane", "list": long(list), "groups": long(groups)}) else {
            panic!("claims are an object")
        };
        let takes_long = mapper.takes_long(&claims);
        let user = mapper.user(&claims).unwrap();
        assert_eq!((takes_long, mapper.rules_take_long(&user)), expected, "{list} {groups}");
    };
    check(2, 2, (false, false));
    check(400, 2, (true, false));
    check(2, 400, (true, true));
}
