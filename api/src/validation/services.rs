//! API services: which server serves which version of which group.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::at::At;
use super::rules;
use crate::field::{ErrorList, FieldError};
use crate::names;

const GROUP_PRIORITY_MAX: i64 = 20_000;
const VERSION_PRIORITY_MAX: i64 = 1_000;

/// `ValidateAPIService` and `ValidateAPIServiceUpdate`
pub(crate) fn api_service(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    let spec = new.field("spec");
    let (name, group, version) = (new.at(&["metadata", "name"]), spec.field("group"), spec.field("version"));
    let wanted = format!("{}.{}", version.text(), group.text());
    if !name.is_empty() && name.text() != wanted && names::path_segment(name.text()).is_empty() {
        let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
        // The name is checked with the rest of the metadata, before what else may be wrong there.
        errors.insert(0, FieldError::invalid(&name.path, name.text(), detail));
    }
    if group.is_empty() && version.text() != "v1" {
        let detail = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(&group.path, detail));
    }
    if !group.is_empty() {
        rules::invalid_each(&group, names::dns1123_subdomain(group.text()), errors);
    }
    for message in names::dns1035_label(version.text()) {
        errors.push(FieldError::invalid(&version.path, version.text(), message));
    }
    let (of_group, of_version) = (spec.field("groupPriorityMinimum"), spec.field("versionPriority"));
    for (priority, most) in [(of_group, GROUP_PRIORITY_MAX), (of_version, VERSION_PRIORITY_MAX)] {
        let number = priority.number().unwrap_or(0);
        if !(1..=most).contains(&number) {
            let detail = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(&priority.path, number, detail));
        }
    }
    backend(&spec, errors);
}

fn backend(spec: &At<'_>, errors: &mut ErrorList) {
    let (service, bundle, insecure) =
        (spec.field("service"), spec.field("caBundle"), spec.field("insecureSkipTLSVerify"));
    let size = STANDARD.decode(bundle.text()).map_or(0, |bytes| bytes.len());
    if service.is_absent() {
        if size > 0 {
            let detail = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&bundle.path, format!("{size} bytes"), detail));
        }
        if insecure.is_true() {
            let detail = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&insecure.path, true, detail));
        }
        return;
    }
    rules::required(&service.field("namespace"), errors);
    rules::required(&service.field("name"), errors);
    let port = service.field("port");
    let number = port.number().unwrap_or(0);
    if !(1..=65535).contains(&number) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(FieldError::invalid(&port.path, number, detail));
    }
    if insecure.is_true() && size > 0 {
        errors.push(FieldError::invalid(&insecure.path, true, "may not be true if caBundle is present"));
    }
}

/// `ValidateAPIServiceStatusUpdate`
pub(crate) fn api_service_status(new: &At<'_>, _: Option<&At<'_>>, errors: &mut ErrorList) {
    for condition in new.at(&["status", "conditions"]).items() {
        let status = condition.field("status");
        if !matches!(status.text(), "True" | "False" | "Unknown") {
            errors.push(FieldError::not_supported(&status.path, status.text(), &["True", "False", "Unknown"]));
        }
    }
}
