//! What sets built-in resources apart in the generic registry, as data. Every table holds group and plural of the
//! stored resource; what is in none is as most are.

use api::catalogue::Resource;

type Names = &'static [(&'static str, &'static str)];

const ADMISSION: &str = "admissionregistration.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

/// `metadata.generation` counts changes of the desired state.
const GENERATION: Names = &[
    ("", "pods"),
    ("", "podtemplates"),
    ("", "replicationcontrollers"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
    ("discovery.k8s.io", "endpointslices"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "devicetaintrules"),
    ("resource.k8s.io", "resourceslices"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    (ADMISSION, "mutatingadmissionpolicies"),
    (ADMISSION, "mutatingadmissionpolicybindings"),
    (ADMISSION, "mutatingwebhookconfigurations"),
    (ADMISSION, "validatingadmissionpolicies"),
    (ADMISSION, "validatingadmissionpolicybindings"),
    (ADMISSION, "validatingwebhookconfigurations"),
    (FLOW, "flowschemas"),
    (FLOW, "prioritylevelconfigurations"),
];

/// As above, but a new object has none.
const GENERATION_AFTER_CREATE: Names = &[(STORAGE, "csidrivers")];
/// Whose generation stays the first.
const GENERATION_FIXED: Names = &[("scheduling.k8s.io", "priorityclasses")];

/// An update must say which version it is of.
const CONDITIONAL: Names = &[
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("certificates.k8s.io", "podcertificaterequests"),
    ("coordination.k8s.io", "leasecandidates"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    (ADMISSION, "mutatingadmissionpolicies"),
    (ADMISSION, "mutatingadmissionpolicybindings"),
    (ADMISSION, "mutatingwebhookconfigurations"),
    (ADMISSION, "validatingadmissionpolicies"),
    (ADMISSION, "validatingadmissionpolicybindings"),
    (ADMISSION, "validatingwebhookconfigurations"),
    (STORAGE, "csidrivers"),
    (STORAGE, "csinodes"),
    (STORAGE, "csistoragecapacities"),
    (STORAGE, "volumeattachments"),
];

/// An update of what does not exist creates it.
const CREATED_BY_UPDATE: Names = &[
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("coordination.k8s.io", "leasecandidates"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    (RBAC, "clusterrolebindings"),
    (RBAC, "clusterroles"),
    (RBAC, "rolebindings"),
    (RBAC, "roles"),
];

/// Dependents are orphaned if nothing is said.
const ORPHANING: Names = &[("", "replicationcontrollers"), ("batch", "jobs")];

/// Nothing can own them or be owned.
const WITHOUT_GARBAGE_COLLECTION: Names = &[("", "events")];

/// A write of the status leaves all metadata alone but the managed fields (`ResetObjectMetaForStatus`).
const METADATA_APART_FROM_STATUS: Names = &[
    ("certificates.k8s.io", "podcertificaterequests"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    ("internal.apiserver.k8s.io", "storageversions"),
    ("networking.k8s.io", "servicecidrs"),
    ("resource.k8s.io", "devicetaintrules"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourcepoolstatusrequests"),
    ("scheduling.k8s.io", "podgroups"),
    ("storagemigration.k8s.io", "storageversionmigrations"),
    (ADMISSION, "validatingadmissionpolicies"),
    (STORAGE, "volumeattachments"),
];

/// Fields behind features that are off by default: they are dropped, unless the object has them already.
const DISABLED_FIELDS: &[(&str, &str, &[&str])] = &[
    ("", "nodes", &["spec", "configSource"]),
    ("", "nodes", &["status", "config"]),
    ("apps", "statefulsets", &["spec", "updateStrategy", "rollingUpdate", "maxUnavailable"]),
    ("coordination.k8s.io", "leases", &["spec", "strategy"]),
    ("coordination.k8s.io", "leases", &["spec", "preferredHolder"]),
];

/// A client may set the status when it creates the object.
const STATUS_ON_CREATE: Names = &[("", "nodes")];

/// A change of labels counts as a change of the desired state.
const LABELS_IN_GENERATION: Names = &[("discovery.k8s.io", "endpointslices")];

/// A change of annotations counts as a change of the desired state.
const ANNOTATIONS_IN_GENERATION: Names = &[("apps", "deployments"), ("discovery.k8s.io", "endpointslices")];

/// What a client is told who still uses a resource that is deprecated.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("", "componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
    ("", "endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
];

fn among(table: Names, resource: &Resource) -> bool {
    table.contains(&(resource.storage_group.as_str(), resource.plural.as_str()))
}

/// Whether `metadata.generation` counts changes of the desired state.
pub fn has_generation(resource: &Resource) -> bool {
    let counts = begins_with_generation(resource) && !among(GENERATION_FIXED, resource);
    counts || among(GENERATION_AFTER_CREATE, resource)
}

/// Whether a new object has the first generation.
pub fn begins_with_generation(resource: &Resource) -> bool {
    resource.custom || among(GENERATION, resource)
}

/// The fields of the metadata of which a change counts as a change of the desired state.
pub fn counted_metadata(resource: &Resource) -> impl Iterator<Item = &'static str> + use<> {
    let labels = among(LABELS_IN_GENERATION, resource).then_some("labels");
    let annotations = among(ANNOTATIONS_IN_GENERATION, resource).then_some("annotations");
    labels.into_iter().chain(annotations)
}

/// Whether an update may leave the resource version out.
pub fn allows_unconditional_update(resource: &Resource) -> bool {
    !resource.custom && !among(CONDITIONAL, resource)
}

/// Whether an update creates what does not exist.
pub fn allows_create_on_update(resource: &Resource) -> bool {
    among(CREATED_BY_UPDATE, resource)
}

/// Whether dependents are orphaned if nothing is said.
pub fn orphans_dependents(resource: &Resource) -> bool {
    among(ORPHANING, resource)
}

/// Whether the garbage collector has to do with it.
pub fn is_garbage_collected(resource: &Resource) -> bool {
    !among(WITHOUT_GARBAGE_COLLECTION, resource)
}

/// Whether the status is for the status subresource alone.
pub fn separates_status(resource: &Resource) -> bool {
    resource.subresource("status").is_some()
}

/// Whether a write of the status leaves all metadata alone but the managed fields.
pub fn keeps_metadata_from_status(resource: &Resource) -> bool {
    resource.custom || among(METADATA_APART_FROM_STATUS, resource)
}

/// The fields behind features that are off.
pub fn disabled_fields(resource: &Resource) -> impl Iterator<Item = &'static [&'static str]> {
    let of_resource = move |(group, plural, _): &&(&str, &str, &[&str])| {
        *group == resource.storage_group && *plural == resource.plural
    };
    DISABLED_FIELDS.iter().filter(of_resource).map(|(_, _, path)| *path)
}

/// Whether a client may set the status when it creates the object.
pub fn keeps_status_on_create(resource: &Resource) -> bool {
    !separates_status(resource) || among(STATUS_ON_CREATE, resource)
}

/// Whether the kind's own rules leave the metadata of a new object to the generic registry, which comes after them.
pub fn checks_metadata_last(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "events"
}

/// Whether an object without a name gets a uid for one.
pub fn names_itself(resource: &Resource) -> bool {
    resource.storage_group.is_empty() && resource.plural == "limitranges"
}

/// The warning for a resource that is deprecated.
pub fn deprecation(resource: &Resource) -> Option<&'static str> {
    let found = DEPRECATED.iter().find(|(group, plural, _)| *group == resource.group && *plural == resource.plural);
    found.map(|(_, _, text)| *text)
}

/// The warning for a delete that does not say what becomes of the dependents.
pub fn orphaning_warning(resource: &Resource) -> Option<&'static str> {
    let is_job = resource.storage_group == "batch" && resource.plural == "jobs";
    is_job.then_some(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or \
         set propagationPolicy=Orphan to suppress this warning",
    )
}
