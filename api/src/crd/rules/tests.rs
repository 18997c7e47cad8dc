//! Tests of rules: an expression on a value holds, or what is said.

use serde_json::json;

use super::*;
use crate::field::Path;

mod compile;

fn said(schema: Value, value: Value, old: Option<Value>) -> Vec<String> {
    let node = Node::new(&schema);
    validate(&node, &value, old.as_ref(), &Path::new("spec"), false).errors.iter().map(ToString::to_string).collect()
}

fn schema(rule: Value) -> Value {
    json!({"type": "object", "x-kubernetes-validations": [rule], "properties": {
        "a": {"type": "integer"}, "b": {"type": "integer"}, "s": {"type": "string"}, "n": {"type": "number"},
        "when": {"type": "string", "format": "date-time"}, "d": {"type": "string", "format": "duration"},
        "my-name": {"type": "string"}, "namespace": {"type": "string"},
        "l": {"type": "array", "items": {"type": "integer"}},
        "names": {"type": "array", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}}}})
}

fn check(rule: &str, value: Value, holds: bool) {
    let actual = said(schema(json!({"rule": rule, "message": "no"})), value.clone(), None);
    let expect: &[&str] = if holds { &[] } else { &["spec: Invalid value: no"] };
    assert_eq!(actual, expect, "{rule} on {value}");
}

#[test]
fn the_language() {
    check("self.a < self.b", json!({"a": 1, "b": 2}), true);
    check("self.a < self.b", json!({"a": 2, "b": 1}), false);
    check("!has(self.a) || self.a > 0", json!({}), true);
    check("self.l.all(x, x > 0)", json!({"l": [1, 2]}), true);
    check("self.l.exists(x, x > 5)", json!({"l": [1, 2]}), false);
    check("self.m.all(k, k.startsWith('x'))", json!({"m": {"xa": "1"}}), true);
    check("'k' in self.m && self.m['k'] == 'v'", json!({"m": {"k": "v"}}), true);
    check("self.n * 2.0 == 3.0", json!({"n": 1.5}), true);
    check("self.n == 1.0", json!({"n": 1}), true);
    check("self.my__dash__name == 'x'", json!({"my-name": "x"}), true);
    check("self.__namespace__ == 'x'", json!({"namespace": "x"}), true);
    check("self.when > timestamp('2024-01-01T00:00:00Z')", json!({"when": "2025-01-01T00:00:00Z"}), true);
    check("self.d < duration('2h')", json!({"d": "90m"}), true);
    check("size(self.s) == 2", json!({"s": "äö"}), true);
    check("self.s.matches('^[a-z]+$')", json!({"s": "abc"}), true);
    check("self.a in [1, 2] ? true : false", json!({"a": 3}), false);
}

#[test]
fn the_libraries() {
    let text = |s: &str| json!({"s": s});
    check("self.s.lowerAscii().trim() == 'ab'", text(" AB "), true);
    check("self.s.split(',').size() == 3", text("a,b,c"), true);
    check("self.s.find('[0-9]+') == '12'", text("a12b34"), true);
    check("self.s.findAll('[0-9]+') == ['12', '34']", text("a12b34"), true);
    check(
        "self.l.isSorted() && self.l.sum() == 6 && self.l.max() == 3 && self.l.min() == 1",
        json!({"l": [1, 2, 3]}),
        true,
    );
    check(
        "self.l.indexOf(2) == 1 && self.l.lastIndexOf(2) == 2 && self.l.indexOf(9) == -1",
        json!({"l": [1, 2, 2]}),
        true,
    );
    check(
        "sets.contains(self.l, [1]) && sets.equivalent(self.l, [2, 1]) && !sets.intersects(self.l, [5])",
        json!({"l": [1, 2]}),
        true,
    );
    check("quantity(self.s).isGreaterThan(quantity('1Gi'))", text("2Gi"), true);
    check("quantity(self.s).add(quantity('1')).compareTo(quantity('1500m')) == 0", text("500m"), true);
    check("isQuantity(self.s)", text("1x"), false);
    check("quantity(self.s).asInteger() == 1024 && quantity(self.s).isInteger()", text("1Ki"), true);
    check("isIP(self.s) && ip(self.s).family() == 4 && ip(self.s).isLoopback()", text("127.0.0.1"), true);
    check("cidr('10.0.0.0/8').containsIP(self.s)", text("10.1.2.3"), true);
    check("cidr(self.s).prefixLength() == 24 && cidr(self.s).ip() == ip('10.0.0.1')", text("10.0.0.1/24"), true);
    check(
        "url(self.s).getHost() == 'h:80' && url(self.s).getPort() == '80' && url(self.s).getEscapedPath() == '/p' && url(self.s).getQuery()['q'] == ['1']",
        text("https://h:80/p?q=1"),
        true,
    );
    check("isURL(self.s)", text("nope"), false);
    check("string(ip(self.s)) == '1.2.3.4' && string(cidr('10.0.0.0/8')) == '10.0.0.0/8'", text("1.2.3.4"), true);
    check("!format.dns1123Label().validate(self.s).hasValue()", text("good"), true);
    check("semver(self.s).isLessThan(semver('1.10.0')) && semver(self.s).minor() == 9", text("1.9.0-rc.1"), true);
    check("isSemver(self.s, true)", text("v1.2"), true);
    check("!format.named('dns1123Label').value().validate(self.s).hasValue()", text("good-name"), true);
    check("format.named('dns1123Label').value().validate(self.s).hasValue()", text("Bad"), true);
}

