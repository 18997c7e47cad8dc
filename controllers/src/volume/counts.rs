//! How many volumes and claims there are, counted when somebody asks (`pvAndPVCCountCollector`).

use std::collections::BTreeMap;

use api::volumes::class_of;
use client::Informer;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use metrics::{Collect, Text};

use super::phase_of_claim;

/// How many groups are kept apart in each family.
const GROUPS_MAX: usize = 1_024;

/// The volumes and claims of a cluster.
pub(super) struct Counts {
    pub(super) claims: Informer<PersistentVolumeClaim>,
    pub(super) volumes: Informer<PersistentVolume>,
}

type Groups<const N: usize> = BTreeMap<[String; N], u64>;

fn count<const N: usize>(groups: &mut Groups<N>, group: [&str; N]) {
    *groups.entry(group.map(str::to_owned)).or_default() += 1;
}

fn write<const N: usize>(text: &mut Text, name: &'static str, labels: [&str; N], groups: &Groups<N>) {
    for (group, count) in groups.iter().take(GROUPS_MAX) {
        let pairs: Vec<(&str, &str)> = labels.into_iter().zip(group.iter().map(String::as_str)).collect();
        text.value(name, &pairs, *count as f64);
    }
}

impl Collect for Counts {
    fn collect(&self, text: &mut Text) {
        let (mut all, mut bound, mut unbound) = (Groups::new(), Groups::new(), Groups::new());
        for volume in self.volumes.list() {
            let mode = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem");
            count(&mut all, [&plugin(&volume), mode]);
            let is_bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
            count(if is_bound { &mut bound } else { &mut unbound }, [class_of(&*volume)]);
        }
        write(text, "pv_collector_total_pv_count", ["plugin_name", "volume_mode"], &all);
        write(text, "pv_collector_bound_pv_count", ["storage_class"], &bound);
        write(text, "pv_collector_unbound_pv_count", ["storage_class"], &unbound);
        let (mut bound, mut unbound) = (Groups::new(), Groups::new());
        for claim in self.claims.list() {
            let attributes = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
            let namespace = claim.metadata.namespace.as_deref().unwrap_or("");
            let group = [namespace, class_of(&*claim), attributes.unwrap_or("")];
            count(if phase_of_claim(&claim) == "Bound" { &mut bound } else { &mut unbound }, group);
        }
        let labels = ["namespace", "storage_class", "volume_attributes_class"];
        write(text, "pv_collector_bound_pvc_count", labels, &bound);
        write(text, "pv_collector_unbound_pvc_count", labels, &unbound);
    }
}

/// The reference's name of what a volume is on.
fn plugin(volume: &PersistentVolume) -> String {
    let Some(spec) = &volume.spec else { return "N/A".into() };
    let plain = match () {
        () if spec.host_path.is_some() => "host-path",
        () if spec.local.is_some() => "local-volume",
        () if spec.nfs.is_some() => "nfs",
        () if spec.iscsi.is_some() => "iscsi",
        () if spec.fc.is_some() => "fc",
        () => match &spec.csi {
            Some(csi) => return format!("kubernetes.io/csi:{}", csi.driver),
            None => return "N/A".into(),
        },
    };
    format!("kubernetes.io/{plain}")
}
