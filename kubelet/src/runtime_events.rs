//! containerd's event stream: it tells of container exits and out-of-memory kills at once, so nothing polls.

use containerd_client::{
    events::{TaskExit, TaskOom},
    services::v1::{SubscribeRequest, events_client::EventsClient},
};
use futures::{Stream, StreamExt};
use prost::Message;
use tonic::{Streaming, transport::Channel};

use crate::cri::Error;

/// containerd's namespace of all CRI objects.
pub const NAMESPACE: &str = "k8s.io";

/// Something that happened in the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container or sandbox has ended.
    Exited {
        /// Its CRI id.
        id: String,
    },
    /// The kernel killed a process of the container for want of memory.
    OutOfMemory {
        /// Its CRI id.
        id: String,
    },
}

/// Subscribes to exits and out-of-memory kills of all containers.
///
/// # Errors
/// When containerd refuses the subscription.
pub async fn subscribe(channel: Channel) -> Result<impl Stream<Item = Result<RuntimeEvent, Error>>, Error> {
    let filters =
        ["/tasks/exit", "/tasks/oom"].map(|topic| format!("namespace=={NAMESPACE},topic==\"{topic}\"")).to_vec();
    let stream: Streaming<_> = EventsClient::new(channel).subscribe(SubscribeRequest { filters }).await?.into_inner();
    Ok(stream.filter_map(async |item| match item {
        Err(status) => Some(Err(status.into())),
        Ok(envelope) => decode(&envelope.topic, &envelope.event?.value).map(Ok),
    }))
}

fn decode(topic: &str, value: &[u8]) -> Option<RuntimeEvent> {
    match topic {
        "/tasks/exit" => {
            let exit = TaskExit::decode(value).ok()?;
            // An exec inside the container ends with its own id; only the container's own end counts.
            (exit.id == exit.container_id).then_some(RuntimeEvent::Exited { id: exit.container_id })
        }
        "/tasks/oom" => Some(RuntimeEvent::OutOfMemory { id: TaskOom::decode(value).ok()?.container_id }),
        _ => None,
    }
}
