//! Fetches the OpenAPI documents of servers of aggregated APIs (the `AggregationController`s of kube-aggregator's
//! `controllers/openapi` and `openapiv3`). What was fetched stays when the server goes, and goes with its APIService.

use std::sync::Arc;
use std::time::Duration;

use api::UserInfo;
use http::StatusCode;
use http::header::ETAG;
use metrics::{Counter, Gauge};
use serde::Deserialize;
use sha2::{Digest, Sha512};

use super::rounds::{self, Outcome, Pace};
use crate::aggregator::description::{Description, Tagged, part};
use crate::aggregator::{Asked, Fetched, fetch};
use crate::group_versions::{KEYS, Remote};
use crate::registry::News;
use crate::{ApiServer, Registry};

/// How many are asked at once.
const WORKERS: usize = 2;
/// How often each is asked, and how long after a failure (`successfulUpdateDelay`, `failedUpdateMaxExpDelay`).
const REFRESH: Duration = Duration::from_secs(60);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(3600);
/// How long an answer may take (`specDownloadTimeout`).
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a document may be.
const BYTES_MAX: usize = 8 << 20;
/// How long all that are kept may be.
const ALL_BYTES_MAX: usize = 128 << 20;
/// How long the name of a document may be.
const HASH_LENGTH_MAX: usize = 256;

/// The index of the documents of version 3.
#[derive(Deserialize, Default)]
struct Index {
    #[serde(default)]
    paths: std::collections::HashMap<String, Place>,
}

#[derive(Deserialize)]
struct Place {
    #[serde(rename = "serverRelativeURL", default)]
    url: String,
}

/// Follows APIServices until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    let pace = Pace { workers: WORKERS, delay: REFRESH, delay_max: RETRY_DELAY_MAX };
    let names = |_, news| match news {
        News::State(_) => {
            let table = registry.group_versions();
            table.remotes().iter().map(|remote| remote.api_service.clone()).collect()
        }
        News::Events(happened) => {
            happened.iter().filter_map(|event| event.key().rsplit('/').next()).map(str::to_string).collect()
        }
    };
    rounds::run(registry, vec![registry.follow(KEYS)], pace, || true, names, |name| ask(registry, name)).await;
}

async fn ask(registry: &Registry, name: String) -> Outcome {
    let remote = registry.group_versions().named(&name).and_then(|found| found.remote.clone());
    let before = registry.aggregator().described().get(&name).cloned();
    let Some(remote) = remote else {
        if before.is_some() {
            registry.aggregator().set_described(&name, None);
            registry.metrics().aggregation.regenerations.with([&name, "delete"], Counter::add_one);
        }
        return Outcome::Done(None);
    };
    // When it is said to answer, that is news.
    if !remote.available {
        return Outcome::Done(None);
    }
    let known = before.clone().filter(|before| before.service == remote.service);
    let started = registry.clock().instant();
    let found = describe(registry, &remote, known.as_deref()).await;
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::info!(name, error, "how an aggregated API looks is not known");
            return Outcome::Failed;
        }
    };
    let Some(found) = found else { return Outcome::Done(Some(REFRESH)) };
    let described = registry.aggregator().described();
    let others: usize = described.iter().filter(|(other, _)| **other != name).map(|(_, known)| known.size()).sum();
    if others + found.size() > ALL_BYTES_MAX {
        tracing::warn!(
            name,
            "more than {ALL_BYTES_MAX} bytes of OpenAPI documents of aggregated APIs: this is left out"
        );
        return Outcome::Failed;
    }
    let reason = if before.is_some() { "update" } else { "add" };
    registry.aggregator().set_described(&name, Some(Arc::new(found)));
    let took = registry.clock().instant().saturating_duration_since(started).as_secs_f64();
    let metrics = &registry.metrics().aggregation;
    metrics.regenerations.with([&name, reason], Counter::add_one);
    metrics.regeneration_durations.with([reason], |gauge: &Gauge| gauge.set(took));
    Outcome::Done(Some(REFRESH))
}

