//! Expressions that select devices, run (`dynamic-resource-allocation/cel`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, SelectExpr, operators};
use cel::{ExecutionError, IdedExpr, Value};
use k8s_openapi::api::resource::v1::{Device, DeviceAttribute};

use super::cost::Shape;
use super::growth::growth;
use super::library::quantity;
use super::network::semver_value;
use super::{Fault, compile, counted, is_large, made, on_large_stack};

/// The most that a run may cost (`CELSelectorExpressionMaxCost`).
const COST_MAX: u64 = 1_000_000;
/// No map or list of a device is longer, nor any text of it (`ResourceSliceMaxAttributesAndCapacitiesPerDevice`,
/// `DeviceAttributeMaxValueLength`).
const LONGEST: u64 = 64;
/// The most that its values may be larger than what is read of a device: it is run on every device there is.
const GROWTH_MAX: f64 = (1 << 16) as f64;
/// The function that looks a domain up, for which there is always a map.
pub(super) const DOMAIN: &str = "@domain";

/// An expression that can be run on devices.
#[derive(Debug)]
pub struct DeviceSelector {
    tree: IdedExpr,
    is_cheap: bool,
    is_large: bool,
}

/// What expressions see of a device.
#[derive(Debug, Clone)]
pub struct DeviceView(Value);

impl DeviceView {
    /// The view of a device of a driver. Names without a domain are the driver's own.
    ///
    /// # Errors
    /// If an attribute has no value that is known, or a version or an amount cannot be read.
    pub fn new(driver: &str, device: &Device) -> Result<Self, String> {
        let mut attributes = BTreeMap::<&str, HashMap<String, Value>>::new();
        for (name, attribute) in device.attributes.iter().flatten() {
            let value = of_attribute(attribute).map_err(|why| format!("attribute {name}: {why}"))?;
            let (domain, id) = name.split_once('/').unwrap_or((driver, name));
            attributes.entry(domain).or_default().insert(id.to_owned(), value);
        }
        let mut capacity = BTreeMap::<&str, HashMap<String, Value>>::new();
        for (name, amount) in device.capacity.iter().flatten() {
            let value = quantity(&amount.value.0).map_err(|error| format!("capacity {name}: {error}"))?;
            let (domain, id) = name.split_once('/').unwrap_or((driver, name));
            capacity.entry(domain).or_default().insert(id.to_owned(), value);
        }
        let by_domain = |maps: BTreeMap<&str, HashMap<String, Value>>| -> Value {
            let maps = maps.into_iter().map(|(domain, map)| (domain.to_owned(), Value::from(map)));
            Value::from(maps.collect::<HashMap<String, Value>>())
        };
        Ok(Self(Value::from(HashMap::from([
            ("driver".to_owned(), Value::from(driver)),
            ("allowMultipleAllocations".to_owned(), Value::Bool(device.allow_multiple_allocations.unwrap_or(false))),
            ("attributes".to_owned(), by_domain(attributes)),
            ("capacity".to_owned(), by_domain(capacity)),
        ]))))
    }
}

fn of_attribute(attribute: &DeviceAttribute) -> Result<Value, String> {
    match attribute {
        DeviceAttribute { int: Some(number), .. } => Ok(Value::Int(*number)),
        DeviceAttribute { bool: Some(truth), .. } => Ok(Value::Bool(*truth)),
        DeviceAttribute { string: Some(text), .. } => Ok(Value::from(text.as_str())),
        DeviceAttribute { version: Some(version), .. } => {
            semver_value(version).map_err(|error| format!("parse semantic version: {}", said(&error)))
        }
        _ => Err("unsupported attribute value".into()),
    }
}

fn said(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        other => other.to_string(),
    }
}

