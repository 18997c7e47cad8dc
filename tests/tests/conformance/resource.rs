//! One resource of the API, with a function a request.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::plane::{Answer, PATIENCE, Plane};
use crate::watch::Watch;

/// A resource, in a namespace or not, possibly a subresource.
#[derive(Clone)]
pub(crate) struct Resource {
    plane: Plane,
    /// The path of the collection.
    path: String,
    /// `/status` and the like.
    below: String,
}

impl Resource {
    /// See [`Plane::of`] and [`Plane::wide`].
    pub(crate) fn new(plane: Plane, version: &str, namespace: Option<&str>, resource: &str) -> Self {
        let root = if version.contains('/') { "apis" } else { "api" };
        let scope = namespace.map(|n| format!("namespaces/{n}/")).unwrap_or_default();
        Self { plane, path: format!("/{root}/{version}/{scope}{resource}"), below: String::new() }
    }

    /// A subresource of each object: `sub("status")`.
    pub(crate) fn sub(&self, name: &str) -> Self {
        Self { below: format!("/{name}"), ..self.clone() }
    }

    /// Its status.
    pub(crate) fn status(&self) -> Self {
        self.sub("status")
    }

    /// Its scale.
    pub(crate) fn scale(&self) -> Self {
        self.sub("scale")
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}{}", self.path, self.below)
    }

    /// Creates an object; must be answered 201.
    pub(crate) async fn create(&self, object: Value) -> Value {
        let answer = self.try_create(&object).await;
        assert_eq!(answer.code, 201, "{} of {object}: {}", self.path, answer.body);
        answer.body
    }

    /// Creates an object.
    pub(crate) async fn try_create(&self, object: &Value) -> Answer {
        self.plane.request(Method::POST, &self.path, Some(object)).await
    }

    /// Posts to a subresource of one object, or with an empty subresource to the object.
    pub(crate) async fn try_post(&self, name: &str, object: &Value) -> Answer {
        self.plane.request(Method::POST, &self.at(name), Some(object)).await
    }

    /// Reads an object that is there.
    pub(crate) async fn get(&self, name: &str) -> Value {
        self.try_get(name).await.ok()
    }

    /// Reads an object.
    pub(crate) async fn try_get(&self, name: &str) -> Answer {
        self.plane.request(Method::GET, &self.at(name), None).await
    }

    /// Reads an object that may not be there.
    pub(crate) async fn find(&self, name: &str) -> Option<Value> {
        let answer = self.try_get(name).await;
        if answer.code == 404 { None } else { Some(answer.ok()) }
    }

    /// Replaces an object.
    pub(crate) async fn update(&self, object: &Value) -> Value {
        self.try_update(object).await.ok()
    }

    /// Replaces an object.
    pub(crate) async fn try_update(&self, object: &Value) -> Answer {
        let name = object["metadata"]["name"].as_str().expect("a name");
        self.plane.request(Method::PUT, &self.at(name), Some(object)).await
    }

    /// Reads an object, changes it and writes it, again as long as others write meanwhile.
    pub(crate) async fn change(&self, name: &str, change: impl Fn(&mut Value)) -> Value {
        let start = Instant::now();
        loop {
            let mut object = self.get(name).await;
            change(&mut object);
            let answer = self.try_update(&object).await;
            if answer.code != 409 || start.elapsed() > PATIENCE {
                return answer.ok();
            }
        }
    }

    /// Changes an object by a merge patch.
    pub(crate) async fn merge(&self, name: &str, patch: Value) -> Value {
        self.try_patch(name, "application/merge-patch+json", &patch).await.ok()
    }

    /// Changes an object by a strategic merge patch.
    pub(crate) async fn strategic(&self, name: &str, patch: Value) -> Value {
        self.try_patch(name, "application/strategic-merge-patch+json", &patch).await.ok()
    }

    /// Changes an object by a patch of a media type.
    pub(crate) async fn try_patch(&self, name: &str, media: &str, patch: &Value) -> Answer {
        self.plane.request_of(Method::PATCH, &self.at(name), media, Some(patch)).await
    }

    /// Deletes an object that is there.
    pub(crate) async fn delete(&self, name: &str) -> Value {
        self.try_delete(name, &json!({})).await.ok()
    }

    /// Deletes an object with `propagationPolicy`, `preconditions` and the like.
    pub(crate) async fn try_delete(&self, name: &str, options: &Value) -> Answer {
        self.plane.request(Method::DELETE, &self.at(name), Some(options)).await
    }

    /// Deletes what a query selects.
    pub(crate) async fn delete_all(&self, query: &str) {
        self.plane.request(Method::DELETE, &format!("{}?{query}", self.path), None).await.ok();
    }

    /// The objects that a query selects.
    pub(crate) async fn list(&self, query: &str) -> Vec<Value> {
        let list = self.plane.get(&format!("{}?{query}", self.path)).await;
        list["items"].as_array().cloned().unwrap_or_else(|| panic!("a list: {list}"))
    }

    /// Watches what a query selects.
    pub(crate) async fn watch(&self, query: &str) -> Watch {
        Watch::open(&self.plane, &format!("{}?watch=true&{query}", self.path)).await
    }

    /// Waits until an object is there and something holds of it.
    pub(crate) async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let found = self.find(name).await;
            match found {
                Some(object) if holds(&object) => return object,
                found if start.elapsed() > PATIENCE => {
                    panic!("waited in vain for {what} of {}: {found:?}", self.at(name))
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Waits until an object is gone.
    pub(crate) async fn until_gone(&self, name: &str) {
        let start = Instant::now();
        while let Some(object) = self.find(name).await {
            assert!(start.elapsed() < PATIENCE, "it does not go: {object}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until something holds of what a query selects.
    pub(crate) async fn until_all(&self, query: &str, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let all = self.list(query).await;
            if holds(&all) {
                return all;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {}", Value::from(all));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
