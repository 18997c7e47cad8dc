//! Custom resource definitions: followed through the store, they become rows of the catalogue, and their status
//! tells whether they did.

pub mod status;

use std::collections::HashMap;
use std::sync::Arc;

use api::catalogue::{Catalogue, Resource};
use api::{Object, Status};
use http::Method;
use serde_json::{Value, json};
use store::{Event, Revision, Snapshot};

use crate::options::DeleteOptions;
use crate::registry::delete::delete_admitted;
use crate::registry::read;
use crate::registry::target::Target;
use crate::state::Step;
use crate::{ApiServer, Context, Registry, clock};

/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// The resource of definitions.
pub const PLURAL: &str = "customresourcedefinitions";
/// What the keys of definitions begin with.
const KEYS: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
/// Keeps a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Follows definitions until the store is closed.
pub(super) async fn follow(server: &ApiServer) {
    let registry = server.registry();
    let builtin = Arc::clone(&registry.catalogue());
    let mut follower = Follower { server: server.clone(), builtin, known: HashMap::new() };
    loop {
        // Only while definitions are going do other keys count.
        let going = follower.is_something_going();
        let mut followed = registry.follow(if going { "" } else { KEYS });
        while follower.is_something_going() == going {
            let Some(state) = followed.changed(|event| follower.concerns(event)).await else { return };
            follower.synchronise(&state).await;
            registry.state().finish(Step::Definitions);
        }
    }
}

struct Follower {
    server: ApiServer,
    builtin: Arc<Catalogue>,
    /// What is known of each definition, by its name.
    known: HashMap<String, Known>,
}

/// A definition as it is stored, and what was made of it.
struct Known {
    revision: Revision,
    object: Arc<Object>,
    /// The generation that the rows were made of.
    generation: i64,
    /// The names that the rows have.
    names: Value,
    rows: Vec<Arc<Resource>>,
}

impl Known {
    fn is_terminating(&self) -> bool {
        self.object.at(&["metadata", "deletionTimestamp"]).is_some()
    }
}

impl Known {
    /// Lets go of the schemas, which are most of a definition: its rows have them now, and whatever happens to it next
    /// comes with the whole definition. One that waits or goes is looked at again as it is.
    fn shed_schemas(&mut self) {
        if self.rows.is_empty() || self.is_terminating() {
            return;
        }
        let object = Arc::make_mut(&mut self.object);
        let versions = object.0.get_mut("spec").and_then(|spec| spec.get_mut("versions")).and_then(Value::as_array_mut);
        for version in versions.into_iter().flatten().filter_map(Value::as_object_mut) {
            version.remove("schema");
        }
    }
}

impl Follower {
    fn registry(&self) -> &Registry {
        self.server.registry()
    }

    fn is_something_going(&self) -> bool {
        self.known.values().any(Known::is_terminating)
    }

    /// Whether an event may change something: definitions, and the objects of those that are going.
    fn concerns(&self, event: &Event) -> bool {
        let key = event.key();
        if key.starts_with(KEYS) {
            return true;
        }
        let going = self.known.values().filter(|known| known.is_terminating());
        going.filter_map(|known| known.rows.first()).any(|row| key.starts_with(&row.prefix("")))
    }

    /// Brings statuses and catalogue to what the definitions say; only what changed is looked at closely.
    ///
    /// What is served was written before that it is: a client that finds a resource can change its definition without
    /// meeting us (`crdHandler.ServeHTTP` and `DiscoveryController.sync` in apiextensions go by the stored conditions).
    /// Who reads the status in between is kept waiting by the round.
    async fn synchronise(&mut self, snapshot: &Snapshot) {
        let (changed, gone) = self.learn_all(snapshot);
        let server = self.server.clone();
        let round = server.registry().state().begin_round();
        for name in &changed {
            let settled = self.settle(name).await;
            tell_failure(name, settled);
        }
        let mut rows_changed = gone;
        for name in &changed {
            rows_changed |= self.take(name);
        }
        if rows_changed {
            let rows = self.known.values().flat_map(|known| known.rows.iter().cloned());
            self.registry().set_catalogue(self.builtin.with(rows));
        }
        drop(round);
        for name in &changed {
            let cleaned = self.clean_up(name).await;
            tell_failure(name, cleaned);
            if let Some(known) = self.known.get_mut(name) {
                known.shed_schemas();
            }
        }
    }

