//! Resource claims of a pod, and their use by containers.

use std::collections::{BTreeSet, HashMap};

use super::scope::Scope;
use crate::field::{ErrorList, FieldError, Path};
use crate::go::internal;
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// `validatePodResourceClaims`
pub(super) fn pod(at: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for claim in at.items() {
        if scope.is_mirror {
            errors.push(FieldError::forbidden(&Path::unnamed(), "static pods do not support resource claims"));
            continue;
        }
        let name = claim.field("name");
        if name.is_empty() {
            errors.push(FieldError::required(&name.path, ""));
        } else if seen.insert(name.text()) {
            rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
        } else {
            errors.push(FieldError::duplicate(&name.path, name.text()));
        }
        let sources = claim.fields(["resourceClaimName", "resourceClaimTemplateName"]);
        let detail = match sources.iter().filter(|at| at.is_set()).count() {
            0 => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            1 => "",
            _ => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
        };
        if !detail.is_empty() {
            let shown = internal::shown("core.PodResourceClaim", claim.value);
            errors.push(FieldError::invalid_text(&claim.path, shown, detail));
        }
        for source in sources.iter().filter(|at| at.is_set()) {
            rules::invalid_each(source, names::dns1123_subdomain(source.text()), errors);
        }
    }
}

/// `validateResourceClaimNames`
pub(super) fn of_container(at: &At<'_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    // How many requests of each claim there were.
    let mut parts: HashMap<&str, usize> = HashMap::new();
    for claim in at.items() {
        let (name, request) = (claim.field("name").text(), claim.field("request"));
        if name.is_empty() {
            errors.push(FieldError::required(&claim.path, ""));
            continue;
        }
        if seen.contains(name) {
            errors.push(FieldError::duplicate(&claim.path, name));
        } else {
            let mut key = name.to_string();
            if !request.is_empty() {
                rules::invalid_each(&request, names::dns1123_label(request.text()), errors);
                key = format!("{name}/{}", request.text());
            }
            if seen.contains(&key) {
                errors.push(FieldError::duplicate(&claim.path, key.as_str()));
            } else if request.is_empty() {
                for _ in 0..parts.get(name).copied().unwrap_or(0) {
                    if errors.is_full() {
                        break;
                    }
                    errors.push(FieldError::duplicate(&claim.path, name));
                }
            }
            if seen.insert(key) && !request.is_empty() {
                *parts.entry(name).or_default() += 1;
            }
        }
        if !scope.claims.contains(name) {
            errors.push_with(|| {
                let mut error = FieldError::not_found(&claim.path, name);
                error.detail = "must be one of the names in pod.spec.resourceClaims".into();
                match scope.claims.is_empty() {
                    true => error.detail.push_str(" which is empty"),
                    false => {
                        let known: Vec<&str> = scope.claims.iter().copied().collect();
                        error.detail.push_str(&format!(": {}", known.join(", ")));
                    }
                }
                error
            });
        }
    }
}
