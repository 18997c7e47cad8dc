//! Amounts by resource (`ResourceList`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::quantity::{Format, Quantity};
pub use crate::validation::pod::resources::is_extended;

/// Amounts by the name of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceList(pub BTreeMap<String, Quantity>);

impl ResourceList {
    /// Reads a JSON object; what is no quantity is left out, as validation tells of it.
    pub fn of(list: Option<&Value>) -> Self {
        let read = |(name, value): (&String, &Value)| Some((name.clone(), Quantity::from_json(value).ok()?));
        Self(list.and_then(Value::as_object).into_iter().flatten().filter_map(read).collect())
    }

    /// So many of one resource.
    pub fn count(name: &str, count: i64) -> Self {
        Self(BTreeMap::from([(name.to_owned(), Quantity::new(count, Format::DecimalSI))]))
    }

    /// The JSON object.
    pub fn to_json(&self) -> Value {
        let written = self.0.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string())));
        Value::Object(written.collect::<Map<_, _>>())
    }

    /// Adds each amount of `other`; a sum that does not fit stays what it was.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let sum = self.0.get(name).map_or(Some(amount.clone()), |here| here.checked_add(amount));
            if let Some(sum) = sum {
                self.0.insert(name.clone(), sum);
            }
        }
    }

    /// Takes each amount of `other` away, but to no less than nothing.
    pub fn subtract_to_zero(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let Some(here) = self.0.get_mut(name) else { continue };
            *here = here.checked_sub(amount).filter(|rest| rest.sign() > 0).unwrap_or_default();
        }
    }

    /// Raises each amount to that of `other`.
    pub fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            if self.0.get(name).is_none_or(|here| here < amount) {
                self.0.insert(name.clone(), amount.clone());
            }
        }
    }

    /// Only the resources that `keep` holds of.
    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).map(|(n, q)| (n.clone(), q.clone())).collect())
    }

    /// `cpu=1,memory=1Gi`, sorted by name.
    pub fn pretty(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        parts.join(",")
    }
}
