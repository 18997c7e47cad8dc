//! Secrets with tokens of service accounts that nobody asked for and nobody has used for long are marked, and some time later
//! deleted (`LegacySATokenCleaner` in `pkg/controller/serviceaccount`). All are looked at once a day, as there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::legacy_tokens::{INVALID_SINCE, LAST_USED, TRACKING, day, parse};
use api::pods::secret_names;
use client::{Action, Controller, Informer, WorkQueue};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use crate::context::Context;
use crate::error::{Result, is_conflict, is_not_found};
use crate::tokens::{ACCOUNT_NAME, ACCOUNT_UID, TYPE, secrets_with_tokens};

const WORKERS: usize = 1;
/// How often all are looked at (`DefaultCleanerSyncInterval`).
const INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long a token is not used before its Secret is marked, and how long it is marked, if nothing else is said
/// (`--legacy-service-account-token-clean-up-period`).
pub const PERIOD: Duration = Duration::from_secs(365 * 24 * 3600);

/// The controller, and the objects that it looks at.
struct Cleaner {
    context: Context,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
    pods: Informer<Pod>,
}

/// Runs the controller until the context is cancelled.
pub(crate) async fn run(context: Context) {
    let queue: WorkQueue<()> = WorkQueue::new(context.clock.clone());
    let secrets = context.informers.selected::<Secret>(secrets_with_tokens());
    let accounts = context.informers.of::<ServiceAccount>();
    let pods = context.informers.of::<Pod>();
    secrets.wait_synced().await;
    accounts.wait_synced().await;
    pods.wait_synced().await;
    let token = context.token.clone();
    let cleaner = Arc::new(Cleaner { context, secrets, accounts, pods });
    queue.add(());
    Controller::new("legacy-service-account-token-cleaner", queue, WORKERS)
        .run(token, move |()| {
            let cleaner = cleaner.clone();
            async move {
                cleaner.look().await?;
                Ok::<_, crate::Error>(Action::RequeueAfter(INTERVAL))
            }
        })
        .await;
}

impl Cleaner {
    /// Looks at all Secrets. What one write fails with keeps no other from being made: it is tried again the next day.
    async fn look(&self) -> Result<()> {
        let secrets = self.secrets.list();
        if secrets.is_empty() {
            return Ok(());
        }
        let (namespace, name, since) = TRACKING;
        let map = self.context.api::<ConfigMap>(namespace).get_opt(name).await?;
        let since = map.as_ref().and_then(|map| parse(map.data.as_ref()?.get(since)?));
        let (now, period) = (self.context.clock.now(), self.context.config.legacy_token_period);
        let Some(limits) = Limits::at(now, since, period) else { return Ok(()) };
        let mut mounted = HashMap::new();
        for secret in secrets.iter().filter(|secret| limits.is_unused(secret)) {
            let namespace = secret.namespace().unwrap_or_default();
            let account = secret.annotations().get(ACCOUNT_NAME);
            let account = account.and_then(|name| self.accounts.get(&namespace, name));
            if !account.is_some_and(|account| names(&account, secret)) {
                continue;
            }
            let mounted = mounted.entry(namespace.clone()).or_insert_with(|| self.mounted(&namespace));
            if mounted.contains(&secret.name_any()) {
                continue;
            }
            let name = secret.name_any();
            match self.step(secret, &limits).await {
                Ok(()) => {}
                // It has changed meanwhile: it is looked at again the next day.
                Err(error) if is_conflict(&error) || is_not_found(&error) => {}
                Err(error) => tracing::warn!(%error, namespace, name, "a token that nobody uses was not cleaned up"),
            }
        }
        Ok(())
    }

    /// The Secrets that the pods of a namespace name.
    fn mounted(&self, namespace: &str) -> HashSet<String> {
        let specs = self.pods.list_in(namespace);
        let specs = specs.iter().filter_map(|pod| serde_json::to_value(pod.spec.as_ref()?).ok());
        specs.flat_map(|spec| secret_names(&spec).map(String::from).collect::<Vec<_>>()).collect()
    }

    async fn step(&self, secret: &Secret, limits: &Limits) -> Result<(), kube::Error> {
        let (name, namespace) = (secret.name_any(), secret.namespace().unwrap_or_default());
        let api = self.context.api::<Secret>(&namespace);
        match limits.step(secret) {
            Step::Wait => {}
            Step::Mark => {
                tracing::info!(namespace, name, "a token that was made without being asked for is marked as invalid");
                let patch =
                    json!({"metadata": {"uid": secret.uid(), "labels": {INVALID_SINCE: limits.today.to_string()}}});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
            Step::Delete => {
                tracing::info!(namespace, name, "a token that nobody uses is deleted");
                let preconditions = Preconditions { uid: None, resource_version: secret.resource_version() };
                let only = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                api.delete(&name, &only).await?;
            }
        }
        Ok(())
    }
}

/// The next step about a Secret that nobody uses.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Mark,
    Delete,
    Wait,
}

