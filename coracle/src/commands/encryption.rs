//! `coracle encryption`

use std::path::Path;

use crate::commands::say;
use crate::encryption;
use crate::error::Error;
use crate::layout::Layout;

/// Makes a new key, and waits until a server that runs has encrypted everything with it.
///
/// # Errors
/// As [`encryption::rotate`].
pub(crate) fn rotate(data_dir: &Path) -> Result<(), Error> {
    let (name, done) = encryption::rotate(data_dir)?;
    let keys = Layout::new(data_dir).encryption_keys();
    say(match done {
        true => format!("All Secrets are encrypted with {name} of {}.", keys.display()),
        false => {
            format!("{name} of {} encrypts from now on, or from the next start; older Secrets follow.", keys.display())
        }
    });
    Ok(())
}
