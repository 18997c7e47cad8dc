//! The file of authentication, which is followed while the server runs (`ApplyTo` in `pkg/kubeapiserver/options`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::field::{FieldError, Path as Field};
use api::identity::{AnonymousAuth, AuthenticationConfiguration, aggregate};
use parking_lot::Mutex;

use super::oidc::{Issuer, Issuers, Surroundings};
use super::outside::Outside;
use crate::certificates::bundle;
use crate::metrics::identity::Reloads;

/// How long new issuers may take until their keys can be had (`UpdateAuthenticationConfigTimeout`).
const UPDATE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether they can.
const UPDATE_INTERVAL: Duration = Duration::from_millis(250);

/// The issuers of a configuration.
///
/// # Errors
/// All that is wrong with it.
pub fn issuers(
    configuration: &AuthenticationConfiguration,
    disallowed: &[String],
    around: &Surroundings,
) -> Result<Issuers, String> {
    let mappers = configuration.validate(disallowed, &bundle::problem);
    let mappers = mappers.map_err(|errors| aggregate(&errors).unwrap_or_default())?;
    let made = configuration.jwt.iter().zip(mappers).map(|(jwt, mapper)| Issuer::new(jwt, mapper, around.clone()));
    made.collect::<Result<Vec<_>, _>>().map(Issuers)
}

/// A file of configuration whose changes count while the server runs.
pub struct ConfigurationFile {
    path: PathBuf,
    outside: Outside,
    anonymous: Option<AnonymousAuth>,
    disallowed: Vec<String>,
    around: Surroundings,
    /// What was loaded last, or found to be no good for ever.
    last: Mutex<Vec<u8>>,
    reloads: Arc<Reloads>,
}

impl ConfigurationFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(path: &Path) -> Result<(AuthenticationConfiguration, Vec<u8>), String> {
        let failed = |why: String| format!("failed to load authentication configuration from file {path:?}: {why}");
        let read = std::fs::read(path).map_err(|error| failed(format!("open {}: {error}", path.display())))?;
        let configuration = AuthenticationConfiguration::read(&read).map_err(|error| failed(error.to_string()))?;
        Ok((configuration, read))
    }

    /// Follows a file that was read, for those that are asked now.
    pub fn new(
        path: &Path,
        read: Vec<u8>,
        anonymous: Option<AnonymousAuth>,
        outside: Outside,
        disallowed: Vec<String>,
        around: Surroundings,
        reloads: Arc<Reloads>,
    ) -> Self {
        reloads.loaded(&read);
        Self { path: path.into(), outside, anonymous, disallowed, around, last: Mutex::new(read), reloads }
    }

    /// Looks whether the file has changed, and believes other issuers from now on if so. One that is no good changes nothing.
    pub async fn look(&self) {
        let outcome = self.reload().await;
        let now = self.around.clock.now();
        match outcome {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(path = %self.path.display(), "reloaded authentication config");
                self.reloads.succeeded(&self.last.lock(), now);
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), error, "failed to update authentication config");
                self.reloads.failed(now);
            }
        }
    }

    async fn reload(&self) -> Result<bool, String> {
        let read = tokio::fs::read(&self.path).await.map_err(|error| error.to_string())?;
        if read == *self.last.lock() {
            return Ok(false);
        }
        let issuers = match self.made_of(&read) {
            Ok(issuers) => issuers,
            Err(why) => {
                // It will never be any better.
                *self.last.lock() = read;
                return Err(why);
            }
        };
        let deadline = self.around.clock.instant() + UPDATE_TIMEOUT;
        while let Err(why) = issuers.health() {
            if self.around.clock.instant() >= deadline {
                return Err(why);
            }
            tokio::time::sleep(UPDATE_INTERVAL).await;
        }
        let names: Vec<String> = issuers.0.iter().map(|issuer| issuer.url().to_string()).collect();
        self.around.metrics.retain(names.iter().map(String::as_str));
        self.outside.replace(issuers);
        *self.last.lock() = read;
        Ok(true)
    }

    fn made_of(&self, read: &[u8]) -> Result<Issuers, String> {
        let configuration = AuthenticationConfiguration::read(read).map_err(|error| error.to_string())?;
        if configuration.anonymous != self.anonymous {
            let error = FieldError::forbidden(&Field::new("anonymous"), "changed from initial configuration file");
            return Err(error.to_string());
        }
        issuers(&configuration, &self.disallowed, &self.around)
    }
}
