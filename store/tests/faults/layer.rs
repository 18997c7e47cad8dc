//! A file layer that remembers what was synced, and does harm on demand.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use store::files::{DataFile, Disk, Files, Room};

/// What a disk writes at once or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// Room can no longer be reserved.
    pub full: AtomicBool,
    /// Writes find no room either.
    pub write_full: AtomicBool,
    /// Syncs fail.
    pub sync_fails: AtomicBool,
    /// Syncs below the checkpoint fail.
    pub checkpoint_sync_fails: AtomicBool,
    /// Nothing below the checkpoint is synced: what relying on sled's own `flush` would be.
    pub checkpoint_unsynced: bool,
    /// How often something was synced.
    pub syncs: AtomicUsize,
}

/// What would be found after a power failure. Files have numbers of our own, since the system uses inodes again.
#[derive(Default)]
struct Durable {
    /// By path: the inode there and our number for it.
    numbers: HashMap<PathBuf, (u64, u64)>,
    last: u64,
    /// By number: the content when it was last synced.
    content: HashMap<u64, Vec<u8>>,
    /// By directory: the names when it was last synced.
    names: HashMap<PathBuf, HashMap<String, u64>>,
}

/// The layer. Files are real; beside them is kept what was synced of them.
#[derive(Clone)]
pub(crate) struct FaultyFiles(Arc<Inner>);

struct Inner {
    root: PathBuf,
    faults: Faults,
    durable: Mutex<Durable>,
}

impl FaultyFiles {
    pub(crate) fn new(root: &Path, faults: Faults) -> Self {
        Self(Arc::new(Inner { root: root.to_path_buf(), faults, durable: Mutex::default() }))
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Writes to `target` what is left after a power failure now. With `survives`, a sector that was written but
    /// not synced is there if the function says so.
    pub(crate) fn cut_power(&self, target: &Path, survives: Option<&mut dyn FnMut() -> bool>) {
        let durable = self.0.durable.lock();
        let mut never = || false;
        durable.restore(&self.0.root, target, survives.unwrap_or(&mut never));
    }
}

impl Durable {
    fn number(&mut self, path: &Path, inode: u64) -> u64 {
        match self.numbers.get(path) {
            Some(&(known, number)) if known == inode => number,
            _ => {
                self.last += 1;
                self.numbers.insert(path.to_path_buf(), (inode, self.last));
                self.last
            }
        }
    }

    fn restore(&self, from: &Path, to: &Path, survives: &mut dyn FnMut() -> bool) {
        fs::create_dir_all(to).unwrap();
        for (name, number) in self.names.get(from).into_iter().flatten() {
            let (source, target) = (from.join(name), to.join(name));
            // A directory of that name may be gone or another since; its synced names tell.
            if self.names.contains_key(&source) || source.is_dir() {
                self.restore(&source, &target, survives);
                continue;
            }
            let synced = self.content.get(number).cloned().unwrap_or_default();
            let unsynced = match self.numbers.get(&source) {
                Some((_, there)) if there == number => fs::read(&source).unwrap_or_default(),
                _ => synced.clone(),
            };
            fs::write(target, mix(synced, &unsynced, survives)).unwrap();
        }
    }
}

fn mix(mut synced: Vec<u8>, unsynced: &[u8], survives: &mut dyn FnMut() -> bool) -> Vec<u8> {
    for at in (0..unsynced.len()).step_by(SECTOR_BYTES) {
        let sector = at..(at + SECTOR_BYTES).min(unsynced.len());
        if synced.get(sector.clone()) != Some(&unsynced[sector.clone()]) && survives() {
            synced.resize(synced.len().max(sector.end), 0);
            synced[sector.clone()].copy_from_slice(&unsynced[sector]);
        }
    }
    synced
}

impl Inner {
    fn is_checkpoint(&self, path: &Path) -> bool {
        path.starts_with(self.root.join("checkpoint"))
    }

    fn sync(&self, is_checkpoint: bool) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        let fails = self.faults.sync_fails.load(Ordering::SeqCst);
        if fails || (is_checkpoint && self.faults.checkpoint_sync_fails.load(Ordering::SeqCst)) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }
}

fn no_room() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

impl Files for FaultyFiles {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        Disk.create_directory(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        Disk.names(directory)
    }

    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        Disk.read(path, bytes_max)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DataFile>> {
        let existed = path.exists();
        let file = Disk.open(path, create)?;
        let real = fs::File::open(path)?;
        let mut durable = self.0.durable.lock();
        if !existed {
            durable.numbers.remove(path);
        }
        let number = durable.number(path, real.metadata()?.ino());
        Ok(Arc::new(FaultyFile {
            inner: self.0.clone(),
            file,
            real,
            number,
            is_checkpoint: self.0.is_checkpoint(path),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut durable = self.0.durable.lock();
        Disk.rename(from, to)?;
        if let Some(number) = durable.numbers.remove(from) {
            durable.numbers.insert(to.to_path_buf(), number);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut durable = self.0.durable.lock();
        durable.numbers.remove(path);
        Disk.remove(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        Disk.remove_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let is_checkpoint = self.0.is_checkpoint(path);
        if is_checkpoint && self.0.faults.checkpoint_unsynced {
            return Ok(());
        }
        self.0.sync(is_checkpoint)?;
        let mut names = HashMap::new();
        let mut durable = self.0.durable.lock();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // One that another thread has just removed is not there.
            if let Ok(metadata) = entry.metadata() {
                let number = durable.number(&entry.path(), metadata.ino());
                names.insert(entry.file_name().to_string_lossy().into_owned(), number);
            }
        }
        durable.names.insert(path.to_path_buf(), names);
        Ok(())
    }

    fn make_private(&self, path: &Path) -> io::Result<()> {
        Disk.make_private(path)
    }

    fn room(&self, directory: &Path) -> io::Result<Room> {
        Disk.room(directory)
    }

    fn taken(&self, directory: &Path) -> io::Result<u64> {
        Disk.taken(directory)
    }
}

struct FaultyFile {
    inner: Arc<Inner>,
    file: Arc<dyn DataFile>,
    real: fs::File,
    number: u64,
    is_checkpoint: bool,
}

impl DataFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.inner.faults.write_full.load(Ordering::SeqCst) {
            // Part arrives, as it may on a real disk.
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(no_room());
        }
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        if self.inner.faults.full.load(Ordering::SeqCst) {
            return Err(no_room());
        }
        self.file.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_checkpoint && self.inner.faults.checkpoint_unsynced {
            return Ok(());
        }
        self.inner.sync(self.is_checkpoint)?;
        let mut content = vec![0; self.real.metadata()?.len() as usize];
        std::os::unix::fs::FileExt::read_exact_at(&self.real, &mut content, 0)?;
        self.inner.durable.lock().content.insert(self.number, content);
        Ok(())
    }
}
