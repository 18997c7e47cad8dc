//! Where volumes come from: the sources of pods' volumes and of persistent volumes, as a table of what each must say,
//! and a function for those that say more.

mod iscsi;

use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// Said where a name and a portal are too long together.
pub(crate) const PORTAL_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                                   iscsi.initiatorName is specified.";
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const TENANT_LENGTH_MAX: usize = 64;
const DRIVER_LENGTH_MAX: usize = 63;
const BYTE_MAX: i64 = 255;

type More = fn(&At<'_>, &mut ErrorList);

/// A kind of source.
pub(crate) struct Source {
    /// The name of its field.
    pub name: &'static str,
    /// Whether the fields are there that must be.
    required: More,
    /// What else it must fulfil.
    more: More,
}

impl Source {
    /// How its field is spelled where it is one too many.
    pub(crate) fn shown_when_forbidden(&self) -> &'static str {
        match self.name {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            name => name,
        }
    }

    /// Checks a source below `path`.
    pub(crate) fn check(&self, path: &Path, at: &At<'_>, errors: &mut ErrorList) {
        let inner = if self.name == "gcePersistentDisk" { "persistentDisk" } else { self.name };
        let at = at.moved(path.child(inner));
        (self.required)(&at, errors);
        (self.more)(&at, errors);
    }
}

fn all<const N: usize>(fields: [At<'_>; N], errors: &mut ErrorList) {
    for field in &fields {
        rules::required(field, errors);
    }
}

const fn plain(name: &'static str, required: More) -> Source {
    Source { name, required, more: nothing }
}

const fn more(name: &'static str, required: More, more: More) -> Source {
    Source { name, required, more }
}

fn nothing(_: &At<'_>, _: &mut ErrorList) {}

const HOST_PATH: Source = more("hostPath", nothing, host_path);
const GCE: Source = more("gcePersistentDisk", |at, errors| all(at.fields(["pdName"]), errors), partition);
const AWS: Source = more("awsElasticBlockStore", |at, errors| all(at.fields(["volumeID"]), errors), partition);
const NFS: Source = more("nfs", |at, errors| all(at.fields(["server", "path"]), errors), nfs);
const GLUSTER: Source = plain("glusterfs", |at, errors| all(at.fields(["endpoints", "path"]), errors));
const FLOCKER: Source = more("flocker", nothing, flocker);
const RBD: Source = plain("rbd", |at, errors| all(at.fields(["monitors", "image"]), errors));
const CEPH: Source = plain("cephfs", |at, errors| all(at.fields(["monitors"]), errors));
const QUOBYTE: Source = more("quobyte", nothing, quobyte);
const FC: Source = more("fc", nothing, fibre_channel);
const FLEX: Source = more("flexVolume", |at, errors| all(at.fields(["driver"]), errors), flex);
const AZURE_DISK: Source = more("azureDisk", |at, errors| all(at.fields(["diskName", "diskURI"]), errors), azure_disk);
const VSPHERE: Source = plain("vsphereVolume", |at, errors| all(at.fields(["volumePath"]), errors));
const PHOTON: Source = plain("photonPersistentDisk", |at, errors| all(at.fields(["pdID"]), errors));
const PORTWORX: Source = plain("portworxVolume", |at, errors| all(at.fields(["volumeID"]), errors));
const SCALE_IO: Source = plain("scaleIO", |at, errors| all(at.fields(["gateway", "system", "volumeName"]), errors));

/// The sources of a pod's volume, in the order in which they are looked at. Those without rules here have them with the
/// pods.
pub(crate) const OF_PODS: [Source; 30] = [
    plain("emptyDir", nothing),
    HOST_PATH,
    more("gitRepo", |at, errors| all(at.fields(["repository"]), errors), git_repo),
    GCE,
    AWS,
    plain("secret", nothing),
    NFS,
    more("iscsi", |at, errors| all(at.fields(["targetPortal"]), errors), iscsi::of_pod),
    GLUSTER,
    FLOCKER,
    plain("persistentVolumeClaim", |at, errors| all(at.fields(["claimName"]), errors)),
    RBD,
    more("cinder", |at, errors| all(at.fields(["volumeID"]), errors), local_secret),
    CEPH,
    QUOBYTE,
    plain("downwardAPI", nothing),
    FC,
    FLEX,
    plain("configMap", nothing),
    plain("azureFile", |at, errors| all(at.fields(["secretName", "shareName"]), errors)),
    VSPHERE,
    PHOTON,
    PORTWORX,
    AZURE_DISK,
    more("storageos", nothing, storage_os),
    plain("projected", nothing),
    SCALE_IO,
    more("csi", nothing, csi_inline),
    plain("ephemeral", nothing),
    plain("image", nothing),
];

/// The sources of a persistent volume.
pub(crate) const OF_VOLUMES: [Source; 22] = [
    HOST_PATH,
    GCE,
    AWS,
    more("glusterfs", |at, errors| all(at.fields(["endpoints", "path"]), errors), gluster_namespace),
    FLOCKER,
    NFS,
    RBD,
    QUOBYTE,
    CEPH,
    more("iscsi", |at, errors| all(at.fields(["targetPortal"]), errors), iscsi::persistent),
    more("cinder", |at, errors| all(at.fields(["volumeID"]), errors), secret),
    FC,
    FLEX,
    more("azureFile", |at, errors| all(at.fields(["secretName", "shareName"]), errors), azure_namespace),
    VSPHERE,
    PHOTON,
    PORTWORX,
    AZURE_DISK,
    SCALE_IO,
    more("local", nothing, local),
    more("storageos", nothing, storage_os_persistent),
    more("csi", nothing, csi_persistent),
];

/// `validateHostPathVolumeSource`
fn host_path(at: &At<'_>, errors: &mut ErrorList) {
    if rules::required(&at.field("path"), errors) {
        rules::no_backsteps(&at.field("path"), errors);
        rules::one_of(&at.field("type"), HOST_PATH_TYPES, errors);
    }
}

/// `validateLocalVolumeSource`
fn local(at: &At<'_>, errors: &mut ErrorList) {
    if rules::required(&at.field("path"), errors) {
        rules::no_backsteps(&at.field("path"), errors);
    }
}

fn git_repo(at: &At<'_>, errors: &mut ErrorList) {
    rules::descending_path(&at.field("directory"), errors);
}

fn partition(at: &At<'_>, errors: &mut ErrorList) {
    let at = at.field("partition");
    if at.number().is_some_and(|number| !(0..=BYTE_MAX).contains(&number)) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "must be between 1 and 255, inclusive"));
    }
}

