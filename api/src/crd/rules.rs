//! Rules of a schema (`x-kubernetes-validations`): CEL expressions over `self` and `oldSelf`.
//!
//! They are checked against the schema when the definition is validated ([`compile`]), and made ready to run when the first
//! object of the definition comes ([`Rules`]).

mod compile;
mod declare;
mod run;

use serde_json::Value;

pub(super) use compile::{Outcome, compile};
pub(super) use declare::declare;
pub(super) use run::{validate, validate_object};

use super::definition::text;
use super::node::{Additional, Node};
use crate::cel::{self, Expression, Field, Reads};

/// The compiled rules of one place.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    reads: Reads,
}

impl Rules {
    /// Compiles `x-kubernetes-validations`.
    pub(super) fn new(rules: &[Value]) -> Self {
        let rules: Vec<Rule> = rules.iter().map(Rule::new).collect();
        let reads = Expression::reads(rules.iter().flat_map(Rule::expressions), &["self", "oldSelf"]);
        Self { rules, reads }
    }
}

/// A compiled rule.
#[derive(Debug)]
struct Rule {
    expression: Expression,
    uses_old: bool,
    optional_old: bool,
    message: String,
    message_expression: Option<Expression>,
    field_path: String,
    reason: String,
}

impl Rule {
    fn new(rule: &Value) -> Self {
        let expression = Expression::new(text(rule, "rule").trim());
        let message_expression = text(rule, "messageExpression");
        Self {
            uses_old: expression.names("oldSelf"),
            expression,
            optional_old: rule["optionalOldSelf"].as_bool() == Some(true),
            message: text(rule, "message").trim().to_string(),
            message_expression: Some(message_expression).filter(|m| !m.is_empty()).map(Expression::new),
            field_path: text(rule, "fieldPath").trim().to_string(),
            reason: text(rule, "reason").to_string(),
        }
    }

    /// What errors call it (`ruleErrorString`).
    fn said(&self) -> &str {
        if self.message.is_empty() { self.expression.source() } else { &self.message }
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        std::iter::once(&self.expression).chain(&self.message_expression)
    }
}

impl cel::Schema for Node {
    fn is_double(&self) -> bool {
        let has = |name: &str| self.types.iter().any(|known| known == name);
        has("number") && !has("string")
    }

    fn format(&self) -> &str {
        &self.format
    }

    fn items(&self) -> Option<&Self> {
        self.items.as_deref()
    }

    fn field(&self, name: &str) -> Field<'_, Self> {
        match (self.properties.get(name), &self.additional) {
            (Some(below), _) => Field::Named(below),
            (None, Additional::Schema(below)) => Field::Key(below),
            (None, _) => Field::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
