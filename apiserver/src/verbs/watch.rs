//! Watch.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use api::Status;
use api::status::StatusDetails;
use axum::body::Body;
use bytes::Bytes;
use futures::Stream;
use futures::stream::{once, unfold};
use http::Response;
use store::StoreError;

use super::Call;
use crate::content::{Format, STREAMS, Transform, not_negotiated};
use crate::list::{not_older_than, parse_version, selected};
use crate::options::ListOptions;
use crate::registry::{create::plain_failure, store_status};
use crate::request::upgrade;
use crate::selection::Selection;
use crate::watch::frame::Framer;
use crate::watch::stream::Plan;
use crate::watch::{Watching, websocket};
use crate::{answer, transform};

/// How long a watch lasts at least if the client does not say (`--min-request-timeout`); up to twice that.
const TIMEOUT_MIN: Duration = Duration::from_secs(1_800);

/// Answers with a stream of events.
///
/// # Errors
/// For options and selectors that make no sense. What goes wrong later is the stream's last event.
pub async fn watch(call: Call) -> Result<Response<Body>, Status> {
    let options = ListOptions::new(&call.query, true)?;
    if call.representation.format == Format::Yaml {
        return Err(not_negotiated(&STREAMS));
    }
    if let Transform::Table(_) = call.representation.transform {
        transform::include(&call.query)?;
    }
    let ctx = call.ctx.clone();
    let mut selection = Selection::new(&call.resource, call.storage(), &options)?;
    // The deprecated path of a watch of one object.
    if ctx.info.is_watch_path() && !ctx.info.name.is_empty() {
        selection = selection.named(&ctx.info.name);
    }
    let requested = parse_version(&options.resource_version).map_err(plain_failure)?.unwrap_or(0);
    let prefix = call.resource.prefix(&ctx.info.namespace);
    let framer = Framer::new(ctx.clone(), call.resource.clone(), call.representation, call.query.clone());
    let labels = [&*call.resource.group, &*call.resource.plural];
    let with_state = options.send_initial_events.unwrap_or(requested == 0);
    let (events, initial) = if with_state {
        let snapshot = match not_older_than(&ctx.registry, labels, requested).await {
            // The stream has begun when the state does not come.
            Err(status) if options.send_initial_events == Some(true) => {
                return send(call, one(framer.error(&status)));
            }
            other => other?,
        };
        let entries = selected(&ctx.registry, &snapshot, &call.resource, &prefix, &selection).await;
        let entries = entries.map_err(|status| {
            tracing::warn!(resource = call.resource.qualified_name(), why = status.message, "a watch cannot begin");
            initializing()
        })?;
        (ctx.registry.store().watch_prefix(snapshot.revision(), &prefix), entries)
    } else {
        let after = if requested == 0 { ctx.registry.snapshot().revision() } else { requested };
        (ctx.registry.store().watch_prefix(after, &prefix), Vec::new())
    };
    let events = match events {
        Ok(events) => events,
        Err(StoreError::Compacted { requested, oldest }) => {
            let status = Status::expired(format!("too old resource version: {requested} ({oldest})"));
            return send(call, one(framer.error(&status)));
        }
        Err(error) => return Err(store_status(&error)),
    };
    ctx.registry.metrics().init_events.with(labels, |counter| counter.add(initial.len() as u64));
    let plan = Plan {
        prefix,
        selection,
        initial,
        tells_initial_end: options.allow_watch_bookmarks
            && options.send_initial_events.unwrap_or(options.resource_version.is_empty()),
        bookmarks: options.allow_watch_bookmarks,
        time_max: timeout(&call, &options),
        place: ctx.take_place(),
        watcher: ctx.registry.flow_control().and_then(|c| c.loads().watch(&ctx.info, &options.field_selector)),
    };
    let watching = Watching::new(events, framer, plan, ctx.registry.state().stopping());
    let stream = unfold(watching, |mut watching| async move {
        let bytes = watching.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), watching))
    });
    send(call, stream)
}

/// What a watch is told whose state cannot be had in its version: it may come again, and a list says why (`Cacher.Watch`).
pub(crate) fn initializing() -> Status {
    let details = StatusDetails { retry_after_seconds: 1, ..StatusDetails::default() };
    Status::failure(429, "TooManyRequests", "storage is (re)initializing").with_details(details)
}

fn one(frame: Bytes) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    once(ready(Ok(frame)))
}

/// Sends frames as the body of the answer, or over a WebSocket if the client wants one.
fn send(
    call: Call,
    frames: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
) -> Result<Response<Body>, Status> {
    let format = call.representation.format;
    if upgrade::is_websocket(&call.parts.headers) {
        return websocket::respond(call.parts, format == Format::Json, frames);
    }
    let media_type = match format {
        Format::Protobuf => STREAMS[1],
        Format::Json | Format::Yaml => "application/json",
    };
    let mut response = answer::bytes(200, media_type, Bytes::new());
    *response.body_mut() = Body::from_stream(frames);
    Ok(response)
}

/// As long as the client asks, or else a random time, so that watches do not all end together.
fn timeout(call: &Call, options: &ListOptions) -> Duration {
    if let Some(seconds) = options.timeout_seconds.filter(|s| *s != 0) {
        // A time that is over before it began ends the watch at once.
        return Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    }
    let mut random = [0];
    call.ctx.registry.clock().random(&mut random);
    TIMEOUT_MIN + TIMEOUT_MIN * u32::from(random[0]) / 255
}
