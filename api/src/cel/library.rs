//! The functions that Kubernetes adds to CEL: lists, regular expressions, sets, quantities, and those of
//! [`super::network`]. Strings come from the crate.

use std::sync::{Arc, OnceLock};

use cel::common::types::{CelDouble, CelString, DYN_TYPE, LIST_TYPE, MAP_TYPE, STRING_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::objects::{Key, Map, Opaque, OptionalValue};
use cel::{Env, ExecutionError, Value};

use crate::go::{regexp, strconv};
use crate::quantity::Quantity;

type Outcome = Result<Value, ExecutionError>;
/// A function on values; the first argument of a member function is what it is called on.
pub(super) type Call = fn(&[Value]) -> Outcome;

/// Calls a function on values.
pub(super) fn wrap<'b, 'v>(call: Call, args: &[CowVal<'b, 'v>]) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let values: Result<Vec<Value>, ExecutionError> = args.iter().map(|a| Value::try_from(a.as_ref())).collect();
    let result: Box<dyn Val> = call(&values?)?.try_into()?;
    Ok(CowVal::Owned(result))
}

/// Declares functions: `member` ones are called on their first argument.
macro_rules! declare {
    ($env:expr; $($kind:ident $name:literal ($($ty:expr),*) => $call:expr;)*) => {$({
        fn op<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
            super::library::wrap($call, &args)
        }
        let id = concat!(stringify!($kind), $name, $("_", stringify!($ty)),*);
        super::library::$kind($env, $name, id, vec![$($ty),*], op);
    })*};
}
pub(super) use declare;

type Operation = cel::common::functions::Function;

pub(super) fn member(env: &mut Env, name: &str, id: &str, mut types: Vec<Type>, op: Operation) {
    let target = types.remove(0);
    env.add_member_overload(name, id, target, types, op).expect("each function is declared once");
}

pub(super) fn function(env: &mut Env, name: &str, id: &str, types: Vec<Type>, op: Operation) {
    env.add_overload(name, id, types, op).expect("each function is declared once");
}

/// What texts are parsed with: the macros, which the checker sees as they are.
pub(super) fn syntax(runs: bool) -> Env {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::lists).expect("the lists are declared once");
    super::macros::add_all(&mut env, runs);
    env
}

