//! How pods name their resource claims (`k8s.io/dynamic-resource-allocation/resourceclaim`).

use k8s_openapi::api::core::v1::{Pod, PodResourceClaim};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference};
use kube::ResourceExt;
use thiserror::Error;

/// What keeps a claim that is allocated, or reserved, until nobody uses it (`resourceapi.Finalizer`).
pub const FINALIZER: &str = "resource.kubernetes.io/delete-protection";
/// On a claim that was made for a pod: which of the pod's claims it is (`resourceapi.PodResourceClaimAnnotation`).
pub const POD_CLAIM: &str = "resource.kubernetes.io/pod-claim-name";
/// On a claim that was made for extended resources of a pod (`resourceapi.ExtendedResourceClaimAnnotation`).
pub const EXTENDED: &str = "resource.kubernetes.io/extended-resource-claim";

/// A claim of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named<'a> {
    /// The name of the object.
    pub name: &'a str,
    /// Whether it was made for the pod, so that it counts only if the pod owns it.
    pub is_made: bool,
}

/// Why a claim of a pod has no name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unnamed {
    /// The claim has not been made from its template yet.
    #[error(r#"pod "{0}": ResourceClaim not created yet"#)]
    NotMade(String),
    /// The pod says in no known way which claim it is.
    #[error(r#"pod "{0}", spec.resourceClaim "{1}": none of the supported fields are set"#)]
    Unknown(String, String),
}

fn key(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// The claims that a pod lists.
pub fn of_pod(pod: &Pod) -> &[PodResourceClaim] {
    pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_deref()).unwrap_or_default()
}

/// Which object is the claim of a pod, nothing if it turned out that none is needed (`resourceclaim.Name`).
///
/// # Errors
/// While there is none, or if the pod does not say.
pub fn name<'a>(pod: &'a Pod, claim: &'a PodResourceClaim) -> Result<Option<Named<'a>>, Unnamed> {
    if let Some(name) = &claim.resource_claim_name {
        return Ok(Some(Named { name, is_made: false }));
    }
    if claim.resource_claim_template_name.is_none() {
        return Err(Unnamed::Unknown(key(pod), claim.name.clone()));
    }
    let statuses = pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_deref()).unwrap_or_default();
    match statuses.iter().find(|status| status.name == claim.name) {
        Some(status) => Ok(status.resource_claim_name.as_deref().map(|name| Named { name, is_made: true })),
        None => Err(Unnamed::NotMade(key(pod))),
    }
}

/// The names of all claims of a pod that are known, those made for its extended resources too.
pub fn names(pod: &Pod) -> Vec<&str> {
    let listed = of_pod(pod).iter().filter_map(|claim| name(pod, claim).ok().flatten().map(|named| named.name));
    listed.chain(extended_name(pod)).collect()
}

/// The claim that was made for the extended resources of a pod.
pub fn extended_name(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?.extended_resource_claim_status.as_ref()?;
    Some(status.resource_claim_name.as_str())
}

/// Why a claim is not the one that was made for a pod, if it is not (`resourceclaim.IsForPod`).
pub fn foreign(pod: &Pod, claim: &ResourceClaim) -> Option<String> {
    let namespace = pod.namespace().unwrap_or_default();
    foreign_owner(&namespace, &pod.name_any(), pod.metadata.uid.as_deref().unwrap_or_default(), claim)
}

/// The same of a pod by its namespace, name and uid.
pub fn foreign_owner(namespace: &str, pod: &str, uid: &str, claim: &ResourceClaim) -> Option<String> {
    let (of_claim, name) = (claim.namespace().unwrap_or_default(), claim.name_any());
    if of_claim != namespace {
        return Some(format!("ResourceClaim {of_claim}/{name} is not in the same namespace as Pod {namespace}/{pod}"));
    }
    let owner = claim.owner_references().iter().find(|owner| owner.controller == Some(true));
    if !uid.is_empty() && owner.is_some_and(|owner| owner.uid == uid) {
        return None;
    }
    Some(format!("ResourceClaim {of_claim}/{name} was not created for Pod {namespace}/{pod} (Pod is not owner)"))
}

