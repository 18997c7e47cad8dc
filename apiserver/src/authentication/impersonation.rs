//! Acting as somebody else: the `Impersonate-*` headers.
//!
//! There are five ways to be allowed to (`allImpersonationModes` in apiserver's `filters/impersonation`). Four are constrained:
//! they need a verb of their own for whom one acts as, and another for what one does as them. The last is the old `impersonate`
//! for everything.

mod headers;

use std::sync::Arc;

use api::names::{dns1123_label, dns1123_subdomain};
use api::{Status, UserInfo};
use http::HeaderMap;

use crate::Registry;
use crate::authorization::{self, Attributes, Decision, decide, forbidden};
use headers::Wanted;

const AUTHENTICATION: &str = "authentication.k8s.io";
const ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";
const NODES: &str = "system:nodes";
const MASTERS: &str = "system:masters";
const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// What a service account's token says of the node of its pod.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// From so many groups or extras on, leave for all of them is asked for first (`manyAuthorizationChecksInLoop`).
const MANY: usize = 4;

/// A way to be allowed to act as somebody.
struct Mode {
    /// Its name in verbs; none for the old way.
    name: Option<&'static str>,
    /// Whether it is for acting as that user, and for who asks.
    concerns: fn(&UserInfo, &UserInfo) -> bool,
}

impl Mode {
    /// What the metrics call it (`modeFromVerb`).
    fn label(&self) -> &'static str {
        self.name.unwrap_or("legacy")
    }
}

/// In the order in which they are tried.
static MODES: [Mode; 5] = [
    Mode { name: Some(ASSOCIATED_NODE), concerns: |wanted, asker| is_plain(wanted) && is_own_node(wanted, asker) },
    Mode { name: Some("arbitrary-node"), concerns: |wanted, _| is_plain(wanted) && node(&wanted.username).is_some() },
    Mode {
        name: Some("serviceaccount"),
        concerns: |wanted, _| is_plain(wanted) && account(&wanted.username).is_some(),
    },
    Mode {
        name: Some("user-info"),
        concerns: |wanted, _| node(&wanted.username).is_none() && account(&wanted.username).is_none(),
    },
    Mode { name: None, concerns: |_, _| true },
];
const ASSOCIATED_NODE: &str = "associated-node";

/// The user that a request acts as, if it is another than the one who asks: whom the headers name, if that is allowed for the
/// request `asked`. The headers are taken out.
///
/// # Errors
/// `Forbidden` if it is not allowed; 400 for headers that cannot be understood, whatever they may be meant to say.
pub async fn impersonate(
    headers: &mut HeaderMap,
    asked: Attributes<'_>,
    asker: &Arc<UserInfo>,
    registry: &Registry,
) -> Result<Option<Arc<UserInfo>>, Status> {
    let Some(wanted) = headers::wanted(headers)? else { return Ok(None) };
    headers::clear(headers);
    let (mut refusal, mut last) = (None, &MODES[MODES.len() - 1]);
    let started = registry.clock().instant();
    let decided = |mode: &Mode, allowed| {
        let took = registry.clock().instant().saturating_duration_since(started);
        registry.metrics().impersonation.attempted(mode.label(), allowed, took);
    };
    for mode in MODES.iter().filter(|mode| (mode.concerns)(&wanted, asker)) {
        last = mode;
        match (Check { mode, asker, registry }).check(&wanted, asked).await {
            Ok(user) => {
                decided(mode, true);
                return Ok(Some(Arc::new(user)));
            }
            // The first way that could have been meant is what the answer is about.
            Err(status) => refusal = refusal.or(Some(status)),
        }
    }
    decided(last, false);
    Err(refusal.unwrap_or_else(|| Status::internal("all impersonation modes failed")))
}

/// One way, for one who asks.
struct Check<'a> {
    mode: &'a Mode,
    asker: &'a UserInfo,
    registry: &'a Registry,
}

