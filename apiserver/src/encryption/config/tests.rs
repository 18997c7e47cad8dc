//! Files that are read, and what is said of others.

use super::*;

fn parse(text: &str) -> Result<EncryptionConfiguration, String> {
    EncryptionConfiguration::parse(text.as_bytes(), "f", true)
}

const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";

/// A file with one entry; `{}` stands for 32 bytes of a key.
fn one(resources: &str, providers: &str) -> String {
    let providers = providers.replace("{}", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    format!("{HEAD}resources:\n- resources: {resources}\n  providers: {providers}\n")
}

#[test]
fn every_provider_is_read() {
    let key = "{keys: [{name: k, secret: \"{}\"}]}";
    let text = one(
        "[secrets, '*.apps']",
        &format!(
            "[{{aesgcm: {key}}}, {{aescbc: {key}}}, {{secretbox: {key}}}, {{identity: {{ }}}}, \
             {{kms: {{apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: 1m}}}}]"
        ),
    );
    let config = parse(&text).unwrap();
    let [entry] = &config.resources[..] else { panic!("{config:?}") };
    assert_eq!(entry.resources, ["secrets", "*.apps"]);
    let [gcm, cbc, secretbox, identity, kms] = &entry.providers[..] else { panic!("{entry:?}") };
    assert_eq!(gcm.aesgcm.as_ref().unwrap()[0].name, "k");
    assert!(cbc.aescbc.is_some() && secretbox.secretbox.is_some() && identity.identity);
    assert_eq!(kms.kms.as_ref().unwrap().timeout, 60_000_000_000);
    assert!(!format!("{config:?}").contains("AAEC"), "no key is shown");
    let old = text.replace("apiserver.config.k8s.io/v1", "v1").replace("EncryptionConfiguration", "EncryptionConfig");
    assert_eq!(parse(&old).unwrap(), config, "the name that a document once had");
}

/// What is said of a file with one entry.
fn said(resources: &str, providers: &str) -> String {
    parse(&one(resources, providers)).map_or_else(|error| error, |config| format!("{config:?}"))
}

#[test]
fn what_is_wrong_is_said_in_the_words_of_the_reference() {
    let identity = "[{identity: {}}]".replace("{}", "{ }");
    for (resources, providers, expected) in [
        ("[]", &*identity, "resources[0].resources: Required value: at least one resources[0].resources is required"),
        ("[secrets]", "[]", "resources[0].providers: Required value: at least one resources[0].providers is required"),
        (
            "[secrets, secrets]",
            &identity,
            "resources[0].resources: Invalid value: [\"secrets\",\"secrets\"]: the same resource cannot be specified multiple times",
        ),
        (
            "[secrets, '*.']",
            &identity,
            "resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping resources such as 'secrets' and '*.' in \
             the same resource list is not allowed as they will be masked",
        ),
        ("[Secrets]", &identity, "resource name should not contain capital letters"),
        (
            "['*']",
            &identity,
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
        ),
        ("[serviceipallocations]", &identity, "resources which do not have REST API/s cannot be encrypted"),
        ("['*.extensions']", &identity, "'extensions' group has been removed and cannot be used for encryption"),
        ("['pods.*']", &identity, "encrypting the same resource across groups is not supported"),
        ("[events.events.k8s.io]", &identity, "Use 'events' instead in the config file"),
        (
            "[secrets]",
            "[{ }]",
            "resources[0].providers[0]: Invalid value: apiserver.ProviderConfiguration{AESGCM:(*apiserver.AESConfiguration)(nil), \
             AESCBC:(*apiserver.AESConfiguration)(nil), Secretbox:(*apiserver.SecretboxConfiguration)(nil), \
             Identity:(*apiserver.IdentityConfiguration)(nil), KMS:(*apiserver.KMSConfiguration)(nil)}: provider does not contain \
             any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
        ),
        (
            "[secrets]",
            "[{identity: { }, aesgcm: {keys: [{name: k, secret: \"{}\"}]}}]",
            "more than one provider specified in a single element, should split into different list elements",
        ),
        (
            "[secrets]",
            "[{aesgcm: { }}]",
            "resources[0].providers[0].aesgcm.keys: Required value: at least one keys is required",
        ),
        (
            "[secrets]",
            "[{aesgcm: {keys: [{ }]}}]",
            "[resources[0].providers[0].aesgcm.keys[0].name: Required value: name is a mandatory field for a key, \
             resources[0].providers[0].aesgcm.keys[0].secret: Required value: secret is a mandatory field for a key]",
        ),
        (
            "[secrets]",
            "[{aescbc: {keys: [{name: k, secret: YWJj}]}}]",
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got \
             3, expected one of [16 24 32]",
        ),
        ("[secrets]", "[{secretbox: {keys: [{name: k, secret: YWJj}]}}]", "got 3, expected one of [32]"),
        (
            "[secrets]",
            "[{secretbox: {keys: [{name: k, secret: '?'}]}}]",
            "\"REDACTED\": secrets must be base64 encoded",
        ),
        (
            "[secrets]",
            "[{kms: {name: a, endpoint: 'unix:///s', cachesize: 0}}]",
            "cachesize: Invalid value: 0: cachesize should be a positive value, or negative to disable",
        ),
        (
            "[secrets]",
            "[{kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', cachesize: 5}}]",
            "cachesize is not supported in v2",
        ),
        (
            "[secrets]",
            "[{kms: {apiVersion: v2, name: 'a:b', endpoint: 'unix:///s'}}]",
            "invalid KMS provider name a:b, must not contain ':'",
        ),
        ("[secrets]", "[{kms: {apiVersion: v2, endpoint: 'unix:///s'}}]", "name is a mandatory field for a provider"),
        ("[secrets]", "[{kms: {apiVersion: v2, name: a}}]", "endpoint is a mandatory field for a kms"),
        (
            "[secrets]",
            "[{kms: {apiVersion: v2, name: a, endpoint: 'tcp://a'}}]",
            "unsupported scheme \"tcp\" for KMS provider, only unix is supported",
        ),
        (
            "[secrets]",
            "[{kms: {apiVersion: v3, name: a, endpoint: 'unix:///s'}}]",
            "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported",
        ),
        (
            "[secrets]",
            "[{kms: {apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: 0s}}]",
            "timeout: Invalid value: \"0s\": timeout should be a positive value",
        ),
        (
            "[secrets]",
            "[{kms: {apiVersion: v2, name: a, endpoint: 'unix:///s'}}, {kms: {apiVersion: v2, name: a, endpoint: 'unix:///s'}}]",
            "resources[0].providers[1].kms.name: Invalid value: \"a\": duplicate KMS provider name a, names must be unique",
        ),
    ] {
        let said = said(resources, providers);
        assert!(said.ends_with(expected), "{resources} {providers}\n{said}\n{expected}");
    }
}

#[test]
fn what_is_no_such_file_is_refused() {
    for (text, expected) in [
        ("", "is empty"),
        ("a: [", "yaml: "),
        ("a: b", "Object 'Kind' is missing in the file"),
        ("apiVersion: v1\nkind: Pod", "no kind \"Pod\" is registered for version \"v1\""),
        (HEAD, "resources: Required value: at least one resources is required"),
        (&format!("{HEAD}resources: 3"), "json: cannot unmarshal resources: it is not a list"),
        (&format!("{HEAD}resources: [3]"), "json: cannot unmarshal resources[0]: it is not an object"),
        (
            &format!("{HEAD}more: 1\nresources: [{{resources: [a], providers: [{{identity: {{x: 1}}}}], more: 2}}]"),
            "strict decoding error: unknown field \"more\", unknown field \"resources[0].more\", unknown field \
             \"resources[0].providers[0].identity.x\"",
        ),
    ] {
        let said = parse(text).unwrap_err();
        assert!(said.contains(expected), "{text}\n{said}");
    }
}