/// The functions with which expressions run that were parsed.
pub(super) fn functions() -> Env {
    let mut env = Env::default();
    // Of the overloads that fit the first is called, so this one stands before those of the crate.
    function(&mut env, "string", "any_to_string", vec![DYN_TYPE], to_string);
    let mut env = env.with_stdlib();
    env.add_extension(cel::extensions::strings).expect("the strings are declared once");
    declare!(&mut env;
        member "first" (LIST_TYPE) => |args| Ok(super::data::optional(list(&args[0])?.first().cloned()));
        member "last" (LIST_TYPE) => |args| Ok(super::data::optional(list(&args[0])?.last().cloned()));
        member "unwrapOpt" (LIST_TYPE) => unwrapped;
        function "optional.unwrap" (LIST_TYPE) => unwrapped;
        member "isSorted" (LIST_TYPE) => is_sorted;
        member "sum" (LIST_TYPE) => sum;
        member "min" (LIST_TYPE) => |args| extreme(args, "min", std::cmp::Ordering::Less);
        member "max" (LIST_TYPE) => |args| extreme(args, "max", std::cmp::Ordering::Greater);
        member "indexOf" (LIST_TYPE, DYN_TYPE) => |args| Ok(place(list(&args[0])?.iter().position(|v| *v == args[1])));
        member "lastIndexOf" (LIST_TYPE, DYN_TYPE) => |args| Ok(place(list(&args[0])?.iter().rposition(|v| *v == args[1])));
        member "find" (STRING_TYPE, STRING_TYPE) => find;
        member "findAll" (STRING_TYPE, STRING_TYPE) => |args| find_all(args, usize::MAX);
        member "findAll" (STRING_TYPE, STRING_TYPE, DYN_TYPE) => |args| find_all(args, limit(&args[2]));
        function "@keys" (DYN_TYPE) => keys;
        function "@domain" (DYN_TYPE, DYN_TYPE) => super::device_selector::domain;
        function "cel.@mapInsert" (MAP_TYPE, DYN_TYPE, DYN_TYPE) => |args| inserted(&args[0], vec![(key(&args[1])?, &args[2])]);
        function "cel.@mapInsert" (MAP_TYPE, MAP_TYPE) => |args| inserted(&args[0], entries(&args[1])?);
        function "sets.contains" (LIST_TYPE, LIST_TYPE) => |args| contains(&args[0], &args[1]);
        function "sets.intersects" (LIST_TYPE, LIST_TYPE) => intersects;
        function "sets.equivalent" (LIST_TYPE, LIST_TYPE) => equivalent;
        function "quantity" (STRING_TYPE) => |args| quantity(text(&args[0])?);
        function "isQuantity" (STRING_TYPE) => |args| Ok(Value::Bool(Quantity::parse(text(&args[0])?).is_ok()));
        function "sign" (DYN_TYPE) => |args| Ok(Value::Int(amount(&args[0])?.sign().into()));
        member "isInteger" (DYN_TYPE) => |args| Ok(Value::Bool(is_integer(amount(&args[0])?)));
        member "asInteger" (DYN_TYPE) => as_integer;
        member "asApproximateFloat" (DYN_TYPE) => |args| Ok(Value::Float(amount(&args[0])?.as_f64()));
        member "add" (DYN_TYPE, DYN_TYPE) => |args| arithmetic(args, Quantity::checked_add);
        member "sub" (DYN_TYPE, DYN_TYPE) => |args| arithmetic(args, Quantity::checked_sub);
    );
    env.add_extension(cel::extensions::lists).expect("the lists are declared once");
    super::network::declare_all(&mut env);
    super::authorizer::declare_all(&mut env);
    super::made::declare_all(&mut env);
    super::patterns::declare_all(&mut env);
    env
}

/// `string(…)`: of doubles what Go prints, of everything else what the crate makes, and of what it does not know addresses.
fn to_string<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    static STANDARD: OnceLock<Env> = OnceLock::new();
    if let Some(number) = args[0].downcast_ref::<CelDouble>() {
        return Ok(CowVal::owned(CelString::from(strconv::format_float(*number.inner()))));
    }
    match STANDARD.get_or_init(|| Env::default().with_stdlib()).find_overload("string", &args) {
        Some(standard) => standard(args),
        None => wrap(super::network::shown, &args),
    }
}

pub(super) fn error<T>(function: &str, why: impl ToString) -> Result<T, ExecutionError> {
    Err(ExecutionError::function_error(function, why))
}

pub(super) fn text(value: &Value) -> Result<&str, ExecutionError> {
    match value {
        Value::String(text) => Ok(text),
        _ => error("string", "no such overload"),
    }
}

fn list(value: &Value) -> Result<&[Value], ExecutionError> {
    match value {
        Value::List(items) => Ok(items),
        _ => error("list", "no such overload"),
    }
}

/// A value of a type that CEL does not have.
pub(super) fn opaque<T: Opaque + 'static>(value: T) -> Value {
    Value::Opaque(Arc::new(value))
}

/// The value behind an opaque one.
pub(super) fn inner<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<T>(),
        _ => None,
    }
}

/// The values of those optional ones of a list that have one.
fn unwrapped(args: &[Value]) -> Outcome {
    let values = list(&args[0])?.iter().filter_map(|item| inner::<OptionalValue>(item)?.value().cloned());
    Ok(Value::List(Arc::new(values.collect())))
}

