//! The claims that pods of this node use, as they are kept over a restart (`claimInfoCache`, `state.Checkpoint`).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::ResourceExt;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::calls::PreparedDevice;

/// The file, below the agent's directory.
const FILE: &str = "dra_manager_state";
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A claim that pods use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimInfo {
    /// Its uid.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The uids of the pods.
    pub pods: BTreeSet<String>,
    /// The drivers of its devices, and what they made of them.
    pub drivers: BTreeMap<String, Vec<PreparedDevice>>,
    /// Whether all drivers are done, as far as this agent knows.
    pub is_prepared: bool,
}

/// The key of a claim: namespace and name.
pub type Key = (String, String);

/// The claims in use.
pub struct Claims {
    file: PathBuf,
    all: Mutex<BTreeMap<Key, ClaimInfo>>,
}

impl ClaimInfo {
    /// A claim that no driver has worked on.
    ///
    /// # Errors
    /// If it has no devices.
    pub fn new(claim: &ResourceClaim) -> Result<Self, String> {
        let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
        let allocation = allocation.ok_or("not allocated")?;
        let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
        Ok(Self {
            uid: claim.uid().unwrap_or_default(),
            name: claim.name_any(),
            namespace: claim.namespace().unwrap_or_default(),
            drivers: results.map(|result| (result.driver.clone(), Vec::new())).collect(),
            ..Self::default()
        })
    }

    /// Its key.
    pub fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    /// What the runtime knows the devices by that are for a request, or for any if none is named.
    pub fn cdi_ids<'a>(&'a self, request: &'a str) -> impl Iterator<Item = &'a str> {
        let is_for = move |device: &&PreparedDevice| {
            request.is_empty() || device.request_names.is_empty() || device.request_names.iter().any(|r| r == request)
        };
        let devices = self.drivers.values().flatten().filter(is_for);
        devices.flat_map(|device| device.cdi_device_ids.iter().map(String::as_str))
    }

    fn to_json(&self) -> Value {
        let pods: Map<String, Value> = self.pods.iter().map(|uid| (uid.clone(), json!({}))).collect();
        let device = |device: &PreparedDevice| {
            json!({"PoolName": device.pool_name, "DeviceName": device.device_name, "ShareID": device.share_id,
                "RequestNames": device.request_names, "CDIDeviceIDs": device.cdi_device_ids})
        };
        let state = |devices: &Vec<PreparedDevice>| json!({"Devices": devices.iter().map(device).collect::<Vec<_>>()});
        let drivers: Map<String, Value> = self.drivers.iter().map(|(name, all)| (name.clone(), state(all))).collect();
        json!({"ClaimUID": self.uid, "ClaimName": self.name, "Namespace": self.namespace, "PodUIDs": pods,
            "DriverState": drivers})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |value: &Value, key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let texts = |value: &Value, key: &str| {
            let list = value.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(|text| Some(text.as_str()?.to_owned())).collect()
        };
        let device = |value: &Value| {
            Some(PreparedDevice {
                request_names: texts(value, "RequestNames"),
                pool_name: text(value, "PoolName")?,
                device_name: text(value, "DeviceName")?,
                cdi_device_ids: texts(value, "CDIDeviceIDs"),
                share_id: text(value, "ShareID"),
            })
        };
        let drivers = value.get("DriverState").and_then(Value::as_object).into_iter().flatten();
        let drivers = drivers.map(|(name, state)| {
            let devices = state.get("Devices").and_then(Value::as_array).into_iter().flatten();
            Some((name.clone(), devices.map(device).collect::<Option<Vec<_>>>()?))
        });
        let pods = value.get("PodUIDs").and_then(Value::as_object).into_iter().flatten();
        Some(Self {
            uid: text(value, "ClaimUID")?,
            name: text(value, "ClaimName")?,
            namespace: text(value, "Namespace")?,
            pods: pods.map(|(uid, _)| uid.clone()).collect(),
            drivers: drivers.collect::<Option<BTreeMap<_, _>>>()?,
            is_prepared: false,
        })
    }
}

