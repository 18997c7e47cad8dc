//! A `kube::Client` on a tower service in this process.

use api::UserInfo;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use tower::{BoxError, Service, ServiceExt, service_fn};

/// The agent of users that are no component.
const OTHERS: &str = "coracle";

/// The program that a component is part of in the reference, after which the fields that it writes are said to be its.
fn agent(user: &str) -> &str {
    match user.strip_prefix("system:").map(|name| name.split_once(':').unwrap_or((name, ""))) {
        Some(("node", _)) => "kubelet",
        Some(("serviceaccount", _)) => "kube-controller-manager",
        Some((component, "")) => component,
        _ => OTHERS,
    }
}

/// A client that calls `service` directly and speaks as `user`.
///
/// The identity travels as a request extension of type [`UserInfo`], which cannot come over the wire. `service` is
/// typically a clone of the API server's router. Must be called within a tokio runtime.
pub fn in_process<S, B, R>(service: S, user: UserInfo, default_namespace: impl Into<String>) -> kube::Client
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    B: From<Bytes> + Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let agent = HeaderValue::from_str(agent(&user.username)).unwrap_or(HeaderValue::from_static(OTHERS));
    let call = move |request: Request<Body>| {
        let service = service.clone();
        let (user, agent) = (user.clone(), agent.clone());
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.map_err(BoxError::from)?.to_bytes();
            let mut request = Request::from_parts(parts, B::from(bytes));
            request.headers_mut().entry(USER_AGENT).or_insert(agent);
            request.extensions_mut().insert(user);
            service.oneshot(request).await.map_err(Into::<BoxError>::into)
        }
    };
    kube::Client::new(service_fn(call), default_namespace.into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn components_are_named_after_their_programs() {
        let check = |user: &str, expect: &str| assert_eq!(super::agent(user), expect, "{user}");
        check("system:node:one", "kubelet");
        check("system:serviceaccount:kube-system:job-controller", "kube-controller-manager");
        check("system:kube-scheduler", "kube-scheduler");
        check("kubernetes-admin", "coracle");
    }
}
