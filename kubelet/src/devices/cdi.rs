//! Devices by the Container Device Interface: a runtime of version 2 or newer reads the files in which drivers describe them
//! itself; for an older one the agent does, and puts what they say into the container's configuration.

use std::path::{Path, PathBuf};

use api::decode::{Format, decode_untyped};
use k8s_cri::v1::{CdiDevice, ContainerConfig, Device, KeyValue, Mount};
use serde_json::Value;

/// The directories of the files, in which later ones win.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// The first version of containerd that reads them without being told to.
const MAJOR_MIN: u32 = 2;
/// How many files are read, and how large one may be.
const FILES_MAX: usize = 1_024;
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a device may ask for that is put into the configuration; what else it asks for only the runtime could do.
const KNOWN: [&str; 3] = ["env", "deviceNodes", "mounts"];

/// Gives a container its devices, by what the runtime of this version knows.
///
/// # Errors
/// If a device is not described, or asks for what the runtime cannot do.
pub fn add(config: &mut ContainerConfig, ids: &[String], version: &str, directories: &[&Path]) -> Result<(), String> {
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_some_and(|major: u32| major >= MAJOR_MIN) {
        config.cdi_devices = ids.iter().map(|id| CdiDevice { name: id.clone() }).collect();
        return Ok(());
    }
    let files = read_all(directories);
    for id in ids {
        let (kind, name) = id.split_once('=').ok_or_else(|| format!("{id:?} is no CDI device"))?;
        let of_kind = files.iter().rev().filter(|file| file.get("kind").and_then(Value::as_str) == Some(kind));
        let found = of_kind.into_iter().find_map(|file| {
            let devices = file.get("devices").and_then(Value::as_array)?;
            let device = devices.iter().find(|device| device.get("name").and_then(Value::as_str) == Some(name))?;
            Some((file, device))
        });
        let (file, device) = found.ok_or_else(|| format!("unresolvable CDI devices {id}"))?;
        for edits in [file.get("containerEdits"), device.get("containerEdits")].into_iter().flatten() {
            apply(config, edits).map_err(|why| format!("CDI device {id}: {why}"))?;
        }
    }
    Ok(())
}

fn read_all(directories: &[&Path]) -> Vec<Value> {
    let mut found = Vec::new();
    for directory in directories {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for path in files.into_iter().take(FILES_MAX) {
            let is_small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX);
            let Some(text) = is_small.then(|| std::fs::read_to_string(&path).ok()).flatten() else { continue };
            let value = match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => serde_json::from_str(&text).ok(),
                Some("yaml") => decode_untyped(text.as_bytes(), Format::Yaml).ok(),
                _ => None,
            };
            found.extend(value);
        }
    }
    found
}

fn apply(config: &mut ContainerConfig, edits: &Value) -> Result<(), String> {
    let edits = edits.as_object().ok_or("containerEdits is no object")?;
    let is_set = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    if let Some((name, _)) = edits.iter().find(|(name, value)| !KNOWN.contains(&name.as_str()) && is_set(value)) {
        return Err(format!("{name} is not supported with this version of containerd"));
    }
    let list = |name: &str| edits.get(name).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    for pair in list("env").filter_map(Value::as_str) {
        let (key, value) = pair.split_once('=').ok_or("env has a variable without value")?;
        config.envs.retain(|known| known.key != key);
        config.envs.push(KeyValue { key: key.to_owned(), value: value.to_owned() });
    }
    for node in list("deviceNodes") {
        let path = text(node, "path").ok_or("deviceNodes has one without path")?;
        config.devices.push(Device {
            host_path: text(node, "hostPath").unwrap_or_else(|| path.clone()),
            container_path: path,
            permissions: text(node, "permissions").unwrap_or_else(|| "rwm".to_owned()),
        });
    }
    for mount in list("mounts") {
        let host_path = text(mount, "hostPath").ok_or("mounts has one without hostPath")?;
        let container_path = text(mount, "containerPath").ok_or("mounts has one without containerPath")?;
        let options = mount.get("options").and_then(Value::as_array).into_iter().flatten();
        let readonly = options.filter_map(Value::as_str).any(|option| option == "ro");
        config.mounts.push(Mount { host_path, container_path, readonly, ..Mount::default() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_reads_no_descriptions_gets_what_they_say() {
        let directory = tempfile::tempdir().expect("a directory");
        let spec = serde_json::json!({"cdiVersion": "0.5.0", "kind": "v.example/gpu", "containerEdits": {"env": ["ALL=1"]},
            "devices": [
                {"name": "one", "containerEdits": {"env": ["GPU=one"], "deviceNodes": [{"path": "/dev/null"}],
                    "mounts": [{"hostPath": "/h", "containerPath": "/c", "options": ["ro", "bind"]}]}},
                {"name": "odd", "containerEdits": {"hooks": [{"hookName": "createRuntime", "path": "/bin/true"}]}}]});
        std::fs::write(directory.path().join("a.json"), spec.to_string()).expect("a file");
        let add = |ids: &[&str], version: &str| {
            let mut config = ContainerConfig::default();
            let ids: Vec<String> = ids.iter().map(|id| (*id).to_string()).collect();
            add(&mut config, &ids, version, &[directory.path()]).map(|()| config)
        };
        let config = add(&["v.example/gpu=one"], "1.6.20~ds1").expect("its devices");
        let envs: Vec<_> = config.envs.iter().map(|env| format!("{}={}", env.key, env.value)).collect();
        assert_eq!(envs, ["ALL=1", "GPU=one"]);
        assert_eq!(
            (config.devices[0].host_path.as_str(), config.devices[0].permissions.as_str()),
            ("/dev/null", "rwm")
        );
        assert!(config.mounts[0].readonly && config.cdi_devices.is_empty());
        let passed = add(&["v.example/gpu=one"], "v2.0.1").expect("its name");
        assert_eq!(passed.cdi_devices[0].name, "v.example/gpu=one");
        assert_eq!(
            add(&["v.example/gpu=two"], "1.7.0").err().as_deref(),
            Some("unresolvable CDI devices v.example/gpu=two")
        );
        let odd = "CDI device v.example/gpu=odd: hooks is not supported with this version of containerd";
        assert_eq!(add(&["v.example/gpu=odd"], "1.6.20").err().as_deref(), Some(odd));
    }
}