    /// Reads what is new. The names of the definitions to be looked at, in order, and whether some are gone.
    fn learn_all(&mut self, snapshot: &Snapshot) -> (Vec<String>, bool) {
        let mut names: Vec<String> = Vec::new();
        let mut changed: Vec<String> = Vec::new();
        for entry in snapshot.list(KEYS, None) {
            let name = entry.key().rsplit('/').next().unwrap_or("").to_string();
            names.push(name.clone());
            if self.known.get(&name).is_some_and(|known| known.revision == entry.mod_revision()) {
                continue;
            }
            let Some(object) = read(entry) else { continue };
            self.learn(&name, entry.mod_revision(), object);
            changed.push(name);
        }
        let known_before = self.known.len();
        self.known.retain(|name, _| names.binary_search(name).is_ok());
        let gone = self.known.len() != known_before;
        // Names that another definition had may be free now.
        let waiting = self.known.iter().filter(|(_, known)| known.rows.is_empty() || known.is_terminating());
        changed.extend(waiting.map(|(name, _)| name.clone()));
        changed.sort();
        changed.dedup();
        (changed, gone)
    }

    fn learn(&mut self, name: &str, revision: Revision, object: Object) {
        let object = Arc::new(object);
        match self.known.get_mut(name) {
            Some(known) if known.object.uid() == object.uid() => {
                known.revision = revision;
                known.object = object;
            }
            _ => {
                let known = Known { revision, object, generation: -1, names: Value::Null, rows: Vec::new() };
                self.known.insert(name.to_string(), known);
            }
        }
    }

    /// Writes the status of a definition, so that those that come after it find its names taken.
    async fn settle(&mut self, name: &str) -> Result<(), Status> {
        let Some(known) = self.known.get(name).filter(|known| !known.is_terminating()) else { return Ok(()) };
        let now = clock::time(self.registry().clock().now());
        let others = self.known.values().map(|known| &*known.object);
        let conditions = api::crd::conditions(&known.object, others, &now);
        let mut definition = (*known.object).clone();
        status::update(&mut definition, &conditions);
        if definition == *known.object {
            return Ok(());
        }
        let written = self.patch(&definition, "status").await?;
        let revision = written.resource_version().parse().unwrap_or(0);
        self.learn(name, revision, written);
        Ok(())
    }

