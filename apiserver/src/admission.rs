//! The admission plugins that a cluster has from the start, in the reference's order.
//!
//! Which of them are at work is up to [`Settings`].

mod certificates;
pub(crate) mod checks;
mod event_rate;
pub mod files;
mod image_policy;
mod images;
mod ingress;
mod limit_range;
mod namespace;
mod node;
mod node_selector;
mod owners;
mod pod;
pub mod pod_security;
mod policy;
mod quota;
mod references;
mod resize;
mod resource_claims;
mod service;
mod service_account;
mod settings;
mod storage;
mod tolerations;
mod webhook;

use std::sync::Arc;

use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};

use crate::authorization::Rbac;
use crate::authorization::escalation::EscalationCheck;
pub use crate::plug::admission::{Admission, Attributes, Operation};
pub use files::PluginFiles;
pub use settings::Settings;

/// The plugins that are at work, in order.
///
/// # Errors
/// What is wrong with what they are told.
pub fn plugins(rbac: &Arc<Rbac>, settings: &Settings) -> Result<Vec<Arc<dyn Admission>>, String> {
    let mut all: Vec<Arc<dyn Admission>> = vec![
        Arc::new(Plain { name: "NamespaceLifecycle", admit: Some(namespace::lifecycle), validate: None }),
        Arc::new(Plain {
            name: "LimitRanger",
            admit: Some(limit_range::defaults),
            validate: Some(limit_range::limits),
        }),
        Arc::new(service_account::ServiceAccount),
        Arc::new(node::Restriction),
        Arc::new(Plain { name: "TaintNodesByCondition", admit: Some(node::taint_not_ready), validate: None }),
        Arc::new(Plain { name: "Priority", admit: Some(pod::priority), validate: Some(pod::priority_class) }),
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
        Arc::new(policy::mutating()),
        Arc::new(policy::validating()),
    ];
    all.extend(optional());
    all.push(Arc::new(Pods(tolerations::DefaultSeconds([
        ("node.kubernetes.io/not-ready", settings.not_ready_seconds),
        ("node.kubernetes.io/unreachable", settings.unreachable_seconds),
    ]))));
    let files = &settings.files;
    for (name, make) in TOLD.iter().filter(|(name, _)| settings.is_enabled(name)) {
        all.push(make(files).map_err(|why| format!("couldn't init admission plugin {name:?}: {why}"))?);
    }
    Ok(settings.select(all))
}

type Make = fn(&PluginFiles) -> Result<Arc<dyn Admission>, String>;

/// Plugins that are told something, and are made only if they are at work.
const TOLD: [(&str, Make); 8] = [
    ("PodSecurity", |files| Ok(Arc::new(pod_security::PodSecurity::told(files)?))),
    ("PodNodeSelector", |files| Ok(Arc::new(Pods(node_selector::PodNodeSelector::new(files)?)))),
    ("PodTolerationRestriction", |files| Ok(Arc::new(Pods(tolerations::Restriction::new(files)?)))),
    ("ImagePolicyWebhook", |files| Ok(Arc::new(image_policy::ImagePolicy::new(files)?))),
    ("MutatingAdmissionWebhook", |files| Ok(Arc::new(webhook::mutating(files)?))),
    ("ValidatingAdmissionWebhook", |files| Ok(Arc::new(webhook::validating(files)?))),
    ("EventRateLimit", |files| Ok(Arc::new(event_rate::EventRateLimit::new(files)?))),
    ("ResourceQuota", |files| Ok(Arc::new(quota::ResourceQuota::told(files)?))),
];

/// Plugins that nobody needs unless they ask for them.
fn optional() -> Vec<Arc<dyn Admission>> {
    let plain = |name, admit, validate| -> Arc<dyn Admission> { Arc::new(Plain { name, admit, validate }) };
    vec![
        plain("AlwaysAdmit", None, None),
        plain("AlwaysDeny", Some(|attributes, object| deny(attributes, object.as_deref())), Some(deny)),
        Arc::new(namespace::AutoProvision),
        plain("NamespaceExists", None, Some(namespace::exists)),
        plain("LimitPodHardAntiAffinityTopology", None, Some(pod::anti_affinity)),
        plain("AlwaysPullImages", Some(images::always_pull), Some(images::pulls)),
        plain("ExtendedResourceToleration", Some(tolerations::of_extended_resources), None),
        Arc::new(owners::OwnerPermission),
        plain("DenyServiceExternalIPs", None, Some(service::no_external_addresses)),
        Arc::new(certificates::TrustBundleAttest),
    ]
}

/// `AlwaysDeny`
fn deny(attributes: &Attributes<'_>, object: Option<&Object>) -> Result<(), Status> {
    Err(forbidden(attributes, object, "admission control is denying all modifications"))
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

/// The work of a plugin about pods that are written (not about their subresources), which waits for nothing.
trait OfPods: Send + Sync {
    /// Its name.
    const NAME: &'static str;
    /// Which writes it is about.
    const OPERATIONS: &'static [Operation];

    /// May change the pod.
    fn admit(&self, attributes: &Attributes<'_>, pod: &mut Object) -> Result<(), Status>;

    /// May refuse the pod.
    fn check(&self, _: &Attributes<'_>, _: &Object) -> Result<(), Status> {
        Ok(())
    }
}

/// The plugin of somebody who does something about pods.
struct Pods<P>(P);

impl<P: OfPods> Pods<P> {
    fn is_meant(attributes: &Attributes<'_>) -> bool {
        is(attributes, "", "pods", "") && P::OPERATIONS.contains(&attributes.operation)
    }
}

impl<P: OfPods> Admission for Pods<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a mut Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let pod = object.filter(|_| Self::is_meant(attributes));
        ready(pod.map_or(Ok(()), |pod| self.0.admit(attributes, pod))).boxed()
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let pod = object.filter(|_| Self::is_meant(attributes));
        ready(pod.map_or(Ok(()), |pod| self.0.check(attributes, pod))).boxed()
    }
}

type Called<'a> = BoxFuture<'a, Result<(), Status>>;
type Concerned<H> = Box<dyn Fn(&Attributes<'_>) -> Option<H> + Send + Sync>;
type ToAdmit<H> = for<'a> fn(H, &'a Attributes<'a>, Option<&'a mut Object>) -> Called<'a>;
type ToValidate<H> = for<'a> fn(H, &'a Attributes<'a>, Option<&'a Object>) -> Called<'a>;

/// A plugin that looks whom a write concerns, and waits for them only if there is somebody.
struct Dispatched<H> {
    name: &'static str,
    concerned: Concerned<H>,
    admit: Option<ToAdmit<H>>,
    validate: Option<ToValidate<H>>,
}

impl<H> Admission for Dispatched<H> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn admit<'a>(&'a self, attributes: &'a Attributes<'a>, object: Option<&'a mut Object>) -> Called<'a> {
        let dispatch = self.admit.and_then(|dispatch| Some((dispatch, (self.concerned)(attributes)?)));
        dispatch.map_or_else(|| ready(Ok(())).boxed(), |(dispatch, concerned)| dispatch(concerned, attributes, object))
    }

    fn validate<'a>(&'a self, attributes: &'a Attributes<'a>, object: Option<&'a Object>) -> Called<'a> {
        let dispatch = self.validate.and_then(|dispatch| Some((dispatch, (self.concerned)(attributes)?)));
        dispatch.map_or_else(|| ready(Ok(())).boxed(), |(dispatch, concerned)| dispatch(concerned, attributes, object))
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
mod chosen_tests;
#[cfg(test)]
mod tests;
