//! Files that the server was started with and that may change while it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::authentication::client_ca::ClientAuthorities;
use crate::authentication::configured::ConfigurationFile as AuthenticationFile;
use crate::authorization::configured::ConfigurationFile as AuthorizationFile;

/// How often it is looked whether one has changed. The reference is told of changes, and looks once a minute.
const INTERVAL: Duration = Duration::from_secs(1);

/// The files.
#[derive(Default)]
pub struct Followed {
    /// Authorities of clients.
    pub client_authorities: Option<Arc<ClientAuthorities>>,
    /// Issuers of tokens.
    pub authentication: Option<AuthenticationFile>,
    /// Who is asked what users may do.
    pub authorization: Option<AuthorizationFile>,
}

impl Followed {
    /// Looks once at each of them.
    pub async fn look(self: &Arc<Self>) {
        self.look_at_local().await;
        if let Some(file) = &self.authentication {
            file.look().await;
        }
    }

    async fn look_at_local(self: &Arc<Self>) {
        let files = self.clone();
        // Disks may be slow, and expressions are compiled.
        let looked = tokio::task::spawn_blocking(move || {
            files.client_authorities.iter().for_each(|file| file.look());
            files.authorization.iter().for_each(AuthorizationFile::look);
        });
        if looked.await.is_err() {
            tracing::error!("a file of configuration could not be looked at");
        }
    }

    /// Follows them until `stop` is cancelled.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let local = async {
            while self.client_authorities.is_some() || self.authorization.is_some() {
                tokio::time::sleep(INTERVAL).await;
                self.look_at_local().await;
            }
        };
        // New issuers are waited for, which nothing else need do.
        let issuers = async {
            while let Some(file) = &self.authentication {
                tokio::time::sleep(INTERVAL).await;
                file.look().await;
            }
        };
        stop.run_until_cancelled(async { tokio::join!(local, issuers) }).await;
    }
}
