//! The volumes of one pod: made before its containers, kept up to date while it runs, taken away at its end.

mod atomic;
mod claim;
mod host_path;
pub(crate) mod image;
mod local;
pub mod mounts;
mod ownership;
mod payload;
mod subpath;
mod token;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use sha2::{Digest, Sha256};

use crate::{agent::Agent, pod};
pub(crate) use local::mounts as mount_points;
use ownership::Owner;
use payload::Payload;

/// A volume that is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is on the host.
    pub path: PathBuf,
    /// Whether containers may only read it.
    pub read_only: bool,
}

/// Where a pod's subpath mounts are.
pub(crate) const SUBPATHS: &str = "volume-subpaths";

/// The volumes of one pod.
pub struct Volumes {
    agent: Arc<Agent>,
    uid: String,
    tokens: token::Tokens,
    written: HashMap<String, Vec<u8>>,
    mounted: Arc<HashMap<String, Mounted>>,
    shows_images: bool,
    torn_down: bool,
}

impl Volumes {
    /// The volumes of this pod, none of them set up.
    pub fn new(agent: Arc<Agent>, of: &Pod) -> Self {
        Self {
            tokens: token::Tokens::new(agent.clone()),
            agent,
            uid: pod::uid(of).to_owned(),
            shows_images: of.spec.iter().flat_map(|s| s.volumes.iter().flatten()).any(|v| v.image.is_some()),
            written: HashMap::new(),
            mounted: Arc::default(),
            torn_down: false,
        }
    }

    /// The volumes that are set up, by name.
    pub fn mounted(&self) -> Arc<HashMap<String, Mounted>> {
        self.mounted.clone()
    }

    /// Sets up what is missing and writes what has changed; answers when a token must be renewed.
    ///
    /// # Errors
    /// With the message of the `FailedMount` event.
    pub async fn set_up(&mut self, pod: &Pod, pod_ips: Vec<String>) -> Result<Option<Timestamp>, String> {
        self.torn_down = false;
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
        let mut mounted = HashMap::clone(&self.mounted);
        for volume in volumes {
            let started = self.agent.config.clock.elapsed();
            let known = mounted.get(&volume.name);
            let result = self.set_up_one(pod, volume, &pod_ips, known).await;
            if known.is_none() {
                let took = self.agent.config.clock.elapsed().saturating_sub(started);
                self.agent.figures.volume(plugin(volume), "volume_mount", result.is_ok(), took);
            }
            let one = result.map_err(|e| format!("MountVolume.SetUp failed for volume {:?} : {e}", volume.name))?;
            mounted.insert(volume.name.clone(), one);
        }
        self.mounted = Arc::new(mounted);
        Ok(self.tokens.refresh_at())
    }

    async fn set_up_one(
        &mut self,
        pod: &Pod,
        volume: &Volume,
        pod_ips: &[String],
        known: Option<&Mounted>,
    ) -> Result<Mounted, String> {
        let owner = Owner::of(pod);
        if let Some(payload) = payload::of(&self.agent, &mut self.tokens, pod, volume, pod_ips).await? {
            return self.write(volume, payload, &owner);
        }
        if let Some(known) = known {
            return Ok(known.clone());
        }
        if let Some(empty_dir) = &volume.empty_dir {
            let path = self.directory("empty-dir", &volume.name);
            local::empty_dir(&path, empty_dir, &owner)?;
            return Ok(Mounted { path, read_only: false });
        }
        if volume.image.is_some() {
            // It is mounted by the first container that wants it, which is who waits if the image does not come.
            return Ok(Mounted { path: image::path(&self.agent.config, &self.uid, &volume.name), read_only: true });
        }
        if let Some(source) = &volume.host_path {
            let path = host_path::check(source)?;
            return Ok(Mounted { path, read_only: false });
        }
        match api::pods::claim_of(pod::name(pod), volume) {
            Some(name) => {
                let claim = volume.persistent_volume_claim.as_ref();
                let read_only = claim.and_then(|claim| claim.read_only).unwrap_or(false);
                claim::resolve(&self.agent, pod, &name, read_only, &owner).await
            }
            None => Err("this kind of volume is not supported by this node".to_owned()),
        }
    }

    fn directory(&self, kind: &str, name: &str) -> PathBuf {
        self.agent.config.pod_dir(&self.uid).join("volumes").join(format!("kubernetes.io~{kind}")).join(name)
    }

    fn write(&mut self, volume: &Volume, payload: Payload, owner: &Owner) -> Result<Mounted, String> {
        let path = self.directory(payload.kind, &volume.name);
        let mut hasher = Sha256::new();
        for (name, file) in &payload.files {
            hasher.update(format!("{name}\0{:o}\0{}\0", file.mode, file.bytes.len()));
            hasher.update(&file.bytes);
        }
        let hash = hasher.finalize().to_vec();
        if self.written.get(&volume.name) != Some(&hash) {
            if payload.secret {
                local::memory_backed(&path, None)?;
            }
            let random = self.agent.config.clock.random_bits();
            let stamp = format!("..{}.{}", self.agent.config.clock.now().strftime("%Y_%m_%d_%H_%M_%S"), random as u32);
            atomic::write(&path, &payload.files, &stamp, owner).map_err(|error| error.to_string())?;
            self.written.insert(volume.name.clone(), hash);
        }
        Ok(Mounted { path, read_only: true })
    }

    /// Unmounts and removes everything.
    ///
    /// # Errors
    /// When a mount is still in use.
    pub async fn tear_down(&mut self) -> Result<(), String> {
        if self.torn_down {
            return Ok(());
        }
        tear_down(&self.agent.config.pod_dir(&self.uid))?;
        if self.shows_images {
            crate::images::view::release(&self.agent.cri, &self.uid).await.map_err(|error| error.to_string())?;
        }
        self.written.clear();
        self.tokens.clear();
        self.mounted = Arc::default();
        self.torn_down = true;
        Ok(())
    }
}

/// The reference's name of what a volume is on.
fn plugin(volume: &Volume) -> &'static str {
    match () {
        () if volume.config_map.is_some() => "kubernetes.io/configmap",
        () if volume.secret.is_some() => "kubernetes.io/secret",
        () if volume.downward_api.is_some() => "kubernetes.io/downward-api",
        () if volume.projected.is_some() => "kubernetes.io/projected",
        () if volume.empty_dir.is_some() => "kubernetes.io/empty-dir",
        () if volume.host_path.is_some() => "kubernetes.io/host-path",
        () if volume.image.is_some() => "kubernetes.io/image",
        () if volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some() => "kubernetes.io/local-volume",
        () => "",
    }
}

/// Unmounts the volumes below a pod's directory; what is in them stays.
///
/// # Errors
/// When a mount is still in use.
pub fn unmount(pod_dir: &std::path::Path) -> Result<(), String> {
    local::unmount_below(pod_dir)
}

/// Unmounts and removes the volumes below a pod's directory, also of a pod that nobody knows any more.
///
/// # Errors
/// When a mount is still in use or a directory cannot be removed.
pub fn tear_down(pod_dir: &std::path::Path) -> Result<(), String> {
    local::unmount_below(pod_dir)?;
    for name in ["volumes", SUBPATHS] {
        match std::fs::remove_dir_all(pod_dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", pod_dir.join(name).display()));
            }
            _ => {}
        }
    }
    Ok(())
}
