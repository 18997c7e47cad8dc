//! Address families of a service (`initIPFamilyFields`): what is not said follows from the addresses and the cluster.

use std::net::IpAddr;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
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
    service.str_at(&["spec", "clusterIP"]) == "None"
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
    if service.str_at(&["spec", "ipFamilyPolicy"]).is_empty() {
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
        families.push(family(address).to_string());
    }
    if families.is_empty() {
        families.extend(configured.first().map(|first| first.to_string()));
    }
    if !single && families.len() == 1 && (free || configured.len() > 1) {
        families.push(if families[0] == V4 { V6.into() } else { V4.into() });
    }
    if !families.is_empty() {
        service.set(&["spec", "ipFamilies"], families);
    }
}

/// What is wrong with the families and the addresses asked for.
pub fn errors(ctx: &Context, service: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = ErrorList::new();
    if is_external(service) {
        return errors;
    }
    let path = Path::new("spec");
    let (families, addresses) = (texts(service, "ipFamilies"), texts(service, "clusterIPs"));
    let policy = service.str_at(&["spec", "ipFamilyPolicy"]);
    let configured = configured(ctx);
    let at_policy = path.child("ipFamilyPolicy");
    if let Some(old) = old
        && !is_external(old)
        && let (Some(before), after) = (texts(old, "clusterIPs").first(), addresses.first())
        && after.is_some_and(|after| after != before)
    {
        let why = "may not change once set";
        errors.push(FieldError::invalid(&path.child("clusterIPs").index(0), json!(addresses), why));
    }
    if policy == "SingleStack" {
        for (list, what) in [(&addresses, "cluster IPs"), (&families, "IP families")] {
            if list.len() == 2 {
                let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                errors.push(FieldError::invalid(&at_policy, policy, why));
            }
        }
    }
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| *address != "None") {
        if address.parse::<IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(&path.child("clusterIPs").index(index), address.as_str(), why));
        }
    }
    if is_headless(service) && !has_selector(service) {
        return errors;
    }
    if policy == "RequireDualStack" && configured.len() < 2 {
        let why = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(&at_policy, policy, why));
    }
    for (index, family) in families.iter().enumerate() {
        if !configured.contains(&family.as_str()) && policy != "RequireDualStack" {
            let at = path.child("ipFamilies").index(index);
            errors.push(FieldError::invalid(&at, family.as_str(), "not configured on this cluster"));
        }
    }
    errors
}
