//! Plugins, which register by a socket in a directory of the agent (`pkg/kubelet/pluginmanager`): one that appears is asked
//! what it is and handed to whoever handles its type; one whose socket goes is gone.

mod registration;
mod sockets;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::Clock;
use futures::StreamExt;

use sockets::{Mark, Sockets};

/// The directory, below the agent's own.
pub const DIRECTORY: &str = "plugins_registry";
/// The first pause after a registration that failed, and the longest (`goroutinemap`'s back-off).
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(122);
/// How many sockets are asked at a time.
const REGISTRATIONS_MAX: usize = 8;

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its type, such as `DRAPlugin`.
    pub kind: String,
    /// Its name, which is that of its driver.
    pub name: String,
    /// The socket where it serves.
    pub endpoint: PathBuf,
    /// What it serves.
    pub versions: Vec<String>,
}

/// Handles the plugins of one type.
pub trait Handler: Send + Sync {
    /// Whether a plugin can be used.
    ///
    /// # Errors
    /// Why not.
    fn validate(&self, plugin: &Plugin) -> Result<(), String>;

    /// Takes a plugin up.
    ///
    /// # Errors
    /// Why it cannot be.
    fn register(&self, plugin: &Plugin) -> Result<(), String>;

    /// Gives a plugin up.
    fn deregister(&self, plugin: &Plugin);
}

/// The handlers, by type.
pub type Handlers = HashMap<&'static str, Arc<dyn Handler>>;

/// What is known of a socket.
enum State {
    Registered(Plugin, Arc<dyn Handler>),
    /// It failed: when to try again, and the pause that is then doubled.
    Failed(Duration, Duration),
}

/// Keeps plugins registered for as long as it is polled.
pub async fn keep(directory: PathBuf, handlers: Handlers, clock: Clock) {
    let mut known: BTreeMap<PathBuf, (Mark, State)> = BTreeMap::new();
    let mut sockets = Sockets::new(directory);
    loop {
        let found = sockets.scan().await;
        known.retain(|path, (mark, state)| {
            let stays = found.get(path) == Some(&*mark);
            if let State::Registered(plugin, handler) = state
                && !stays
            {
                tracing::info!(plugin = plugin.name, kind = plugin.kind, "a plugin is gone");
                handler.deregister(plugin);
            }
            stays
        });
        let now = clock.elapsed();
        let is_due = |path: &PathBuf| match known.get(path) {
            None => true,
            Some((_, State::Failed(due, _))) => *due <= now,
            Some((_, State::Registered(..))) => false,
        };
        let due: Vec<_> = found.iter().filter(|(path, _)| is_due(path)).map(|(p, m)| (p.clone(), *m)).collect();
        let asked = futures::stream::iter(due.into_iter().map(|(path, mark)| {
            let handlers = &handlers;
            async move {
                let outcome = registration::register(&path, handlers).await;
                (path, mark, outcome)
            }
        }));
        let outcomes: Vec<_> = asked.buffer_unordered(REGISTRATIONS_MAX).collect().await;
        for (path, mark, outcome) in outcomes {
            let state = match outcome {
                Ok((plugin, handler)) => {
                    tracing::info!(plugin = plugin.name, kind = plugin.kind, "a plugin is registered");
                    State::Registered(plugin, handler)
                }
                Err(error) => {
                    let pause = match known.get(&path) {
                        Some((_, State::Failed(_, pause))) => (*pause * 2).min(RETRY_MAX),
                        _ => RETRY_MIN,
                    };
                    tracing::warn!(socket = %path.display(), error, "a plugin is not registered");
                    State::Failed(clock.elapsed() + pause, pause)
                }
            };
            known.insert(path, (mark, state));
        }
        let next = known.values().filter_map(|(_, state)| match state {
            State::Failed(due, _) => Some(*due),
            State::Registered(..) => None,
        });
        let wait = async {
            match next.min() {
                Some(due) => clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = sockets.changed() => {}
        }
    }
}
