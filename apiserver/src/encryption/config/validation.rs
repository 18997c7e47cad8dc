//! What the reference checks of the file (`ValidateEncryptionConfiguration` in `apis/apiserver/validation`).

use std::collections::HashSet;

use api::field::{FieldError, Path};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{EncryptionConfiguration, Key, KmsConfiguration, ProviderConfiguration};
use crate::encryption::resources::GroupResource;

const AES_KEY_BYTES: &[usize] = &[16, 24, 32];
const SECRETBOX_KEY_BYTES: &[usize] = &[32];

pub(super) fn validate(config: &EncryptionConfiguration, reload: bool) -> Vec<FieldError> {
    let root = Path::new("resources");
    if config.resources.is_empty() {
        return vec![FieldError::required(&root, "at least one resources is required")];
    }
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    for (at, entry) in config.resources.iter().enumerate() {
        let (resources, providers) = (root.index(at).child("resources"), root.index(at).child("providers"));
        if entry.resources.is_empty() {
            errors.push(FieldError::required(&resources, format!("at least one {resources} is required")));
        }
        errors.extend(overlaps(&entry.resources, &resources));
        let each = entry.resources.iter().enumerate();
        errors.extend(each.filter_map(|(at, resource)| resource_name(resource, &resources.index(at))));
        if entry.providers.is_empty() {
            errors.push(FieldError::required(&providers, format!("at least one {providers} is required")));
        }
        for (at, provider) in entry.providers.iter().enumerate() {
            let path = providers.index(at);
            errors.extend(one_of(provider, &path));
            // Of several only the first is looked at, in this order.
            if let Some(kms) = &provider.kms {
                errors.extend(kms_configuration(kms, &path.child("kms"), &names, reload));
                names.insert(kms.name.as_str());
            } else if let Some(keys) = &provider.aesgcm {
                errors.extend(key_list(keys, &path.child("aesgcm").child("keys"), AES_KEY_BYTES));
            } else if let Some(keys) = &provider.aescbc {
                errors.extend(key_list(keys, &path.child("aescbc").child("keys"), AES_KEY_BYTES));
            } else if let Some(keys) = &provider.secretbox {
                errors.extend(key_list(keys, &path.child("secretbox").child("keys"), SECRETBOX_KEY_BYTES));
            }
        }
    }
    errors
}

/// `validateResourceOverlap`
fn overlaps(resources: &[String], path: &Path) -> Vec<FieldError> {
    let parsed: Vec<GroupResource> = resources.iter().map(|resource| GroupResource::parse(resource)).collect();
    let (mut repeated, mut overlapping) = (false, false);
    for (at, one) in parsed.iter().enumerate() {
        for (_, other) in parsed.iter().enumerate().filter(|(other, _)| *other != at) {
            if one == other && !repeated {
                repeated = true;
            } else if one.is_everything() {
                overlapping = true;
            } else {
                overlapping |= one.group == other.group && (one.resource == "*" || other.resource == "*");
            }
        }
    }
    let found = [
        (repeated, "the same resource cannot be specified multiple times"),
        (
            overlapping,
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they \
             will be masked",
        ),
    ];
    let shown = || resources.to_vec();
    found.into_iter().filter(|(is, _)| *is).map(|(_, text)| FieldError::invalid(path, shown(), text)).collect()
}

/// `validateResourceNames`
fn resource_name(name: &str, path: &Path) -> Option<FieldError> {
    let parsed = GroupResource::parse(name);
    let why = if name.to_lowercase() != name {
        "resource name should not contain capital letters"
    } else if name == "*" {
        "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
    } else if matches!(name, "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations") {
        "resources which do not have REST API/s cannot be encrypted"
    } else if parsed.group == "events.k8s.io" {
        "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
    } else if parsed.group == "extensions" {
        "'extensions' group has been removed and cannot be used for encryption"
    } else if parsed.group == "*" && parsed.resource != "*" {
        "encrypting the same resource across groups is not supported"
    } else {
        return None;
    };
    Some(FieldError::invalid(path, name, why))
}

