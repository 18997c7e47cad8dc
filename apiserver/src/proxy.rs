//! Requests that end elsewhere: at a node's server (logs, exec, attach, port-forward) or at a pod, a service or a node.
//!
//! A connection that changes its protocol is passed through as raw bytes both ways; nothing here knows what is said on it.

mod address;
pub(crate) mod backend;
mod forward;
mod links;
mod location;
mod path;
mod stream;

use std::sync::Arc;

use api::Status;
use axum::body::Body;
use futures::future::{BoxFuture, FutureExt};
use http::{Method, Request, Response};

pub(crate) use backend::Unverified;

use crate::Context;
use crate::authorization::{Attributes, Decision, decide};
use crate::plug::{Connecter, Endpoints};
use crate::verbs::method_not_allowed;
pub(crate) use stream::escape;

/// Plugs in every subresource that is a connection. `kubelet` is the TLS with which node servers are spoken to: it
/// trusts the cluster's authority and shows the API server's client certificate.
pub fn endpoints(endpoints: &mut Endpoints, kubelet: Arc<rustls::ClientConfig>) {
    let place = |endpoints: &mut Endpoints, resource: &str, subresource: &str, to: Destination| {
        let connecter = Proxy { to, kubelet: kubelet.clone() };
        endpoints.connecter("", resource, subresource, Arc::new(connecter));
    };
    place(endpoints, "pods", "log", Destination::Log);
    place(endpoints, "pods", "exec", Destination::Stream("exec"));
    place(endpoints, "pods", "attach", Destination::Stream("attach"));
    place(endpoints, "pods", "portforward", Destination::PortForward);
    place(endpoints, "pods", "proxy", Destination::Pod);
    place(endpoints, "services", "proxy", Destination::Service);
    place(endpoints, "nodes", "proxy", Destination::Node);
}

/// Where a subresource leads.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Destination {
    Log,
    Stream(&'static str),
    PortForward,
    Pod,
    Service,
    Node,
}

impl Destination {
    /// The methods that it knows.
    fn methods(self) -> &'static [Method] {
        const PROXIED: [Method; 7] =
            [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
        match self {
            Self::Log => &[Method::GET],
            Self::Stream(_) | Self::PortForward => &[Method::GET, Method::POST],
            Self::Pod | Self::Service | Self::Node => &PROXIED,
        }
    }
}

struct Proxy {
    to: Destination,
    kubelet: Arc<rustls::ClientConfig>,
}

impl Connecter for Proxy {
    fn connect(&self, ctx: Arc<Context>, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, Status>> {
        let (to, kubelet) = (self.to, self.kubelet.clone());
        async move {
            if !to.methods().contains(request.method()) {
                return Err(method_not_allowed());
            }
            if matches!(to, Destination::Stream(_) | Destination::PortForward) {
                may_create(&ctx).await?;
            }
            match to {
                Destination::Log => stream::log(&ctx, request, kubelet).await,
                Destination::Stream(path) => stream::stream(&ctx, request, path, kubelet).await,
                Destination::PortForward => stream::port_forward(&ctx, request, kubelet).await,
                Destination::Pod | Destination::Service | Destination::Node => {
                    forward::forward(&ctx, request, to, kubelet).await
                }
            }
        }
        .boxed()
    }
}

/// A connection into a pod needs `create`, whatever the method by which it is opened: a WebSocket only can be by GET, which is
/// a `get` (`AuthorizePodWebsocketUpgradeCreatePermission`).
async fn may_create(ctx: &Context) -> Result<(), Status> {
    let info = &ctx.info;
    if info.verb == "create" {
        return Ok(());
    }
    let asked = Attributes { verb: "create", ..Attributes::of(&ctx.user, info) };
    match decide(asked, &ctx.registry).await {
        Decision::Allow => Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) | Decision::Failed { why, .. } => {
            Err(Status::forbidden(&info.group, &info.resource, &info.name, &why))
        }
    }
}

#[cfg(test)]
mod tests;
