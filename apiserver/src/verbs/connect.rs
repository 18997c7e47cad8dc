//! Connect: what is plugged in takes the whole request over.

use std::sync::Arc;

use api::catalogue::Resource;
use api::{Object, Status};
use axum::body::Body;
use http::request::Parts;
use http::{Request, Response, Uri};
use serde_json::Value;

use crate::Context;
use crate::plug::{Connecter, Operation};
use crate::proxy::escape;
use crate::registry::target::Target;
use crate::request::Query;

/// The options of connections that stand in the query.
const OPTIONS: [&str; 7] = ["command", "container", "ports", "stderr", "stdin", "stdout", "tty"];
/// The flags of a connection to a container.
const FLAGS: [&str; 4] = ["stdin", "stdout", "stderr", "tty"];

/// Hands a request over, after admission has seen it.
///
/// # Errors
/// What admission refuses it with, or the connecter answers.
pub async fn connect(
    ctx: Arc<Context>,
    connecter: Arc<dyn Connecter>,
    resource: &Arc<Resource>,
    query: &Query,
    mut parts: Parts,
    body: Body,
) -> Result<Response<Body>, Status> {
    let target = Target {
        resource: resource.clone(),
        storage: resource.clone(),
        subresource: ctx.info.subresource.clone(),
        namespace: ctx.info.namespace.clone(),
        name: ctx.info.name.clone(),
        options: Value::Null,
        view: None,
    };
    // Reading a log is a get and no connection to the pod.
    if ctx.info.subresource != "log" {
        let before = options(&ctx, resource, query);
        let mut asked = before.clone();
        target.admit(&ctx, Operation::Connect, Some(&mut asked), None).await?;
        target.validate(&ctx, Operation::Connect, Some(&asked), None).await?;
        if asked != before {
            parts.uri = with_options(&parts.uri, &asked, &before)?;
        }
    }
    connecter.connect(ctx, Request::from_parts(parts, body)).await
}

/// The options of a connection as an object, which is what admission sees of it (`getRequestOptions`).
fn options(ctx: &Context, resource: &Resource, query: &Query) -> Object {
    let kind = resource.subresource(&ctx.info.subresource).map_or("", |found| found.kind.as_str());
    let mut object = Object::default();
    object.set(&["kind"], kind);
    object.set(&["apiVersion"], "v1");
    let texts = |name: &'static str| query.all(name).map(Value::from).collect::<Vec<_>>();
    if matches!(kind, "PodExecOptions" | "PodAttachOptions") {
        FLAGS.iter().filter(|name| query.flag(name)).for_each(|name| object.set(&[name], true));
        if !query.text("container").is_empty() {
            object.set(&["container"], query.text("container"));
        }
    }
    match kind {
        "PodExecOptions" => {
            let command = texts("command");
            object.set(&["command"], if command.is_empty() { Value::Null } else { command.into() });
        }
        "PodPortForwardOptions" => {
            let ports: Vec<Value> =
                query.all("ports").filter_map(|port| port.parse::<i32>().ok().map(Value::from)).collect();
            if !ports.is_empty() {
                object.set(&["ports"], ports);
            }
        }
        "PodProxyOptions" | "ServiceProxyOptions" | "NodeProxyOptions" => {
            let path = path_after(ctx);
            if !path.is_empty() {
                object.set(&["path"], path);
            }
        }
        _ => {}
    }
    object
}

/// The path that is asked for behind a proxy, which ends in a slash if the request's does.
fn path_after(ctx: &Context) -> String {
    const BEFORE: usize = 3;
    let mut path = ctx.info.parts.iter().skip(BEFORE).fold(String::new(), |path, part| format!("{path}/{part}"));
    if ctx.info.path.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    path
}

/// A request's URL with the options that admission made of it.
fn with_options(uri: &Uri, options: &Object, before: &Object) -> Result<Uri, Status> {
    if options.at(&["path"]) != before.at(&["path"]) {
        return Err(Status::internal("a webhook may not lead a connection elsewhere"));
    }
    let mut pairs = Vec::new();
    let mut push = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        pairs.push(format!("{name}={}", escape(&text)));
    };
    for (name, value) in options.0.iter().filter(|(name, _)| OPTIONS.contains(&name.as_str())) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| push(name, item)),
            Value::Null | Value::Object(_) => {}
            scalar => push(name, scalar),
        }
    }
    // What is not one of the options stays as it was.
    let rest = uri.query().unwrap_or("").split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or("");
        !pair.is_empty() && !OPTIONS.contains(&name)
    });
    let query: Vec<String> = rest.map(str::to_string).chain(pairs).collect();
    let target = if query.is_empty() { uri.path().to_string() } else { format!("{}?{}", uri.path(), query.join("&")) };
    target.parse().map_err(|error: http::uri::InvalidUri| Status::internal(error.to_string()))
}
