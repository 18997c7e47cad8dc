//! Options of a request: what its query and, for deletes, its body say; checked as the reference checks them.

use api::apply::manager_name;
use api::field::{ErrorList, FieldError, Path};
use api::validation::metadata::validate_manager;
use api::{Object, Status};
use serde_json::{Map, Value};

use crate::context::{FieldValidation, WriteOptions};
use crate::request::Query;

/// `metav1.ListOptions`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ListOptions {
    /// As the client wrote it.
    pub label_selector: String,
    /// As the client wrote it.
    pub field_selector: String,
    /// Watch instead of list.
    pub watch: bool,
    /// Bookmarks are welcome.
    pub allow_watch_bookmarks: bool,
    /// Start a watch with the state, and say where it ends.
    pub send_initial_events: Option<bool>,
    /// Empty for the newest.
    pub resource_version: String,
    /// `Exact` or `NotOlderThan`, or empty.
    pub resource_version_match: String,
    /// How long a watch may last.
    pub timeout_seconds: Option<i64>,
    /// How many objects at once; zero for all.
    pub limit: i64,
    /// Where to go on.
    pub continue_token: String,
}

impl ListOptions {
    /// Reads and checks the query.
    ///
    /// # Errors
    /// 400 for what is no number, 422 for options that do not go together.
    pub fn new(query: &Query, is_watch: bool) -> Result<Self, Status> {
        let integer = |name| query.integer(name).map_err(Status::bad_request);
        let options = Self {
            label_selector: query.text("labelSelector").to_string(),
            field_selector: query.text("fieldSelector").to_string(),
            watch: is_watch,
            allow_watch_bookmarks: query.flag("allowWatchBookmarks"),
            send_initial_events: query.optional_flag("sendInitialEvents"),
            resource_version: query.text("resourceVersion").to_string(),
            resource_version_match: query.text("resourceVersionMatch").to_string(),
            timeout_seconds: integer("timeoutSeconds")?,
            limit: integer("limit")?.unwrap_or(0).max(0),
            continue_token: query.text("continue").to_string(),
        };
        let errors = options.validate();
        if errors.is_empty() { Ok(options) } else { Err(invalid("ListOptions", &errors)) }
    }

    /// `ValidateListOptions` in apimachinery's `apis/meta/internalversion/validation`.
    fn validate(&self) -> ErrorList {
        if self.watch {
            return self.validate_watch();
        }
        let path = Path::new("resourceVersionMatch");
        let mut errors = ErrorList::new();
        if !self.resource_version_match.is_empty() {
            if self.resource_version.is_empty() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if !self.continue_token.is_empty() {
                errors
                    .push(FieldError::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if !matches!(self.resource_version_match.as_str(), "Exact" | "NotOlderThan") {
                let supported = ["Exact", "NotOlderThan", ""];
                errors.push(FieldError::not_supported(&path, self.resource_version_match.clone(), &supported));
            }
            if self.resource_version_match == "Exact" && self.resource_version == "0" {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(&path, why));
            }
        }
        if self.send_initial_events.is_some() {
            let why = "sendInitialEvents is forbidden for list";
            errors.push(FieldError::forbidden(&Path::new("sendInitialEvents"), why));
        }
        errors
    }

    fn validate_watch(&self) -> ErrorList {
        let path = Path::new("resourceVersionMatch");
        let matching = self.resource_version_match.as_str();
        let mut errors = ErrorList::new();
        if self.send_initial_events.is_some() && matching != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(&path, why));
        }
        if !matching.is_empty() {
            if self.send_initial_events.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if matching != "NotOlderThan" {
                errors.push(FieldError::not_supported(&path, matching, &["NotOlderThan"]));
            }
        }
        if !self.continue_token.is_empty() {
            errors.push(FieldError::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
        errors
    }
}

/// `metav1.DeleteOptions`
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeleteOptions {
    /// Seconds until the object is gone, if its kind knows graceful deletion.
    pub grace_period_seconds: Option<i64>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resource version that the object must have.
    pub resource_version: Option<String>,
    /// The old way to say `Orphan` or `Background`.
    pub orphan_dependents: Option<bool>,
    /// `Orphan`, `Background` or `Foreground`.
    pub propagation_policy: Option<String>,
    /// Everything but the commit happens.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads and checks the body, or if there is none the query.
    ///
    /// # Errors
    /// 400 for what makes no sense, 422 for options that do not go together.
    pub fn new(body: Option<&Object>, query: &Query) -> Result<Self, Status> {
        let (options, dry_run) = match body {
            Some(object) => Self::of_object(object),
            None => Self::of_query(query)?,
        };
        let mut errors = ErrorList::new();
        let policy = options.propagation_policy.as_deref();
        let path = Path::new("propagationPolicy");
        if let (Some(policy), Some(_)) = (policy, options.orphan_dependents) {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid(&path, policy, why));
        }
        if let Some(policy) = policy.filter(|p| !matches!(*p, "Foreground" | "Background" | "Orphan")) {
            let mut error = FieldError::not_supported(&path, policy, &[]);
            error.detail = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"".into();
            errors.push(error);
        }
        errors.extend(check_dry_run(&dry_run));
        if errors.is_empty() { Ok(options) } else { Err(invalid("DeleteOptions", &errors)) }
    }