impl Check<'_> {
    async fn check(&self, wanted: &Wanted, asked: Attributes<'_>) -> Result<UserInfo, Status> {
        if let Some(name) = self.mode.name {
            let verb = format!("impersonate-on:{name}:{}", asked.verb);
            self.permit(Attributes { verb: &verb, user: self.asker, ..asked }).await?;
        }
        let mut user = wanted.clone();
        self.username(wanted, &mut user).await?;
        if !wanted.uid.is_empty() {
            self.permit_as(AUTHENTICATION, "uids", "", "", &wanted.uid).await?;
        }
        self.groups(&wanted.groups).await?;
        self.extra(wanted).await?;
        let missing = |group: &str| !user.in_group(group);
        if user.username == ANONYMOUS {
            if missing(UNAUTHENTICATED) {
                user.groups.push(UNAUTHENTICATED.into());
            }
        } else if missing(UNAUTHENTICATED) && missing(AUTHENTICATED) {
            user.groups.push(AUTHENTICATED.into());
        }
        Ok(user)
    }

    /// Whether the name may be used, and the groups that come with it.
    async fn username(&self, wanted: &Wanted, user: &mut UserInfo) -> Result<(), Status> {
        if let Some((namespace, name)) = account(&wanted.username) {
            if wanted.groups.is_empty() {
                user.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
            }
            return self.permit_as(self.group(), "serviceaccounts", "", namespace, name).await;
        }
        match node(&wanted.username).filter(|_| self.mode.name.is_some()) {
            Some(node) => {
                user.groups = vec![NODES.into()];
                // On whichever node the account runs: leave for one node only is none.
                let node = if self.mode.name == Some(ASSOCIATED_NODE) { "*" } else { node };
                self.permit_as(self.group(), "nodes", "", "", node).await
            }
            None => self.permit_as(self.group(), "users", "", "", &wanted.username).await,
        }
    }

    async fn groups(&self, groups: &[String]) -> Result<(), Status> {
        if self.mode.name.is_some() {
            let wanted = |never: &str| groups.iter().any(|group| group == never);
            if wanted("") {
                return Err(self.refuse("groups", "", "impersonating the empty string group is not allowed"));
            }
            if wanted(MASTERS) {
                return Err(self.refuse("groups", MASTERS, "impersonating the system:masters group is not allowed"));
            }
            if groups.len() >= MANY && self.permit_as(self.group(), "groups", "", "", "*").await.is_ok() {
                return Ok(());
            }
        }
        for group in groups {
            self.permit_as(self.group(), "groups", "", "", group).await?;
        }
        Ok(())
    }

    async fn extra(&self, wanted: &Wanted) -> Result<(), Status> {
        if self.mode.name.is_some() {
            headers::check_extra(&wanted.extra).map_err(|why| self.refuse("userextras", "", &why))?;
            let is_large = wanted.extra.len() >= MANY || wanted.extra.values().flatten().count() >= MANY;
            if is_large && self.permit_as(AUTHENTICATION, "userextras", "*", "", "*").await.is_ok() {
                return Ok(());
            }
        }
        for (key, values) in &wanted.extra {
            for value in values {
                self.permit_as(AUTHENTICATION, "userextras", key, "", value).await?;
            }
        }
        Ok(())
    }

    /// The group in which names and groups are looked for.
    fn group(&self) -> &'static str {
        if self.mode.name.is_some() { AUTHENTICATION } else { "" }
    }

    fn verb(&self) -> String {
        self.mode.name.map_or("impersonate".into(), |name| format!("impersonate:{name}"))
    }

    async fn permit_as(
        &self,
        group: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        let verb = self.verb();
        let attributes = Attributes { verb: &verb, subresource, namespace, name, ..self.attributes(group, resource) };
        self.permit(attributes).await
    }

    async fn permit(&self, attributes: Attributes<'_>) -> Result<(), Status> {
        let started = self.registry.clock().instant();
        let decision = decide(attributes, self.registry).await;
        let took = self.registry.clock().instant().saturating_duration_since(started);
        let allowed = matches!(decision, Decision::Allow);
        self.registry.metrics().impersonation.checked(self.mode.label(), allowed, took);
        authorization::refusal(&attributes, decision).map_or(Ok(()), Err)
    }

    /// Refuses what only the constrained ways do.
    fn refuse(&self, resource: &str, name: &str, why: &str) -> Status {
        let verb = self.verb();
        forbidden(&Attributes { verb: &verb, name, ..self.attributes(AUTHENTICATION, resource) }, why)
    }

    fn attributes<'b>(&'b self, group: &'b str, resource: &'b str) -> Attributes<'b> {
        Attributes {
            user: self.asker,
            verb: "",
            namespace: "",
            group,
            version: "v1",
            resource,
            subresource: "",
            name: "",
            field_selector: "",
            label_selector: "",
            is_resource_request: true,
            path: "",
        }
    }
}

/// Whether nothing but the name is wanted.
fn is_plain(wanted: &UserInfo) -> bool {
    wanted.uid.is_empty() && wanted.groups.is_empty() && wanted.extra.is_empty()
}

/// The namespace and name of a service account (`serviceaccount.SplitUsername`).
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(ACCOUNT)?.split_once(':')?;
    (dns1123_label(namespace).is_empty() && is_subdomain(name)).then_some((namespace, name))
}

fn is_subdomain(name: &str) -> bool {
    dns1123_subdomain(name).is_empty()
}

fn node(user: &str) -> Option<&str> {
    user.strip_prefix(NODE).filter(|name| is_subdomain(name))
}

/// Whether the user that is wanted is the node on which the service account that asks runs.
fn is_own_node(wanted: &UserInfo, asker: &UserInfo) -> bool {
    let own = match asker.extra.get(NODE_NAME).map(Vec::as_slice) {
        Some([one]) => one.as_str(),
        _ => return false,
    };
    account(&asker.username).is_some() && node(&wanted.username) == Some(own)
}

#[cfg(test)]
mod tests;
