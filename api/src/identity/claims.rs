//! From the claims of a token to a user (`AuthenticateToken` in apiserver's `token/oidc`).

use std::collections::BTreeMap;

use cel::Value as CelValue;
use serde_json::{Map, Value, json};

use crate::UserInfo;
use crate::cel::identity::Over;
use crate::go::json::cannot_unmarshal;

/// The claims of a token.
pub type Claims = Map<String, Value>;

const BAD_LIST: &str = "expression must return a string or a list of strings";
/// The key under which a token is known (`CredentialIDKey`).
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Where a part of a user comes from.
#[derive(Debug, Default)]
pub(super) enum From {
    /// It has none.
    #[default]
    Nothing,
    /// A claim, with what is put before it.
    Claim(String, String),
    /// An expression over all claims.
    Expression(Box<Over>),
}

/// What must be true.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) expression: Over,
    pub(super) message: String,
}

/// Makes users of claims, as one authenticator of a configuration says.
#[derive(Debug, Default)]
pub struct ClaimsMapper {
    pub(super) username: From,
    pub(super) groups: From,
    pub(super) uid: From,
    pub(super) extra: Vec<(String, Over)>,
    pub(super) required: Vec<(String, String)>,
    pub(super) claim_rules: Vec<Rule>,
    pub(super) user_rules: Vec<Rule>,
}

/// A user that claims make, who is nobody before they are [checked](ClaimsMapper::check).
#[derive(Debug)]
pub struct Unchecked(UserInfo);

impl ClaimsMapper {
    /// The claim that groups come from, if one is named: it may be kept elsewhere.
    pub fn groups_claim(&self) -> Option<&str> {
        match &self.groups {
            From::Claim(claim, _) => Some(claim),
            _ => None,
        }
    }

    /// Whether to make a user of claims may take more than a moment: not on a thread that serves others.
    pub fn takes_long(&self, claims: &Claims) -> bool {
        Over::take_long(self.expressions(), &Value::Object(claims.clone()))
    }

    /// The same for the rules about a user.
    pub fn rules_take_long(&self, user: &Unchecked) -> bool {
        !self.user_rules.is_empty()
            && Over::take_long(self.user_rules.iter().map(|rule| &rule.expression), &shown(&user.0))
    }

    /// The expressions over claims.
    fn expressions(&self) -> impl Iterator<Item = &Over> {
        let mapped = [&self.username, &self.groups, &self.uid].into_iter().filter_map(|from| match from {
            From::Expression(expression) => Some(&**expression),
            From::Nothing | From::Claim(..) => None,
        });
        let rules = self.claim_rules.iter().map(|rule| &rule.expression);
        mapped.chain(self.extra.iter().map(|(_, expression)| expression)).chain(rules)
    }

    /// The user that claims make, of whom the rules about users are still to be [checked](Self::check).
    ///
    /// # Errors
    /// Why they make none.
    pub fn user(&self, claims: &Claims) -> Result<Unchecked, String> {
        let all = Value::Object(claims.clone());
        let mut user = UserInfo { username: self.username(claims, &all)?, ..UserInfo::default() };
        user.groups = self.groups(claims, &all)?;
        user.uid = self.uid(claims, &all)?;
        user.extra = self.extra(claims, &all)?;
        for (claim, wanted) in &self.required {
            let Some(value) = claims.get(claim) else {
                return Err(format!("oidc: required claim {claim} not present in ID token"));
            };
            let value = text(value).map_err(|why| format!("oidc: parse claim {claim}: {why}"))?;
            if value != wanted {
                let why = format!("Got = {value}, want = {wanted}");
                return Err(format!("oidc: required claim {claim} value does not match. {why}"));
            }
        }
        let failed = |why| format!("oidc: error evaluating claim validation expression: {why}");
        hold(&self.claim_rules, &all).map_err(failed)?;
        Ok(Unchecked(user))
    }

    /// The user, who is authenticated, if the rules about users hold.
    ///
    /// # Errors
    /// Which does not.
    pub fn check(&self, Unchecked(user): Unchecked) -> Result<UserInfo, String> {
        if !self.user_rules.is_empty() {
            let failed = |why| format!("oidc: error evaluating user info validation rule: {why}");
            hold(&self.user_rules, &shown(&user)).map_err(failed)?;
        }
        Ok(user.authenticated())
    }

