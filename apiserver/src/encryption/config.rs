//! The file that says what is encrypted and how: `EncryptionConfiguration` in `apiserver.config.k8s.io/v1`, read as strictly
//! as the reference reads it (`loadConfig` in `server/options/encryptionconfig`).

mod validation;

use std::time::Duration;

use api::decode::{Format, decode_untyped};
use serde_json::{Map, Value};

/// More than any such file has.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
const KMS_TIMEOUT: Duration = Duration::from_secs(3);

/// What is encrypted, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct EncryptionConfiguration {
    /// Which resources by which providers.
    pub resources: Vec<ResourceConfiguration>,
}

/// Resources that have the same providers.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceConfiguration {
    /// As `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group) or `*.*`.
    pub resources: Vec<String>,
    /// The first encrypts, all decrypt.
    pub providers: Vec<ProviderConfiguration>,
}

/// One provider, of which exactly one field has to be there.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProviderConfiguration {
    /// AES-GCM.
    pub aesgcm: Option<Vec<Key>>,
    /// AES-CBC.
    pub aescbc: Option<Vec<Key>>,
    /// XSalsa20 and Poly1305.
    pub secretbox: Option<Vec<Key>>,
    /// As it is.
    pub identity: bool,
    /// A key management service.
    pub kms: Option<KmsConfiguration>,
}

/// A named key.
#[derive(Clone, PartialEq)]
pub struct Key {
    /// Stands before what was encrypted with it.
    pub name: String,
    /// In base 64.
    pub secret: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Name: {}, Secret: [REDACTED]", self.name)
    }
}

/// How a key management service is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct KmsConfiguration {
    /// `v1` or `v2`.
    pub api_version: String,
    /// Stands before what was encrypted with its keys.
    pub name: String,
    /// Of version 1 only.
    pub cache_size: Option<i64>,
    /// `unix:///path`
    pub endpoint: String,
    /// For one call, in nanoseconds.
    pub timeout: i64,
}

impl EncryptionConfiguration {
    /// Reads and checks the content of a file.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the reference; no key stands in them.
    pub fn parse(content: &[u8], file: &str, reload: bool) -> Result<Self, String> {
        if content.is_empty() {
            return Err(format!("error while loading file: encryption provider configuration file {file:?} is empty"));
        }
        let decoding =
            |error: String| format!("error decoding encryption provider configuration file {file:?}: {error}");
        let tree = decode_untyped(content, Format::Yaml).map_err(decoding)?;
        let config = Reader::default().configuration(&tree).map_err(decoding)?;
        let errors = validation::validate(&config, reload);
        match errors.as_slice() {
            [] => Ok(config),
            [error] => Err(error.to_string()),
            errors => {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                Err(format!("[{}]", texts.join(", ")))
            }
        }
    }
}

/// Reads the tree, and notes every field that it does not know.
#[derive(Default)]
struct Reader {
    unknown: Vec<String>,
}

type Fields<'a> = &'a Map<String, Value>;

impl Reader {
    fn configuration(mut self, tree: &Value) -> Result<EncryptionConfiguration, String> {
        let text = |name: &str| tree[name].as_str().unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let known = [("apiserver.config.k8s.io/v1", "EncryptionConfiguration"), ("v1", "EncryptionConfig")];
        if kind.is_empty() {
            return Err("Object 'Kind' is missing in the file".into());
        }
        if !known.contains(&(version, kind)) {
            return Err(format!("no kind {kind:?} is registered for version {version:?}"));
        }
        let root = fields(tree, "")?;
        self.known(root, "", &["apiVersion", "kind", "resources"]);
        let resources = self.list(root, "", "resources", |reader, value, path| {
            let map = fields(value, path)?;
            reader.known(map, path, &["resources", "providers"]);
            Ok(ResourceConfiguration {
                resources: reader.list(map, path, "resources", |_, value, path| text_of(value, path))?,
                providers: reader.list(map, path, "providers", Self::provider)?,
            })
        })?;
        if self.unknown.is_empty() {
            return Ok(EncryptionConfiguration { resources });
        }
        let unknown: Vec<String> = self.unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        Err(format!("strict decoding error: {}", unknown.join(", ")))
    }

