//! Where volumes come from: the sources of pods' volumes and of persistent volumes, as a table of what each must say,
//! and a function for those that say more.

mod iscsi;

use crate::field::{ErrorList, FieldError, Path};
use crate::names;
use crate::validation::at::At;
use crate::validation::rules;

/// Said where a name and a portal are too long together.
pub const PORTAL_TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                                   iscsi.initiatorName is specified.";
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const TENANT_LENGTH_MAX: usize = 64;
const DRIVER_LENGTH_MAX: usize = 63;
const BYTE_MAX: i64 = 255;

type More = fn(&At<'_>, &mut ErrorList);

/// A kind of source.
pub struct Source {
    /// The name of its field.
    pub name: &'static str,
    /// Fields that must be there.
    required: &'static [&'static str],
    /// What else it must fulfil.
    more: More,
}

impl Source {
    /// How its field is spelled where it is one too many.
    pub fn shown_when_forbidden(&self) -> &'static str {
        match self.name {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            name => name,
        }
    }

    /// Checks a source below `path`.
    pub fn check(&self, path: &Path, at: &At<'_>, errors: &mut ErrorList) {
        let inner = if self.name == "gcePersistentDisk" { "persistentDisk" } else { self.name };
        let at = At::new(path.child(inner), at.value);
        for name in self.required {
            rules::required(&at.get(name), errors);
        }
        (self.more)(&at, errors);
    }
}

