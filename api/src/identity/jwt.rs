//! What may stand in one authenticator of `AuthenticationConfiguration` (`validateJWTAuthenticator` in apiserver's
//! `apis/apiserver/validation`), and what it makes of claims.

use std::collections::HashSet;

use super::authentication::{
    CheckBundle, ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator, Mapping, UserValidationRule,
};
use super::claims::{ClaimsMapper, From, Rule};
use crate::cel::identity::{Over, Variable};
use crate::field::{ErrorList, FieldError, Path};
use crate::go::url;
use crate::names;

const BOTH: &str = "claim and expression can't both be set";
const NEITHER: &str = "claim or expression is required";
/// The claim that says whether an address was looked at, which must be asked if the address is to be a name.
const VERIFIED: &str = "email_verified";

/// Checks an authenticator; what it makes of claims is only good if nothing is wrong.
pub(super) fn validate(
    authenticator: &JwtAuthenticator,
    path: &Path,
    disallowed: &[String],
    bundle: CheckBundle<'_>,
    errors: &mut ErrorList,
) -> ClaimsMapper {
    issuer(&authenticator.issuer, &path.child("issuer"), disallowed, bundle, errors);
    let mut mapper = ClaimsMapper::default();
    let mut checked = Checked { errors, asks_verified: false };
    checked.claim_rules(&authenticator.claim_validation_rules, &path.child("claimValidationRules"), &mut mapper);
    checked.mappings(&authenticator.claim_mappings, &path.child("claimMappings"), &mut mapper);
    checked.user_rules(&authenticator.user_validation_rules, &path.child("userValidationRules"), &mut mapper);
    mapper
}

fn issuer(issuer: &Issuer, path: &Path, disallowed: &[String], bundle: CheckBundle<'_>, errors: &mut ErrorList) {
    match issuer.url.as_str() {
        "" => errors.push(FieldError::required(&path.child("url"), "")),
        url => issuer_url(url, &path.child("url"), disallowed, errors),
    }
    let discovery = issuer.discovery_url.as_str();
    if !discovery.is_empty() {
        let path = path.child("discoveryURL");
        if !issuer.url.is_empty() && issuer.url.trim_end_matches('/') == discovery.trim_end_matches('/') {
            errors.push(FieldError::invalid(&path, discovery, "discoveryURL must be different from URL"));
        }
        issuer_url(discovery, &path, &[], errors);
    }
    audiences(issuer, path, errors);
    if !issuer.certificate_authority.is_empty()
        && let Some(why) = bundle(&issuer.certificate_authority)
    {
        errors.push(FieldError::invalid(&path.child("certificateAuthority"), "<omitted>", why));
    }
    let egress = issuer.egress_selector_type.as_str();
    if !matches!(egress, "" | "controlplane" | "cluster") {
        let detail = "egress selector must be either controlplane or cluster";
        errors.push(FieldError::invalid(&path.child("egressSelectorType"), egress, detail));
    }
}

fn issuer_url(text: &str, path: &Path, disallowed: &[String], errors: &mut ErrorList) {
    let mut refuse = |detail: String| errors.push(FieldError::invalid(path, text, detail));
    if disallowed.iter().any(|issuer| issuer == text) {
        let mut all = disallowed.to_vec();
        all.sort();
        all.dedup();
        refuse(format!("URL must not overlap with disallowed issuers: [{}]", all.join(" ")));
    }
    let url = match url::parse(text) {
        Ok(url) => url,
        Err(why) => return refuse(why),
    };
    let rules = [
        (url.scheme != "https", "URL scheme must be https"),
        (url.user.is_some(), "URL must not contain a username or password"),
        (!url.query.is_empty(), "URL must not contain a query"),
        (!url.fragment.is_empty(), "URL must not contain a fragment"),
    ];
    rules.into_iter().filter(|(broken, _)| *broken).for_each(|(_, detail)| refuse(detail.into()));
}

