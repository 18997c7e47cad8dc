//! Writing everything anew, so that what was there before is in no file: after the keys of values have changed, say.
//!
//! Replaced and deleted values stay for a while in files of the log, in the export, and in pages of the checkpoint that
//! are free. So the log goes on in a new file, an export of the newest state takes the place of the older one, the
//! checkpoint is removed and made again, and older files of the log go. At every moment export and log are whole.
//! Only when all that is done is the mark written: who finds another one after a crash begins again.

use tokio::sync::oneshot;

use super::checkpointer::Checkpointer;
use super::directory::Directory;
use crate::StoreError;
use crate::limits::MARK_BYTES_MAX;

/// A renewal that somebody waits for.
pub(crate) struct Renewal {
    pub(crate) mark: String,
    pub(crate) done: oneshot::Sender<Result<(), StoreError>>,
}

/// The mark of the newest renewal.
pub(super) fn mark(directory: &Directory) -> Option<String> {
    let content = directory.files.read(&directory.mark_path(), MARK_BYTES_MAX as u64 + 1).ok()?;
    String::from_utf8(content).ok().filter(|mark| mark.len() <= MARK_BYTES_MAX)
}

impl Checkpointer {
    /// Renews for everybody who waits.
    pub(super) fn renew(&mut self) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut *self.shared.renewals.lock());
        let Some(mark) = waiting.last().map(|renewal| renewal.mark.clone()) else { return Ok(()) };
        let renewed = self.renew_files().and_then(|()| self.put_mark(&mark));
        for renewal in waiting {
            drop(renewal.done.send(renewed.clone()));
        }
        renewed
    }

    fn renew_files(&mut self) -> Result<(), StoreError> {
        let snapshot = self.shared.history.snapshot();
        self.export_newer(&snapshot)?;
        self.remove_checkpoint()?;
        self.work()?;
        let shared = &self.shared;
        let is_whole = self.checkpoint.is_some_and(|revision| revision >= snapshot.revision);
        if !is_whole {
            return Err(StoreError::Stopped("the store was closed".into()));
        }
        // The new file of the log began before the snapshot was taken: there is nothing to keep before it.
        match shared.superfluous(snapshot.revision).first() {
            None => Ok(()),
            Some(segment) => Err(StoreError::Io(format!("file {} of the log is still needed", segment.sequence))),
        }
    }

    fn put_mark(&self, mark: &str) -> Result<(), StoreError> {
        let directory = &self.shared.directory;
        directory.write_whole(&directory.mark_new_path(), &directory.mark_path(), mark.as_bytes())?;
        *self.shared.mark.lock() = Some(mark.to_owned());
        Ok(())
    }
}