const fn plain(name: &'static str, required: &'static [&'static str]) -> Source {
    Source { name, required, more: nothing }
}

const fn more(name: &'static str, required: &'static [&'static str], more: More) -> Source {
    Source { name, required, more }
}

fn nothing(_: &At<'_>, _: &mut ErrorList) {}

const HOST_PATH: Source = more("hostPath", &[], host_path);
const GCE: Source = more("gcePersistentDisk", &["pdName"], partition);
const AWS: Source = more("awsElasticBlockStore", &["volumeID"], partition);
const NFS: Source = more("nfs", &["server", "path"], nfs);
const GLUSTER: Source = plain("glusterfs", &["endpoints", "path"]);
const FLOCKER: Source = more("flocker", &[], flocker);
const RBD: Source = plain("rbd", &["monitors", "image"]);
const CEPH: Source = plain("cephfs", &["monitors"]);
const QUOBYTE: Source = more("quobyte", &[], quobyte);
const FC: Source = more("fc", &[], fibre_channel);
const FLEX: Source = more("flexVolume", &["driver"], flex);
const AZURE_DISK: Source = more("azureDisk", &["diskName", "diskURI"], azure_disk);
const VSPHERE: Source = plain("vsphereVolume", &["volumePath"]);
const PHOTON: Source = plain("photonPersistentDisk", &["pdID"]);
const PORTWORX: Source = plain("portworxVolume", &["volumeID"]);
const SCALE_IO: Source = plain("scaleIO", &["gateway", "system", "volumeName"]);

/// The sources of a pod's volume, in the order in which they are looked at. Those without rules here have them with the
/// pods.
pub const OF_PODS: &[Source] = &[
    plain("emptyDir", &[]),
    HOST_PATH,
    more("gitRepo", &["repository"], git_repo),
    GCE,
    AWS,
    plain("secret", &[]),
    NFS,
    more("iscsi", &["targetPortal"], iscsi::of_pod),
    GLUSTER,
    FLOCKER,
    plain("persistentVolumeClaim", &["claimName"]),
    RBD,
    more("cinder", &["volumeID"], local_secret),
    CEPH,
    QUOBYTE,
    plain("downwardAPI", &[]),
    FC,
    FLEX,
    plain("configMap", &[]),
    plain("azureFile", &["secretName", "shareName"]),
    VSPHERE,
    PHOTON,
    PORTWORX,
    AZURE_DISK,
    more("storageos", &[], storage_os),
    plain("projected", &[]),
    SCALE_IO,
    more("csi", &[], csi_inline),
    plain("ephemeral", &[]),
    plain("image", &[]),
];

/// The sources of a persistent volume.
pub const OF_VOLUMES: &[Source] = &[
    HOST_PATH,
    GCE,
    AWS,
    more("glusterfs", &["endpoints", "path"], gluster_namespace),
    FLOCKER,
    NFS,
    RBD,
    QUOBYTE,
    CEPH,
    more("iscsi", &["targetPortal"], iscsi::persistent),
    more("cinder", &["volumeID"], secret),
    FC,
    FLEX,
    more("azureFile", &["secretName", "shareName"], azure_namespace),
    VSPHERE,
    PHOTON,
    PORTWORX,
    AZURE_DISK,
    SCALE_IO,
    more("local", &[], local),
    more("storageos", &[], storage_os_persistent),
    more("csi", &[], csi_persistent),
];

/// `validateHostPathVolumeSource`
fn host_path(at: &At<'_>, errors: &mut ErrorList) {
    if rules::required(&at.get("path"), errors) {
        rules::no_backsteps(&at.get("path"), errors);
        rules::one_of(&at.get("type"), HOST_PATH_TYPES, errors);
    }
}

/// `validateLocalVolumeSource`
fn local(at: &At<'_>, errors: &mut ErrorList) {
    if rules::required(&at.get("path"), errors) {
        rules::no_backsteps(&at.get("path"), errors);
    }
}

fn git_repo(at: &At<'_>, errors: &mut ErrorList) {
    rules::descending_path(&at.get("directory"), errors);
}

fn partition(at: &At<'_>, errors: &mut ErrorList) {
    let at = at.get("partition");
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
    let path = at.get("path");
    if !path.text().starts_with('/') {
        errors.push(FieldError::invalid(&path.path, path.text(), "must be an absolute path"));
    }
}

fn gluster_namespace(at: &At<'_>, errors: &mut ErrorList) {
    let namespace = at.get("endpointsNamespace");
    if namespace.is_set() && namespace.is_empty() {
        let detail = "if the endpointnamespace is set, it must be a valid namespace name";
        errors.push(FieldError::invalid(&namespace.path, "", detail));
    } else if namespace.is_set() {
        rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
    }
}

fn flocker(at: &At<'_>, errors: &mut ErrorList) {
    let (name, uuid) = (at.get("datasetName"), at.get("datasetUUID"));
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
    let (registry, tenant) = (at.get("registry"), at.get("tenant"));
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
    rules::required(&at.get("volume"), errors);
}

fn is_host_port(pair: &str) -> bool {
    match pair.rsplit_once(':') {
        Some((host, _)) => !host.contains(':') || host.starts_with('[') && host.ends_with(']'),
        None => false,
    }
}

fn fibre_channel(at: &At<'_>, errors: &mut ErrorList) {
    let (targets, wwids, lun) = (at.get("targetWWNs"), at.get("wwids"), at.get("lun"));
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
    for (key, option) in at.get("options").entries() {
        let namespace = format!(".{}", key.split('/').next().unwrap_or(key).to_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&option.path, key, detail));
        }
    }
}

fn azure_namespace(at: &At<'_>, errors: &mut ErrorList) {
    let namespace = at.get("secretNamespace");
    if namespace.is_set() {
        rules::required(&namespace, errors);
    }
}

fn azure_disk(at: &At<'_>, errors: &mut ErrorList) {
    let (kind, uri) = (at.get("kind"), at.get("diskURI"));
    rules::one_of(&at.get("cachingMode"), &["None", "ReadOnly", "ReadWrite"], errors);
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
    let secret = at.get("secretRef");
    if secret.is_set() {
        rules::required(&secret.get("name"), errors);
    }
}

/// A reference to a secret anywhere.
fn secret(at: &At<'_>, errors: &mut ErrorList) {
    local_secret(at, errors);
    let secret = at.get("secretRef");
    if secret.is_set() {
        rules::required(&secret.get("namespace"), errors);
    }
}

fn storage_names(at: &At<'_>, errors: &mut ErrorList) {
    let (name, namespace) = (at.get("volumeName"), at.get("volumeNamespace"));
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
pub fn driver(at: &At<'_>, errors: &mut ErrorList) {
    if !rules::required(at, errors) {
        return;
    }
    if at.text().len() > DRIVER_LENGTH_MAX {
        errors.push(FieldError::too_long(&at.path, DRIVER_LENGTH_MAX));
    }
    rules::invalid_each(at, names::dns1123_subdomain(&at.text().to_lowercase()), errors);
}

fn csi_inline(at: &At<'_>, errors: &mut ErrorList) {
    driver(&at.get("driver"), errors);
    let secret = at.get("nodePublishSecretRef");
    let name = secret.get("name");
    if secret.is_set() && rules::required(&name, errors) {
        // The path leaves the reference out.
        rules::invalid_each(&At::new(at.path.child("name"), name.value), names::dns1123_subdomain(name.text()), errors);
    }
}

fn csi_persistent(at: &At<'_>, errors: &mut ErrorList) {
    driver(&at.get("driver"), errors);
    rules::required(&at.get("volumeHandle"), errors);
    let secrets =
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];
    for secret in secrets.map(|name| at.get(name)).iter().filter(|at| at.is_set()) {
        let (name, namespace) = (secret.get("name"), secret.get("namespace"));
        if rules::required(&name, errors) {
            rules::invalid_each(&name, names::dns1123_subdomain(name.text()), errors);
        }
        if rules::required(&namespace, errors) {
            rules::invalid_each(&namespace, names::dns1123_label(namespace.text()), errors);
        }
    }
}
