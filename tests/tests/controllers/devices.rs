//! Claims made for pods, of volumes and of devices, and ranges of service addresses.

use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::plane::{Plane, eventually, from};

fn pod(name: &str, more: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (key, value) in more.as_object().expect("fields of the spec") {
        pod["spec"][key] = value.clone();
    }
    pod
}

fn events_of(plane: &Plane, name: &str) -> impl Future<Output = Vec<Event>> {
    let (api, params) = (plane.api::<Event>(), ListParams::default().fields(&format!("involvedObject.name={name}")));
    async move { api.list(&params).await.expect("events").items }
}

#[tokio::test]
async fn ephemeral_volumes_get_claims_that_their_pod_owns() {
    let plane = Plane::start().await;
    let claims = plane.api::<PersistentVolumeClaim>();
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
    let volumes = json!({"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
        "metadata": {"labels": {"kind": "scratch"}}, "spec": spec}}}]});
    plane.create::<PersistentVolumeClaim>(json!({"metadata": {"name": "two-scratch"}, "spec": spec})).await;
    let one: Pod = plane.create(pod("one", volumes.clone())).await;
    eventually("the claim", async || claims.get_opt("one-scratch").await.expect("an answer").is_some()).await;
    let claim = claims.get("one-scratch").await.expect("the claim");
    let owner = &claim.owner_references()[0];
    assert_eq!((Some(&owner.uid), owner.controller), (one.metadata.uid.as_ref(), Some(true)));
    assert_eq!(claim.labels().get("kind").map(String::as_str), Some("scratch"));
    plane.create::<Pod>(pod("two", volumes)).await;
    eventually("the complaint about a claim of somebody else", async || {
        let said = "ephemeral volume scratch: PVC t/two-scratch was not created for pod t/two (pod is not owner)";
        events_of(&plane, "two").await.iter().any(|e| e.message.as_deref() == Some(said))
    })
    .await;
}

fn template(count: i64) -> Value {
    json!({"metadata": {"name": "gpu"}, "spec": {"metadata": {"labels": {"made": "yes"}}, "spec": {"devices": {
        "requests": [{"name": "r", "exactly": {"deviceClassName": "gpus", "allocationMode": "ExactCount", "count": count}}]}}}})
}

fn allocation() -> Value {
    json!({"devices": {"results": [{"request": "r", "driver": "d.example", "pool": "p", "device": "one"}]}})
}

/// Gives a claim a device, as a scheduler would.
async fn allocate(claims: &Api<ResourceClaim>, name: &str) {
    let hold = json!({"metadata": {"finalizers": ["resource.kubernetes.io/delete-protection"]}});
    claims.patch(name, &PatchParams::default(), &Patch::Merge(hold)).await.expect("a finalizer");
    let status = json!({"status": {"allocation": allocation()}});
    claims.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.expect("an allocation");
}

