//! What is signed, approved and thrown away, without a server.

use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequestCondition, CertificateSigningRequestStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;

fn node() -> Requested {
    Requested {
        common_name: "system:node:a".into(),
        organizations: vec!["system:nodes".into()],
        ..Requested::default()
    }
}

fn usages(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn each_signer_has_its_rules() {
    let client = ["client auth", "digital signature"];
    let server = ["digital signature", "key encipherment", "server auth"];
    let check = |signer: &str, requested: Requested, names: &[&str]| {
        let checked = rules::check(&format!("kubernetes.io/{signer}"), &requested, &usages(names));
        checked.map_or_else(|| "none of ours".to_owned(), |checked| checked.err().unwrap_or_default())
    };
    let kubelet = "kube-apiserver-client-kubelet";
    for (signer, requested, names, expected) in [
        (kubelet, node(), &client[..], ""),
        (kubelet, node(), &["client auth", "digital signature", "key encipherment"], ""),
        (kubelet, node(), &["client auth"], "usages did not match [client auth digital signature key encipherment]"),
        (kubelet, Requested { dns_names: 1, ..node() }, &client, "DNS subjectAltNames are not allowed"),
        (kubelet, Requested { addresses: 1, ..node() }, &client, "IP subjectAltNames are not allowed"),
        (kubelet, Requested { emails: 1, ..node() }, &client, "Email subjectAltNames are not allowed"),
        (kubelet, Requested { uris: 1, ..node() }, &client, "URI subjectAltNames are not allowed"),
        (
            kubelet,
            Requested { organizations: usages(&["system:nodes", "system:masters"]), ..node() },
            &client,
            "subject organization is not system:nodes",
        ),
        (
            kubelet,
            Requested { common_name: "a".into(), ..node() },
            &client,
            "subject common name does not begin with system:node:",
        ),
        ("kubelet-serving", Requested { dns_names: 1, ..node() }, &server, ""),
        ("kubelet-serving", node(), &server, "DNS or IP subjectAltName is required"),
        (
            "kubelet-serving",
            Requested { addresses: 1, ..node() },
            &client,
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (
            "kubelet-serving",
            Requested { addresses: 1, uris: 1, ..node() },
            &server,
            "URI subjectAltNames are not allowed",
        ),
        ("kube-apiserver-client", Requested::default(), &client, ""),
        ("kube-apiserver-client", node(), &server, "invalid usage for client certificate: server auth"),
        (
            "kube-apiserver-client",
            node(),
            &["digital signature"],
            "missing required usage for client certificate: client auth",
        ),
        ("legacy-unknown", Requested::default(), &["cert sign", "any"], ""),
        ("other", Requested::default(), &client, "none of ours"),
    ] {
        assert_eq!(check(signer, requested.clone(), names), expected, "{signer} {requested:?} {names:?}");
    }
}

#[test]
fn a_certificate_lives_as_long_as_is_asked_for_within_bounds() {
    for (asked, seconds) in
        [(None, 31_536_000), (Some(1), 600), (Some(-5), 600), (Some(7200), 7200), (Some(i32::MAX), 31_536_000)]
    {
        assert_eq!(signing::lifetime(asked).as_secs(), seconds, "{asked:?}");
    }
}

#[test]
fn who_asks_for_itself_is_told_from_who_asks_for_another() {
    let mut request = CertificateSigningRequest::default();
    request.spec.signer_name = rules::KUBELET_CLIENT.into();
    request.spec.usages = Some(usages(&["client auth", "digital signature"]));
    let mut as_user = |name: &str, asked: &Requested| {
        request.spec.username = Some(name.into());
        approving::recognized(&request, asked).map(|(subresource, _)| subresource).collect::<Vec<_>>()
    };
    assert_eq!(as_user("system:node:a", &node()), ["selfnodeclient", "nodeclient"]);
    assert_eq!(as_user("system:bootstrap:x", &node()), ["nodeclient"]);
    assert!(as_user("system:node:a", &Requested { uris: 1, ..node() }).is_empty());
    request.spec.signer_name = "kubernetes.io/kubelet-serving".into();
    assert_eq!(approving::recognized(&request, &node()).count(), 0);
}

#[test]
fn every_request_has_its_time() {
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let authority = Authority::new(
        |_| Ok(Requested::default()),
        |_, _, _| Err("it signs nothing".into()),
        move |_| Some(now + Duration::from_secs(60)),
    );
    let due = |conditions: &[&str], issued: bool| {
        let condition = |type_: &&str| CertificateSigningRequestCondition {
            type_: (*type_).into(),
            status: "True".into(),
            last_update_time: Some(Time(now + Duration::from_secs(10))),
            ..CertificateSigningRequestCondition::default()
        };
        let mut request = CertificateSigningRequest::default();
        request.metadata.creation_timestamp = Some(Time(now));
        request.status = Some(CertificateSigningRequestStatus {
            conditions: Some(conditions.iter().map(condition).collect()),
            certificate: issued.then(|| ByteString(b"x".to_vec())),
        });
        cleaner::due(&request, &authority).map(|at| at.as_second() - now.as_second())
    };
    assert_eq!(due(&[], false), Some(24 * 3600));
    assert_eq!(due(&["Denied"], false), Some(3610));
    assert_eq!(due(&["Failed"], false), Some(3610));
    assert_eq!(due(&["Approved"], false), Some(24 * 3600 + 10));
    assert_eq!(due(&["Approved"], true), Some(60), "its certificate ends before");
    assert_eq!(due(&["Other"], false), None);
}
