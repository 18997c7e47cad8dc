//! Lists: which state, which part of it, and its bytes.

pub mod body;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use api::Status;
use api::catalogue::Resource;
use api::go::strconv::parse_uint;
use api::status::{StatusCause, StatusDetails};
use store::{Entry, Revision, Snapshot, StoreError};

use crate::options::ListOptions;
use crate::selection::Selection;
use crate::{Registry, conversion, list::token::Token};

/// How long a read waits for a revision that has not happened yet (`blockTimeout` of the watch cache).
const FUTURE_WAIT: Duration = Duration::from_secs(3);

/// How many objects somebody is asked to convert at a time.
const ASKED_MAX: usize = 500;

/// One page of a list: entries, and what the list's metadata says.
pub struct Page {
    /// The entries, in order of key.
    pub entries: Vec<Entry>,
    /// The revision that the list is as of.
    pub revision: Revision,
    /// Where to go on; empty at the end.
    pub continue_token: String,
    /// How many are left, if that is known.
    pub remaining: Option<u64>,
}

/// Reads one page.
///
/// # Errors
/// 400 for bad versions and tokens, 410 for states that are gone, 504 for states that do not come.
pub async fn page(
    registry: &Registry,
    resource: &Arc<Resource>,
    namespace: &str,
    selection: &Selection,
    options: &ListOptions,
) -> Result<Page, Status> {
    let (prefix, labels) = (resource.prefix(namespace), [&*resource.group, &*resource.plural]);
    let (page, seen) = if options.continue_token.is_empty() {
        let snapshot = state(registry, labels, &prefix, options).await?;
        // Where there can be only one nothing is left for another page (`MatchesSingle` in the generic store).
        let home = if namespace.is_empty() { selection.namespace().unwrap_or_default() } else { namespace };
        match selection.name().filter(|_| !resource.namespaced || !home.is_empty()) {
            Some(name) => {
                let prefix = resource.prefix(home) + name;
                collect(registry, &snapshot, resource, &prefix, None, selection, 0).await?
            }
            None => collect(registry, &snapshot, resource, &prefix, None, selection, limit(options)).await?,
        }
    } else {
        continued(registry, resource, &prefix, selection, options).await?
    };
    let newest = options.continue_token.is_empty() && options.resource_version.is_empty();
    registry.metrics().cache.listed(labels, seen, page.entries.len() as u64, newest);
    Ok(page)
}

/// The limit that counts: what may be as old as it likes is answered as a whole, as from the reference's cache.
fn limit(options: &ListOptions) -> i64 {
    if options.resource_version == "0" { 0 } else { options.limit }
}

/// The state that the options ask for.
async fn state(
    registry: &Registry,
    labels: [&str; 2],
    prefix: &str,
    options: &ListOptions,
) -> Result<Snapshot, Status> {
    let requested = parse_version(&options.resource_version)
        .map_err(|error| Status::bad_request(format!("invalid resource version: {error}")))?;
    let Some(requested) = requested.filter(|r| *r > 0) else { return Ok(registry.snapshot()) };
    // A limit with a version and no match means exactly that version, as before there was a match.
    let exact =
        options.resource_version_match == "Exact" || (options.resource_version_match.is_empty() && options.limit > 0);
    if !exact {
        return not_older_than(registry, labels, requested).await;
    }
    match registry.snapshot_at(requested, prefix) {
        Ok(snapshot) => Ok(snapshot),
        Err(StoreError::FutureRevision { newest, .. }) => Err(too_large(requested, newest)),
        Err(StoreError::Compacted { .. }) => {
            Err(Status::expired("The resourceVersion for the provided list is too old."))
        }
        Err(error) => Err(crate::registry::store_status(&error)),
    }
}

/// The newest state, once it is at least at `requested`, for a read of a group and resource.
///
/// # Errors
/// 504 if that does not happen soon.
pub async fn not_older_than(registry: &Registry, labels: [&str; 2], requested: Revision) -> Result<Snapshot, Status> {
    let snapshot = registry.snapshot();
    if snapshot.revision() >= requested {
        return Ok(snapshot);
    }
    let mut watch = registry.store().watch(snapshot.revision()).map_err(|e| crate::registry::store_status(&e))?;
    let wait = async {
        while watch.revision() < requested {
            if watch.next().await.is_err() {
                return;
            }
        }
    };
    let started = registry.clock().instant();
    let _ = tokio::time::timeout(FUTURE_WAIT, wait).await;
    registry.metrics().cache.waited(labels, registry.clock().instant().saturating_duration_since(started));
    let snapshot = registry.snapshot();
    if snapshot.revision() >= requested { Ok(snapshot) } else { Err(too_large(requested, snapshot.revision())) }
}