impl DeviceSelector {
    /// Parses an expression.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn new(source: &str) -> Result<Self, String> {
        let mut tree = super::parsed(source)?;
        if on_large_stack(|| growth(&tree)).is_none_or(|grown| grown > GROWTH_MAX) {
            return Err("the expression makes values that are too large".into());
        }
        let is_cheap = Shape::of(&tree).bound(LONGEST) <= COST_MAX;
        if !is_cheap {
            let parsed = on_large_stack(|| compile::parse(source).map(|parsed| made::without_literals(parsed.expr)));
            tree = parsed.unwrap_or_else(|| Err("the expression cannot be parsed".into()))?;
        }
        with_defaults(&mut tree);
        Ok(Self { tree, is_cheap, is_large: is_large(source) })
    }

    /// Whether a device is selected.
    ///
    /// # Errors
    /// If the expression fails on it, costs too much, or gives no truth.
    pub fn matches(&self, device: &DeviceView) -> Result<bool, String> {
        if !self.is_large {
            return self.run(device);
        }
        on_large_stack(|| self.run(device)).unwrap_or_else(|| Err("the expression cannot be run".into()))
    }

    fn run(&self, device: &DeviceView) -> Result<bool, String> {
        let mut context = super::context();
        context.add_variable_from_value("device", device.0.clone());
        let value = if self.is_cheap {
            Value::resolve(&self.tree, &context).map_err(|error| said(&error))?
        } else {
            match counted::run(&self.tree, &context, &counted::OfContext, COST_MAX).0 {
                Ok(value) => value,
                Err(Fault::TooMuch) => return Err("operation cancelled: actual cost limit exceeded".into()),
                Err(Fault::Failed(error)) => return Err(said(&error)),
            }
        };
        match value {
            Value::Bool(truth) => Ok(truth),
            other => Err(format!("CEL result of type {} could not be converted to bool", other.type_of())),
        }
    }
}

/// A domain of which a device has nothing is there all the same, and empty (`newStringInterfaceMapWithDefault`): where an
/// expression looks one up, it asks the function that knows.
fn with_defaults(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Call(call) => {
            call.target.iter_mut().for_each(|target| with_defaults(target));
            call.args.iter_mut().for_each(with_defaults);
            if call.func_name == operators::INDEX && call.args.first().is_some_and(is_by_domain) {
                *call = CallExpr { func_name: DOMAIN.into(), target: None, args: std::mem::take(&mut call.args) };
            } else if let Some(bound) = binding(call, expr.id) {
                expr.expr = bound;
            }
        }
        Expr::Comprehension(looped) => {
            let parts = [&mut looped.iter_range, &mut looped.accu_init, &mut looped.loop_cond];
            parts.into_iter().for_each(with_defaults);
            with_defaults(&mut looped.loop_step);
            with_defaults(&mut looped.result);
        }
        Expr::Select(select) => with_defaults(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(with_defaults),
        Expr::Map(map) => {
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                    with_defaults(&mut entry.key);
                    with_defaults(&mut entry.value);
                }
            }
        }
        _ => {}
    }
}

/// `cel.bind(name, value, result)` as a loop over nothing, which starts with the value: the parser does not know it.
fn binding(call: &mut CallExpr, id: u64) -> Option<Expr> {
    let is_cel = matches!(call.target.as_deref(), Some(IdedExpr { expr: Expr::Ident(name), .. }) if name == "cel");
    let [IdedExpr { expr: Expr::Ident(name), .. }, _, _] = call.args.as_slice() else { return None };
    if !is_cel || call.func_name != "bind" {
        return None;
    }
    let name = name.clone();
    let (result, accu_init) = (call.args.pop()?, call.args.pop()?);
    let with_id = |expr: Expr| IdedExpr { id, expr };
    Some(Expr::Comprehension(Box::new(ComprehensionExpr {
        iter_range: with_id(Expr::List(ListExpr::new(Vec::new()))),
        iter_var: "#unused".into(),
        iter_var2: None,
        accu_var: name.clone(),
        accu_init,
        loop_cond: with_id(Expr::Literal(LiteralValue::Boolean(false.into()))),
        loop_step: with_id(Expr::Ident(name)),
        result,
    })))
}

