//! An ingress that names no class gets the default one.

use api::{Object, Status};
use serde_json::Value;

use super::{Attributes, Operation, forbidden, is};

const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const BETA_CLASS: &str = "kubernetes.io/ingress.class";

/// `DefaultIngressClass`.
pub(super) fn default_class(attributes: &Attributes<'_>, object: Option<&mut Object>) -> Result<(), Status> {
    let Some(ingress) = object.filter(|_| is(attributes, "networking.k8s.io", "ingresses", "")) else { return Ok(()) };
    let has_class = ingress.at(&["spec", "ingressClassName"]).is_some_and(|class| !class.is_null())
        || ingress.at(&["metadata", "annotations", BETA_CLASS]).is_some();
    if attributes.operation != Operation::Create || has_class {
        return Ok(());
    }
    let registry = &attributes.ctx.registry;
    let classes = registry.list_in(&registry.snapshot(), "networking.k8s.io", "ingressclasses", "");
    let is_default =
        |class: &Object| class.at(&["metadata", "annotations", DEFAULT]).and_then(Value::as_str) == Some("true");
    let mut defaults = classes.iter().filter(|class| is_default(class));
    match (defaults.next(), defaults.count()) {
        (Some(class), 0) => {
            ingress.set(&["spec", "ingressClassName"], class.name());
            Ok(())
        }
        (Some(_), more) => {
            let why = format!("{} default IngressClasses were found, only 1 allowed", more + 1);
            Err(forbidden(attributes, Some(ingress), &why))
        }
        (None, _) => Ok(()),
    }
}