/// `storage.NewTooLargeResourceVersionError`
pub fn too_large(requested: Revision, current: Revision) -> Status {
    let cause = StatusCause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        ..Default::default()
    };
    let details = StatusDetails { causes: vec![cause], retry_after_seconds: 1, ..Default::default() };
    let message = format!("Timeout: Too large resource version: {requested}, current: {current}");
    Status::failure(504, "Timeout", message).with_details(details)
}

/// A resource version as a client writes it; none if it is empty.
///
/// # Errors
/// A text for what is no version.
pub fn parse_version(text: &str) -> Result<Option<Revision>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    parse_uint(text).map(Some).map_err(|why| format!("resourceVersion: Invalid value: {text:?}: {why}"))
}

async fn continued(
    registry: &Registry,
    resource: &Resource,
    prefix: &str,
    selection: &Selection,
    options: &ListOptions,
) -> Result<(Page, u64), Status> {
    let token = Token::decode(&options.continue_token)
        .map_err(|error| Status::bad_request(format!("invalid continue token: {error}")))?;
    if !options.resource_version.is_empty() && options.resource_version != "0" {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    let start = format!("{prefix}{}", token.start);
    let snapshot = match token.revision {
        None => registry.snapshot(),
        Some(revision) => match registry.snapshot_at(revision, prefix) {
            Ok(snapshot) => snapshot,
            Err(StoreError::Compacted { .. }) => return Err(stale_token(&token)),
            Err(StoreError::FutureRevision { newest, .. }) => return Err(too_large(revision, newest)),
            Err(error) => return Err(crate::registry::store_status(&error)),
        },
    };
    collect(registry, &snapshot, resource, prefix, Some(&start), selection, limit(options)).await
}

/// 410 for a token whose state is gone, with a token that goes on from there in the newest state.
fn stale_token(token: &Token) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let fresh = Token { revision: None, start: token.start.clone() };
    status.metadata.insert("continue".into(), fresh.encode().into());
    status
}

/// A page, and how many entries were looked at for it.
async fn collect(
    registry: &Registry,
    snapshot: &Snapshot,
    resource: &Resource,
    prefix: &str,
    start: Option<&str>,
    selection: &Selection,
    limit: i64,
) -> Result<(Page, u64), Status> {
    let limit = usize::try_from(limit).unwrap_or(0);
    let mut page =
        Page { entries: Vec::new(), revision: snapshot.revision(), continue_token: String::new(), remaining: None };
    let mut rest = snapshot.list(prefix, start);
    let mut seen = 0;
    let mut left = 0;
    if !conversion::asks(resource) {
        for entry in rest.by_ref() {
            seen += 1;
            if limit > 0 && page.entries.len() == limit {
                left = 1;
                break;
            }
            let entry = conversion::entry_here(resource, entry)?;
            if selection.matches(&entry) {
                page.entries.push(entry.into_owned());
            }
        }
    } else {
        // As many at a time as the page may have room for, and one to tell whether something is left.
        let batch = if limit > 0 { limit.saturating_add(1).min(ASKED_MAX) } else { ASKED_MAX };
        while left == 0 {
            let entries: Vec<Entry> = rest.by_ref().take(batch).cloned().collect();
            if entries.is_empty() {
                break;
            }
            let mut entries = registry.entries(resource, entries).await?.into_iter();
            while let Some(entry) = entries.next() {
                seen += 1;
                if limit > 0 && page.entries.len() == limit {
                    left = 1 + entries.len() as u64;
                    break;
                }
                if selection.matches(&entry) {
                    page.entries.push(entry);
                }
            }
        }
    }
    if left > 0
        && let Some(last) = page.entries.last()
    {
        let after = format!("{}\0", &last.key()[prefix.len()..]);
        page.continue_token = Token { revision: Some(snapshot.revision()), start: after }.encode();
        page.remaining = selection.is_everything().then(|| left + rest.count() as u64);
    }
    Ok((page, seen))
}

/// All selected entries below a prefix.
///
/// # Errors
/// If one of them cannot be had in the version that is asked for.
pub async fn selected(
    registry: &Registry,
    snapshot: &Snapshot,
    resource: &Resource,
    prefix: &str,
    selection: &Selection,
) -> Result<Vec<Entry>, Status> {
    let (page, _) = collect(registry, snapshot, resource, prefix, None, selection, 0).await?;
    Ok(page.entries)
}