/// Whether an expression is what a device has by domain.
fn is_by_domain(expr: &IdedExpr) -> bool {
    match &expr.expr {
        Expr::Select(SelectExpr { operand, field, test: false }) => {
            let is_device = matches!(&operand.expr, Expr::Ident(name) if name == "device");
            is_device && matches!(field.as_str(), "attributes" | "capacity")
        }
        _ => false,
    }
}

/// The map of a domain, an empty one if there is none.
pub(super) fn domain(args: &[Value]) -> Result<Value, ExecutionError> {
    let (Value::Map(map), Value::String(name)) = (&args[0], &args[1]) else {
        return super::library::error("_[_]", "no such overload");
    };
    let found = map.get(&cel::objects::Key::String(Arc::clone(name)));
    Ok(found.cloned().unwrap_or_else(|| Value::from(HashMap::<String, Value>::new())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(source: &str, expected: Result<bool, &str>) {
        let device: Device = serde_json::from_value(json!({
            "name": "one", "allowMultipleAllocations": true,
            "attributes": {"model": {"string": "a100"}, "other.example/slot": {"int": 4}, "ok": {"bool": true},
                "driverVersion": {"version": "1.20.3"}},
            "capacity": {"memory": {"value": "40Gi"}},
        }))
        .expect("a device");
        let view = DeviceView::new("gpu.example", &device).expect("a view");
        let found = DeviceSelector::new(source).expect("it compiles").matches(&view);
        assert_eq!(found.as_ref().map(|truth| *truth).map_err(String::as_str), expected, "{source}");
    }

    #[test]
    fn devices_are_selected_by_what_they_are() {
        check("device.driver == 'gpu.example'", Ok(true));
        check("device.allowMultipleAllocations", Ok(true));
        check("device.attributes['gpu.example'].model == 'a100'", Ok(true));
        check("device.attributes['other.example'].slot > 4", Ok(false));
        check("device.attributes['gpu.example'].ok", Ok(true));
        check("device.attributes['gpu.example'].driverVersion.isGreaterThan(semver('1.3.0'))", Ok(true));
        check("device.capacity['gpu.example'].memory.compareTo(quantity('40Gi')) >= 0", Ok(true));
        check("device.capacity['gpu.example'].memory.isLessThan(quantity('1Gi'))", Ok(false));
        check("cel.bind(d, device.attributes['gpu.example'], d.model == 'a100' && d.ok)", Ok(true));
    }

    #[test]
    fn what_a_device_does_not_have_is_an_error_but_for_domains() {
        check("'slot' in device.attributes['other.example']", Ok(true));
        check("'slot' in device.attributes['none.example']", Ok(false));
        check("has(device.attributes['none.example'].slot)", Ok(false));
        check("'none.example' in device.attributes", Ok(false));
        check("device.attributes['none.example'].slot == 4", Err("no such key: slot"));
        check("device.attributes['gpu.example'].none", Err("no such key: none"));
        check("device.attributes['other.example'].slot", Err("CEL result of type int could not be converted to bool"));
    }

    /// Each is made of the one before twice, which costs next to nothing, and the last would be larger than any memory.
    #[test]
    fn nobody_makes_what_no_memory_holds() {
        let names: Vec<String> = (0..20).map(|n| format!("x{n}")).collect();
        let binds = |count: usize| {
            let inner = format!("x{}.size() == 2", count - 1);
            (1..count)
                .rev()
                .fold(inner, |inner, n| format!("cel.bind({0}, [{1}, {1}], {inner})", names[n], names[n - 1]))
        };
        let nested = |count: usize| format!("cel.bind(x0, [0, 0], {})", binds(count));
        check(&nested(8), Ok(true));
        assert!(DeviceSelector::new(&nested(18)).is_err_and(|why| why.contains("too large")));
    }

    #[test]
    fn a_run_ends_where_it_costs_too_much() {
        let numbers: Vec<String> = (0..60).map(|n| n.to_string()).collect();
        let list = format!("[{}]", numbers.join(","));
        let deep = format!("cel.bind(l, {list}, l.all(a, l.all(b, l.all(c, l.all(d, a + b + c + d >= 0)))))");
        check(&deep, Err("operation cancelled: actual cost limit exceeded"));
    }
}