fn unit(at: &At<'_>, errors: &mut ErrorList) {
    if at.number().is_some_and(|number| !(0..=BYTE_MAX).contains(&number)) {
        errors.push(FieldError::invalid(&at.path, at.value.clone(), "must be between 0 and 255, inclusive"));
    }
}

fn nfs(at: &At<'_>, errors: &mut ErrorList) {
    let path = at.field("path");
    if !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
    }
}

fn gluster_namespace(at: &At<'_>, errors: &mut ErrorList) {
    let namespace = at.field("endpointsNamespace");
    if namespace.is_set() && namespace.is_empty() {
        let detail = "if the endpointnamespace is set, it must be a valid namespace name";
        errors.push(FieldError::invalid(&namespace.path, "", detail));
    } else if namespace.is_set() {
        rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
    }
}

fn flocker(at: &At<'_>, errors: &mut ErrorList) {
    let (name, uuid) = (at.field("datasetName"), at.field("datasetUUID"));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => errors.push(FieldError::required(&at.path, "one of datasetName and datasetUUID is required")),
        (false, false) => {
            let detail = "datasetName and datasetUUID can not be specified simultaneously";
            errors.push(FieldError::invalid(&at.path, "resource", detail));
        }
        _ => {}
    }
    if name.text().contains('/') {
        errors.push(FieldError::invalid(&name.path, name.text(), "must not contain '/'"));
    }
}

fn quobyte(at: &At<'_>, errors: &mut ErrorList) {
    const DETAIL: &str = "must be a host:port pair or multiple pairs separated by commas";
    let (registry, tenant) = (at.field("registry"), at.field("tenant"));
    if registry.is_empty() {
        errors.push(FieldError::required(&registry.path, DETAIL));
    } else if tenant.text().len() > TENANT_LENGTH_MAX {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&tenant.path, detail));
    } else {
        for _ in registry.text().split(',').filter(|pair| !is_host_port(pair)) {
            errors.push(FieldError::invalid(&registry.path, registry.text(), DETAIL));
        }
    }
    rules::required(&at.field("volume"), errors);
}

fn is_host_port(pair: &str) -> bool {
    match pair.rsplit_once(':') {
        Some((host, _)) => !host.contains(':') || host.starts_with('[') && host.ends_with(']'),
        None => false,
    }
}

