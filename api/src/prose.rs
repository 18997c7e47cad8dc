//! What fields mean, in the words of the API documentation that the `k8s-openapi` crate carries.

use std::sync::OnceLock;

use k8s_openapi::schemars::SchemaGenerator;
use serde_json::{Map, Value};

/// Descriptions of definitions and their fields.
pub(crate) struct Prose(Map<String, Value>);

impl Prose {
    /// The prose of the built-in kinds of a group and version, and of what they refer to; of all if none is named.
    pub(crate) fn of(version: Option<(&str, &str)>) -> Self {
        let mut generator = SchemaGenerator::default();
        add_roots(&mut generator, version);
        // The generator is told not to transform: the texts are wanted as they are.
        Self(generator.take_definitions(false).into_iter().collect())
    }

    /// Of a definition.
    pub(crate) fn definition(&self, name: &str) -> Option<String> {
        if let Some(text) = self.0.get(name).and_then(|d| d.get("description")) {
            return text.as_str().map(str::to_string);
        }
        let list = name.rsplit('.').next()?;
        list.strip_suffix("List").map(|kind| format!("{list} is a list of {kind} objects."))
    }

    /// Of a field of a definition.
    pub(crate) fn field(&self, definition: &str, field: &str) -> Option<&str> {
        self.text(definition, field).or_else(|| match field {
            "apiVersion" | "kind" => self.text("io.k8s.apimachinery.pkg.apis.meta.v1.Status", field),
            // The crate has no types of its own for lists.
            "object" if definition.ends_with("meta.v1.WatchEvent") => {
                Some("What it happened to; of an error, its Status.")
            }
            "items" if definition.ends_with("List") => Some("The items of the list."),
            "metadata" if definition.ends_with("List") => Some("Standard list metadata."),
            _ => None,
        })
    }

    fn text(&self, definition: &str, field: &str) -> Option<&str> {
        self.0.get(definition)?.get("properties")?.get(field)?.get("description")?.as_str()
    }
}

/// What a field of every object's metadata means.
pub(crate) fn of_metadata(field: &str) -> &'static str {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    static METADATA: OnceLock<Prose> = OnceLock::new();
    let prose = METADATA.get_or_init(|| {
        let mut generator = SchemaGenerator::default();
        generator.subschema_for::<ObjectMeta>();
        Prose(generator.take_definitions(false).into_iter().collect())
    });
    prose.text("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", field).unwrap_or("")
}

macro_rules! roots {
    ($([$($module:tt)*] => { $($kind:ident),* },)*) => {
        fn add_roots(generator: &mut SchemaGenerator, version: Option<(&str, &str)>) {
            $(
                if is_wanted(&stringify!($($module)*).replace(' ', ""), version) {
                    use k8s_openapi::$($module)*::{$($kind),*};
                    $( generator.subschema_for::<$kind>(); )*
                }
            )*
        }
    };
}

/// Whether a module of the crate holds kinds of a group and version, or such as every group has.
fn is_wanted(module: &str, version: Option<(&str, &str)>) -> bool {
    let Some((group, version)) = version else { return true };
    let mut parts = module.rsplit("::");
    let (module_version, module_group) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let first = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or("") };
    (module_group == first && module_version == version)
        || module_group == "meta"
        || module_version == "version"
        // Subresources of core and apps take these.
        || (first == "core" && matches!(module_group, "policy" | "authentication"))
        || (matches!(first, "core" | "apps") && module_group == "autoscaling" && module_version == "v1")
}

roots! {
    [api::admissionregistration::v1] => { MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration },
    [api::apps::v1] => { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet },
    [api::authentication::v1] => { SelfSubjectReview, TokenRequest, TokenReview },
    [api::authorization::v1] => { LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview },
    [api::autoscaling::v1] => { HorizontalPodAutoscaler, Scale },
    [api::autoscaling::v2] => { HorizontalPodAutoscaler },
    [api::batch::v1] => { CronJob, Job },
    [api::certificates::v1] => { CertificateSigningRequest },
    [api::coordination::v1] => { Lease },
    [api::core::v1] => { Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount },
    [api::discovery::v1] => { EndpointSlice },
    [api::events::v1] => { Event },
    [api::flowcontrol::v1] => { FlowSchema, PriorityLevelConfiguration },
    [api::networking::v1] => { IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR },
    [api::node::v1] => { RuntimeClass },
    [api::policy::v1] => { Eviction, PodDisruptionBudget },
    [api::rbac::v1] => { ClusterRole, ClusterRoleBinding, Role, RoleBinding },
    [api::resource::v1] => { DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice },
    [api::scheduling::v1] => { PriorityClass },
    [api::storage::v1] => { CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass },
    [apiextensions_apiserver::pkg::apis::apiextensions::v1] => { CustomResourceDefinition },
    [apimachinery::pkg::apis::meta::v1] => { APIGroup, APIGroupList, APIResourceList, APIVersions, DeleteOptions, ListMeta, ObjectMeta, Patch, Status },
    [apimachinery::pkg::version] => { Info },
    [kube_aggregator::pkg::apis::apiregistration::v1] => { APIService },
}