/// Whether a claim is reserved for the object of this uid.
pub fn is_reserved_for(claim: &ResourceClaim, uid: &str) -> bool {
    reserved_for(claim).iter().any(|consumer| consumer.uid == uid)
}

/// Whom a claim is reserved for.
pub fn reserved_for(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    claim.status.as_ref().and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

/// Whether a claim has its devices.
pub fn is_allocated(claim: &ResourceClaim) -> bool {
    claim.status.as_ref().is_some_and(|status| status.allocation.is_some())
}

/// Whether a claim has the finalizer of those that are allocated.
pub fn is_protected(claim: &ResourceClaim) -> bool {
    claim.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// What reserves a claim for a pod.
pub fn consumer(pod_name: &str, uid: &str) -> ResourceClaimConsumerReference {
    ResourceClaimConsumerReference { api_group: None, resource: "pods".into(), name: pod_name.into(), uid: uid.into() }
}

/// The request that a reference is to: that before the slash, if it is to one of several of which the first will do
/// (`BaseRequestRef`).
pub fn base_request(reference: &str) -> &str {
    reference.split('/').next().unwrap_or(reference)
}

/// Whether what is said for some requests, or for all, is said for this one (`isMatch`).
pub fn applies(requests: Option<&[String]>, reference: &str) -> bool {
    let requests = requests.unwrap_or_default();
    let base = base_request(reference);
    requests.is_empty() || requests.iter().any(|request| request == reference || request == base)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_has_the_name_it_was_given_or_got() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "p", "uid": "u"},
            "spec": {"containers": [], "resourceClaims": [
                {"name": "own", "resourceClaimName": "mine"},
                {"name": "made", "resourceClaimTemplateName": "t"},
                {"name": "none", "resourceClaimTemplateName": "t"},
                {"name": "late", "resourceClaimTemplateName": "t"},
                {"name": "odd"}]},
            "status": {"resourceClaimStatuses": [{"name": "made", "resourceClaimName": "p-made-x"}, {"name": "none"}],
                "extendedResourceClaimStatus": {"resourceClaimName": "ext", "requestMappings": []}},
        }))
        .expect("a pod");
        let found: Vec<_> = of_pod(&pod).iter().map(|claim| name(&pod, claim)).collect();
        assert_eq!(found[0], Ok(Some(Named { name: "mine", is_made: false })));
        assert_eq!(found[1], Ok(Some(Named { name: "p-made-x", is_made: true })));
        assert_eq!(found[2], Ok(None));
        assert_eq!(found[3].as_ref().unwrap_err().to_string(), r#"pod "n/p": ResourceClaim not created yet"#);
        assert!(matches!(found[4], Err(Unnamed::Unknown(..))));
        assert_eq!(names(&pod), ["mine", "p-made-x", "ext"]);
    }

    #[test]
    fn a_claim_is_for_the_pod_that_controls_it() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "p", "uid": "u"}})).unwrap();
        let check = |owner: serde_json::Value, expected: bool| {
            let claim: ResourceClaim = serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "c",
                "ownerReferences": [owner]}, "spec": {}}))
            .unwrap();
            assert_eq!(foreign(&pod, &claim).is_none(), expected, "{owner}");
        };
        let owner = |uid: &str, controls: bool| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": controls});
        check(owner("u", true), true);
        check(owner("u", false), false);
        check(owner("v", true), false);
    }

    #[test]
    fn what_is_said_of_a_request_is_said_of_its_alternatives() {
        let check = |requests: &[&str], reference: &str, expected: bool| {
            let requests: Vec<String> = requests.iter().map(|r| (*r).to_string()).collect();
            assert_eq!(applies(Some(&requests), reference), expected, "{requests:?} {reference}");
        };
        check(&[], "a", true);
        check(&["a"], "a", true);
        check(&["a"], "a/b", true);
        check(&["a/b"], "a/b", true);
        check(&["a/b"], "a/c", false);
        check(&["a/b"], "a", false);
    }
}