fn fibre_channel(at: &At<'_>, errors: &mut ErrorList) {
    let (targets, wwids, lun) = (at.field("targetWWNs"), at.field("wwids"), at.field("lun"));
    if targets.is_empty() && wwids.is_empty() {
        let detail = "must specify either targetWWNs or wwids, but not both";
        errors.push(FieldError::required(&targets.path, detail));
    }
    if targets.is_empty() {
        return;
    }
    if !wwids.is_empty() {
        let detail = "targetWWNs and wwids can not be specified simultaneously";
        errors.push(FieldError::invalid(&targets.path, targets.value.clone(), detail));
    }
    if lun.is_absent() {
        errors.push(FieldError::required(&lun.path, "lun is required if targetWWNs is specified"));
    }
    unit(&lun, errors);
}

fn flex(at: &At<'_>, errors: &mut ErrorList) {
    for (key, option) in at.field("options").entries() {
        let namespace = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&option.path, key, detail));
        }
    }
}

fn azure_namespace(at: &At<'_>, errors: &mut ErrorList) {
    let namespace = at.field("secretNamespace");
    if namespace.is_set() {
        rules::required(&namespace, errors);
    }
}

fn azure_disk(at: &At<'_>, errors: &mut ErrorList) {
    let (kind, uri) = (at.field("kind"), at.field("diskURI"));
    rules::one_of(&at.field("cachingMode"), &["None", "ReadOnly", "ReadWrite"], errors);
    rules::one_of(&kind, &["Dedicated", "Managed", "Shared"], errors);
    if kind.is_absent() {
        return;
    }
    let (start, form) = match kind.text() {
        "Managed" => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        _ => ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
    };
    if !uri.text().starts_with(start) {
        errors.push(FieldError::not_supported(&uri.path, uri.text(), &[form]));
    }
}

/// A reference to a secret beside the pod.
fn local_secret(at: &At<'_>, errors: &mut ErrorList) {
    let secret = at.field("secretRef");
    if secret.is_set() {
        rules::required(&secret.field("name"), errors);
    }
}

/// A reference to a secret anywhere.
fn secret(at: &At<'_>, errors: &mut ErrorList) {
    local_secret(at, errors);
    let secret = at.field("secretRef");
    if secret.is_set() {
        rules::required(&secret.field("namespace"), errors);
    }
}

fn storage_names(at: &At<'_>, errors: &mut ErrorList) {
    let (name, namespace) = (at.field("volumeName"), at.field("volumeNamespace"));
    if rules::required(&name, errors) {
        rules::invalid_each(&name, names::dns1123_label(name.text()), errors);
    }
    if !namespace.is_empty() {
        rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
    }
}

fn storage_os(at: &At<'_>, errors: &mut ErrorList) {
    storage_names(at, errors);
    local_secret(at, errors);
}

fn storage_os_persistent(at: &At<'_>, errors: &mut ErrorList) {
    storage_names(at, errors);
    secret(at, errors);
}

/// `ValidateCSIDriverName`
pub(crate) fn driver(at: &At<'_>, errors: &mut ErrorList) {
    if !rules::required(at, errors) {
        return;
    }
    if at.text().len() > DRIVER_LENGTH_MAX {
        errors.push(FieldError::too_long(&at.path, DRIVER_LENGTH_MAX));
    }
    rules::invalid_each(at, names::dns1123_subdomain(&at.text().to_lowercase()), errors);
}

fn csi_inline(at: &At<'_>, errors: &mut ErrorList) {
    driver(&at.field("driver"), errors);
    let secret = at.field("nodePublishSecretRef");
    let name = secret.field("name");
    if secret.is_set() && rules::required(&name, errors) {
        // The path leaves the reference out.
        rules::invalid_each(&name.moved(at.path.child("name")), names::dns1123_subdomain(name.text()), errors);
    }
}

fn csi_persistent(at: &At<'_>, errors: &mut ErrorList) {
    driver(&at.field("driver"), errors);
    rules::required(&at.field("volumeHandle"), errors);
    const SECRETS: [&str; 4] =
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    for secret in at.fields(SECRETS).iter().filter(|at| at.is_set()) {
        let (name, namespace) = (secret.field("name"), secret.field("namespace"));
        if rules::required(&name, errors) {
            rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
        }
        if rules::required(&namespace, errors) {
            rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
        }
    }
}
