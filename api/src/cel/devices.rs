//! Expressions that select devices (`dynamic-resource-allocation/cel`): what they may name and what they may cost.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::compile::{checked, parse};
use super::declared::Declared;
use super::on_large_stack;
use super::types::Type;

/// The most that an expression may be estimated to cost (`CELSelectorExpressionMaxCost`).
const COST_MAX: u64 = 1_000_000;
const DOMAIN_LENGTH_MAX: usize = 63;
const ATTRIBUTES_MAX: usize = 32;
const VALUE_LENGTH_MAX: usize = 64;
/// A macro of a library that the checker does not know.
const BIND: &str = "cel.bind";

/// The type of `device`.
static DEVICE: LazyLock<Declared> = LazyLock::new(|| {
    let by_name = |value: Declared| {
        let ty = Type::map(Type::String, value.ty.clone());
        Declared::measured(ty, ATTRIBUTES_MAX, Some(value))
    };
    let attribute = Declared::measured(Type::Dyn, VALUE_LENGTH_MAX, None);
    let amount = Declared::measured(Type::Library("kubernetes.Quantity"), 0, None);
    let fields = HashMap::from([
        ("driver".to_string(), Declared::measured(Type::String, DOMAIN_LENGTH_MAX, None)),
        ("allowMultipleAllocations".to_string(), Declared::measured(Type::Bool, 1, None)),
        ("attributes".to_string(), by_name(by_name(attribute))),
        ("capacity".to_string(), by_name(by_name(amount))),
    ]);
    Declared::measured(Type::object("kubernetes.DRADevice", fields), 0, None)
});

/// What is wrong with an expression.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It does not compile, or gives no truth.
    Invalid(String),
    /// It may cost too much.
    TooComplex,
}

/// What is wrong with an expression that selects devices, in the words of the reference's compiler.
pub(crate) fn problem(source: &str) -> Option<Problem> {
    on_large_stack(|| problem_here(source)).unwrap_or(Some(Problem::TooComplex))
}

fn problem_here(source: &str) -> Option<Problem> {
    let failed = |why: String| Some(Problem::Invalid(format!("compilation failed: {why}")));
    if source.contains(BIND) {
        return parse(source).err().and_then(failed);
    }
    match checked(source, &[("device", DEVICE.ty.clone())]) {
        Err(why) => failed(why),
        Ok(compiled) if !matches!(compiled.output, Type::Bool | Type::Dyn) => {
            Some(Problem::Invalid(format!("must evaluate to bool or the unknown type, not {}", compiled.output)))
        }
        Ok(compiled) => (compiled.cost(&DEVICE) > COST_MAX).then_some(Problem::TooComplex),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_give_a_truth_about_a_device() {
        let check = |source: &str, expected: Option<&str>| {
            let expected = expected.map(|text| Problem::Invalid(text.to_string()));
            assert_eq!(problem(source), expected, "{source}");
        };
        check("device.driver == 'x'", None);
        check("device.attributes['a.b'].c", None);
        check("device.attributes['a.b'].c == 1 && device.allowMultipleAllocations", None);
        check("device.capacity['a.b'].memory.compareTo(quantity('1Gi')) >= 0", None);
        check("cel.bind(d, device.attributes['a.b'], d.x && d.y)", None);
        check("1", Some("must evaluate to bool or the unknown type, not int"));
        let undefined = "compilation failed: ERROR: <input>:1:7: undefined field 'nope'\n | device.nope\n | ......^";
        check("device.nope", Some(undefined));
        let all = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, \
                   device.attributes.all(e, a == b && c == d)))))";
        assert_eq!(problem(all), Some(Problem::TooComplex));
    }
}
