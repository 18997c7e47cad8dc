//! Flow schemas and priority levels.

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::go::internal;
use crate::names;

const PRECEDENCE_MAX: i64 = 10_000;
const QUEUES_MAX: i64 = 10_000_000;
/// How many bits of a hash deal hands of queues (`shufflesharding.MaxHashBits`).
const HASH_BITS_MAX: u32 = 60;
/// The name of the schema and of the level that limit nothing.
const EXEMPT: &str = "exempt";
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// `ValidateFlowSchema`
pub(crate) fn schema(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let at = spec.field("matchingPrecedence");
    let precedence = at.number().unwrap_or(0);
    if precedence <= 0 {
        errors.push(FieldError::invalid(&at.path, precedence, "must be a positive value"));
    }
    if precedence > PRECEDENCE_MAX {
        let detail = format!("must not be greater than {PRECEDENCE_MAX}");
        errors.push(FieldError::invalid(&at.path, precedence, detail));
    }
    if precedence == 1 && new.at(&["metadata", "name"]).text() != EXEMPT {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(FieldError::invalid(&at.path, precedence, detail));
    }
    let method = spec.field("distinguisherMethod");
    let type_ = method.field("type");
    if method.is_set() && !matches!(type_.text(), "ByNamespace" | "ByUser") {
        // The reference shows the whole method.
        let shown = internal::shown("flowcontrol.FlowDistinguisherMethod", method.value);
        let unsupported = FieldError::not_supported(&type_.path, "", &["ByNamespace", "ByUser"]);
        errors.push(FieldError { value: Some(shown), ..unsupported });
    }
    let level = spec.at(&["priorityLevelConfiguration", "name"]);
    if level.is_empty() {
        errors.push(FieldError::required(&level.path, "must reference a priority level"));
    } else {
        rules::invalid_each(&level, names::dns1123_subdomain(level.text()), errors);
    }
    for rule in spec.field("rules").items() {
        self::rule(&rule, errors);
    }
    status(new, None, errors);
}

/// `ValidateFlowSchemaStatus` and `ValidatePriorityLevelConfigurationStatus`
pub(crate) fn status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let mut seen = std::collections::BTreeSet::new();
    for type_ in new.at(&["status", "conditions"]).items().map(|condition| condition.field("type")) {
        if !seen.insert(type_.text()) {
            errors.push(FieldError::duplicate(&type_.path, type_.text()));
        }
        rules::required(&type_, errors);
    }
}

/// `ValidateNonResourceURLPath`
fn url(at: &At<'_>, errors: &mut ErrorList) {
    let path = at.text();
    let detail = match path {
        "" => "must not be empty",
        "/" => return,
        _ if !path.starts_with('/') => "must start with slash",
        _ if path.contains(' ') => "must not contain white-space",
        _ if path.contains("//") => "must not contain double slash",
        _ if path.matches('*').count() > 1 || (path.contains('*') && !path.ends_with("/*")) => {
            "wildcard can only do suffix matching"
        }
        _ => return,
    };
    errors.push(FieldError::invalid(&at.path, path, detail));
}

fn rule(at: &At<'_>, errors: &mut ErrorList) {
    let subjects = at.field("subjects");
    if subjects.is_empty() {
        errors.push(FieldError::required(&subjects.path, "subjects must contain at least one value"));
    }
    for subject in subjects.items() {
        self::subject(&subject, errors);
    }
    let (resources, others) = (at.field("resourceRules"), at.field("nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(&at.path, detail));
    }
    for rule in resources.items() {
        verbs(&rule.field("verbs"), errors);
        let all = [
            (rule.field("apiGroups"), "resource rules must supply at least one api group", "api groups"),
            (rule.field("resources"), "resource rules must supply at least one resource", "resources"),
        ];
        for (list, missing, what) in all {
            wildcard(&list, missing, what, errors);
        }
        namespaces(&rule, errors);
    }
    for rule in others.items() {
        verbs(&rule.field("verbs"), errors);
        let urls = rule.field("nonResourceURLs");
        let missing = "nonResourceURLs must contain at least one value";
        wildcard(&urls, missing, "non-resource URLs", errors);
        if !has_wildcard(&urls) {
            urls.items().for_each(|item| url(&item, errors));
        }
    }
}

/// A list that must not be empty, and in which a wildcard stands alone.
fn wildcard(at: &At<'_>, missing: &str, what: &str, errors: &mut ErrorList) {
    if at.is_empty() {
        errors.push(FieldError::required(&at.path, missing));
    } else if at.len() > 1 && has_wildcard(at) {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&at.path, at.value.clone(), detail));
    }
}

fn has_wildcard(at: &At<'_>) -> bool {
    at.items().any(|item| item.text() == "*")
}

fn verbs(at: &At<'_>, errors: &mut ErrorList) {
    wildcard(at, "verbs must contain at least one value", "verbs", errors);
    if !has_wildcard(at) && at.items().any(|verb| !VERBS.contains(&verb.text())) {
        errors.push(FieldError::not_supported(&at.path, at.value.clone(), &VERBS));
    }
}

fn namespaces(rule: &At<'_>, errors: &mut ErrorList) {
    let at = rule.field("namespaces");
    if at.is_empty() && rule.field("clusterScope").is_true() {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    wildcard(&at, missing, "namespaces", errors);
    if has_wildcard(&at) {
        return;
    }
    for namespace in at.items() {
        for message in names::dns1123_label(namespace.text()) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {message}");
            errors.push(FieldError::invalid(&namespace.path, namespace.text(), detail));
        }
    }
}