/// The times that count as long ago.
struct Limits {
    today: Date,
    /// Secrets that were made then or later are kept,
    created: Timestamp,
    /// and those that were used or marked then or later.
    used: Date,
}

impl Limits {
    /// None if uses have not been written down for long enough, or no time is given.
    fn at(now: Timestamp, since: Option<Date>, period: Duration) -> Option<Self> {
        let period = SignedDuration::try_from(period).ok().filter(|period| !period.is_zero())?;
        let ago = now.checked_sub(period).ok()?;
        // The first day counts as a whole only when it is over.
        let first = since?.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        (first <= ago).then(|| Self { today: day(now), created: ago, used: day(ago) })
    }

    fn is_unused(&self, secret: &Secret) -> bool {
        let created = secret.metadata.creation_timestamp.as_ref();
        let is_old = created.is_some_and(|created| created.0 < self.created);
        let is_used =
            secret.labels().get(LAST_USED).is_some_and(|label| parse(label).is_none_or(|day| day >= self.used));
        secret.type_.as_deref() == Some(TYPE) && is_old && secret.metadata.deletion_timestamp.is_none() && !is_used
    }

    fn step(&self, secret: &Secret) -> Step {
        match secret.labels().get(INVALID_SINCE).and_then(|label| parse(label)) {
            None => Step::Mark,
            Some(day) if day < self.used => Step::Delete,
            Some(_) => Step::Wait,
        }
    }
}

/// Whether the account is the one whose token the Secret holds, and names it: then the token was made without being asked for.
fn names(account: &ServiceAccount, secret: &Secret) -> bool {
    let uid = secret.annotations().get(ACCOUNT_UID).filter(|uid| !uid.is_empty());
    let is_it = uid.is_none() || uid == account.metadata.uid.as_ref();
    is_it && account.secrets.iter().flatten().any(|named| named.name.as_deref() == Some(&secret.name_any()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn limits() -> Limits {
        Limits::at(now(), parse("2026-01-01"), DAY * 10).unwrap()
    }

    fn secret(created: &str, labels: Value) -> Secret {
        let secret = json!({"type": TYPE, "metadata": {"name": "s", "namespace": "a", "creationTimestamp": created,
            "labels": labels, "annotations": {ACCOUNT_NAME: "sa", ACCOUNT_UID: "1"}}});
        serde_json::from_value(secret).unwrap()
    }

    #[test]
    fn nothing_happens_before_uses_were_written_down_for_long() {
        let check = |since: &str, period: Duration, expected: bool| {
            assert_eq!(Limits::at(now(), parse(since), period).is_some(), expected, "{since}");
        };
        check("2026-11-11", DAY * 10, true);
        check("2026-11-12", DAY * 10, false);
        check("2026-11-11", DAY * 10 + DAY / 2 + Duration::from_secs(1), false);
        check("soon", DAY, false);
        check("2026-01-01", Duration::ZERO, false);
        check("2026-01-01", Duration::MAX, false);
    }

    #[test]
    fn secrets_that_are_new_or_used_are_kept() {
        let check = |created: &str, labels: Value, expected: bool| {
            assert_eq!(limits().is_unused(&secret(created, labels.clone())), expected, "{created} {labels}");
        };
        check("2026-11-12T11:59:59Z", json!({}), true);
        check("2026-11-12T12:00:00Z", json!({}), false);
        check("2026-01-01T00:00:00Z", json!({LAST_USED: "2026-11-11"}), true);
        check("2026-01-01T00:00:00Z", json!({LAST_USED: "2026-11-12"}), false);
        check("2026-01-01T00:00:00Z", json!({LAST_USED: "never"}), false);
        let mut other = secret("2026-01-01T00:00:00Z", json!({}));
        other.type_ = Some("Opaque".into());
        assert!(!limits().is_unused(&other));
    }

    #[test]
    fn marked_first_and_deleted_later() {
        let check = |labels: Value, expected: Step| {
            assert_eq!(limits().step(&secret("2026-01-01T00:00:00Z", labels.clone())), expected, "{labels}");
        };
        check(json!({}), Step::Mark);
        check(json!({INVALID_SINCE: "yes"}), Step::Mark);
        check(json!({INVALID_SINCE: "2026-11-12"}), Step::Wait);
        check(json!({INVALID_SINCE: "2026-11-11"}), Step::Delete);
    }

    #[test]
    fn only_tokens_that_nobody_asked_for() {
        let check = |uid: &str, named: Value, expected: bool| {
            let account = json!({"metadata": {"name": "sa", "namespace": "a", "uid": uid}, "secrets": named});
            let account: ServiceAccount = serde_json::from_value(account).unwrap();
            assert_eq!(names(&account, &secret("2026-01-01T00:00:00Z", json!({}))), expected, "{uid}");
        };
        check("1", json!([{"name": "x"}, {"name": "s"}]), true);
        check("1", json!([{"name": "x"}]), false);
        check("2", json!([{"name": "s"}]), false);
    }
}
