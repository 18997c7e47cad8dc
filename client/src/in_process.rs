//! A `kube::Client` on a tower service in this process.

use api::UserInfo;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use tower::{BoxError, Service, ServiceExt, service_fn};

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
    let call = move |request: Request<Body>| {
        let service = service.clone();
        let user = user.clone();
        async move {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.map_err(BoxError::from)?.to_bytes();
            let mut request = Request::from_parts(parts, B::from(bytes));
            request.extensions_mut().insert(user);
            service.oneshot(request).await.map_err(Into::<BoxError>::into)
        }
    };
    kube::Client::new(service_fn(call), default_namespace.into())
}
