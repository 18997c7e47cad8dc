//! Following a log as it grows, moves away and begins anew, until its container has ended.
//!
//! One inotify watch on the directory tells of all that: writes, new files, and the runtime closing the file, which is
//! the sign to ask whether the container still runs.

#![expect(unsafe_code, reason = "tokio cannot prove that a descriptor stays open")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Reader, Stop};

/// The runtime closes a log shortly before it tells that the container ended; it is asked so often,
const ASK_AGAIN_MAX: u32 = 20;
/// with this pause.
const ASK_AGAIN_MS: u64 = 50;
/// Without any sign it is asked so rarely, in case one was lost.
const SILENCE_SECONDS: u64 = 10;
const EVENT_BYTES: usize = 4096;

/// A watch on a log file, by way of its directory.
pub(super) struct Watch {
    events: AsyncFd<OwnedFd>,
    path: PathBuf,
}

/// The events of the file that were seen.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    closed: bool,
    replaced: bool,
}

impl Watch {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let wanted = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF;
        inotify::add_watch(&descriptor, directory, wanted)?;
        // SAFETY: the descriptor is owned by the registration, which neither replaces nor closes it while registered.
        let events = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        let events = events.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self { events, path: path.to_path_buf() })
    }

    /// Waits until something happens to the file, and says what.
    async fn next(&self) -> io::Result<Seen> {
        loop {
            let mut ready = self.events.readable().await?;
            let mut seen = None;
            let mut buffer = [MaybeUninit::uninit(); EVENT_BYTES];
            let mut reader = inotify::Reader::new(self.events.get_ref(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name = event.file_name().map(|name| name.to_bytes());
                        let about_file = name == self.path.file_name().map(OsStr::as_encoded_bytes);
                        let flags = event.events();
                        let gone = flags.contains(ReadFlags::DELETE_SELF);
                        if about_file || gone || flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                            let seen = seen.get_or_insert_with(Seen::default);
                            seen.closed |= gone || flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::DELETE);
                            seen.replaced |= flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
                        }
                    }
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if let Some(seen) = seen {
                return Ok(seen);
            }
        }
    }
}

/// Reads on until the container has ended and all is sent, or the client leaves.
pub(super) async fn follow<F: Future<Output = bool>>(
    reader: &mut Reader,
    watch: Watch,
    running: impl Fn() -> F,
) -> Result<(), Stop> {
    let mut ask_again = 1;
    loop {
        let pause =
            if ask_again > 0 { Duration::from_millis(ASK_AGAIN_MS) } else { Duration::from_secs(SILENCE_SECONDS) };
        let client_left = reader.blocks.clone();
        let seen = tokio::select! {
            seen = watch.next() => Some(seen?),
            () = tokio::time::sleep(pause) => None,
            () = client_left.closed() => return Err(Stop::Enough),
        };
        reader.read_to_end().await?;
        match seen {
            Some(seen) => {
                if seen.replaced
                    && let Some(file) = successor(&reader.file, &watch.path)?
                {
                    reader.replace(file);
                    reader.read_to_end().await?;
                }
                if seen.closed {
                    ask_again = ASK_AGAIN_MAX;
                }
            }
            None => {
                ask_again = ask_again.saturating_sub(1);
                if !running().await {
                    return reader.read_to_end().await;
                }
            }
        }
    }
}

/// The file that stands at `path` now, if it is another one.
fn successor(file: &File, path: &Path) -> io::Result<Option<File>> {
    let Ok(now) = fs::metadata(path) else { return Ok(None) };
    if now.ino() == file.metadata()?.ino() {
        return Ok(None);
    }
    File::open(path).map(Some)
}