    /// Writes a part of a definition, the status or the finalizers, if nobody wrote it since it was read.
    async fn patch(&self, definition: &Object, subresource: &str) -> Result<Object, Status> {
        let (url, path, value) = match subresource {
            "status" => ("/status", "/status", definition.at(&["status"])),
            _ => ("", "/metadata/finalizers", definition.at(&["metadata", "finalizers"])),
        };
        let patch = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": definition.resource_version()},
            {"op": "add", "path": path, "value": value},
        ]);
        let url = format!("/apis/{GROUP}/v1/{PLURAL}/{}{url}", definition.name());
        self.server.ask_itself(&Method::PATCH, url, "application/json-patch+json", patch.to_string()).await
    }

    /// Makes the rows of a definition from what is stored, if it changed. Whether they changed.
    fn take(&mut self, name: &str) -> bool {
        let Some(known) = self.known.get_mut(name) else { return false };
        let generation = known.object.at(&["metadata", "generation"]).and_then(Value::as_i64).unwrap_or(0);
        let names = known.object.at(&["status", "acceptedNames"]).cloned().unwrap_or_default();
        let established = api::crd::is_established(&known.object);
        // Being deleted is no new generation.
        let is_told = |row: &Arc<Resource>| row.definition.as_ref().is_some_and(|version| version.terminating);
        let same_life = known.rows.first().is_none_or(|row| is_told(row) == known.is_terminating());
        let same_shape = known.generation == generation && known.names == names;
        if same_shape && same_life && known.rows.is_empty() != established {
            return false;
        }
        let rows = if established { rows(self.server.registry(), name, &known.object) } else { Vec::new() };
        known.generation = generation;
        known.names = names;
        known.rows = rows.into_iter().map(Arc::new).collect();
        true
    }

    /// Deletes the objects of a definition that is going, and lets it go when there are none (`CRDFinalizer.sync` in
    /// apiextensions).
    async fn clean_up(&self, name: &str) -> Result<(), Status> {
        let Some(known) = self.known.get(name).filter(|known| known.is_terminating()) else { return Ok(()) };
        let definition = &*known.object;
        let finalizers = api::validation::metadata::finalizers(definition);
        if !finalizers.contains(&CLEANUP_FINALIZER) {
            return Ok(());
        }
        let custom = known.rows.first().filter(|_| api::crd::is_established(definition));
        let mut left = false;
        if let Some(custom) = custom {
            // The change comes back as an event, and the objects are looked at then.
            if self.tell(definition, &status::IN_PROGRESS).await? {
                return Ok(());
            }
            left = self.delete_objects(custom).await?;
        }
        let end = if custom.is_some() { &status::COMPLETED } else { &status::NEVER_ESTABLISHED };
        if left || self.tell(definition, end).await? {
            return Ok(());
        }
        let mut last = definition.clone();
        let rest: Vec<String> =
            finalizers.into_iter().filter(|f| *f != CLEANUP_FINALIZER).map(str::to_string).collect();
        last.set(&["metadata", "finalizers"], rest);
        self.patch(&last, "").await.map(|_| ())
    }

    /// Deletes every object of a definition that is going; whether some stay a while. In the version that each is stored
    /// in, which need not be served: the reference, too, goes straight to their storage.
    async fn delete_objects(&self, row: &Arc<Resource>) -> Result<bool, Status> {
        let ctx = Context::internal(self.registry());
        let newest = self.registry().snapshot();
        let mut left = false;
        for object in newest.list(&row.prefix(""), None).filter_map(read) {
            let own = in_own_version(row, &object);
            // The definition's own deletion was admitted, and takes them along.
            match delete_admitted(&ctx, &target(&own, &object), &DeleteOptions::default()).await {
                Ok(deleted) => left |= !deleted.gone,
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        Ok(left)
    }

    /// Writes how far the end of a definition is. Whether that was new.
    async fn tell(&self, definition: &Object, stage: &status::Stage) -> Result<bool, Status> {
        if !status::is_before(definition, stage) {
            return Ok(false);
        }
        let mut new = definition.clone();
        let (state, reason, message) = *stage;
        let now = clock::time(self.registry().clock().now());
        status::condition(&now, &mut new, "Terminating", state, reason, message);
        self.patch(&new, "status").await.map(|_| true)
    }
}

/// Whoever wrote meanwhile is seen by us next.
fn tell_failure(name: &str, done: Result<(), Status>) {
    if let Err(error) = done
        && error.code != 409
    {
        tracing::warn!(definition = name, %error, "a custom resource definition could not be brought up to date");
    }
}

/// The row of a resource in the version that an object was stored in, which needs no conversion. It may not be served.
fn in_own_version(row: &Arc<Resource>, object: &Object) -> Arc<Resource> {
    if row.api_version() == object.api_version() {
        return row.clone();
    }
    let version = object.api_version().rsplit('/').next().unwrap_or("").to_string();
    Arc::new(Resource { version, ..(**row).clone() })
}

fn target(row: &Arc<Resource>, object: &Object) -> Target {
    Target {
        resource: row.clone(),
        storage: row.clone(),
        subresource: String::new(),
        namespace: object.namespace().into(),
        name: object.name().into(),
        options: json!({}),
        view: None,
    }
}

/// The rows of a definition; counts how long they took to make if there are rules to compile.
fn rows(registry: &Registry, name: &str, definition: &Object) -> Vec<Resource> {
    let started = registry.clock().instant();
    let rows = api::catalogue::custom::rows(definition).unwrap_or_else(|error| {
        tracing::warn!(definition = name, %error, "a custom resource definition cannot be served");
        Vec::new()
    });
    if rows.iter().filter_map(|row| row.definition.as_ref()).any(|version| version.has_rules()) {
        let took = registry.clock().instant().saturating_duration_since(started).as_secs_f64();
        registry.metrics().various.cel_compilations.with([], |durations| durations.observe(took));
    }
    rows
}