fn key(value: &Value) -> Result<Key, ExecutionError> {
    Ok(match value {
        Value::Int(n) => Key::Int(*n),
        Value::UInt(n) => Key::Uint(*n),
        Value::Bool(b) => Key::Bool(*b),
        Value::String(text) => Key::String(text.clone()),
        _ => return error("map", "unsupported key type"),
    })
}

/// What a loop with two variables goes over: the keys of a map, the places of a list.
fn keys(args: &[Value]) -> Outcome {
    let keys = match &args[0] {
        Value::List(items) => (0..items.len() as i64).map(Value::Int).collect(),
        Value::Map(map) => map.map.keys().cloned().map(Value::from).collect(),
        _ => return error("loop", "no such overload"),
    };
    Ok(Value::List(Arc::new(keys)))
}

/// The pairs of a map.
fn entries(map: &Value) -> Result<Vec<(Key, &Value)>, ExecutionError> {
    match map {
        Value::Map(map) => Ok(map.map.iter().map(|(key, value)| (key.clone(), value)).collect()),
        _ => error("map", "no such overload"),
    }
}

/// A map with more pairs; a key that is there already is an error.
fn inserted(map: &Value, more: Vec<(Key, &Value)>) -> Outcome {
    let Value::Map(map) = map else { return error("map", "no such overload") };
    let mut pairs = (*map.map).clone();
    for (key, value) in more {
        if pairs.insert(key.clone(), value.clone()).is_some() {
            return error("map", format!("insert failed: key {key} already exists"));
        }
    }
    Ok(Value::Map(Map { map: Arc::new(pairs) }))
}

fn place(index: Option<usize>) -> Value {
    Value::Int(index.map_or(-1, |i| i as i64))
}

fn is_sorted(args: &[Value]) -> Outcome {
    Ok(Value::Bool(list(&args[0])?.windows(2).all(|pair| pair[0].partial_cmp(&pair[1]).is_some_and(|o| o.is_le()))))
}

fn sum(args: &[Value]) -> Outcome {
    let mut total = Value::Int(0);
    for (i, item) in list(&args[0])?.iter().enumerate() {
        total = match (&total, item) {
            _ if i == 0 => item.clone(),
            (Value::Int(a), Value::Int(b)) => {
                Value::Int(a.checked_add(*b).map_or_else(|| error("sum", "integer overflow"), Ok)?)
            }
            (Value::UInt(a), Value::UInt(b)) => {
                Value::UInt(a.checked_add(*b).map_or_else(|| error("sum", "unsigned integer overflow"), Ok)?)
            }
            (Value::Float(a), Value::Float(b)) => Value::Float(a + b),
            (Value::Duration(a), Value::Duration(b)) => Value::Duration(*a + *b),
            _ => return error("sum", "no such overload"),
        };
    }
    Ok(total)
}

fn extreme(args: &[Value], name: &str, wanted: std::cmp::Ordering) -> Outcome {
    let mut items = list(&args[0])?.iter();
    let Some(mut best) = items.next() else { return error(name, format!("{name} called on empty list")) };
    for item in items {
        if item.partial_cmp(best) == Some(wanted) {
            best = item;
        }
    }
    Ok(best.clone())
}

fn regex(pattern: &str) -> Result<regex::Regex, ExecutionError> {
    regexp::compile(pattern).or_else(|e| error("regex", format!("Illegal regex: {e}")))
}

fn find(args: &[Value]) -> Outcome {
    let found = regex(text(&args[1])?)?.find(text(&args[0])?).map_or("", |m| m.as_str()).to_string();
    Ok(Value::from(found))
}