#[test]
fn loops_with_two_variables() {
    check("self.l.all(i, v, i < v)", json!({"l": [1, 2]}), true);
    check("self.m.exists(k, v, k == v)", json!({"m": {"a": "b"}}), false);
    check("self.l.existsOne(i, v, i == v)", json!({"l": [0, 2]}), true);
    check("self.l.transformList(i, v, i > 0, v * 2) == [4]", json!({"l": [1, 2]}), true);
    check("self.m.transformMap(k, v, v + k)['a'] == 'ba'", json!({"m": {"a": "b"}}), true);
    check("self.l.transformMapEntry(i, v, {v: i})[7] == 0", json!({"l": [7]}), true);
    check("self.l.sortBy(v, -v) == [3, 2, 1]", json!({"l": [2, 3, 1]}), true);
    check("self.?a.optMap(v, v + 1).orValue(0) == 3", json!({"a": 2}), true);
    check("self.?zz.hasValue()", json!({}), false);
    check("self.l.first().value() == 5 && self.l.slice(1, 2) == [6]", json!({"l": [5, 6]}), true);
    check("self.namespace == 'n' && self.__namespace__ == 'n'", json!({"namespace": "n"}), true);
}

#[test]
fn messages_paths_and_reasons() {
    let rule = json!({"rule": "self.a > 0", "messageExpression": "'a is ' + string(self.a)", "fieldPath": ".a", "reason": "FieldValueForbidden"});
    assert_eq!(said(schema(rule), json!({"a": -1}), None), ["spec.a: Forbidden: a is -1"]);
    let plain = json!({"rule": "self.a > 0"});
    assert_eq!(said(schema(plain), json!({"a": 0}), None), ["spec: Invalid value: failed rule: self.a > 0"]);
    let missing = said(schema(json!({"rule": "self.a > 0"})), json!({}), None);
    assert_eq!(missing, ["spec: Invalid value: \"object\": no such key: a evaluating rule: self.a > 0"]);
    let named = json!({"rule": "duration(self.s) > duration('1s')", "message": " too short "});
    let unread = "type conversion error from 'string' to 'google.protobuf.Duration' evaluating rule: too short";
    assert_eq!(said(schema(named), json!({"s": "x"}), None), [format!("spec: Invalid value: \"object\": {unread}")]);
    let unsaid = json!({"rule": "self.a > 0", "message": "small", "messageExpression": "string(duration(self.s))"});
    assert_eq!(said(schema(unsaid), json!({"a": 0, "s": "x"}), None), ["spec: Invalid value: small"]);
    let scalar = json!({"type": "object", "properties": {"a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1", "message": "small"}]}}});
    assert_eq!(said(scalar, json!({"a": 1}), None), ["spec.a: Invalid value: 1: small"]);
}

#[test]
fn transitions() {
    let grow = json!({"rule": "self.a >= oldSelf.a", "message": "shrinks"});
    assert_eq!(said(schema(grow.clone()), json!({"a": 1}), None), [""; 0]);
    assert_eq!(said(schema(grow.clone()), json!({"a": 1}), Some(json!({"a": 2}))), ["spec: Invalid value: shrinks"]);
    assert_eq!(said(schema(grow), json!({"a": 3}), Some(json!({"a": 2}))), [""; 0]);
    let optional =
        json!({"rule": "oldSelf.hasValue() || self.a == 1", "optionalOldSelf": true, "message": "starts at 1"});
    assert_eq!(said(schema(optional.clone()), json!({"a": 2}), None), ["spec: Invalid value: starts at 1"]);
    assert_eq!(said(schema(optional), json!({"a": 2}), Some(json!({"a": 1}))), [""; 0]);
    let ratchet = json!({"rule": "self.a > 0", "message": "no"});
    assert_eq!(said(schema(ratchet), json!({"a": 0}), Some(json!({"a": 0}))), [""; 0]);
}

