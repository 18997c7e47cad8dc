//! `EventRateLimit`: no more events than a server, a namespace, a user or a source is allowed in a time.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use api::field::{ErrorList, FieldError, Path, aggregate};
use api::{Object, Status};
use futures::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::files::{Kind, PluginFiles};
use super::{Admission, Attributes, Operation};

const NAME: &str = "EventRateLimit";
/// What the plugin is told.
const CONFIGURATION: Kind = Kind { name: "Configuration", groups: &["eventratelimit.admission.k8s.io"], strict: false };
/// How many namespaces, users or sources are told apart unless the configuration says.
const KEYS_MAX: usize = 4096;
/// How long a key is at most that is kept as it is.
const KEY_BYTES_MAX: usize = 512;

/// The plugin.
pub(super) struct EventRateLimit(Vec<Limit>);

/// What one limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

impl About {
    const ALL: [(&str, Self); 4] = [
        ("Server", Self::Server),
        ("Namespace", Self::Namespace),
        ("User", Self::User),
        ("SourceAndObject", Self::SourceAndObject),
    ];

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, about)| *about == self).map_or("", |(name, _)| name)
    }

    /// What is counted together with an event.
    fn key(self, attributes: &Attributes<'_>, event: &Object) -> String {
        match self {
            Self::Server => String::new(),
            Self::Namespace => attributes.namespace.to_owned(),
            Self::User => attributes.ctx.user.username.clone(),
            Self::SourceAndObject => {
                let source = ["component", "host"].map(|field| event.str_at(&["source", field]));
                let fields = ["kind", "namespace", "name", "uid", "apiVersion"];
                let object = fields.map(|field| event.str_at(&["involvedObject", field]));
                source.concat() + &object.concat()
            }
        }
    }
}

struct Limit {
    about: About,
    rate: Rate,
    keys: usize,
    buckets: Mutex<Buckets>,
}

/// So many a second, and so many at once.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: f64,
    burst: f64,
}

/// The buckets of the keys that were seen last.
#[derive(Default)]
struct Buckets {
    by_key: HashMap<String, (Bucket, u64)>,
    /// The keys by when they were seen.
    order: BTreeMap<u64, String>,
    uses: u64,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Buckets {
    /// Takes one from the bucket of a key, if there is one in it. A key that was forgotten begins anew.
    fn take(&mut self, key: String, rate: Rate, keys: usize, now: Instant) -> bool {
        self.uses += 1;
        let key = short(key);
        let (mut bucket, seen) = match self.by_key.remove(&key) {
            Some((bucket, seen)) => (bucket, Some(seen)),
            None => (Bucket { tokens: rate.burst, at: now }, None),
        };
        if let Some(seen) = seen {
            self.order.remove(&seen);
        } else if self.by_key.len() >= keys
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * rate.per_second).min(rate.burst);
        bucket.at = now;
        let has_one = bucket.tokens >= 1.0;
        if has_one {
            bucket.tokens -= 1.0;
        }
        self.by_key.insert(key.clone(), (bucket, self.uses));
        self.order.insert(self.uses, key);
        has_one
    }
}

/// What is kept of a key: who writes an event says how long its parts are, and many are kept.
fn short(key: String) -> String {
    if key.len() <= KEY_BYTES_MAX { key } else { format!("{:x}", Sha256::digest(key)) }
}

