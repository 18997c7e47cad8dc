//! Values that are not made of fields, items or entries, and those that decode themselves.

use serde_json::Value;

use super::messages::go_type;
use super::{Coder, Wording, convert};
use crate::decode::tree::{TOO_DEEP, Tree};
use crate::json::double;
use crate::quantity::Quantity;
use crate::schema::{Kind, Type};
use crate::time;

impl<'a> Coder<'a, '_> {
    pub(super) fn number(&mut self, ty: Type<'a>, named: Option<&'a str>, text: &str) -> Option<Value> {
        let number = match ty.kind() {
            Kind::Int32 => text.parse::<i32>().ok().map(Value::from),
            Kind::Int64 => text.parse::<i64>().ok().map(Value::from),
            _ => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(double),
        };
        if number.is_none() && self.wording == Wording::Converter {
            self.save(format!("cannot convert float64 to {}", go_type(ty, None)));
            return None;
        }
        number.or_else(|| self.wrong(ty, named, &format!("number {text}")))
    }

    pub(super) fn bytes(&mut self, text: &str) -> Option<Value> {
        match crate::go::base64::decode(text) {
            Ok(bytes) => Some(crate::go::base64::encode(&bytes).into()),
            Err(error) => {
                let from = if self.wording == Wording::Converter { "error decoding from json: " } else { "" };
                self.save(format!("{from}{error}"));
                None
            }
        }
    }

    /// Bytes that are written as a list of numbers.
    pub(super) fn numbers(&mut self, items: Vec<Tree<'_>>) -> Option<Value> {
        let mut bytes = Vec::with_capacity(items.len());
        for item in items {
            let byte = match item {
                Tree::Number(text) => text.parse().map_err(|_| format!("number {text}")),
                other => Err(other.kind_name().to_string()),
            };
            match byte {
                Ok(byte) => bytes.push(byte),
                Err(what) => self.save(self.type_error(&what, "uint8")),
            }
        }
        Some(crate::go::base64::encode(&bytes).into())
    }

    pub(super) fn quantity(&mut self, tree: Tree<'_>) -> Option<Value> {
        let given = match &tree {
            Tree::String(text) | Tree::Number(text) => text.trim(),
            Tree::Null => return Some("0".into()),
            _ => "{}",
        };
        match Quantity::parse(given) {
            Ok(quantity) => Some(quantity.text_to_check(given).into()),
            Err(error) => self.stop(error.to_string()),
        }
    }

    pub(super) fn time(&mut self, ty: Type<'a>, tree: Tree<'_>) -> Option<Value> {
        let Tree::String(text) = tree else { return self.stop_wrong(tree.kind_name(), "string") };
        let micro = ty.kind() == Kind::MicroTime;
        let parsed = if micro { time::normalize_micro(&text) } else { time::normalize(&text) };
        match parsed {
            Ok(text) => Some(text.into()),
            Err(error) => self.stop(error.to_string()),
        }
    }

    pub(super) fn int_or_string(&mut self, tree: Tree<'_>) -> Option<Value> {
        match tree {
            Tree::String(text) => Some(text.into_owned().into()),
            Tree::Number(text) if self.lenient => self.whole(Tree::Number(text)),
            Tree::Number(text) => match text.parse::<i32>() {
                Ok(number) => Some(number.into()),
                Err(_) => self.stop_wrong(&format!("number {text}"), "int32"),
            },
            other if self.lenient => self.whole(other),
            other => self.stop_wrong(other.kind_name(), "int32"),
        }
    }

    /// `JSONSchemaPropsOrArray` and its like, which decode themselves and so are never strict inside.
    pub(super) fn schema_or(&mut self, ty: Type<'a>, tree: Tree<'_>) -> Option<Value> {
        match (ty.kind(), tree) {
            (_, tree @ (Tree::Object(_) | Tree::Deep("object"))) => self.alone(ty.inner(), tree),
            (Kind::SchemaOrArray, Tree::Array(items)) => {
                let items: Option<Vec<Value>> = items.into_iter().map(|item| self.alone(ty.inner(), item)).collect();
                items.map(Value::Array)
            }
            (Kind::SchemaOrStrings, tree @ Tree::Array(_)) => self.whole(tree),
            (_, Tree::Deep("array")) => self.stop(TOO_DEEP.to_string()),
            (Kind::SchemaOrBool, Tree::Bool(yes)) => Some(yes.into()),
            (Kind::SchemaOrBool, _) => self.stop("boolean or JSON schema expected".to_string()),
            _ => None,
        }
    }

    pub(super) fn alone(&mut self, ty: Type<'a>, tree: Tree<'_>) -> Option<Value> {
        match convert(tree, ty, false, false, &mut Vec::new()) {
            Ok(value) => Some(value),
            Err(error) => self.stop(error),
        }
    }
}