    fn of_object(object: &Object) -> (Self, Vec<String>) {
        let text = |path: &[&str]| object.at(path).and_then(Value::as_str).map(str::to_string);
        let dry_run: Vec<String> = match object.at(&["dryRun"]) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_string).collect(),
            _ => Vec::new(),
        };
        let options = Self {
            grace_period_seconds: object.at(&["gracePeriodSeconds"]).and_then(Value::as_i64),
            uid: text(&["preconditions", "uid"]),
            resource_version: text(&["preconditions", "resourceVersion"]),
            orphan_dependents: object.at(&["orphanDependents"]).and_then(Value::as_bool),
            propagation_policy: text(&["propagationPolicy"]),
            dry_run: !dry_run.is_empty(),
        };
        (options, dry_run)
    }

    fn of_query(query: &Query) -> Result<(Self, Vec<String>), Status> {
        let dry_run: Vec<String> = query.all("dryRun").map(str::to_string).collect();
        let options = Self {
            grace_period_seconds: query.integer("gracePeriodSeconds").map_err(Status::bad_request)?,
            orphan_dependents: query.optional_flag("orphanDependents"),
            propagation_policy: query.get("propagationPolicy").map(str::to_string),
            uid: query.get("uid").filter(|uid| !uid.is_empty()).map(str::to_string),
            resource_version: query.get("resourceVersion").filter(|version| !version.is_empty()).map(str::to_string),
            dry_run: !dry_run.is_empty(),
        };
        Ok((options, dry_run))
    }

    /// As admission sees them.
    pub fn to_value(&self) -> Value {
        let mut map = kind_map("DeleteOptions", self.dry_run);
        if let Some(seconds) = self.grace_period_seconds {
            map.insert("gracePeriodSeconds".into(), seconds.into());
        }
        if let Some(policy) = &self.propagation_policy {
            map.insert("propagationPolicy".into(), policy.as_str().into());
        }
        if let Some(orphan) = self.orphan_dependents {
            map.insert("orphanDependents".into(), orphan.into());
        }
        let preconditions = [("uid", &self.uid), ("resourceVersion", &self.resource_version)];
        let preconditions: Map<String, Value> = preconditions
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.as_deref()?.into())))
            .collect();
        if !preconditions.is_empty() {
            map.insert("preconditions".into(), preconditions.into());
        }
        Value::Object(map)
    }
}

