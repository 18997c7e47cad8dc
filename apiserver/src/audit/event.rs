//! What is known of one request, and how it is written down (`audit.k8s.io/v1` `Event`).

use std::collections::BTreeMap;
use std::sync::Arc;

use api::go::strconv::quote;
use api::{Status, UserInfo};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::policy::{Level, Stage};
use crate::clock::micro_time;

/// Says that something was left out.
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// One request as far as it has come.
#[derive(Debug, Clone)]
pub struct Event {
    /// How much of it is written down.
    pub level: Level,
    /// Its number.
    pub id: String,
    /// Path and query as they came.
    pub uri: String,
    /// What is asked.
    pub verb: String,
    /// Who asks; none if they could not be told.
    pub user: Option<Arc<UserInfo>>,
    /// As whom.
    pub impersonated: Option<Arc<UserInfo>>,
    /// Whence, from the client to here.
    pub sources: Vec<String>,
    /// With what.
    pub user_agent: String,
    /// About what; none for what is no resource.
    pub object: Option<ObjectRef>,
    /// What came of it.
    pub response: Option<Response>,
    /// What was sent, as JSON.
    pub request_object: Option<Box<RawValue>>,
    /// What was answered, as JSON.
    pub response_object: Option<Box<RawValue>>,
    /// When it came.
    pub received: Timestamp,
    /// What stages and plugins noted.
    pub annotations: BTreeMap<String, String>,
}

/// `ObjectReference`
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// The plural.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// The version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// The version of the object.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// As much of a `Status` as is bounded.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Response {
    metadata: Map<String, Value>,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    details: Value,
    /// The code.
    #[serde(skip_serializing_if = "is_zero")]
    pub code: u16,
}

fn is_zero(code: &u16) -> bool {
    *code == 0
}

impl Response {
    /// An answer of which only the code is known.
    pub fn code(code: u16) -> Self {
        Self { code, ..Self::default() }
    }

    /// An answer that is a status.
    pub fn of(status: &Status) -> Self {
        let details = status.details.as_ref().and_then(|details| serde_json::to_value(details).ok());
        Self {
            metadata: Map::new(),
            status: status.status.clone(),
            message: status.message.clone(),
            reason: status.reason.clone(),
            details: details.unwrap_or_default(),
            code: status.code,
        }
    }

    /// An answer with nothing but a text.
    pub fn message(text: impl Into<String>, code: u16) -> Self {
        Self { message: text.into(), code, ..Self::default() }
    }
}

/// An event as it is written, in the order of the reference's fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: &'static str,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: &'static str,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: &'a UserInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<&'a UserInfo>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[String]>::is_empty")]
    sources: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<&'a ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<&'a Response>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<&'a RawValue>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

impl Event {
    /// As JSON, without the end of the line.
    pub fn json(&self, stage: Stage, at: Timestamp) -> Vec<u8> {
        self.write(stage, at, &self.annotations, true)
    }

    /// As JSON without what was sent and answered, which says so (`truncate`).
    pub fn json_truncated(&self, stage: Stage, at: Timestamp) -> Vec<u8> {
        let mut annotations = self.annotations.clone();
        annotations.insert(TRUNCATED.into(), "true".into());
        self.write(stage, at, &annotations, false)
    }

    fn write(&self, stage: Stage, at: Timestamp, annotations: &BTreeMap<String, String>, whole: bool) -> Vec<u8> {
        let nobody = UserInfo::default();
        let written = Written {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: self.level.as_str(),
            audit_id: &self.id,
            stage: stage.as_str(),
            request_uri: &self.uri,
            verb: &self.verb,
            user: self.user.as_deref().unwrap_or(&nobody),
            impersonated_user: self.impersonated.as_deref(),
            sources: &self.sources,
            user_agent: &self.user_agent,
            object_ref: self.object.as_ref(),
            response_status: self.response.as_ref(),
            request_object: self.request_object.as_deref().filter(|_| whole),
            response_object: self.response_object.as_deref().filter(|_| whole),
            request_received_timestamp: micro_time(self.received),
            stage_timestamp: micro_time(at),
            annotations,
        };
        let mut line = Vec::with_capacity(1024);
        serde_json::to_writer(&mut line, &written).expect("texts and JSON can be written");
        line
    }