#[tokio::test]
async fn claims_are_made_reserved_and_given_up_with_their_pod() {
    let plane = Plane::start().await;
    let (pods, claims) = (plane.api::<Pod>(), plane.api::<ResourceClaim>());
    let uses = json!({"nodeName": "n1", "resourceClaims": [{"name": "dev", "resourceClaimTemplateName": "gpu"},
        {"name": "own", "resourceClaimName": "shared"}]});
    let user: Pod = plane.create(pod("user", uses)).await;
    eventually("the complaint about the template", async || {
        let said = r#"PodResourceClaim dev: resource claim template "gpu": resourceclaimtemplate.resource.k8s.io "gpu" not found"#;
        events_of(&plane, "user").await.iter().any(|e| e.message.as_deref() == Some(said))
    })
    .await;
    plane.create::<ResourceClaimTemplate>(template(1)).await;
    let made = || async {
        let statuses = pods.get("user").await.expect("the pod").status.and_then(|s| s.resource_claim_statuses);
        statuses.into_iter().flatten().find_map(|s| (s.name == "dev").then_some(s.resource_claim_name).flatten())
    };
    eventually("the name of the claim in the status", async || made().await.is_some()).await;
    let name = made().await.expect("a name");
    let claim = claims.get(&name).await.expect("the claim");
    assert!(name.starts_with("user-dev-"), "{name}");
    assert_eq!(claim.labels().get("made").map(String::as_str), Some("yes"));
    assert_eq!(claim.annotations()["resource.kubernetes.io/pod-claim-name"], "dev");
    let spec = template(1)["spec"]["spec"].clone();
    plane.create::<ResourceClaim>(json!({"metadata": {"name": "shared"}, "spec": spec})).await;
    for name in [name.as_str(), "shared"] {
        allocate(&claims, name).await;
        eventually("the claim to be reserved for the pod", async || {
            let status = claims.get(name).await.expect("the claim").status.unwrap_or_default();
            status.reserved_for.is_some_and(|of| of.iter().any(|c| Some(&c.uid) == user.metadata.uid.as_ref()))
        })
        .await;
    }
    pods.delete("user", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("the claim of the pod to go", async || claims.get_opt(&name).await.expect("an answer").is_none()).await;
    eventually("the other to be free", async || {
        let claim = claims.get("shared").await.expect("the claim");
        let status = claim.status.clone().unwrap_or_default();
        status.allocation.is_none()
            && status.reserved_for.unwrap_or_default().is_empty()
            && claim.finalizers().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_claim_that_is_deleted_is_made_again_and_one_that_is_held_goes_when_nobody_uses_it() {
    let plane = Plane::start().await;
    let (pods, claims) = (plane.api::<Pod>(), plane.api::<ResourceClaim>());
    plane.create::<ResourceClaimTemplate>(template(1)).await;
    let uses = json!({"resourceClaims": [{"name": "dev", "resourceClaimTemplateName": "gpu"}]});
    plane.create::<Pod>(pod("user", uses)).await;
    let made = || async {
        let statuses = pods.get("user").await.expect("the pod").status.and_then(|s| s.resource_claim_statuses);
        statuses.into_iter().flatten().find_map(|s| s.resource_claim_name)
    };
    eventually("the claim", async || made().await.is_some()).await;
    let first = made().await.expect("a name");
    claims.delete(&first, &DeleteParams::default()).await.expect("it is deleted");
    eventually("another", async || made().await.is_some_and(|name| name != first)).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["resource.kubernetes.io/delete-protection"]},
        "spec": template(1)["spec"]["spec"]});
    plane.create::<ResourceClaim>(held).await;
    let status = json!({"status": {"allocation": allocation()}});
    claims.patch_status("held", &PatchParams::default(), &Patch::Merge(status)).await.expect("an allocation");
    claims.delete("held", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("it to go", async || claims.get_opt("held").await.expect("an answer").is_none()).await;
}

#[tokio::test]
async fn a_range_of_addresses_stays_while_a_service_needs_it() {
    let plane = Plane::start().await;
    let ranges: Api<ServiceCIDR> = Api::all(plane.client.clone());
    let range: ServiceCIDR = from(json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.77.0.0/24"]}}));
    ranges.create(&PostParams::default(), &range).await.expect("a range");
    let ready = || async {
        let range = ranges.get("more").await.expect("the range");
        let held = range.finalizers().iter().any(|f| f == "networking.k8s.io/service-cidr-finalizer");
        let conditions = range.status.and_then(|s| s.conditions).unwrap_or_default();
        conditions.into_iter().find(|_| held).map(|c| (c.type_, c.status, c.reason))
    };
    let is = |status: &str, reason: &str| Some(("Ready".to_string(), status.to_string(), reason.to_string()));
    eventually("the range to be ready", async || ready().await == is("True", "")).await;
    plane
        .create::<Service>(
            json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.77.0.9", "ports": [{"port": 80}]}}),
        )
        .await;
    ranges.delete("more", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("the range to say why it stays", async || ready().await == is("False", "Terminating")).await;
}

/// A class of all devices, and a slice of some on the node.
async fn offer(plane: &Plane, devices: Value) -> Api<ResourceSlice> {
    let classes: Api<DeviceClass> = Api::all(plane.client.clone());
    let class = from(json!({"metadata": {"name": "gpus"}, "spec": {"extendedResourceName": "example.com/gpu",
        "selectors": [{"cel": {"expression": "device.driver == 'd.example'"}}]}}));
    classes.create(&PostParams::default(), &class).await.expect("a class");
    let slices: Api<ResourceSlice> = Api::all(plane.client.clone());
    let slice = from(json!({"metadata": {"name": "n1-d"}, "spec": {"driver": "d.example", "nodeName": "n1",
        "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1}, "devices": devices}}));
    slices.create(&PostParams::default(), &slice).await.expect("a slice");
    slices
}

async fn is_bound(plane: &Plane, name: &str) -> bool {
    let pod = plane.api::<Pod>().get_opt(name).await.expect("an answer");
    pod.is_some_and(|pod| pod.spec.is_some_and(|spec| spec.node_name.is_some()))
}

async fn why_not(plane: &Plane, name: &str) -> String {
    let status = plane.api::<Pod>().get(name).await.expect("the pod").status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let scheduled = conditions.into_iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    scheduled.and_then(|c| c.message).unwrap_or_default()
}

#[tokio::test]
async fn pods_get_devices_one_after_the_other() {
    let plane = Plane::start().await;
    let (pods, claims) = (plane.api::<Pod>(), plane.api::<ResourceClaim>());
    plane.create::<ResourceClaimTemplate>(template(1)).await;
    let uses = json!({"resourceClaims": [{"name": "dev", "resourceClaimTemplateName": "gpu"}]});
    plane.create::<Pod>(pod("first", uses.clone())).await;
    let no_class = "0/1 nodes are available: request r: device class gpus does not exist. no new claims to deallocate, \
                    preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    eventually("the complaint about the class", async || why_not(&plane, "first").await == no_class).await;
    offer(&plane, json!([{"name": "one"}])).await;
    eventually("the first pod to be bound", async || is_bound(&plane, "first").await).await;
    let of_first = claims.list(&ListParams::default()).await.expect("claims").items.remove(0);
    let status = of_first.status.clone().unwrap_or_default();
    let results = status.allocation.as_ref().and_then(|a| a.devices.as_ref()?.results.clone()).unwrap_or_default();
    assert_eq!((results[0].driver.as_str(), results[0].device.as_str()), ("d.example", "one"));
    assert_eq!(status.reserved_for.map(|all| all[0].name.clone()).as_deref(), Some("first"));
    assert_eq!(of_first.finalizers(), ["resource.kubernetes.io/delete-protection"]);
    plane.create::<Pod>(pod("second", uses)).await;
    let none = "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, preemption: 0/1 nodes are \
                available: 1 Preemption is not helpful for scheduling.";
    eventually("the complaint about devices", async || why_not(&plane, "second").await == none).await;
    pods.delete("first", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("the second pod to get the device", async || is_bound(&plane, "second").await).await;
}

#[tokio::test]
async fn pods_share_a_claim_and_a_late_claim_lets_them_go() {
    let plane = Plane::start().await;
    offer(&plane, json!([{"name": "one"}])).await;
    let uses = json!({"resourceClaims": [{"name": "own", "resourceClaimName": "shared"}]});
    for name in ["one", "two"] {
        plane.create::<Pod>(pod(name, uses.clone())).await;
    }
    let spec = template(1)["spec"]["spec"].clone();
    plane.create::<ResourceClaim>(json!({"metadata": {"name": "shared"}, "spec": spec})).await;
    for name in ["one", "two"] {
        eventually("a pod to be bound", async || is_bound(&plane, name).await).await;
    }
    let status = plane.api::<ResourceClaim>().get("shared").await.expect("the claim").status.unwrap_or_default();
    assert_eq!(status.reserved_for.unwrap_or_default().len(), 2);
}

#[tokio::test]
async fn extended_resources_stand_for_devices() {
    let plane = Plane::start().await;
    offer(&plane, json!([{"name": "one"}, {"name": "two"}])).await;
    let asks = json!({"containers": [{"name": "c", "image": "i", "resources": {
        "requests": {"example.com/gpu": "2"}, "limits": {"example.com/gpu": "2"}}}]});
    plane.create::<Pod>(pod("user", asks)).await;
    eventually("the pod to be bound", async || is_bound(&plane, "user").await).await;
    let status = plane.api::<Pod>().get("user").await.expect("the pod").status.unwrap_or_default();
    let extended = status.extended_resource_claim_status.expect("its claim");
    let mapping = &extended.request_mappings[0];
    let of = (mapping.container_name.as_str(), mapping.resource_name.as_str(), mapping.request_name.as_str());
    assert_eq!(of, ("c", "example.com/gpu", "container-0-request-0"));
    let claims = plane.api::<ResourceClaim>();
    let claim = claims.get(&extended.resource_claim_name).await.expect("the claim");
    assert!(claim.name_any().starts_with("user-extended-resources-"), "{}", claim.name_any());
    plane.api::<Pod>().delete("user", &DeleteParams::default()).await.expect("it is being deleted");
    eventually("the claim to go", async || claims.get_opt(&claim.name_any()).await.expect("an answer").is_none()).await;
}

#[tokio::test]
async fn pods_leave_devices_that_are_tainted() {
    let plane = Plane::start().await;
    let slices = offer(&plane, json!([{"name": "one"}])).await;
    plane.create::<ResourceClaimTemplate>(template(1)).await;
    let uses = json!({"resourceClaims": [{"name": "dev", "resourceClaimTemplateName": "gpu"}]});
    plane.create::<Pod>(pod("user", uses)).await;
    eventually("the pod to be bound", async || is_bound(&plane, "user").await).await;
    let mut slice = slices.get("n1-d").await.expect("the slice");
    let taint = from(json!({"key": "broken", "effect": "NoExecute"}));
    slice.spec.devices.as_mut().expect("devices")[0].taints = Some(vec![taint]);
    slices.replace("n1-d", &PostParams::default(), &slice).await.expect("a taint");
    eventually("the pod to go", async || plane.api::<Pod>().get_opt("user").await.expect("an answer").is_none()).await;
}