impl Claims {
    /// The claims that the agent before knew.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or does not check out: pods might have devices that nobody gives back.
    pub fn load(directory: &Path) -> Result<Self, String> {
        let file = directory.join(FILE);
        let advice = |why: &dyn std::fmt::Display| {
            let file = file.display();
            format!(
                "cannot read the claims of devices in {file}, please drain node and remove DRA state file, err: {why}"
            )
        };
        let all = match std::fs::metadata(&file).and_then(|meta| match meta.len() <= FILE_BYTES_MAX {
            true => std::fs::read(&file),
            false => Err(io::Error::other("it is too large")),
        }) {
            Ok(bytes) => read(&bytes).map_err(|why| advice(&why))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(advice(&error)),
        };
        Ok(Self { file, all: Mutex::new(all) })
    }

    /// Reads the claims.
    pub fn read<T>(&self, look: impl FnOnce(&BTreeMap<Key, ClaimInfo>) -> T) -> T {
        look(&self.all.lock())
    }

    /// Changes the claims; what was changed is on the disk when this returns.
    ///
    /// # Errors
    /// What the change says, or that it could not be written.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<Key, ClaimInfo>) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut all = self.all.lock();
        let value = change(&mut all)?;
        self.write(&all).map_err(|error| format!("checkpoint ResourceClaim cache: {error}"))?;
        Ok(value)
    }

    fn write(&self, all: &BTreeMap<Key, ClaimInfo>) -> io::Result<()> {
        let list: Vec<Value> = all.values().map(ClaimInfo::to_json).collect();
        let data = json!({"kind": "DRACheckpoint", "apiVersion": "checkpoint.dra.kubelet.k8s.io/v1",
            "ClaimInfoStateList": list})
        .to_string();
        let checkpoint = json!({"Data": data, "Checksum": crc32fast::hash(data.as_bytes())});
        files::private::write(&self.file, checkpoint.to_string().as_bytes())
    }
}

fn read(bytes: &[u8]) -> Result<BTreeMap<Key, ClaimInfo>, String> {
    let whole: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let data = whole.get("Data").and_then(Value::as_str).ok_or("it has no data")?;
    let checksum = whole.get("Checksum").and_then(Value::as_u64).ok_or("it has no checksum")?;
    if u64::from(crc32fast::hash(data.as_bytes())) != checksum {
        return Err("checkpoint is corrupted".into());
    }
    let data: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
    let list = data.get("ClaimInfoStateList").and_then(Value::as_array).into_iter().flatten();
    let claims = list.map(|value| ClaimInfo::from_json(value).map(|info| (info.key(), info)));
    claims.collect::<Option<_>>().ok_or_else(|| "a claim in it cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_outlive_the_agent_and_what_is_broken_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let device = PreparedDevice {
            request_names: vec!["r".into()],
            pool_name: "p".into(),
            device_name: "d".into(),
            cdi_device_ids: vec!["v/c=d".into()],
            share_id: None,
        };
        let info = ClaimInfo {
            uid: "u".into(),
            name: "c".into(),
            namespace: "n".into(),
            pods: BTreeSet::from(["pod".to_string()]),
            drivers: BTreeMap::from([("driver".to_string(), vec![device])]),
            is_prepared: true,
        };
        let claims = Claims::load(directory.path()).expect("nothing yet");
        let added = claims.change(|all| Ok(all.insert(info.key(), info.clone())));
        added.expect("it is written");
        let again = Claims::load(directory.path()).expect("what was written");
        let known = again.read(|all| all.values().cloned().collect::<Vec<_>>());
        assert_eq!(known, [ClaimInfo { is_prepared: false, ..info.clone() }]);
        assert_eq!(info.cdi_ids("r").chain(info.cdi_ids("")).collect::<Vec<_>>(), ["v/c=d", "v/c=d"]);
        assert_eq!(info.cdi_ids("s").count(), 0);
        let file = directory.path().join(FILE);
        let text = std::fs::read_to_string(&file).expect("the file").replace("driver", "drover");
        std::fs::write(&file, text).expect("it is changed");
        let why = Claims::load(directory.path()).err().expect("a refusal");
        assert!(why.contains("please drain node and remove DRA state file, err: checkpoint is corrupted"), "{why}");
    }
}
