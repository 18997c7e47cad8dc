//! The environment of a container: services, `envFrom`, `env` with references, in that order of precedence.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};

use crate::{
    expansion::expand,
    fields::{self, Surroundings},
    pod,
};

/// The ConfigMaps and Secrets of the pod's namespace that its containers refer to, by name.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// ConfigMaps that exist.
    pub config_maps: HashMap<String, std::sync::Arc<ConfigMap>>,
    /// Secrets that exist.
    pub secrets: HashMap<String, std::sync::Arc<Secret>>,
}

/// Names of the ConfigMaps and Secrets that a container's environment refers to.
pub fn referenced(container: &Container) -> (Vec<String>, Vec<String>) {
    let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
    for from in container.env_from.iter().flatten() {
        config_maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        config_maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    (config_maps, secrets)
}

/// Variables in the order they were first set; a later value replaces an earlier one.
#[derive(Default)]
struct Variables {
    order: Vec<String>,
    values: HashMap<String, String>,
}

impl Variables {
    fn set(&mut self, name: String, value: String) {
        if self.values.insert(name.clone(), value).is_none() {
            self.order.push(name);
        }
    }

    fn into_pairs(mut self) -> Vec<(String, String)> {
        let order = std::mem::take(&mut self.order);
        order.into_iter().filter_map(|name| self.values.remove(&name).map(|value| (name, value))).collect()
    }
}

/// The environment of a container.
///
/// # Errors
/// When a reference that is not optional cannot be resolved; the text is the message of `CreateContainerConfigError`.
pub fn make(
    pod: &Pod,
    container: &Container,
    references: &References,
    services: BTreeMap<String, String>,
    around: &Surroundings,
) -> Result<Vec<(String, String)>, String> {
    let mut variables = Variables::default();
    for (name, value) in services {
        variables.set(name, value);
    }
    add_env_from(container, references, &mut variables)?;
    for var in container.env.iter().flatten() {
        let value = match (&var.value, &var.value_from) {
            (Some(value), None) => Some(expand(value, |name| variables.values.get(name).cloned())),
            (_, Some(source)) => resolve(pod, container, source, references, around)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            variables.set(var.name.clone(), value);
        }
    }
    Ok(variables.into_pairs())
}

fn add_env_from(container: &Container, references: &References, variables: &mut Variables) -> Result<(), String> {
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(wanted) = &from.config_map_ref {
            match references.config_maps.get(&wanted.name) {
                Some(map) => {
                    for (key, value) in map.data.iter().flatten() {
                        variables.set(format!("{prefix}{key}"), value.clone());
                    }
                }
                None if wanted.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", wanted.name)),
            }
        }
        if let Some(wanted) = &from.secret_ref {
            match references.secrets.get(&wanted.name) {
                Some(secret) => {
                    for (key, value) in secret.data.iter().flatten() {
                        variables.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                    }
                }
                None if wanted.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", wanted.name)),
            }
        }
    }
    Ok(())
}

/// The value of one source; `None` if it is optional and absent.
fn resolve(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    references: &References,
    around: &Surroundings,
) -> Result<Option<String>, String> {
    let namespace = pod::namespace(pod);
    if let Some(selector) = &source.field_ref {
        return fields::field(pod, &selector.field_path, around).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        return fields::resource(pod, container, selector, around).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let Some(map) = references.config_maps.get(&selector.name) else {
            return if optional { Ok(None) } else { Err(format!("configmap {:?} not found", selector.name)) };
        };
        return match map.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(value.clone())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", selector.key, selector.name)),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional == Some(true);
        let Some(secret) = references.secrets.get(&selector.name) else {
            return if optional { Ok(None) } else { Err(format!("secret {:?} not found", selector.name)) };
        };
        return match secret.data.as_ref().and_then(|data| data.get(&selector.key)) {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None if optional => Ok(None),
            None => Err(format!("couldn't find key {} in Secret {namespace}/{}", selector.key, selector.name)),
        };
    }
    Err("the environment variable's source is of a kind that this node does not support".to_owned())
}

/// The variables that tell of services: those of the pod's namespace if it wants links, and `kubernetes` always.
pub fn service_variables<'a>(
    services: impl Iterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let home = service.metadata.namespace.as_deref().unwrap_or_default();
        let master = name == "kubernetes" && home == "default";
        if !(master || links && home == namespace) {
            continue;
        }
        let Some(spec) = &service.spec else { continue };
        let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| api::services::has_address(ip)) else { continue };
        let ports = spec.ports.as_deref().unwrap_or_default();
        let Some(first) = ports.first() else { continue };
        let prefix = variable_name(name);
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        variables.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
        variables.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        for (index, port) in ports.iter().enumerate() {
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                variables.insert(format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), port.port.to_string());
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let lower = protocol.to_lowercase();
            let url = format!("{lower}://{host}:{}", port.port);
            if index == 0 {
                variables.insert(format!("{prefix}_PORT"), url.clone());
            }
            let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
            variables.insert(format!("{base}_PROTO"), lower);
            variables.insert(format!("{base}_PORT"), port.port.to_string());
            variables.insert(format!("{base}_ADDR"), ip.to_owned());
            variables.insert(base, url);
        }
    }
    variables
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
