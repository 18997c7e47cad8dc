//! Who asks, and whether they may.

use std::sync::Arc;

use api::UserInfo;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::header::AUTHORIZATION;
use http::{Method, Response, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Node;
use super::routes::text;

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// Who the client's certificate says it is. TLS has checked the certificate against the CA.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Option<UserInfo>);

/// The user of a client certificate: its common name, in the groups of its organisations.
pub(super) fn of_certificate(certificate: &CertificateDer<'_>) -> Option<UserInfo> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    // The last name counts, as in Go's `pkix.Name`. What is no text makes the whole subject nobody.
    let name = subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())?;
    let groups: Vec<&str> = subject.iter_organization().map(|group| group.as_str().ok()).collect::<Option<_>>()?;
    Some(UserInfo::new(name, &groups))
}

/// Lets a request pass, or answers it with 401 or 403.
pub(super) async fn check(State(node): State<Arc<Node>>, request: Request<Body>, next: Next) -> Response<Body> {
    let user = match request.extensions().get::<Peer>() {
        Some(Peer(Some(user))) => Some(user.clone()),
        _ => match bearer_token(&request) {
            Some(token) => review_token(&node, token).await,
            None => None,
        },
    };
    let Some(user) = user else {
        return text(StatusCode::UNAUTHORIZED, "Unauthorized");
    };
    if !user.groups.iter().any(|group| group == MASTERS) {
        let (verb, subresources) = (verb(request.method()), subresources(request.uri().path()));
        let mut allowed = false;
        for subresource in subresources {
            allowed = allowed || authorize(&node, &user, verb, subresource).await;
        }
        if !allowed {
            let subresource = subresources.join(",");
            let (name, node) = (&user.username, &node.name);
            let message =
                format!("Forbidden (user={name}, verb={verb}, resource=nodes, subresource={subresource}, node={node})");
            return text(StatusCode::FORBIDDEN, &message);
        }
    }
    next.run(request).await
}

fn bearer_token(request: &Request<Body>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let mut parts = header.trim().splitn(3, ' ');
    let (scheme, token) = (parts.next()?, parts.next()?);
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then(|| token.to_owned())
}

async fn review_token(node: &Node, token: String) -> Option<UserInfo> {
    let spec = TokenReviewSpec { token, ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let started = node.clock.elapsed();
    let answer = Api::<TokenReview>::all(node.client.clone()).create(&PostParams::default(), &review).await;
    node.figures.token_reviewed(answer.as_ref().err(), node.clock.elapsed().saturating_sub(started));
    let status = match answer {
        Ok(review) => review.status?,
        Err(error) => {
            tracing::warn!(%error, "a token could not be reviewed");
            return None;
        }
    };
    let user = status.user.filter(|_| status.authenticated == Some(true))?;
    Some(UserInfo {
        username: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    })
}

async fn authorize(node: &Node, user: &UserInfo, verb: &str, subresource: &str) -> bool {
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        version: Some("v1".to_owned()),
        resource: Some("nodes".to_owned()),
        subresource: Some(subresource.to_owned()),
        name: Some(node.name.clone()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        user: Some(user.username.clone()),
        uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let started = node.clock.elapsed();
    let answer = Api::<SubjectAccessReview>::all(node.client.clone()).create(&PostParams::default(), &review).await;
    node.figures.access_reviewed(answer.as_ref().err(), node.clock.elapsed().saturating_sub(started));
    match answer {
        Ok(review) => review.status.is_some_and(|status| status.allowed),
        Err(error) => {
            tracing::warn!(%error, "an access review failed");
            false
        }
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

/// The subresource of nodes that a path is, as `NewNodeAuthorizerAttributesGetter` in pkg/kubelet/server maps it: to be
/// allowed one of them is enough.
fn subresources(path: &str) -> &'static [&'static str] {
    match path.split('/').nth(1).unwrap_or_default() {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "statusz" => &["statusz"],
        "flagz" => &["configz"],
        "checkpoint" => &["checkpoint"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        "pods" | "runningpods" => &["pods", "proxy"],
        _ => &["proxy"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_reviewed_as_the_reference_names_them() {
        let check = |method: Method, path: &str, expected: (&str, &str)| {
            assert_eq!((verb(&method), subresources(path).join(",").as_str()), expected);
        };
        check(Method::GET, "/containerLogs/a/b/c", ("get", "proxy"));
        check(Method::POST, "/exec/a/b/c", ("create", "proxy"));
        check(Method::GET, "/stats/summary", ("get", "stats"));
        check(Method::GET, "/metrics/resource", ("get", "metrics"));
        check(Method::GET, "/pods", ("get", "pods,proxy"));
        check(Method::GET, "/runningpods/", ("get", "pods,proxy"));
        check(Method::GET, "/logs/syslog", ("get", "log"));
    }
}