/// Reads and checks `CreateOptions`, `UpdateOptions` or `PatchOptions` (by `kind`) from the query.
///
/// # Errors
/// 422 for options that make no sense.
pub fn write_options(query: &Query, kind: &str, user_agent: &str, is_apply: bool) -> Result<WriteOptions, Status> {
    let dry_run: Vec<String> = query.all("dryRun").map(str::to_string).collect();
    let mut errors = ErrorList::new();
    let manager = query.text("fieldManager");
    let force = query.optional_flag("force");
    if kind == "PatchOptions" {
        if is_apply && manager.is_empty() {
            errors.push(FieldError::required(&Path::new("fieldManager"), "is required for apply patch"));
        }
        if !is_apply && force.is_some() {
            errors.push(FieldError::forbidden(&Path::new("force"), "may not be specified for non-apply patch"));
        }
    }
    errors.extend(validate_manager(manager, &Path::new("fieldManager")));
    errors.extend(check_dry_run(&dry_run));
    let validation = query.text("fieldValidation");
    let field_validation = match validation {
        "Ignore" => FieldValidation::Ignore,
        "" | "Warn" => FieldValidation::Warn,
        "Strict" => FieldValidation::Strict,
        other => {
            let path = Path::new("fieldValidation");
            errors.push(FieldError::not_supported(&path, other, &["", "Ignore", "Strict", "Warn"]));
            FieldValidation::Warn
        }
    };
    if !errors.is_empty() {
        return Err(invalid(kind, &errors));
    }
    Ok(WriteOptions {
        dry_run: !dry_run.is_empty(),
        field_manager: manager_name(manager, user_agent),
        given_manager: manager.to_string(),
        given_validation: validation.to_string(),
        field_validation,
        force: force.unwrap_or(false),
    })
}

/// Write options as admission sees them.
pub fn to_value(options: &WriteOptions, kind: &str) -> Value {
    let mut map = kind_map(kind, options.dry_run);
    for (name, given) in [("fieldManager", &options.given_manager), ("fieldValidation", &options.given_validation)] {
        if !given.is_empty() {
            map.insert(name.into(), given.as_str().into());
        }
    }
    Value::Object(map)
}

fn kind_map(kind: &str, dry_run: bool) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("kind".into(), kind.into());
    map.insert("apiVersion".into(), "meta.k8s.io/v1".into());
    if dry_run {
        map.insert("dryRun".into(), vec!["All"].into());
    }
    map
}

fn check_dry_run(values: &[String]) -> Option<FieldError> {
    if values.iter().all(|v| v == "All") {
        return None;
    }
    let mut error = FieldError::not_supported(&Path::new("dryRun"), Value::from(values.to_vec()), &["All"]);
    error.value = Some(serde_json::to_string(values).expect("strings encode"));
    Some(error)
}

/// The time that a client gives its request; none if it gives none.
pub fn timeout(text: &str) -> Option<std::time::Duration> {
    let nanoseconds = api::go::duration::parse(text).ok()?;
    u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(std::time::Duration::from_nanos)
}

/// What Go's `time.ParseDuration` has against a text.
pub fn timeout_fault(text: &str) -> Option<String> {
    let fault = |why: &str| Some(format!("time: {why} {text:?}"));
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text.is_empty() || rest == "0" {
        return None;
    }
    if rest.is_empty() {
        return fault("invalid duration");
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if number == 0
            || !rest[..number].contains(|c: char| c.is_ascii_digit())
            || rest[..number].matches('.').count() > 1
        {
            return fault("invalid duration");
        }
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        match &rest[..unit] {
            "" => return fault("missing unit in duration"),
            "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h" => rest = &rest[unit..],
            unknown => return Some(format!("time: unknown unit {unknown:?} in duration {text:?}")),
        }
    }
    None
}

/// Options of `meta.k8s.io` that are refused.
pub fn invalid(kind: &str, errors: &ErrorList) -> Status {
    Status::invalid("meta.k8s.io", kind, "", errors)
}
