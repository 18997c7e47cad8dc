//! `serviceaccounts/token`: a token for a service account, bound to an object that it dies with.

use std::sync::Arc;

use api::field::{ErrorList, FieldError, Path};
use api::{Object, Status, time};
use futures::future::{BoxFuture, FutureExt};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::ServiceAccountTokens;
use super::jwt::{Bound, Claims, Reference};
use super::service_account::EXTENDED_SECONDS;
use crate::plug::{Creater, Endpoints};
use crate::{Context, clock};

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
const EXPIRATION_SECONDS_MIN: i64 = 600;
const EXPIRATION_SECONDS_MAX: i64 = 1 << 32;
/// What is asked for if nothing is.
const EXPIRATION_SECONDS_DEFAULT: i64 = 3600;
/// Volumes made by admission ask for exactly this, and may be used by clients that never reload a token.
const EXPIRATION_SECONDS_LENIENT: i64 = 3607;

/// Plugs in `serviceaccounts/token`.
pub fn endpoints(endpoints: &mut Endpoints, tokens: &Arc<ServiceAccountTokens>) {
    endpoints.creater("", "serviceaccounts", "token", Arc::new(TokenRequest(tokens.clone())));
}

struct TokenRequest(Arc<ServiceAccountTokens>);

impl Creater for TokenRequest {
    fn create<'a>(&'a self, ctx: &'a Context, name: &'a str, object: Object) -> BoxFuture<'a, Result<Object, Status>> {
        async move { self.answer(ctx, name, object) }.boxed()
    }
}

impl TokenRequest {
    fn answer(&self, ctx: &Context, name: &str, mut request: Object) -> Result<Object, Status> {
        let namespace = ctx.info.namespace.as_str();
        let account = ctx
            .registry
            .get("", "serviceaccounts", namespace, name)
            .ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
        must_match(&request, "name", name, name)?;
        must_match(&request, "namespace", namespace, name)?;
        if !request.uid().is_empty() && request.uid() != account.uid() {
            let why = format!(
                "the UID in the token request ({}) does not match the UID of the service account ({})",
                request.uid(),
                account.uid()
            );
            return Err(Status::conflict(GROUP, KIND, name, &why));
        }
        let metadata = request.metadata_mut();
        metadata.insert("name".into(), name.into());
        metadata.insert("namespace".into(), namespace.into());
        metadata.insert("uid".into(), account.uid().into());
        metadata.insert("creationTimestamp".into(), clock::time(ctx.now).into());
        let mut audiences = strings(request.at(&["spec", "audiences"]));
        if audiences.is_empty() {
            audiences = self.0.audiences().to_vec();
            request.set(&["spec", "audiences"], audiences.clone());
        }
        let seconds =
            request.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64).unwrap_or(EXPIRATION_SECONDS_DEFAULT);
        let errors = expiration_errors(seconds);
        if !errors.is_empty() {
            return Err(Status::invalid(GROUP, KIND, "", &errors));
        }
        let given = self.0.lifetimes().seconds_max.map_or(seconds, |max| seconds.min(max));
        request.set(&["spec", "expirationSeconds"], given);
        let bound = bound(ctx, &account, request.at(&["spec", "boundObjectRef"]))?;
        if bound.pod.is_none() && request.at(&["spec", "boundObjectRef"]).is_none() {
            request.set(&["spec", "boundObjectRef"], Value::Null);
        }
        if given < seconds {
            ctx.warn(format!("requested expiration of {seconds} seconds shortened to {given} seconds"));
        }
        let seconds = given;
        let token = self.sign(ctx, bound, audiences, seconds)?;
        let expires = time::format(ctx.now + SignedDuration::from_secs(seconds));
        request.set(&["status"], json!({"token": token, "expirationTimestamp": expires}));
        Ok(request)
    }

    fn sign(&self, ctx: &Context, mut bound: Bound, audiences: Vec<String>, seconds: i64) -> Result<String, Status> {
        let now = ctx.now.as_second();
        let lenient = self.0.lifetimes().extends
            && seconds == EXPIRATION_SECONDS_LENIENT
            && bound.pod.is_some()
            && audiences.iter().all(|audience| self.0.audiences().contains(audience));
        if lenient {
            bound.warnafter = Some(now + seconds);
        }
        let claims = Claims {
            aud: audiences,
            exp: now + if lenient { EXTENDED_SECONDS } else { seconds },
            iat: now,
            iss: String::new(),
            jti: clock::uuid(ctx.registry.clock()),
            kubernetes: bound,
            nbf: now,
            sub: String::new(),
        };
        self.0.issue(claims).map_err(|error| Status::internal(format!("failed to generate token: {error}")))
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(String::from).collect()
}

fn must_match(request: &Object, field: &str, wanted: &str, name: &str) -> Result<(), Status> {
    let found = request.str_at(&["metadata", field]);
    if found.is_empty() || found == wanted {
        return Ok(());
    }
    let path = Path::new("metadata").child(field);
    let detail = format!("must match the service account {field} if specified");
    Err(Status::invalid(GROUP, KIND, name, &FieldError::invalid(&path, found, detail).into()))
}

fn expiration_errors(seconds: i64) -> ErrorList {
    let path = Path::new("spec").child("expirationSeconds");
    if seconds < EXPIRATION_SECONDS_MIN {
        return FieldError::invalid(&path, seconds, "may not specify a duration less than 10 minutes").into();
    }
    if seconds > EXPIRATION_SECONDS_MAX {
        return FieldError::invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds").into();
    }
    ErrorList::new()
}

/// The claims about what the token is bound to, checked against what is stored.
fn bound(ctx: &Context, account: &Object, reference: Option<&Value>) -> Result<Bound, Status> {
    let mut bound = Bound {
        namespace: account.namespace().into(),
        serviceaccount: Reference { name: account.name().into(), uid: account.uid().into() },
        ..Bound::default()
    };
    let Some(reference) = reference.filter(|reference| !reference.is_null()) else { return Ok(bound) };
    let field = |name: &str| reference.get(name).and_then(Value::as_str).unwrap_or("");
    let (name, kind, api_version) = (field("name"), field("kind"), field("apiVersion"));
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let find = |resource: &str, namespace: &str| {
        let found = ctx.registry.get("", resource, namespace, name);
        found.ok_or_else(|| Status::not_found("", resource, name))
    };
    let object = match (group, kind) {
        ("", "Pod") => find("pods", account.namespace())?,
        ("", "Secret") => find("secrets", account.namespace())?,
        ("", "Node") => find("nodes", "")?,
        _ => {
            let version = api_version.rsplit('/').next().unwrap_or("");
            let shown = format!("{group}/{version}, Kind={kind}");
            return Err(Status::bad_request(format!("cannot bind token to object of type {shown}")));
        }
    };
    let to = Reference { name: name.into(), uid: object.uid().into() };
    match kind {
        "Pod" => {
            if object.str_at(&["spec", "serviceAccountName"]) != account.name() {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                    account.name()
                )));
            }
            let node = object.str_at(&["spec", "nodeName"]);
            if !node.is_empty() {
                let uid = ctx.registry.get("", "nodes", "", node).map(|node| node.uid().to_string());
                bound.node = Some(Reference { name: node.into(), uid: uid.unwrap_or_default() });
            }
            bound.pod = Some(to);
        }
        "Secret" => bound.secret = Some(to),
        _ => bound.node = Some(to),
    }
    let uid = field("uid");
    if !uid.is_empty() && uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(group, kind, name, &why));
    }
    Ok(bound)
}