fn limit(value: &Value) -> usize {
    match value {
        Value::Int(n) => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

fn find_all(args: &[Value], limit: usize) -> Outcome {
    let all = regex(text(&args[1])?)?;
    let found: Vec<Value> = all.find_iter(text(&args[0])?).take(limit).map(|m| Value::from(m.as_str())).collect();
    Ok(Value::List(Arc::new(found)))
}

fn contains(all: &Value, some: &Value) -> Outcome {
    let all = list(all)?;
    Ok(Value::Bool(list(some)?.iter().all(|item| all.contains(item))))
}

fn intersects(args: &[Value]) -> Outcome {
    let all = list(&args[0])?;
    Ok(Value::Bool(list(&args[1])?.iter().any(|item| all.contains(item))))
}

fn equivalent(args: &[Value]) -> Outcome {
    let both = (contains(&args[0], &args[1])?, contains(&args[1], &args[0])?);
    Ok(Value::Bool(both == (Value::Bool(true), Value::Bool(true))))
}

/// A quantity in CEL.
#[derive(Debug, PartialEq, Eq)]
struct Amount(Quantity);

impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

pub(super) fn quantity(text: &str) -> Outcome {
    match Quantity::parse(text) {
        Ok(quantity) => Ok(opaque(Amount(quantity))),
        Err(why) => error("quantity", why),
    }
}

fn amount(value: &Value) -> Result<&Quantity, ExecutionError> {
    inner::<Amount>(value).map(|a| &a.0).map_or_else(|| error("quantity", "no such overload"), Ok)
}

fn is_integer(quantity: &Quantity) -> bool {
    Quantity::new(quantity.value(), quantity.format()) == *quantity
}

fn as_integer(args: &[Value]) -> Outcome {
    let quantity = amount(&args[0])?;
    if is_integer(quantity) {
        Ok(Value::Int(quantity.value()))
    } else {
        error("asInteger", "cannot convert value to integer")
    }
}

fn arithmetic(args: &[Value], f: fn(&Quantity, &Quantity) -> Option<Quantity>) -> Outcome {
    let right = match &args[1] {
        Value::Int(n) => Quantity::new(*n, crate::quantity::Format::DecimalSI),
        other => amount(other)?.clone(),
    };
    match f(amount(&args[0])?, &right) {
        Some(result) => Ok(opaque(Amount(result))),
        None => error("quantity", "overflow"),
    }
}

/// Compares quantities or versions: the functions `isGreaterThan`, `isLessThan` and `compareTo`.
pub(super) fn compare(args: &[Value]) -> Result<std::cmp::Ordering, ExecutionError> {
    if let (Some(left), Some(right)) = (inner::<Amount>(&args[0]), inner::<Amount>(&args[1])) {
        return Ok(left.0.cmp(&right.0));
    }
    super::network::compare(args)
}

#[cfg(test)]
mod tests {
    use crate::cel::{Expression, context};

    #[test]
    fn texts_of_values_are_those_of_the_reference() {
        for (expression, expected) in [
            ("string(1.2345678901234567e+19)", "1.2345678901234567e+19"),
            ("string(1000000.0)", "1e+06"),
            ("string(0.5)", "0.5"),
            ("string(1.0)", "1"),
            ("string(dyn(1e-7))", "1e-07"),
            ("string(double('-inf'))", "-Inf"),
            ("string(5) + string(5u) + string(true) + string('x') + string(b'y')", "55truexy"),
            ("string(duration('90s'))", "90s"),
        ] {
            let found = Expression::new(expression).run(&context()).unwrap().unwrap();
            assert_eq!(found, cel::Value::from(expected), "{expression}");
        }
    }

    #[test]
    fn expressions_are_as_long_as_in_the_reference() {
        let sum = |length: usize| format!("'{}' == ''", "x".repeat(length - 8));
        assert!(crate::cel::checked(&sum(100_000), &[]).is_ok());
        let why = crate::cel::checked(&sum(100_001), &[]).err().unwrap();
        assert_eq!(why, "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000");
        let all = format!("[{}]", "a,".repeat(1_000));
        let why = crate::cel::checked(&all, &[]).err().unwrap();
        assert!(why.ends_with("\n900 more errors were truncated"), "{why}");
    }
}
