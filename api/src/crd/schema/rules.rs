//! The validation rules of a schema: that their texts are there, that they compile, and what they may cost.

use serde_json::Value;

use super::{Place, Walk};
use crate::crd::definition::{given, items, text};
use crate::crd::rules::{self, Outcome};
use crate::crd::selectable;
use crate::field::{FieldError, Path};
use crate::go::internal;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
/// The most that one rule may be estimated to cost for one object (`StaticEstimatedCostLimit`).
const RULE_COST_MAX: u64 = 10_000_000;
/// The most for all rules of a schema (`StaticEstimatedCRDCostLimit`).
const SCHEMA_COST_MAX: u64 = 100_000_000;
/// How many of the most expensive rules are told of.
const EXPENSIVE_MAX: usize = 4;

/// What all rules of a schema cost together.
#[derive(Debug, Default)]
pub(super) struct TotalCost {
    total: u64,
    most_expensive: Vec<(Path, u64)>,
}

impl TotalCost {
    fn observe(&mut self, path: &Path, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost < SCHEMA_COST_MAX / 100 {
            return;
        }
        self.most_expensive.push((path.clone(), cost));
        self.most_expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        self.most_expensive.truncate(EXPENSIVE_MAX);
    }

    /// The errors if it is too much.
    pub(super) fn errors(self, path: &Path) -> Vec<FieldError> {
        if self.total <= SCHEMA_COST_MAX {
            return Vec::new();
        }
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let mut errors: Vec<FieldError> =
            self.most_expensive.iter().map(|(path, _)| FieldError::forbidden(path, why)).collect();
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(path, too_expensive(what, self.total, SCHEMA_COST_MAX)));
        errors
    }
}

fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let shown = if factor > 100.0 {
        "more than 100x".to_string()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

fn has_newline(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

impl Walk<'_> {
    /// The texts of the rules.
    pub(super) fn rule_texts(&mut self, schema: &Value, path: &Path) {
        for (i, rule) in items(schema, "x-kubernetes-validations").iter().enumerate() {
            self.rule_text(schema, rule, &path.child("x-kubernetes-validations").index(i));
        }
    }

    fn rule_text(&mut self, schema: &Value, rule: &Value, path: &Path) {
        let (source, message) = (text(rule, "rule").trim(), text(rule, "message"));
        let trimmed = message.trim();
        let message_at = path.child("message");
        if source.is_empty() {
            self.errors.push(FieldError::required(&path.child("rule"), "rule is not specified"));
        } else if !message.is_empty() && trimmed.is_empty() {
            self.errors.push(FieldError::invalid(&message_at, message, "must be non-empty if specified"));
        } else if has_newline(trimmed) {
            self.errors.push(FieldError::invalid(&message_at, message, "must not contain line breaks"));
        } else if has_newline(source) && trimmed.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            self.errors.push(FieldError::required(&message_at, why));
        }
        let expression = text(rule, "messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            self.errors.push(FieldError::required(&path.child("messageExpression"), why));
        }
        if let Some(reason) = given(rule, "reason").and_then(Value::as_str).filter(|r| !REASONS.contains(r)) {
            self.errors.push(FieldError::not_supported(&path.child("reason"), reason, &REASONS));
        }
        let (field_path, at) = (text(rule, "fieldPath"), path.child("fieldPath"));
        if field_path.is_empty() {
            return;
        }
        if field_path.trim().is_empty() {
            self.errors.push(FieldError::invalid(&at, field_path, "must be non-empty if specified"));
        }
        if has_newline(field_path) {
            self.errors.push(FieldError::invalid(&at, field_path, "must not contain line breaks"));
        }
        if selectable::find(field_path, schema, true).is_err() {
            self.errors.push(FieldError::invalid(&at, field_path, "must be a valid path"));
        }
    }

    /// Compiles the rules, with what holds because of the place they are at.
    pub(super) fn compile(&mut self, schema: &Value, path: &Path, root: bool, place: &Place) {
        let rules = items(schema, "x-kubernetes-validations");
        if rules.is_empty() {
            return;
        }
        let path = path.child("x-kubernetes-validations");
        let embedded = schema["x-kubernetes-embedded-resource"].as_bool() == Some(true);
        let Some(declared) = rules::declare(schema, "selfType", root || embedded) else {
            let why = "internal error: failed to construct type information for x-kubernetes-validations rules: \
                       unable to convert structural schema to CEL declarations";
            self.rule_errors.push(FieldError::internal(&path, why));
            return;
        };
        let times = place.cardinality.unwrap_or_else(|| declared.cardinality());
        for (i, rule) in rules.iter().enumerate() {
            let outcome = rules::compile(rule, &declared);
            self.compiled(rule, &outcome, times, &path.index(i), place);
        }
    }

    fn compiled(&mut self, rule: &Value, outcome: &Outcome, times: u64, path: &Path, place: &Place) {
        let shown = internal::shown("apiextensions.ValidationRule", rule);
        let rule_at = path.child("rule");
        let cost = outcome.cost.saturating_mul(times);
        if cost > RULE_COST_MAX && !self.unchanged {
            let why = too_expensive("estimated rule cost", cost, RULE_COST_MAX);
            self.rule_errors.push(FieldError::forbidden(&rule_at, why));
        }
        self.cost.observe(&rule_at, cost);
        if let Some(why) = &outcome.error {
            self.rule_errors.push(FieldError::invalid_text(&rule_at, shown.clone(), why.as_str()));
        }
        let message_at = path.child("messageExpression");
        if let Some(why) = &outcome.message_error {
            self.rule_errors.push(FieldError::invalid_text(&message_at, shown, why.as_str()));
        } else if let Some(cost) = outcome.message_cost {
            if cost > RULE_COST_MAX && !self.unchanged {
                let why = too_expensive("estimated messageExpression cost", cost, RULE_COST_MAX);
                self.rule_errors.push(FieldError::forbidden(&message_at, why));
            }
            self.cost.observe(&message_at, cost);
        }
        match (outcome.uses_old, &place.uncorrelated, given(rule, "optionalOldSelf")) {
            (true, Some(within), _) => {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {within}");
                self.rule_errors.push(FieldError::invalid(&rule_at, text(rule, "rule"), why));
            }
            (false, _, Some(optional)) => {
                let why = "may not be set if oldSelf is not used in rule";
                self.rule_errors.push(FieldError::invalid(&path.child("optionalOldSelf"), optional.clone(), why));
            }
            _ => {}
        }
    }
}
