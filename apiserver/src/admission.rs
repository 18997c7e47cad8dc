//! The admission plugins that a cluster has from the start, in the reference's order.
//!
//! Missing still: ClusterTrustBundleAttest.

mod certificates;
pub(crate) mod checks;
mod ingress;
mod limit_range;
mod namespace;
mod node;
mod pod;
pub mod pod_security;
mod policy;
mod quota;
mod references;
mod resize;
mod resource_claims;
mod service_account;
mod storage;
mod webhook;

use std::sync::Arc;

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};

use crate::authorization::Rbac;
use crate::authorization::escalation::EscalationCheck;
pub use crate::plug::admission::{Admission, Attributes, Operation};

/// Every plugin, in order.
pub fn plugins(rbac: &Arc<Rbac>) -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(Plain { name: "NamespaceLifecycle", admit: Some(namespace::lifecycle), validate: None }),
        Arc::new(Plain {
            name: "LimitRanger",
            admit: Some(limit_range::defaults),
            validate: Some(limit_range::limits),
        }),
        Arc::new(service_account::ServiceAccount),
        Arc::new(node::Restriction),
        Arc::new(Plain { name: "TaintNodesByCondition", admit: Some(node::taint_not_ready), validate: None }),
        Arc::new(pod_security::PodSecurity::new(pod_security::Configuration::default())),
        Arc::new(Plain { name: "Priority", admit: Some(pod::priority), validate: Some(pod::priority_class) }),
        Arc::new(Plain { name: "DefaultTolerationSeconds", admit: Some(pod::toleration_seconds), validate: None }),
        Arc::new(Plain { name: "DefaultStorageClass", admit: Some(storage::default_class), validate: None }),
        Arc::new(Plain {
            name: "StorageObjectInUseProtection",
            admit: Some(storage::in_use_protection),
            validate: None,
        }),
        Arc::new(Plain { name: "PersistentVolumeClaimResize", admit: None, validate: Some(storage::claim_resize) }),
        Arc::new(Plain { name: "RuntimeClass", admit: Some(pod::runtime_class), validate: Some(pod::overhead) }),
        Arc::new(certificates::APPROVAL),
        Arc::new(certificates::SIGNING),
        Arc::new(Plain {
            name: "CertificateSubjectRestriction",
            admit: None,
            validate: Some(certificates::subject_restriction),
        }),
        Arc::new(Plain { name: "DefaultIngressClass", admit: Some(ingress::default_class), validate: None }),
        Arc::new(Plain { name: "PodTopologyLabels", admit: Some(pod::topology_labels), validate: None }),
        Arc::new(Plain {
            name: "NodeDeclaredFeatureValidator",
            admit: None,
            validate: Some(resize::declared_features),
        }),
        Arc::new(resource_claims::ClaimStatus),
        Arc::new(Plain { name: "PodResizeValidator", admit: None, validate: Some(resize::fits) }),
        Arc::new(EscalationCheck::new(rbac.clone())),
        Arc::new(policy::Mutating::default()),
        Arc::new(webhook::Mutating::default()),
        Arc::new(policy::Validating::default()),
        Arc::new(webhook::Validating::default()),
        // The last, so that nothing is counted that another refuses.
        Arc::new(quota::ResourceQuota::default()),
    ]
}

type Admit = fn(&Attributes<'_>, Option<&mut Object>) -> Result<(), Status>;
type Validate = fn(&Attributes<'_>, Option<&Object>) -> Result<(), Status>;

/// A plugin that waits for nothing.
struct Plain {
    name: &'static str,
    admit: Option<Admit>,
    validate: Option<Validate>,
}

impl Admission for Plain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        ready(self.admit.map_or(Ok(()), |admit| admit(attributes, object))).boxed()
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        ready(self.validate.map_or(Ok(()), |validate| validate(attributes, object))).boxed()
    }
}

/// Whether the write is to this resource and subresource.
fn is(attributes: &Attributes<'_>, group: &str, resource: &str, subresource: &str) -> bool {
    attributes.resource.plural == resource
        && attributes.resource.group == group
        && attributes.subresource == subresource
}

/// `admission.NewForbidden`.
fn forbidden(attributes: &Attributes<'_>, object: Option<&Object>, why: &str) -> Status {
    let mut name = attributes.name;
    if let Some(object) = object.filter(|_| name.is_empty()) {
        name = match object.name() {
            "" => object.str_at(&["metadata", "generateName"]),
            name => name,
        };
    }
    Status::forbidden(&attributes.resource.group, &attributes.resource.plural, name, why)
}

#[cfg(test)]
mod tests;