    /// As one line for people (`EventString`).
    pub fn legacy(&self, stage: Stage) -> String {
        let list = |groups: &[String]| groups.iter().map(|group| quote(group)).collect::<Vec<_>>().join(",");
        let user = self.user.as_deref().filter(|user| !user.username.is_empty());
        let groups = user.filter(|user| !user.groups.is_empty()).map(|user| list(&user.groups));
        let as_user = self.impersonated.as_deref();
        let as_groups = as_user.filter(|user| !user.groups.is_empty()).map(|user| list(&user.groups));
        let namespace = self.object.as_ref().map_or("", |object| object.namespace.as_str());
        let or = |text: &str, otherwise: &'static str| quote(if text.is_empty() { otherwise } else { text });
        let response = self.response.as_ref().map_or("<deferred>".into(), |response| response.code.to_string());
        format!(
            "{} AUDIT: id={} stage={} ip={} method={} user={} groups={} as={} asgroups={} user-agent={} namespace={} uri={} \
             response=\"{response}\"",
            self.received.strftime("%Y-%m-%dT%H:%M:%S%.fZ"),
            quote(&self.id),
            quote(stage.as_str()),
            or(self.sources.first().map_or("", String::as_str), "<unknown>"),
            quote(&self.verb),
            or(user.map_or("", |user| &user.username), "<none>"),
            or(groups.as_deref().unwrap_or(""), "<none>"),
            or(as_user.map_or("", |user| &user.username), "<self>"),
            or(as_groups.as_deref().unwrap_or(""), "<lookup>"),
            quote(&self.user_agent),
            or(namespace, "<none>"),
            quote(&self.uri),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            level: Level::Request,
            id: "x-1".into(),
            uri: "/api/v1/namespaces/a/pods?limit=1".into(),
            verb: "list".into(),
            user: Some(Arc::new(UserInfo::new("alice", &["staff"]))),
            impersonated: None,
            sources: vec!["10.0.0.1".into()],
            user_agent: "kubectl/1".into(),
            object: Some(ObjectRef {
                resource: "pods".into(),
                namespace: "a".into(),
                api_version: "v1".into(),
                ..ObjectRef::default()
            }),
            response: Some(Response::code(200)),
            request_object: Some(RawValue::from_string("{\"a\":1}".into()).unwrap()),
            response_object: None,
            received: "2026-01-02T03:04:05.123456Z".parse().unwrap(),
            annotations: BTreeMap::from([("authorization.k8s.io/decision".into(), "allow".into())]),
        }
    }

    #[test]
    fn an_event_is_written_in_the_order_of_the_reference() {
        let at = "2026-01-02T03:04:06Z".parse().unwrap();
        let head = "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Request\",\"auditID\":\"x-1\",\
                    \"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/namespaces/a/pods?limit=1\",\"verb\":\"list\",\
                    \"user\":{\"username\":\"alice\",\"groups\":[\"staff\",\"system:authenticated\"]},\
                    \"sourceIPs\":[\"10.0.0.1\"],\"userAgent\":\"kubectl/1\",\
                    \"objectRef\":{\"resource\":\"pods\",\"namespace\":\"a\",\"apiVersion\":\"v1\"},\
                    \"responseStatus\":{\"metadata\":{},\"code\":200},";
        let times = "\"requestReceivedTimestamp\":\"2026-01-02T03:04:05.123456Z\",\
                     \"stageTimestamp\":\"2026-01-02T03:04:06.000000Z\",\"annotations\":{";
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let whole = text(event().json(Stage::ResponseComplete, at));
        let decision = "\"authorization.k8s.io/decision\":\"allow\"";
        assert_eq!(whole, format!("{head}\"requestObject\":{{\"a\":1}},{times}{decision}}}}}"));
        let truncated = text(event().json_truncated(Stage::ResponseComplete, at));
        assert_eq!(truncated, format!("{head}{times}\"audit.k8s.io/truncated\":\"true\",{decision}}}}}"));
    }

    #[test]
    fn a_line_of_old_tells_the_same_in_short() {
        let expected = "2026-01-02T03:04:05.123456Z AUDIT: id=\"x-1\" stage=\"RequestReceived\" ip=\"10.0.0.1\" \
                        method=\"list\" user=\"alice\" groups=\"\\\"staff\\\",\\\"system:authenticated\\\"\" as=\"<self>\" \
                        asgroups=\"<lookup>\" user-agent=\"kubectl/1\" namespace=\"a\" \
                        uri=\"/api/v1/namespaces/a/pods?limit=1\" response=\"200\"";
        assert_eq!(event().legacy(Stage::RequestReceived), expected);
        let unknown = Event { user: None, sources: Vec::new(), object: None, response: None, ..event() };
        let line = unknown.legacy(Stage::Panic);
        assert!(line.contains("ip=\"<unknown>\" method=\"list\" user=\"<none>\" groups=\"<none>\""), "{line}");
        assert!(line.contains("namespace=\"<none>\"") && line.ends_with("response=\"<deferred>\""), "{line}");
    }
}
