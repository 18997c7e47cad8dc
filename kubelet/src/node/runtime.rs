//! The container runtime as the node tells of it. Whether that can run pods is told with patience: one that starts again is
//! not down.

use std::time::Duration;

use k8s_cri::v1::{self, RuntimeCondition};
use k8s_openapi::api::core::v1::{ContainerImage, NodeFeatures, NodeRuntimeHandler, NodeRuntimeHandlerFeatures};

use crate::cri::{Cri, Error};

/// How long the runtime may take for one answer; one that hangs must not keep the node from saying so.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How many images the status lists.
const IMAGES_MAX: usize = 50;

/// How long the runtime may be silent before the node is not ready (`maxWaitForContainerRuntime` in pkg/kubelet).
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// When the runtime was last well and last silent, on the clock of the agent.
#[derive(Debug, Default)]
pub(super) struct RuntimeHealth {
    well: Option<Duration>,
    silent: Option<Duration>,
}

impl RuntimeHealth {
    /// Why the runtime cannot run pods, after a look at `now` which found these conditions, or `None` for no answer.
    pub(super) fn judge(&mut self, now: Duration, answer: Option<&[RuntimeCondition]>) -> Option<String> {
        let lately = |time: Option<Duration>| time.is_some_and(|time| now.saturating_sub(time) < SILENCE_MAX);
        let Some(conditions) = answer else {
            self.silent = Some(now);
            return (!lately(self.well)).then(|| "container runtime is down".to_owned());
        };
        let Some(bad) = conditions.iter().find(|condition| !condition.status) else {
            self.well = Some(now);
            return None;
        };
        // Just after a start the runtime answers before it has found its network configuration.
        if lately(self.silent) && lately(self.well) {
            return None;
        }
        let what = if bad.r#type == "NetworkReady" { "container runtime network" } else { "container runtime" };
        Some(format!("{what} not ready: {}=false reason:{} message:{}", bad.r#type, bad.reason, bad.message))
    }
}

/// The runtime's answer, if it comes in time.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Option<T> {
    match tokio::time::timeout(ANSWER_MAX, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the container runtime does not answer");
            None
        }
        Err(_) => {
            tracing::debug!("the container runtime does not answer in time");
            None
        }
    }
}

/// The runtime as the node's status shows it; what it does not tell is missing.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Its name and version.
    pub version: Option<String>,
    /// The largest images.
    pub images: Option<Vec<ContainerImage>>,
    /// Its abilities.
    pub features: Option<NodeFeatures>,
    /// Its handlers, if it tells of any.
    pub handlers: Option<Vec<NodeRuntimeHandler>>,
}

impl Facts {
    /// Asks the runtime.
    pub(super) async fn ask(cri: &Cri) -> Self {
        let (version, images, features) =
            tokio::join!(in_time(cri.version()), in_time(cri.images()), in_time(cri.features()));
        Self {
            version: version.map(|version| format!("{}://{}", version.runtime_name, version.runtime_version)),
            images: images.map(largest),
            features: features
                .as_ref()
                .map(|known| NodeFeatures { supplemental_groups_policy: Some(known.supplemental_groups_policy) }),
            handlers: features
                .map(|known| known.handlers.into_iter().map(handler).collect::<Vec<_>>())
                .filter(|handlers| !handlers.is_empty()),
        }
    }
}

fn largest(mut images: Vec<v1::Image>) -> Vec<ContainerImage> {
    images.sort_by_key(|image| (std::cmp::Reverse(image.size), image.id.clone()));
    let record = |image: v1::Image| ContainerImage {
        names: Some(image.repo_digests.into_iter().chain(image.repo_tags).collect()),
        size_bytes: i64::try_from(image.size).ok(),
    };
    images.into_iter().take(IMAGES_MAX).map(record).collect()
}

fn handler(of: v1::RuntimeHandler) -> NodeRuntimeHandler {
    let features = of.features.map(|features| NodeRuntimeHandlerFeatures {
        recursive_read_only_mounts: Some(features.recursive_read_only_mounts),
        user_namespaces: Some(features.user_namespaces),
    });
    NodeRuntimeHandler { name: Some(of.name), features }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(network: bool) -> Vec<RuntimeCondition> {
        let one = |type_: &str, status| RuntimeCondition {
            r#type: type_.into(),
            status,
            reason: "R".into(),
            message: "m".into(),
        };
        vec![one("RuntimeReady", true), one("NetworkReady", network)]
    }

    /// The state second by second: `.` well, `n` no network, `-` silence; and whether that is told: `.` or `!`.
    fn check(found: &[(u64, char)], expected: &str) {
        let mut health = RuntimeHealth::default();
        let told: String = found
            .iter()
            .map(|(second, what)| {
                let conditions = conditions(*what == '.');
                let answer = (*what != '-').then_some(&conditions[..]);
                if health.judge(Duration::from_secs(*second), answer).is_some() { '!' } else { '.' }
            })
            .collect();
        assert_eq!(told, expected, "{found:?}");
    }

    #[test]
    fn a_runtime_that_starts_again_is_not_down() {
        check(&[(0, '-'), (1, '.')], "!.");
        check(&[(0, '.'), (1, '-'), (2, 'n'), (3, '.')], "....");
        check(&[(0, '.'), (29, '-'), (30, '-'), (31, '.')], "..!.");
        check(&[(0, '.'), (1, 'n')], ".!");
        check(&[(0, '.'), (20, '-'), (25, 'n'), (30, 'n')], "...!");
        check(&[(0, '.'), (100, '.'), (129, '-'), (131, '-')], "...!");
        let why = RuntimeHealth::default().judge(Duration::ZERO, Some(&conditions(false)));
        assert_eq!(why.as_deref(), Some("container runtime network not ready: NetworkReady=false reason:R message:m"));
        assert_eq!(RuntimeHealth::default().judge(Duration::ZERO, None).as_deref(), Some("container runtime is down"));
    }
}