/// How a service looks now; none if that is as it was.
async fn describe(
    registry: &Registry,
    remote: &Remote,
    known: Option<&Description>,
) -> Result<Option<Description>, String> {
    let v2 = version_2(registry, remote, known.and_then(|known| known.v2.as_ref())).await?;
    let v3 = version_3(registry, remote, known.and_then(|known| known.v3.as_ref())).await?;
    let is_same =
        |new: &Option<Tagged>, old: Option<&Tagged>| new.as_ref().map(|new| &new.tag) == old.map(|old| &old.tag);
    let is_known = known.is_some_and(|known| is_same(&v2, known.v2.as_ref()) && is_same(&v3, known.v3.as_ref()));
    Ok((!is_known).then(|| Description { service: remote.service.clone(), v2, v3 }))
}

async fn version_2(registry: &Registry, remote: &Remote, known: Option<&Tagged>) -> Result<Option<Tagged>, String> {
    let tag = known.map(|known| known.tag.as_str()).filter(|tag| tag.contains('"'));
    let fetched = get(registry, remote, "/openapi/v2", "", tag).await?;
    match fetched.code {
        StatusCode::NOT_MODIFIED if known.is_some() => return Ok(known.cloned()),
        StatusCode::NOT_FOUND => return Ok(None),
        StatusCode::OK => {}
        code => return Err(format!("/openapi/v2: it answers with {}", code.as_u16())),
    }
    // A tag of the server has quotes, and a hash made here has none.
    let own = fetched.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| tag.len() <= HASH_LENGTH_MAX);
    let tag = own.map_or_else(|| hash(&fetched.body), str::to_string);
    if let Some(known) = known.filter(|known| known.tag == tag) {
        return Ok(Some(known.clone()));
    }
    let prefix = format!("{}/", remote.path());
    let made = tokio::task::spawn_blocking(move || part(&fetched.body, &prefix)).await;
    let bytes = made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(Some(Tagged { bytes: bytes.into(), tag }))
}

async fn version_3(registry: &Registry, remote: &Remote, known: Option<&Tagged>) -> Result<Option<Tagged>, String> {
    let fetched = get(registry, remote, "/openapi/v3", "", None).await?;
    match fetched.code {
        StatusCode::NOT_FOUND => return Ok(None),
        StatusCode::OK => {}
        code => return Err(format!("/openapi/v3: it answers with {}", code.as_u16())),
    }
    let index: Index = serde_json::from_slice(&fetched.body).map_err(|error| format!("/openapi/v3: {error}"))?;
    let own = remote.path();
    let Some(place) = index.paths.get(own.trim_start_matches('/')) else { return Ok(None) };
    let query = place.url.split_once('?').map_or("", |(_, query)| query);
    let named = query.strip_prefix("hash=").filter(|hash| {
        hash.len() <= HASH_LENGTH_MAX && !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    if let Some(known) = known.filter(|known| named == Some(&*known.tag)) {
        return Ok(Some(known.clone()));
    }
    let fetched =
        get(registry, remote, &format!("/openapi/v3{own}"), if named.is_some() { query } else { "" }, None).await?;
    if fetched.code != StatusCode::OK {
        return Err(format!("/openapi/v3{own}: it answers with {}", fetched.code.as_u16()));
    }
    // It is told of, so that it must be one.
    serde_json::from_slice::<serde::de::IgnoredAny>(&fetched.body)
        .map_err(|error| format!("/openapi/v3{own}: {error}"))?;
    let tag = named.map_or_else(|| hash(&fetched.body), str::to_string);
    Ok(Some(Tagged { bytes: fetched.body, tag }))
}

fn hash(bytes: &[u8]) -> String {
    Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

async fn get(
    registry: &Registry,
    remote: &Remote,
    path: &str,
    query: &str,
    known: Option<&str>,
) -> Result<Fetched, String> {
    // Nobody in particular, as what it says is told to everybody.
    let user = UserInfo { username: "system:aggregator".into(), ..UserInfo::default() };
    let accept = "application/json";
    let asked = Asked { path, query, accept, known, user, time: TIMEOUT, bytes_max: Some(BYTES_MAX) };
    fetch(registry, remote, asked).await.map(|(fetched, _)| fetched).map_err(|error| error.to_string())
}
