//! Webhooks of admission: MutatingAdmissionWebhook and ValidatingAdmissionWebhook (apiserver's `admission/plugin/webhook`).

mod call;
mod conditions;
mod hooks;
mod mutating;
mod review;
pub(super) mod shown;
#[cfg(test)]
mod tests;
mod validating;

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;

use super::Dispatched;
use super::files::{Kind, PluginFiles};
use crate::matching;
use crate::outgoing::Identities;
use crate::plug::admission::{Admission, Attributes};
use crate::registry::Derived;
use hooks::Hook;

const VALIDATING: &str = "ValidatingAdmissionWebhook";
const KIND: Kind = Kind { name: "WebhookAdmission", groups: &["apiserver.config.k8s.io"], strict: true };

/// The webhooks that a write concerns, and as whom they are called.
type Concerned = (Vec<Hook>, Option<Arc<Identities>>);

/// Calls the mutating webhooks, one after the other.
///
/// # Errors
/// What is wrong with what the files of a cluster tell it.
pub(super) fn mutating(files: &PluginFiles) -> Result<impl Admission + use<>, String> {
    let all = Derived::new(&[hooks::MUTATING], hooks::mutating);
    let identities = identities(files, mutating::NAME)?;
    Ok(Dispatched::<Concerned> {
        name: mutating::NAME,
        concerned: Box::new(move |attributes| Some((relevant(&all, attributes)?, identities.clone()))),
        admit: Some(|(hooks, identities), attributes, object| {
            async move { mutating::dispatch(hooks, attributes, object, identities.as_ref()).await }.boxed()
        }),
        validate: None,
    })
}

/// Calls the validating webhooks, all at once.
///
/// # Errors
/// What is wrong with what the files of a cluster tell it.
pub(super) fn validating(files: &PluginFiles) -> Result<impl Admission + use<>, String> {
    let all = Derived::new(&[hooks::VALIDATING], hooks::validating);
    let identities = identities(files, VALIDATING)?;
    Ok(Dispatched::<Concerned> {
        name: VALIDATING,
        concerned: Box::new(move |attributes| Some((relevant(&all, attributes)?, identities.clone()))),
        admit: None,
        validate: Some(|(hooks, identities), attributes, object| {
            async move { validating::dispatch(hooks, attributes, object, identities.as_ref()).await }.boxed()
        }),
    })
}

/// As whom webhooks are called (`LoadConfig` in `webhook/config`).
fn identities(files: &PluginFiles, plugin: &str) -> Result<Option<Arc<Identities>>, String> {
    let Some(told) = files.decoded(plugin, &KIND)? else { return Ok(None) };
    let file = told.str_at(&["kubeConfigFile"]);
    let path = Path::new(file);
    if !file.is_empty() && !path.is_absolute() {
        return Err(format!("kubeConfigFile: Invalid value: {file:?}: must be an absolute file path"));
    }
    if !told.str_at(&["staticManifestsDir"]).is_empty() {
        let why = "staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature gate to be enabled";
        return Err(format!("staticManifestsDir: Forbidden: {why}"));
    }
    if file.is_empty() {
        return Ok(None);
    }
    Identities::read(path).map(|identities| Some(Arc::new(identities))).map_err(|error| error.to_string())
}

/// The webhooks that there are, if there is one whose rules name the request.
fn relevant(all: &Derived<Vec<Hook>>, attributes: &Attributes<'_>) -> Option<Vec<Hook>> {
    let held = all.get(&**attributes.ctx.registry.store());
    if held.is_empty() || matching::is_exempt(attributes) {
        return None;
    }
    // They are called for longer than what is derived may be held.
    let found: Vec<Hook> = held.iter().filter(|hook| hook.may_match(attributes)).cloned().collect();
    if found.is_empty() { None } else { Some(found) }
}