impl EventRateLimit {
    /// As the files of a cluster tell it.
    ///
    /// # Errors
    /// All that is wrong with them; also that they tell it nothing.
    pub(super) fn new(files: &PluginFiles) -> Result<Self, String> {
        let object = files.decoded(NAME, &CONFIGURATION)?.unwrap_or_default();
        let limits = object.at(&["limits"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let path = Path::new("limits");
        let mut errors = ErrorList::new();
        if limits.is_empty() {
            errors.push(FieldError::invalid(
                &path,
                object.at(&["limits"]).cloned().unwrap_or_default(),
                "must not be empty",
            ));
        }
        let made = limits.iter().enumerate().map(|(at, limit)| Limit::new(limit, &path.index(at), &mut errors));
        let made: Vec<Option<Limit>> = made.collect();
        if !errors.is_empty() {
            return Err(aggregate(errors.iter().map(ToString::to_string)));
        }
        Ok(Self(made.into_iter().flatten().collect()))
    }
}

impl Limit {
    fn new(limit: &Value, path: &Path, errors: &mut ErrorList) -> Option<Self> {
        let kind = limit["type"].as_str().unwrap_or("");
        let about = About::ALL.into_iter().find(|(name, _)| *name == kind).map(|(_, about)| about);
        if about.is_none() {
            let names = About::ALL.map(|(name, _)| name);
            errors.push(FieldError::not_supported(&path.child("type"), kind, &names));
        }
        let mut positive = |field: &str| {
            let number = limit[field].as_i64().unwrap_or(0);
            if number <= 0 {
                errors.push(FieldError::invalid(&path.child(field), number, "must be positive"));
            }
            number as f64
        };
        let (burst, per_second) = (positive("burst"), positive("qps"));
        let size = limit["cacheSize"].as_i64().unwrap_or(0);
        if about != Some(About::Server) && size < 0 {
            errors.push(FieldError::invalid(&path.child("cacheSize"), size, "must not be negative"));
        }
        let keys = usize::try_from(size).ok().filter(|size| *size > 0).unwrap_or(KEYS_MAX);
        Some(Self { about: about?, rate: Rate { per_second, burst }, keys, buckets: Mutex::default() })
    }
}

impl Admission for EventRateLimit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        object: Option<&'a Object>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        let is_event = attributes.resource.group.is_empty() && attributes.resource.plural == "events";
        let is_write = matches!(attributes.operation, Operation::Create | Operation::Update);
        let counts = is_event && is_write && !attributes.ctx.options.dry_run;
        let Some(event) = object.filter(|_| counts) else { return ready(Ok(())).boxed() };
        let now = attributes.ctx.registry.clock().instant();
        let mut reached = Vec::new();
        for limit in &self.0 {
            let key = limit.about.key(attributes, event);
            if !limit.buckets.lock().take(key.clone(), limit.rate, limit.keys, now) {
                reached.push(format!("limit reached on type {} for key {key}", limit.about.name()));
            }
        }
        let answer = match reached.as_slice() {
            [] => Ok(()),
            _ => Err(Status::failure(429, "TooManyRequests", aggregate(reached))),
        };
        ready(answer).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_fills_with_time_and_few_are_kept() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let rate = Rate { per_second: 2.0, burst: 3.0 };
        let mut take =
            |key: &str, after: f64| buckets.take(key.into(), rate, 2, start + Duration::from_secs_f64(after));
        assert_eq!([take("a", 0.0), take("a", 0.0), take("a", 0.0), take("a", 0.0)], [true, true, true, false]);
        assert_eq!([take("a", 0.4), take("a", 0.5), take("a", 0.5)], [false, true, false]);
        assert!(take("b", 0.5));
        assert!(!take("a", 0.6), "it is still known");
        assert!(take("c", 0.6), "b, which was seen longest ago, makes room");
        assert!(!take("a", 0.6));
        assert!([take("b", 0.6), take("b", 0.6), take("b", 0.6)].iter().all(|taken| *taken), "it begins anew");
        let long = "x".repeat(1 << 20);
        assert!([0; 3].iter().all(|_| take(&long, 0.6)) && !take(&long, 0.6));
        assert!([0; 3].iter().all(|_| take("a", 1_000.0)) && !take("a", 1_000.0), "a burst is the most");
        assert!(buckets.by_key.keys().chain(buckets.order.values()).all(|key| key.len() <= KEY_BYTES_MAX));
    }

    #[test]
    fn limits_must_make_sense() {
        let new = |limits: &str| {
            let file = format!("apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\n{limits}");
            EventRateLimit::new(&PluginFiles::default().with(NAME, file)).err()
        };
        assert_eq!(new("limits: [{type: Server, qps: 1, burst: 1}]"), None);
        assert_eq!(new("").as_deref(), Some("limits: Invalid value: null: must not be empty"));
        let error = new("limits: [{type: Host, qps: 0, burst: 1, cacheSize: -1}]").unwrap();
        assert_eq!(
            error,
            "[limits[0].type: Unsupported value: \"Host\": supported values: \"Server\", \"Namespace\", \"User\", \
             \"SourceAndObject\", limits[0].qps: Invalid value: 0: must be positive, limits[0].cacheSize: Invalid value: \
             -1: must not be negative]"
        );
        assert!(EventRateLimit::new(&PluginFiles::default()).is_err(), "without a file it has no limit");
    }
}