/// `validateSingleProvider`
fn one_of(provider: &ProviderConfiguration, path: &Path) -> Option<FieldError> {
    let ProviderConfiguration { aesgcm, aescbc, secretbox, identity, kms } = provider;
    let there = [
        ("AESGCM:(*apiserver.AESConfiguration)", aesgcm.is_some()),
        ("AESCBC:(*apiserver.AESConfiguration)", aescbc.is_some()),
        ("Secretbox:(*apiserver.SecretboxConfiguration)", secretbox.is_some()),
        ("Identity:(*apiserver.IdentityConfiguration)", *identity),
        ("KMS:(*apiserver.KMSConfiguration)", kms.is_some()),
    ];
    let why = match there.iter().filter(|(_, is)| *is).count() {
        1 => return None,
        0 => "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
        _ => "more than one provider specified in a single element, should split into different list elements",
    };
    // Go shows where things lie in its memory; what lies there is not to be shown.
    let each = there.map(|(name, is)| format!("{name}({})", if is { "0xc000000000" } else { "nil" }));
    let shown = format!("apiserver.ProviderConfiguration{{{}}}", each.join(", "));
    Some(FieldError::invalid_text(path, shown, why))
}

/// `validateKeys`
fn key_list(keys: &[Key], path: &Path, lengths: &[usize]) -> Vec<FieldError> {
    if keys.is_empty() {
        return vec![FieldError::required(path, "at least one keys is required")];
    }
    keys.iter().enumerate().flat_map(|(at, one)| key(one, &path.index(at), lengths)).collect()
}

/// `validateKey`
fn key(key: &Key, path: &Path, lengths: &[usize]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mandatory =
        |name: &str| FieldError::required(&path.child(name), format!("{name} is a mandatory field for a key"));
    if key.name.is_empty() {
        errors.push(mandatory("name"));
    }
    if key.secret.is_empty() {
        errors.push(mandatory("secret"));
        return errors;
    }
    let why = match STANDARD.decode(&key.secret) {
        Err(_) => "secrets must be base64 encoded".to_owned(),
        Ok(secret) if lengths.contains(&secret.len()) => return errors,
        Ok(secret) => {
            let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
            let expected = lengths.join(" ");
            format!("secret is not of the expected length, got {}, expected one of [{expected}]", secret.len())
        }
    };
    errors.push(FieldError::invalid(&path.child("secret"), "REDACTED", why));
    errors
}

/// `validateKMSConfiguration`
fn kms_configuration(kms: &KmsConfiguration, path: &Path, names: &HashSet<&str>, reload: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (name, is_v1) = (kms.name.as_str(), kms.api_version == "v1");
    let at = path.child("name");
    if name.is_empty() {
        errors.push(FieldError::required(&at, "name is a mandatory field for a provider"));
    }
    if !is_v1 && name.contains(':') {
        errors.push(FieldError::invalid(&at, name, format!("invalid KMS provider name {name}, must not contain ':'")));
    }
    if (reload || !is_v1) && names.contains(name) {
        errors.push(FieldError::invalid(
            &at,
            name,
            format!("duplicate KMS provider name {name}, names must be unique"),
        ));
    }
    if kms.timeout <= 0 {
        let shown = api::go::duration::format(kms.timeout);
        errors.push(FieldError::invalid(&path.child("timeout"), shown, "timeout should be a positive value"));
    }
    let at = path.child("endpoint");
    if kms.endpoint.is_empty() {
        errors.push(FieldError::invalid(&at, "", "endpoint is a mandatory field for a kms"));
    } else {
        let scheme = kms.endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
        if scheme != "unix" {
            let why = format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported");
            errors.push(FieldError::invalid(&at, kms.endpoint.as_str(), why));
        }
    }
    let at = path.child("cachesize");
    match kms.cache_size {
        Some(size) if !is_v1 => errors.push(FieldError::invalid(&at, size, "cachesize is not supported in v2")),
        Some(0) => {
            errors.push(FieldError::invalid(&at, 0, "cachesize should be a positive value, or negative to disable"));
        }
        _ => {}
    }
    if !matches!(kms.api_version.as_str(), "v1" | "v2") {
        let why = "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported";
        errors.push(FieldError::invalid(&path.child("apiVersion"), kms.api_version.as_str(), why));
    }
    errors
}