fn subject(at: &At<'_>, errors: &mut ErrorList) {
    let [account, user, group] = at.known(["serviceAccount", "user", "group"]);
    let kinds = [("ServiceAccount", account), ("User", user), ("Group", group)];
    let kind = at.field("kind");
    let Some((_, own)) = kinds.iter().find(|(name, _)| *name == kind.text()) else {
        errors.push(FieldError::not_supported(&kind.path, kind.text(), &["Group", "ServiceAccount", "User"]));
        return;
    };
    let given = at.get(*own);
    if given.is_absent() {
        let detail = format!("{own} is required when subject kind is '{}'", kind.text());
        errors.push(FieldError::required(&given.path, detail));
    } else {
        let name = given.field("name");
        let is_named = rules::required(&name, errors);
        if *own == account {
            if is_named && name.text() != "*" {
                rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
            }
            let namespace = given.field("namespace");
            if namespace.is_empty() {
                errors.push(FieldError::required(&namespace.path, "must specify namespace for service account"));
            } else {
                rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
            }
        }
    }
    for (name, field) in kinds.iter().filter(|(_, field)| field != own && at.get(*field).is_set()) {
        let detail = format!("{field} is forbidden when subject kind is not '{name}'");
        errors.push(FieldError::forbidden(&at.get(*field).path, detail));
    }
}

/// `ValidatePriorityLevelConfiguration`
pub(crate) fn level(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let (type_, limited, exempt) = (spec.field("type"), spec.field("limited"), spec.field("exempt"));
    if (new.at(&["metadata", "name"]).text() == EXEMPT) != (type_.text() == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid(&type_.path, type_.text(), detail));
    }
    match type_.text() {
        "Exempt" => {
            if limited.is_set() {
                errors.push(FieldError::forbidden(&limited.path, "must be nil if the type is not Limited"));
            }
            shares(&exempt, errors);
            lendable(&exempt, errors);
        }
        "Limited" => {
            if exempt.is_set() {
                errors.push(FieldError::forbidden(&exempt.path, "must be nil if the type is Limited"));
            }
            if limited.is_absent() {
                errors.push(FieldError::required(&limited.path, "must not be empty when type is Limited"));
            } else {
                self::limited(&limited, errors);
            }
        }
        other => errors.push(FieldError::not_supported(&type_.path, other, &["Exempt", "Limited"])),
    }
    status(new, None, errors);
}

fn shares(at: &At<'_>, errors: &mut ErrorList) {
    let nominal = at.field("nominalConcurrencyShares");
    if let Some(number) = nominal.number().filter(|number| *number < 0) {
        errors.push(FieldError::invalid(&nominal.path, number, "must be a non-negative integer"));
    }
}

fn lendable(at: &At<'_>, errors: &mut ErrorList) {
    let lendable = at.field("lendablePercent");
    if let Some(number) = lendable.number().filter(|number| !(0..=100).contains(number)) {
        errors.push(FieldError::invalid(&lendable.path, number, "must be between 0 and 100, inclusive"));
    }
}

fn limited(at: &At<'_>, errors: &mut ErrorList) {
    let response = at.field("limitResponse");
    let (type_, queuing) = (response.field("type"), response.field("queuing"));
    shares(at, errors);
    match type_.text() {
        "Reject" if queuing.is_set() => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(FieldError::forbidden(&queuing.path, detail));
        }
        "Queue" if queuing.is_absent() => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(&queuing.path, detail));
        }
        "Queue" => self::queuing(&queuing, errors),
        "Reject" => {}
        other => errors.push(FieldError::not_supported(&type_.path, other, &["Queue", "Reject"])),
    }
    lendable(at, errors);
    let borrowing = at.field("borrowingLimitPercent");
    if let Some(number) = borrowing.number().filter(|number| *number < 0) {
        errors.push(FieldError::invalid(&borrowing.path, number, "if specified, must be a non-negative integer"));
    }
}

/// `ValidatePriorityLevelQueuingConfiguration`
fn queuing(at: &At<'_>, errors: &mut ErrorList) {
    let [length, queues, hand] = at.fields(["queueLengthLimit", "queues", "handSize"]);
    let [limit, count, size] = [&length, &queues, &hand].map(|at| at.number().unwrap_or(0));
    if limit <= 0 {
        errors.push(FieldError::invalid(&length.path, limit, "must be positive"));
    }
    if count <= 0 {
        errors.push(FieldError::invalid(&queues.path, count, "must be positive"));
    } else if count > QUEUES_MAX {
        let detail = format!("must not be greater than {QUEUES_MAX}");
        errors.push(FieldError::invalid(&queues.path, count, detail));
    }
    if size <= 0 {
        errors.push(FieldError::invalid(&hand.path, size, "must be positive"));
    } else if size > count {
        let detail = format!("should not be greater than queues ({count})");
        errors.push(FieldError::invalid(&hand.path, size, detail));
    } else if entropy_bits(count, size) > HASH_BITS_MAX {
        let detail = format!(
            "required entropy bits of deckSize {count} and handSize {size} should not be greater than {HASH_BITS_MAX}"
        );
        errors.push(FieldError::invalid(&hand.path, size, detail));
    }
}

/// How many bits of a hash it takes to deal a hand (`shufflesharding.RequiredEntropyBits`).
fn entropy_bits(deck: i64, hand: i64) -> u32 {
    #[expect(clippy::cast_precision_loss, reason = "decks are smaller than 2^24")]
    let bits: f64 = (0..hand).map(|dealt| ((deck - dealt) as f64).log2()).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of small logarithms")]
    let bits = bits.ceil() as u32;
    bits
}