#[test]
fn costs_are_bounded() {
    let rule = json!({"rule": "self.l.all(x, self.l.all(y, self.l.all(z, x + y + z > 0)))"});
    let list: Vec<i64> = (1..=500).collect();
    let errors = said(schema(rule), json!({"l": list}), None);
    assert!(errors[0].contains("actual cost limit exceeded"), "{errors:?}");
    // A long text beside it costs a short list nothing.
    let rule = json!({"rule": "self.l.all(x, self.l.all(y, self.l.all(z, x + y + z > 0)))"});
    let names: Vec<String> = (0..5000).map(|i| i.to_string()).collect();
    assert_eq!(said(schema(rule), json!({"l": [1, 2, 3], "names": names}), None), [""; 0]);
}

/// What running an expression costs, told by hand from the rules of the reference's interpreter.
#[test]
fn costs_are_counted() {
    fn check(source: &str, expect: u64) {
        let value = json!({"a": 1, "s": "abcdefghijkl", "l": [1, 2, 3], "names": ["ab", "c"], "m": {"k": "v", "x": "y"},
            "o": {"p": {"q": 2}}});
        let mut context = cel::context();
        context.add_variable_from_value("self", cel::convert(None::<&Node>, &value, Reads::ALL));
        let expression = Expression::new(source);
        let (result, cost) = expression.count(&context, u64::MAX).expect("it parses");
        assert!(result.is_ok(), "{source}: {result:?}");
        assert_eq!(cost, expect, "{source}");
        let bound = expression.bound(cel::longest(&value));
        assert!(cost <= bound, "{source} costs {cost} and is bounded by {bound}");
        let plain = expression.run(&context).expect("it compiles");
        assert_eq!(plain.ok(), result.ok(), "{source}");
    }
    check("true", 0);
    check("self.a == 1", 3);
    check("self.o.p.q == 2", 5);
    check("self['a'] == 1", 3);
    check("has(self.a)", 1);
    check("has(self.o.p)", 2);
    check("!has(self.zz) || self.zz > 1", 2);
    check("self.a == 2 && self.a == 1", 3);
    check("self.a == 1 ? true : false", 3);
    check("(self.a == 1 ? self.s : self.s) == 'abcdefghijkl'", 6);
    check("self.s.startsWith('abc')", 4);
    check("self.s.contains('abc')", 4);
    check("self.s.matches('^[a-l]+$')", 6);
    check("self.s + 'x' != ''", 4);
    check("self.a in [1, 2]", 2);
    check("2 in self.l", 5);
    check("'k' in self.m", 3);
    check("size(self.l) == 3", 4);
    check("self.l.all(x, x > 0)", 2 + 3 * (2 + 1 + 2) + 1);
    check("self.l.exists(x, x == 2)", 2 + 2 * (3 + 1 + 2) + 3 + 1);
    check("self.l.map(x, x + 1) == [2, 3, 4]", 2 + 3 * (1 + 10 + 2 + 1) + 1 + 1);
    check("self.l.filter(x, x > 1).size() == 2", 2 + 2 + 2 * (1 + 10 + 1 + 1) + 2 + 2 + 1 + 1 + 1);
    check("self.l.all(i, v, i < v)", 2 + 3 * (2 + 1 + 3) + 1);
    check("self.l.sum() == 6", 2 + 3 + 1);
    check("self.names.join(',') == 'ab,c'", 2 + 1 + 1);
    check("duration('1h') == duration('60m')", 1);
    check("[self.a, 1] == [1, 1]", 2 + 10 + 1);
    check("quantity('1Gi').isGreaterThan(quantity('1Mi'))", 3);
    check("sets.contains(self.l, [1, 2])", 2 + 1 + 6);
}

#[test]
fn hostile_expressions_are_refused_or_run() {
    let chain = |unit: &str, n: usize| unit.repeat(n);
    for source in [
        format!("{}1{} == 1", chain("(", 24), chain(")", 24)),
        format!("{}true", chain("!", 297)),
        format!("1{} > 0", chain("+1", 297)),
        format!("self{}", chain(".a", 299)),
        format!("true{}", chain(" && true", 149)),
        format!("true{}", chain(" ? true : true", 299)),
        format!("{}1{} == 1", chain("size([", 12), chain("])", 12)),
        format!("{}true{}", chain("[1].all(x, ", 22), chain(")", 22)),
        format!("{}1{} == 1", chain("(", 5000), chain(")", 5000)),
        format!("{}true", chain("!", 20_000)),
        format!("1{} > 0", chain("+1", 20_000)),
        format!("self{}", chain(".a", 20_000)),
        format!("{}self.a{}", chain("[", 5000), chain("]", 5000)),
        format!("true{}", chain(" && true", 20_000)),
        format!("true{}", chain(" ? true : true", 5_000)),
        chain("-", 20_000),
    ] {
        let node = Node::new(&schema(json!({"rule": source})));
        let _ = validate(&node, &json!({"a": 1}), None, &Path::new("spec"), false);
        let declared = declare(&schema(json!({})), "selfType", false).unwrap();
        let _ = compile(&json!({"rule": source}), &declared);
    }
}
