//! What every step of a request knows about it.

use std::sync::Arc;

use api::UserInfo;
pub use api::decode::FieldValidation;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{Registry, RequestInfo};

/// Options that all writes share.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Everything but the commit happens.
    pub dry_run: bool,
    /// The manager of the fields written: `fieldManager`, or the start of the user agent.
    pub field_manager: String,
    /// How unknown and duplicate fields are treated.
    pub field_validation: FieldValidation,
    /// Takes fields over from other managers (apply only).
    pub force: bool,
}

/// One request on its way through the server.
pub struct Context {
    /// Who asks, after impersonation.
    pub user: Arc<UserInfo>,
    /// What is asked.
    pub info: RequestInfo,
    /// Options of a write.
    pub options: WriteOptions,
    /// When the request came in.
    pub now: Timestamp,
    /// Objects, the catalogue, the clock, and what is plugged in.
    pub registry: Registry,
    /// A number of its own for each request, which the answer names.
    pub audit_id: String,
    warnings: Mutex<Vec<String>>,
}

impl Context {
    /// A request by `user`.
    pub fn new(user: Arc<UserInfo>, info: RequestInfo, options: WriteOptions, registry: Registry) -> Self {
        let now = registry.clock().now();
        let audit_id = crate::clock::uuid(registry.clock());
        Self { user, info, options, now, registry, audit_id, warnings: Mutex::default() }
    }

    /// A request that the server makes of itself, without a user's request behind it.
    pub fn internal(registry: &Registry) -> Self {
        let user = Arc::new(UserInfo::new("system:apiserver", &["system:masters"]));
        let options = WriteOptions { field_manager: "kube-apiserver".into(), ..Default::default() };
        Self::new(user, RequestInfo::default(), options, registry.clone())
    }

    /// Adds a warning to the answer; the same text only once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// The warnings so far, which are taken.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }
}