    fn provider(&mut self, value: &Value, path: &str) -> Result<ProviderConfiguration, String> {
        let map = fields(value, path)?;
        self.known(map, path, &["aesgcm", "aescbc", "secretbox", "identity", "kms"]);
        let mut keys = |name: &str| match map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let path = child(path, name);
                let map = fields(value, &path)?;
                self.known(map, &path, &["keys"]);
                self.list(map, &path, "keys", |reader, value, path| {
                    let map = fields(value, path)?;
                    reader.known(map, path, &["name", "secret"]);
                    Ok(Key { name: text_in(map, path, "name")?, secret: text_in(map, path, "secret")? })
                })
                .map(Some)
            }
        };
        let (aesgcm, aescbc, secretbox) = (keys("aesgcm")?, keys("aescbc")?, keys("secretbox")?);
        let identity = match map.get("identity") {
            None | Some(Value::Null) => false,
            Some(value) => {
                let path = child(path, "identity");
                self.known(fields(value, &path)?, &path, &[]);
                true
            }
        };
        let kms = match map.get("kms") {
            None | Some(Value::Null) => None,
            Some(value) => Some(self.kms(value, &child(path, "kms"))?),
        };
        Ok(ProviderConfiguration { aesgcm, aescbc, secretbox, identity, kms })
    }

    fn kms(&mut self, value: &Value, path: &str) -> Result<KmsConfiguration, String> {
        let map = fields(value, path)?;
        self.known(map, path, &["apiVersion", "name", "cachesize", "endpoint", "timeout"]);
        let timeout = match map.get("timeout") {
            None | Some(Value::Null) => i64::try_from(KMS_TIMEOUT.as_nanos()).unwrap_or(i64::MAX),
            Some(Value::String(text)) => api::go::duration::parse(text).map_err(|error| error.to_string())?,
            Some(_) => return Err(wrong(&child(path, "timeout"), "a duration")),
        };
        let mut api_version = text_in(map, path, "apiVersion")?;
        if api_version.is_empty() {
            api_version = "v1".into();
        }
        let cache_size = match map.get("cachesize") {
            None | Some(Value::Null) => (api_version == "v1").then_some(1000),
            Some(value) => Some(value.as_i64().ok_or_else(|| wrong(&child(path, "cachesize"), "a number"))?),
        };
        let (name, endpoint) = (text_in(map, path, "name")?, text_in(map, path, "endpoint")?);
        Ok(KmsConfiguration { api_version, name, cache_size, endpoint, timeout })
    }

    fn known(&mut self, map: Fields<'_>, path: &str, names: &[&str]) {
        let unknown = map.keys().filter(|name| !names.contains(&name.as_str()));
        self.unknown.extend(unknown.map(|name| child(path, name)));
    }

    fn list<T>(
        &mut self,
        map: Fields<'_>,
        path: &str,
        name: &str,
        read: impl Fn(&mut Self, &Value, &str) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let path = child(path, name);
        match map.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(at, item)| read(self, item, &format!("{path}[{at}]"))).collect()
            }
            Some(_) => Err(wrong(&path, "a list")),
        }
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn wrong(path: &str, expected: &str) -> String {
    format!("json: cannot unmarshal {path}: it is not {expected}")
}

fn fields<'a>(value: &'a Value, path: &str) -> Result<Fields<'a>, String> {
    value.as_object().ok_or_else(|| wrong(path, "an object"))
}

fn text_of(value: &Value, path: &str) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(path, "a string"))
}

fn text_in(map: Fields<'_>, path: &str, name: &str) -> Result<String, String> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(value) => text_of(value, &child(path, name)),
    }
}

#[cfg(test)]
mod tests;
