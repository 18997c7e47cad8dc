//! Container logs: the runtime's files, in the CRI log format, as text.

mod follow;
mod format;
mod tail;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use axum::body::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::mpsc;

use follow::Watch;
use format::Writer;

/// How much is read from a file at once.
const READ_BYTES: usize = 64 << 10;
/// Blocks that wait for a slow client; then reading waits too.
const BLOCKS_WAITING_MAX: usize = 4;
/// A longer line of the file is no line of the runtime's.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Which part of the output is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// Both, in the order in which they were written.
    #[default]
    All,
    /// Standard output alone.
    Stdout,
    /// Standard error alone.
    Stderr,
}

/// The parameters of a log request (`PodLogOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Go on as the container writes.
    pub follow: bool,
    /// The instance before the present one.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Only so many lines from the end.
    pub tail_lines: Option<u64>,
    /// End after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Which output.
    pub source: Source,
}

impl Options {
    /// From the parameters of a request that `get` finds by name.
    ///
    /// # Errors
    /// A parameter is wrong, and why.
    pub fn parse(get: impl Fn(&str) -> Option<String>, now: Timestamp) -> Result<Self, String> {
        let flag = |name: &str| match get(name).as_deref() {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(other) => Err(format!("{name}: Invalid value: {other:?}: must be true or false")),
        };
        let number = |name: &str, least: i64| match get(name) {
            None => Ok(None),
            Some(text) => {
                let value = text.parse::<i64>().ok().filter(|value| *value >= least);
                let wrong = || format!("{name}: Invalid value: {text:?}: must be greater than or equal to {least}");
                value.map(|value| Some(value.unsigned_abs())).ok_or_else(wrong)
            }
        };
        let since_seconds = number("sinceSeconds", 1)?;
        let since_time = match get("sinceTime") {
            None => None,
            Some(text) => Some(text.parse::<Timestamp>().map_err(|error| format!("sinceTime: {text:?}: {error}"))?),
        };
        if since_seconds.is_some() && since_time.is_some() {
            return Err("at most one of sinceTime or sinceSeconds may be specified".to_owned());
        }
        let before = |seconds: u64| now.checked_sub(std::time::Duration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
        let source = match get("stream").as_deref() {
            None | Some("All") => Source::All,
            Some("Stdout") => Source::Stdout,
            Some("Stderr") => Source::Stderr,
            Some(other) => return Err(format!("stream: Unsupported value: {other:?}")),
        };
        Ok(Self {
            follow: flag("follow")?,
            previous: flag("previous")?,
            timestamps: flag("timestamps")?,
            since: since_time.or(since_seconds.map(before)),
            tail_lines: number("tailLines", 0)?,
            limit_bytes: number("limitBytes", 1)?,
            source,
        })
    }
}

/// A container of any sort in a pod's specification.
#[must_use]
pub fn container_spec<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|container| container.name == name)
}

/// The image of the container of this name, of any sort; empty if the pod has none.
#[must_use]
pub fn image_of<'a>(pod: &'a Pod, name: &str) -> &'a str {
    let ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let mut ephemeral = ephemeral.filter(|container| container.name == name).filter_map(|found| found.image.as_deref());
    let image = container_spec(pod, name).and_then(|container| container.image.as_deref());
    image.or_else(|| ephemeral.next()).unwrap_or_default()
}

/// Whether the pod has a container of this name, of any sort.
#[must_use]
pub fn has_container(pod: &Pod, name: &str) -> bool {
    let ephemeral = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    container_spec(pod, name).is_some() || ephemeral.into_iter().any(|container| container.name == name)
}

/// Why there is no log, in the words that clients know.
#[must_use]
pub fn missing(pod: &Pod, container: &str, previous: bool) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if previous {
        return format!("previous terminated container {container:?} in pod {name:?} not found");
    }
    let status = pod.status.as_ref();
    let main = status.and_then(|status| status.container_statuses.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let statuses = main.into_iter().chain(init).flatten();
    let waiting = statuses
        .filter(|status| status.name == container)
        .find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let prefix = format!("container {container:?} in pod {name:?} is waiting to start");
    match waiting.as_deref() {
        Some("ErrImagePull") => format!("{prefix}: image can't be pulled"),
        Some("ImagePullBackOff") => format!("{prefix}: trying and failing to pull image"),
        Some(reason) => format!("{prefix}: {reason}"),
        None => format!("{prefix}: ContainerCreating"),
    }
}

/// Reads the log at `path`. While it is followed, `running` tells whether the container may still write.
///
/// # Errors
/// If the file cannot be opened.
pub fn read<F: Future<Output = bool> + Send + 'static>(
    path: PathBuf,
    options: Options,
    running: impl Fn() -> F + Send + Sync + 'static,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let mut file = File::open(&path)?;
    // The watch comes first: nothing that is written after the first reading is missed.
    let watch = if options.follow { Some(Watch::new(&path)?) } else { None };
    if let Some(lines) = options.tail_lines {
        let start = tail::start_of(&mut file, lines)?;
        file.seek(SeekFrom::Start(start))?;
    }
    let (blocks, receiver) = mpsc::channel(BLOCKS_WAITING_MAX);
    let mut reader = Reader { file, rest: Vec::new(), writer: Writer::new(&options), blocks };
    tokio::spawn(async move {
        let result = async {
            reader.read_to_end().await?;
            match watch {
                Some(watch) => follow::follow(&mut reader, watch, running).await,
                None => Ok(()),
            }
        };
        if let Err(Stop::Failed(error)) = result.await {
            let _ = reader.blocks.send(Err(error)).await;
        }
    });
    let content =
        futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    Ok(content.boxed())
}

/// Why reading ended early.
enum Stop {
    /// The client left, or has all it asked for.
    Enough,
    /// The file cannot be read.
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A log file, read and sent block by block.
struct Reader {
    file: File,
    /// The begin of a line whose end is not written yet.
    rest: Vec<u8>,
    writer: Writer,
    blocks: mpsc::Sender<io::Result<Bytes>>,
}

impl Reader {
    /// Reads and sends up to the present end of the file.
    async fn read_to_end(&mut self) -> Result<(), Stop> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = self.file.read(&mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            self.rest.extend_from_slice(&buffer[..length]);
            let Some(end) = memrchr_newline(&self.rest) else {
                if self.rest.len() > LINE_BYTES_MAX {
                    return Err(Stop::Failed(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a line of the log is too long",
                    )));
                }
                continue;
            };
            let mut out = Vec::with_capacity(length);
            let more =
                self.rest[..=end].split_inclusive(|byte| *byte == b'\n').all(|line| self.writer.line(line, &mut out));
            self.rest.drain(..=end);
            if !out.is_empty() && self.blocks.send(Ok(out.into())).await.is_err() {
                return Err(Stop::Enough);
            }
            if !more {
                return Err(Stop::Enough);
            }
        }
    }

    /// Goes on with another file.
    fn replace(&mut self, file: File) {
        self.file = file;
        self.rest.clear();
    }
}

fn memrchr_newline(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests;
