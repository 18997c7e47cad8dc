//! `--admission-control-config-file`: what plugins are told, in one file or in files of their own
//! (`ReadAdmissionConfiguration`).

use std::collections::BTreeMap;
use std::path::Path;

use api::Object;
use api::decode::{ConfigurationError, Format, configuration, configuration_in, decode_untyped};
use serde_json::Value;

/// Plugins whose own file could be given in the place of one that names it, and what such a file has.
const LEGACY: [(&str, &str); 2] =
    [("ImagePolicyWebhook", "imagePolicy"), ("PodNodeSelector", "podNodeSelectorPluginConfig")];

/// What the file of a plugin is.
pub(super) struct Kind {
    /// Its name.
    pub(super) name: &'static str,
    /// The groups that it may be of.
    pub(super) groups: &'static [&'static str],
    /// Whether what is not known is an error, as it is in the reference, or only told.
    pub(super) strict: bool,
}

/// What plugins are told, as it is written, by their names.
#[derive(Debug, Clone, Default)]
pub struct PluginFiles(BTreeMap<String, Vec<u8>>);

impl PluginFiles {
    /// Reads the file, and those that it names.
    ///
    /// # Errors
    /// What cannot be read, and why.
    pub fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |path: &Path, error: std::io::Error| {
            format!("unable to read admission control configuration from {:?} [{error}]", path.display().to_string())
        };
        let file = std::fs::read(path).map_err(|error| unreadable(path, error))?;
        let told = match configuration(&file, "AdmissionConfiguration") {
            Ok(told) => told,
            Err(error @ (ConfigurationError::Strict(_) | ConfigurationError::TooLarge(_))) => {
                return Err(error.to_string());
            }
            Err(error) => return legacy(&file).ok_or_else(|| error.to_string()),
        };
        let base = path.parent().unwrap_or(Path::new("."));
        let mut files = BTreeMap::new();
        for plugin in told["plugins"].as_array().into_iter().flatten() {
            let name = plugin["name"].as_str().unwrap_or("");
            let told = match (&plugin["configuration"], plugin["path"].as_str().unwrap_or("")) {
                (Value::Null, "") => continue,
                (Value::Null, path) => {
                    let path = base.join(path);
                    std::fs::read(&path).map_err(|error| unreadable(&path, error))?
                }
                (embedded, _) => embedded.to_string().into_bytes(),
            };
            // The first of a name counts.
            files.entry(name.to_owned()).or_insert(told);
        }
        Ok(Self(files))
    }

    /// For tests and for servers that are put together by hand.
    pub fn with(mut self, plugin: &str, file: impl Into<Vec<u8>>) -> Self {
        self.0.insert(plugin.into(), file.into());
        self
    }

    /// What a plugin is told, as it is written.
    pub fn of(&self, plugin: &str) -> Option<&[u8]> {
        self.0.get(plugin).map(Vec::as_slice)
    }

    /// What a plugin is told, as a kind of its own; none if it is told nothing.
    ///
    /// # Errors
    /// Why it cannot be told that.
    pub(super) fn decoded(&self, plugin: &str, kind: &Kind) -> Result<Option<Object>, String> {
        let Some(file) = self.of(plugin) else { return Ok(None) };
        let read = configuration_in(file, kind.name, |group| kind.groups.contains(&group));
        let (value, unknown) = read.map_err(|error| error.to_string())?;
        if kind.strict && !unknown.is_empty() {
            return Err(ConfigurationError::Strict(unknown.join(", ")).to_string());
        }
        for text in &unknown {
            tracing::warn!(plugin, text, "the configuration of an admission plugin says what is not known");
        }
        Ok(Object::from_value(value))
    }

    /// What a plugin is told in a file that does not say what it is; none if it is told nothing.
    ///
    /// # Errors
    /// If it is neither JSON nor YAML.
    pub(super) fn plain(&self, plugin: &str) -> Result<Option<Value>, String> {
        self.of(plugin).map(|file| decode_untyped(file, Format::Yaml)).transpose()
    }
}

/// A file of the time before there was one that names others.
fn legacy(file: &[u8]) -> Option<PluginFiles> {
    let tree = decode_untyped(file, Format::Yaml).ok()?;
    LEGACY
        .iter()
        .any(|(_, field)| tree.get(field).is_some())
        .then(|| PluginFiles(LEGACY.iter().map(|(name, _)| (name.to_string(), file.to_vec())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(directory: &tempfile::TempDir, text: &str) -> Result<PluginFiles, String> {
        let path = directory.path().join("admission.yaml");
        std::fs::write(&path, text).unwrap();
        PluginFiles::read(&path)
    }

    #[test]
    fn plugins_are_told_in_one_file_or_in_their_own() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("selector.yaml"), "podNodeSelectorPluginConfig: {a: b=c}\n").unwrap();
        let files = read(
            &directory,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n\
             - name: PodNodeSelector\n  path: selector.yaml\n- name: PodSecurity\n  configuration: {kind: X}\n\
             - name: Nothing\n",
        );
        let files = files.unwrap();
        assert_eq!(files.plain("PodNodeSelector").unwrap().unwrap()["podNodeSelectorPluginConfig"]["a"], "b=c");
        assert_eq!(files.of("PodSecurity"), Some(&b"{\"kind\":\"X\"}"[..]));
        assert_eq!(files.of("Nothing"), None);
    }

    #[test]
    fn a_file_of_old_is_one_plugins_own() {
        let directory = tempfile::tempdir().unwrap();
        let files = read(&directory, "podNodeSelectorPluginConfig:\n  a: b=c\n").unwrap();
        assert!(files.of("PodNodeSelector").is_some() && files.of("PodSecurity").is_none());
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n";
        for (text, expected) in [
            ("a: b", "Object 'Kind' is missing in 'a: b'"),
            (&format!("{head}plugin: []\n"), "strict decoding error: unknown field \"plugin\""),
            (
                &format!("{head}plugins: [{{name: a, name: b}}]\n"),
                "yaml: unmarshal errors:\n  line 3: key \"name\" already set in map",
            ),
            (&format!("{head}plugins: x\n"), "cannot unmarshal string"),
            (&format!("{head}plugins: [{{name: a, path: gone.yaml}}]\n"), "gone.yaml\" [No such file"),
            (
                "apiVersion: v1\nkind: AdmissionConfiguration\n",
                "no kind \"AdmissionConfiguration\" is registered for version \"v1\"",
            ),
        ] {
            let error = read(&directory, text).unwrap_err();
            assert!(error.contains(expected), "{error}\n{expected}");
        }
        let error = PluginFiles::read(&directory.path().join("none")).unwrap_err();
        assert!(error.starts_with("unable to read admission control configuration from "), "{error}");
    }
}
