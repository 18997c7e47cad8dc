//! `/statusz` and `/flagz`: what runs here and with which flags, for people, and in `config.k8s.io` for programs
//! (apiserver's `server/statusz` and `server/flagz`).

use std::collections::{BTreeMap, BTreeSet};

use api::zpages::{self, About};
use api::{Object, Status};
use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http::request::Parts;
use http::{HeaderValue, Response};
use jiff::Timestamp;
use metrics::process;
use serde_json::{Value, json};

use crate::content::{self, Format, Representation, clauses};
use crate::request::Query;
use crate::{Context, answer, clock};

const COMPONENT: &str = "apiserver";
const TEXT: &str = "text/plain";
/// The formats for programs, in the order in which they are told.
const FORMATS: [Format; 2] = [Format::Json, Format::Yaml];
/// First segments that are no help to who debugs.
const NOT_FOR_DEBUGGING: [&str; 5] = ["apis", "api", "openid", "openapi", ".well-known"];

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// What runs here.
    Statusz,
    /// With which flags.
    Flagz,
}

/// What the client agreed on: text, or an object of a version.
enum Form {
    Text,
    Object(Format, &'static str),
}

impl Page {
    fn kind(self) -> &'static str {
        match self {
            Self::Statusz => "Statusz",
            Self::Flagz => "Flagz",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Statusz => "statusz",
            Self::Flagz => "flagz",
        }
    }
}

/// Answers with a page.
///
/// # Errors
/// 406 if the client takes none of its forms.
pub(super) fn answer(ctx: &Context, page: Page, parts: &Parts, query: &Query) -> Result<Response<Body>, Status> {
    let (format, version) = match form(page, parts)? {
        Form::Text => return Ok(answer::bytes(200, "text/plain; charset=utf-8", text(ctx, page))),
        Form::Object(format, version) => (format, version),
    };
    let pretty = content::is_pretty(&parts.headers, query);
    let representation = Representation { format, pretty, ..Representation::default() };
    let mut response = answer::object(200, &object(ctx, page, version), &representation)?;
    let headers = response.headers_mut();
    let media_type = format!("{};g=config.k8s.io;v={version};as={}", content::media_type(format), page.kind());
    if let Ok(media_type) = HeaderValue::from_str(&media_type) {
        headers.insert(CONTENT_TYPE, media_type);
    }
    if version == "v1alpha1" {
        let name = page.name();
        let warning =
            format!("299 - \"This version of the {name} endpoint is deprecated. Please use a newer version.\"");
        if let Ok(warning) = HeaderValue::from_str(&warning) {
            headers.insert(WARNING, warning);
        }
    }
    Ok(response)
}

fn form(page: Page, parts: &Parts) -> Result<Form, Status> {
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if accept.trim().is_empty() {
        return Ok(Form::Text);
    }
    for clause in clauses(accept) {
        let [group, version, kind] = ["g", "v", "as"].map(|name| clause.param(name));
        let version = match version {
            Some("v1alpha1") => Some("v1alpha1"),
            Some("v1beta1") => Some("v1beta1"),
            _ => None,
        };
        let is_known = group == Some("config.k8s.io") && kind == Some(page.kind());
        if let Some(version) = version.filter(|_| is_known)
            && let Some(format) = FORMATS.into_iter().find(|format| clause.fits(content::media_type(*format)))
        {
            return Ok(Form::Object(format, version));
        }
        if group.is_none() && clause.param("v").is_none() && kind.is_none() && clause.fits(TEXT) {
            return Ok(Form::Text);
        }
    }
    let accepted = [content::media_type(FORMATS[0]), content::media_type(FORMATS[1]), TEXT];
    Err(content::not_negotiated(&accepted))
}

fn about(ctx: &Context) -> About {
    let version = super::version();
    let part = |name: &str| version[name].as_str().unwrap_or("").to_string();
    // The kernel counts in hundredths of a second; whole seconds are enough for this.
    let started = process::started().and_then(|seconds| Timestamp::from_second(seconds as i64).ok());
    let started = started.unwrap_or(ctx.now);
    let first = |path: &String| path.split('/').nth(1).map(str::to_string);
    let segments: BTreeSet<String> = super::path_list(ctx).iter().filter_map(first).collect();
    let shown = segments.iter().filter(|s| !s.is_empty() && !NOT_FOR_DEBUGGING.contains(&s.as_str()));
    About {
        up_seconds: ctx.now.duration_since(started).as_secs().max(0),
        started,
        program: part("goVersion"),
        binary: format!("{}.{}", part("major"), part("minor")),
        emulation: format!("{}.{}", part("emulationMajor"), part("emulationMinor")),
        paths: shown.map(|segment| format!("/{segment}")).collect(),
    }
}

fn object(ctx: &Context, page: Page, version: &str) -> Object {
    let mut object = Object::default();
    object.set(&["kind"], page.kind());
    object.set(&["apiVersion"], format!("config.k8s.io/{version}"));
    object.set(&["metadata"], json!({"name": COMPONENT}));
    match page {
        Page::Statusz => {
            let about = about(ctx);
            object.set(&["startTime"], clock::time(about.started));
            object.set(&["uptimeSeconds"], about.up_seconds);
            object.set(&["goVersion"], about.program);
            object.set(&["binaryVersion"], about.binary);
            object.set(&["emulationVersion"], about.emulation);
            object.set(&["paths"], about.paths);
        }
        Page::Flagz => {
            let flags = flags(ctx).into_iter().map(|(name, value)| (name.to_string(), Value::from(value)));
            object.set(&["flags"], Value::Object(flags.collect()));
        }
    }
    object
}

fn flags(ctx: &Context) -> BTreeMap<&str, &str> {
    ctx.registry.config().flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn text(ctx: &Context, page: Page) -> String {
    let mut random = [0];
    ctx.registry.clock().random(&mut random);
    match page {
        Page::Statusz => zpages::statusz(COMPONENT, &about(ctx), random[0]),
        Page::Flagz => zpages::flagz(COMPONENT, &flags(ctx), random[0]),
    }
}
