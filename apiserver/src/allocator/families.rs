//! Address families of a service (`initIPFamilyFields`): what is not said follows from the addresses and the cluster.

use std::net::IpAddr;

use api::field::{ErrorList, FieldError, Path};
use api::{Object, services};
use serde_json::{Value, json};

use crate::Context;

const V4: &str = "IPv4";
const V6: &str = "IPv6";

/// The families that the cluster has addresses of, the primary one first.
pub(super) fn configured(ctx: &Context) -> Vec<&'static str> {
    let mut families = Vec::new();
    for cidr in &ctx.registry.config().service_cidrs {
        let family = family(cidr.addr());
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { V4 } else { V6 }
}

pub(super) fn texts(service: &Object, field: &str) -> Vec<String> {
    let list = service.at(&["spec", field]).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(String::from).collect()
}

fn is_external(service: &Object) -> bool {
    service.str_at(&["spec", "type"]) == "ExternalName"
}

pub(super) fn is_headless(service: &Object) -> bool {
    services::is_headless(service.str_at(&["spec", "clusterIP"]))
}

fn has_selector(service: &Object) -> bool {
    service.at(&["spec", "selector"]).and_then(Value::as_object).is_some_and(|selector| !selector.is_empty())
}

/// Fills in `ipFamilyPolicy` and `ipFamilies`.
pub fn fill(ctx: &Context, service: &mut Object, old: Option<&Object>) {
    if is_external(service) {
        return;
    }
    let free = is_headless(service) && !has_selector(service);
    if service.at(&["spec", "ipFamilyPolicy"]).is_none() {
        service.set(&["spec", "ipFamilyPolicy"], if free { "RequireDualStack" } else { "SingleStack" });
    }
    let single = service.str_at(&["spec", "ipFamilyPolicy"]) == "SingleStack";
    if let Some(old) = old.filter(|_| single) {
        for field in ["clusterIPs", "ipFamilies"] {
            let list = texts(service, field);
            if list.len() > 1 && list == texts(old, field) {
                service.set(&["spec", field], json!([list[0]]));
            }
        }
    }
    let configured = configured(ctx);
    let mut families = texts(service, "ipFamilies");
    for address in texts(service, "clusterIPs").iter().skip(families.len()) {
        let Ok(address) = address.parse::<IpAddr>() else { break };
        // A family that the cluster lacks is an error, which is found later.
        if !configured.contains(&family(address)) {
            return;
        }
        families.push(family(address).to_string());
    }
    if families.is_empty() {
        families.extend(configured.first().map(|first| first.to_string()));
    }
    let before = old.map(|old| texts(old, "ipFamilies")).unwrap_or_default();
    // The second family is not given up without a word of it.
    let is_reduced = before.len() == 2 && families.len() == 1;
    if !single && !is_reduced && families.len() == 1 && (free || configured.len() > 1) {
        families.push(if families[0] == V4 { V6.into() } else { V4.into() });
    }
    if !families.is_empty() {
        service.set(&["spec", "ipFamilies"], families);
    }
}

/// What is wrong with the families and the addresses asked for (`initIPFamilyFields`).
pub fn errors(ctx: &Context, service: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    if is_external(service) {
        return errors;
    }
    let path = Path::new("spec");
    let (families, addresses) = (texts(service, "ipFamilies"), texts(service, "clusterIPs"));
    let policy = service.str_at(&["spec", "ipFamilyPolicy"]);
    let configured = configured(ctx);
    let mut refuse = |detail: String| errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), policy, detail));
    for (field, list, one, many) in
        [("clusterIPs", &addresses, "cluster IP", "cluster IPs"), ("ipFamilies", &families, "IP family", "IP families")]
    {
        let before = old.map(|old| texts(old, field)).unwrap_or_default();
        let reduced = !list.is_empty() && list.len() < before.len();
        if policy == "SingleStack" && list.len() == 2 {
            refuse(format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {many} are specified"));
        } else if policy != "SingleStack" && reduced {
            refuse(format!("must be 'SingleStack' to release the secondary {one}"));
        }
    }
    for (index, address) in addresses.iter().enumerate().skip(families.len()) {
        let of = address.parse().map_or(V4, family);
        if !services::is_headless(address) && !configured.contains(&of) {
            let at = path.child("clusterIPs").index(index);
            let detail = format!("{of} is not configured on this cluster");
            errors.push(FieldError::invalid(&at, json!(addresses), detail));
        }
    }
    if !errors.is_empty() || is_headless(service) && !has_selector(service) {
        return errors;
    }
    if policy == "RequireDualStack" && configured.len() < 2 {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), policy, detail));
    }
    for (index, family) in families.iter().enumerate().filter(|(_, family)| !configured.contains(&family.as_str())) {
        let at = path.child("ipFamilies").index(index);
        errors.push(FieldError::invalid(&at, family.as_str(), "not configured on this cluster"));
    }
    errors
}
