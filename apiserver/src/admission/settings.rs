//! Which admission plugins there are, in which order, which of them are at work, and what they are told
//! (`AllOrderedPlugins` and `DefaultOffAdmissionPlugins` in `pkg/kubeapiserver/options`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Admission;
use super::files::PluginFiles;

/// Every plugin in order, and whether it is at work unless somebody says otherwise.
const ORDER: [(&str, bool); 41] = [
    ("AlwaysAdmit", false),
    ("NamespaceAutoProvision", false),
    ("NamespaceLifecycle", true),
    ("NamespaceExists", false),
    ("LimitPodHardAntiAffinityTopology", false),
    ("LimitRanger", true),
    ("ServiceAccount", true),
    // Off in the reference, and on in every cluster that is set up by a tool: nodes must not write of each other.
    ("NodeRestriction", true),
    ("TaintNodesByCondition", true),
    ("AlwaysPullImages", false),
    ("ImagePolicyWebhook", false),
    ("PodSecurity", true),
    ("PodNodeSelector", false),
    ("Priority", true),
    ("DefaultTolerationSeconds", true),
    ("PodTolerationRestriction", false),
    ("EventRateLimit", false),
    ("ExtendedResourceToleration", false),
    ("DefaultStorageClass", true),
    ("StorageObjectInUseProtection", true),
    ("PodGroupProtection", true),
    ("OwnerReferencesPermissionEnforcement", false),
    ("PersistentVolumeClaimResize", true),
    ("RuntimeClass", true),
    ("CertificateApproval", true),
    ("CertificateSigning", true),
    ("ClusterTrustBundleAttest", true),
    ("CertificateSubjectRestriction", true),
    ("DefaultIngressClass", true),
    ("DenyServiceExternalIPs", false),
    ("PodTopologyLabels", true),
    ("PodGroupWorkloadExists", true),
    ("NodeDeclaredFeatureValidator", true),
    ("JobValidation", true),
    ("PodResizeValidator", true),
    ("MutatingAdmissionPolicy", true),
    ("MutatingAdmissionWebhook", true),
    ("ValidatingAdmissionPolicy", true),
    ("ValidatingAdmissionWebhook", true),
    ("ResourceQuota", true),
    ("AlwaysDeny", false),
];

/// What is not a plugin in the reference but holds like one comes before this.
const LAST_RULES: &str = "MutatingAdmissionPolicy";

/// What a server is told of its admission plugins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `--enable-admission-plugins`
    pub enable: Vec<String>,
    /// `--disable-admission-plugins`
    pub disable: Vec<String>,
    /// What plugins are told by `--admission-control-config-file`.
    pub files: PluginFiles,
    /// For how many seconds pods stay on a node that is not ready (`--default-not-ready-toleration-seconds`).
    pub not_ready_seconds: i64,
    /// For how many seconds pods stay on a node that is not reachable (`--default-unreachable-toleration-seconds`).
    pub unreachable_seconds: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enable: Vec::new(),
            disable: Vec::new(),
            files: PluginFiles::default(),
            not_ready_seconds: 300,
            unreachable_seconds: 300,
        }
    }
}

impl Settings {
    /// What is wrong with the names of plugins (`AdmissionOptions.Validate`).
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (flag, names) in [("enable", &self.enable), ("disable", &self.disable)] {
            let unknown = names.iter().filter(|name| place(name).is_none());
            faults.extend(unknown.map(|name| format!("{flag}-admission-plugins plugin {name:?} is unknown")));
        }
        let both: BTreeSet<&str> =
            self.enable.iter().filter(|n| self.disable.contains(n)).map(String::as_str).collect();
        if !both.is_empty() {
            let both = both.into_iter().collect::<Vec<_>>().join(" ");
            faults.push(format!("[{both}] in enable-admission-plugins and disable-admission-plugins overlapped"));
        }
        faults
    }

    /// Whether a plugin is at work. What the reference has not among its plugins always is.
    pub fn is_enabled(&self, name: &str) -> bool {
        let has = |names: &[String]| names.iter().any(|given| given == name);
        let Some(at) = place(name) else { return true };
        has(&self.enable) || ORDER[at].1 && !has(&self.disable)
    }

    /// Those that are at work, in order.
    pub(super) fn select(&self, mut all: Vec<Arc<dyn Admission>>) -> Vec<Arc<dyn Admission>> {
        all.retain(|plugin| self.is_enabled(plugin.name()));
        all.sort_by_key(|plugin| {
            let known = place(plugin.name());
            (known.or_else(|| place(LAST_RULES)), known.is_some())
        });
        all
    }
}

fn place(name: &str) -> Option<usize> {
    ORDER.iter().position(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::super::plugins;
    use super::*;
    use crate::authorization::Rbac;

    fn names(enable: &[&str], disable: &[&str]) -> Vec<&'static str> {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let settings = Settings { enable: list(enable), disable: list(disable), ..Settings::default() };
        let found = plugins(&Arc::new(Rbac::default()), &settings).unwrap();
        // The names are literals.
        found.iter().map(|plugin| plugin.name()).map(|name| &*Box::leak(name.to_owned().into_boxed_str())).collect()
    }

    #[test]
    fn plugins_are_chosen_by_name_and_stand_in_order() {
        let by_default = names(&[], &[]);
        assert!(by_default.contains(&"PodSecurity") && !by_default.contains(&"AlwaysPullImages"));
        assert_eq!(by_default.last(), Some(&"ResourceQuota"));
        let at = |name: &str| by_default.iter().position(|found| *found == name);
        assert!(at("RBACEscalation") > at("PodResizeValidator"), "it is no plugin, and cannot be turned off");
        let places: Vec<usize> = by_default.iter().filter_map(|name| place(name)).collect();
        assert!(places.is_sorted(), "{by_default:?}");
        let chosen = names(&["AlwaysPullImages", "AlwaysDeny"], &["PodSecurity", "RBACEscalation"]);
        assert!(chosen.contains(&"AlwaysPullImages") && !chosen.contains(&"PodSecurity"));
        assert!(chosen.contains(&"RBACEscalation"));
        assert_eq!(chosen.last(), Some(&"AlwaysDeny"));
    }

    #[test]
    fn every_plugin_of_the_reference_that_does_something_is_there() {
        // Those of features that are off, and those that need a file.
        let absent =
            ["PodGroupProtection", "PodGroupWorkloadExists", "JobValidation", "EventRateLimit", "ImagePolicyWebhook"];
        let all: Vec<&str> = ORDER.iter().map(|(name, _)| *name).filter(|name| !absent.contains(name)).collect();
        let found = names(&all, &[]);
        // These come with what they evaluate and call.
        let coming = |name: &str| name.ends_with("AdmissionPolicy") || name.ends_with("AdmissionWebhook");
        for name in all.iter().filter(|name| !coming(name)) {
            assert!(found.contains(name), "{name}");
        }
    }

    #[test]
    fn names_must_be_known_and_mean_one_thing() {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let settings = Settings {
            enable: list(&["PodSecurity", "Nothing", "AlwaysDeny"]),
            disable: list(&["AlwaysDeny", "Other", "PodSecurity"]),
            ..Settings::default()
        };
        let expected = [
            "enable-admission-plugins plugin \"Nothing\" is unknown",
            "disable-admission-plugins plugin \"Other\" is unknown",
            "[AlwaysDeny PodSecurity] in enable-admission-plugins and disable-admission-plugins overlapped",
        ];
        assert_eq!(settings.faults(), expected);
        assert_eq!(Settings::default().faults(), [""; 0]);
    }
}