    fn username(&self, claims: &Claims, all: &Value) -> Result<String, String> {
        let failed = |why: String| format!("oidc: error evaluating username claim expression: {why}");
        let (claim, prefix) = match &self.username {
            From::Expression(expression) => {
                let CelValue::String(name) = evaluate(expression, all).map_err(failed)? else {
                    return Err(failed("username claim expression must return a string".into()));
                };
                if name.is_empty() {
                    return Err("oidc: empty username via CEL expression is not allowed".into());
                }
                return Ok(name.to_string());
            }
            From::Claim(claim, prefix) => (claim.as_str(), prefix),
            From::Nothing => ("", &String::new()),
        };
        let name = claims.get(claim).ok_or("claim not present".to_string()).and_then(text);
        let name = name.map_err(|why| format!("oidc: parse username claims {claim:?}: {why}"))?;
        if claim == "email"
            && let Some(verified) = claims.get("email_verified")
        {
            match verified {
                Value::Bool(true) => {}
                Value::Bool(false) | Value::Null => return Err("oidc: email not verified".into()),
                other => {
                    let why = cannot_unmarshal(name_of(other), "bool");
                    return Err(format!("oidc: parse 'email_verified' claim: {why}"));
                }
            }
        }
        Ok(format!("{prefix}{name}"))
    }

    fn groups(&self, claims: &Claims, all: &Value) -> Result<Vec<String>, String> {
        match &self.groups {
            From::Nothing => Ok(Vec::new()),
            From::Claim(claim, prefix) => {
                let Some(value) = claims.get(claim) else { return Ok(Vec::new()) };
                let groups = texts(value).map_err(|why| format!("oidc: parse groups claim {claim:?}: {why}"))?;
                Ok(groups.into_iter().map(|group| format!("{prefix}{group}")).collect())
            }
            From::Expression(expression) => {
                let failed = |why| format!("oidc: error evaluating group claim expression: {why}");
                evaluate(expression, all).and_then(list).map_err(failed)
            }
        }
    }

    fn uid(&self, claims: &Claims, all: &Value) -> Result<String, String> {
        match &self.uid {
            From::Nothing => Ok(String::new()),
            From::Claim(claim, _) => {
                let uid = claims.get(claim).ok_or("claim not present".to_string()).and_then(text);
                uid.map(String::from).map_err(|why| format!("oidc: parse uid claim {claim:?}: {why}"))
            }
            From::Expression(expression) => {
                let failed = |why| format!("oidc: error evaluating uid claim expression: {why}");
                match evaluate(expression, all).map_err(failed)? {
                    CelValue::String(uid) => Ok(uid.to_string()),
                    _ => Err(failed("uid claim expression must return a string".into())),
                }
            }
        }
    }

    fn extra(&self, claims: &Claims, all: &Value) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::new();
        if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
            extra.insert(CREDENTIAL_ID.to_string(), vec![format!("JTI={id}")]);
        }
        for (key, expression) in &self.extra {
            let values = list(evaluate(expression, all)?).map_err(|why| {
                format!("oidc: error evaluating extra claim expression: {}: {why}", expression.source())
            })?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

/// A user as rules see one.
fn shown(user: &UserInfo) -> Value {
    json!({"username": user.username, "uid": user.uid, "groups": user.groups, "extra": user.extra})
}

fn evaluate(expression: &Over, on: &Value) -> Result<CelValue, String> {
    expression.run(on).map_err(|why| format!("expression '{}' resulted in error: {why}", expression.source()))
}

/// Whether all rules hold. Every one is run before the first that is false is told.
fn hold(rules: &[Rule], on: &Value) -> Result<(), String> {
    let results: Vec<CelValue> = rules.iter().map(|rule| evaluate(&rule.expression, on)).collect::<Result<_, _>>()?;
    for (rule, result) in rules.iter().zip(results) {
        match result {
            CelValue::Bool(true) => {}
            CelValue::Bool(false) => {
                let (source, message) = (rule.expression.source(), &rule.message);
                return Err(format!("validation expression '{source}' failed: {message}"));
            }
            _ => return Err("validation expression must return a boolean".into()),
        }
    }
    Ok(())
}

/// The values of an expression that gives one text, or several; what is empty counts as not there.
fn list(value: CelValue) -> Result<Vec<String>, String> {
    let texts = match value {
        CelValue::Null => Vec::new(),
        CelValue::String(text) => vec![text.to_string()],
        CelValue::List(items) => items
            .iter()
            .map(|item| match item {
                CelValue::String(text) => Ok(text.to_string()),
                _ => Err(BAD_LIST.to_string()),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(BAD_LIST.into()),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

/// A claim that is a text, as Go's decoder reads one.
fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        other => Err(cannot_unmarshal(name_of(other), "string")),
    }
}

/// A claim that is a text or a list of them.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    let listed = |items: &[Value]| items.iter().map(|item| text(item).map(String::from)).collect();
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => Result::or_else(listed(items), |_: String| Err(cannot_unmarshal("array", "string"))),
        other => text(other).map(|text| vec![text.to_string()]),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
#[path = "tests/claims.rs"]
mod tests;