fn audiences(issuer: &Issuer, of: &Path, errors: &mut ErrorList) {
    let (path, policy) = (of.child("audiences"), issuer.audience_match_policy.as_str());
    if issuer.audiences.is_empty() {
        errors.push(FieldError::required(&path, format!("at least one {path} is required")));
        return;
    }
    let mut seen = HashSet::new();
    for (place, audience) in issuer.audiences.iter().enumerate() {
        if audience.is_empty() {
            errors.push(FieldError::required(&path.index(place), ""));
        }
        if !seen.insert(audience) {
            errors.push(FieldError::duplicate(&path.index(place), audience.as_str()));
        }
    }
    let detail = match (issuer.audiences.len(), policy) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    errors.push(FieldError::invalid(&of.child("audienceMatchPolicy"), policy, detail));
}

struct Checked<'e> {
    errors: &'e mut ErrorList,
    /// Whether some expression asks whether an address was looked at.
    asks_verified: bool,
}

impl Checked<'_> {
    fn compile(&mut self, source: &str, variable: Variable, must_be_bool: bool, path: &Path) -> Option<Over> {
        let compiled = Over::compile(source, variable, must_be_bool);
        compiled.map_err(|why| self.errors.push(FieldError::invalid(path, source, why))).ok()
    }

    /// An expression over claims; it may ask whether an address was looked at.
    fn asking(&mut self, source: &str, must_be_bool: bool, path: &Path) -> Option<Over> {
        let compiled = self.compile(source, Variable::Claims, must_be_bool, path)?;
        self.asks_verified |= compiled.selects(VERIFIED);
        Some(compiled)
    }

    fn claim_rules(&mut self, rules: &[ClaimValidationRule], path: &Path, mapper: &mut ClaimsMapper) {
        let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
        for (place, rule) in rules.iter().enumerate() {
            let path = path.index(place);
            match (rule.claim.as_str(), rule.expression.as_str()) {
                ("", "") => self.errors.push(FieldError::required(&path, NEITHER)),
                (claim, "") => {
                    if !rule.message.is_empty() {
                        let detail = "may not be specified when claim is set";
                        self.errors.push(FieldError::invalid(&path.child("message"), rule.message.as_str(), detail));
                    }
                    if !claims.insert(claim) {
                        self.errors.push(FieldError::duplicate(&path.child("claim"), claim));
                    }
                    mapper.required.push((claim.into(), rule.required_value.clone()));
                }
                ("", source) => {
                    if !rule.required_value.is_empty() {
                        let (path, detail) =
                            (path.child("requiredValue"), "may not be specified when expression is set");
                        self.errors.push(FieldError::invalid(&path, rule.required_value.as_str(), detail));
                    }
                    let path = path.child("expression");
                    if !expressions.insert(source) {
                        self.errors.push(FieldError::duplicate(&path, source));
                        continue;
                    }
                    let expression = self.asking(source, true, &path);
                    mapper
                        .claim_rules
                        .extend(expression.map(|expression| Rule { expression, message: rule.message.clone() }));
                }
                (claim, _) => self.errors.push(FieldError::invalid(&path, claim, BOTH)),
            }
        }
    }

    fn mappings(&mut self, mappings: &ClaimMappings, path: &Path, mapper: &mut ClaimsMapper) {
        let of_username = path.child("username");
        mapper.username = self.prefixed(&mappings.username, &of_username, true);
        let mut uses_email = false;
        if let From::Expression(username) = &mapper.username {
            uses_email = username.selects("email");
            self.asks_verified |= username.selects(VERIFIED);
        }
        mapper.groups = self.prefixed(&mappings.groups, &path.child("groups"), false);
        let (of_uid, uid) = (path.child("uid"), &mappings.uid);
        mapper.uid = match (uid.claim.as_str(), uid.expression.as_str()) {
            ("", "") => From::Nothing,
            (claim, "") => From::Claim(claim.into(), String::new()),
            ("", source) => self.expression(source, &of_uid.child("expression")),
            _ => {
                self.errors.push(FieldError::invalid(&of_uid, "", BOTH));
                From::Nothing
            }
        };
        self.extra(mappings, path, mapper);
        if uses_email && !self.asks_verified {
            let detail = "claims.email_verified must be used in claimMappings.username.expression or \
                          claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is \
                          used in claimMappings.username.expression";
            let source = mappings.username.expression.as_str();
            self.errors.push(FieldError::invalid(&of_username.child("expression"), source, detail));
        }
    }

    fn expression(&mut self, source: &str, path: &Path) -> From {
        self.compile(source, Variable::Claims, false, path).map_or(From::Nothing, |over| From::Expression(over.into()))
    }

    /// A claim with a prefix, or an expression (`validatePrefixClaimOrExpression`).
    fn prefixed(&mut self, mapping: &Mapping, path: &Path, is_required: bool) -> From {
        match (mapping.claim.as_str(), mapping.expression.as_str()) {
            ("", "") if is_required => self.errors.push(FieldError::required(path, NEITHER)),
            ("", "") => {}
            ("", source) => {
                if let Some(prefix) = &mapping.prefix {
                    let detail = "may not be specified when expression is set";
                    self.errors.push(FieldError::invalid(&path.child("prefix"), prefix.as_str(), detail));
                }
                return self.expression(source, &path.child("expression"));
            }
            (claim, "") => match &mapping.prefix {
                Some(prefix) => return From::Claim(claim.into(), prefix.clone()),
                None => {
                    let detail =
                        "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                    self.errors.push(FieldError::required(&path.child("prefix"), detail));
                }
            },
            _ => self.errors.push(FieldError::invalid(path, "", BOTH)),
        }
        From::Nothing
    }

    fn extra(&mut self, mappings: &ClaimMappings, path: &Path, mapper: &mut ClaimsMapper) {
        let mut seen = HashSet::new();
        for (place, mapping) in mappings.extra.iter().enumerate() {
            let path = path.child("extra").index(place);
            let (of_key, key) = (path.child("key"), mapping.key.as_str());
            if key.is_empty() {
                self.errors.push(FieldError::required(&of_key, ""));
            } else {
                for (part, why) in names::domain_prefixed_path(key) {
                    self.errors.push(FieldError::invalid(&of_key, part, why));
                }
            }
            if key != key.to_lowercase() {
                self.errors.push(FieldError::invalid(&of_key, key, "must be lowercase"));
            }
            let domain = key.split_once('/').map_or("", |(domain, _)| domain);
            let of_kubernetes = |ours: &str| domain == ours || domain.ends_with(&format!(".{ours}"));
            if of_kubernetes("kubernetes.io") || of_kubernetes("k8s.io") {
                let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                self.errors.push(FieldError::invalid(&of_key, key, detail));
            }
            if !seen.insert(key) {
                self.errors.push(FieldError::duplicate(&of_key, key));
                continue;
            }
            let of_value = path.child("valueExpression");
            if mapping.value_expression.is_empty() {
                self.errors.push(FieldError::required(&of_value, ""));
                continue;
            }
            let expression = self.asking(&mapping.value_expression, false, &of_value);
            mapper.extra.extend(expression.map(|expression| (key.to_string(), expression)));
        }
    }

    fn user_rules(&mut self, rules: &[UserValidationRule], path: &Path, mapper: &mut ClaimsMapper) {
        let mut seen = HashSet::new();
        for (place, rule) in rules.iter().enumerate() {
            let path = path.index(place).child("expression");
            let source = rule.expression.as_str();
            if source.is_empty() {
                self.errors.push(FieldError::required(&path, ""));
                continue;
            }
            if !seen.insert(source) {
                self.errors.push(FieldError::duplicate(&path, source));
                continue;
            }
            let expression = self.compile(source, Variable::User, true, &path);
            mapper.user_rules.extend(expression.map(|expression| Rule { expression, message: rule.message.clone() }));
        }
    }
}
