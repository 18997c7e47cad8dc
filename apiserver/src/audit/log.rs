//! The log: a thread that writes lines.

use std::io::{self, Write};
use std::sync::Arc;

use metrics::Counter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::log_file::LogFile;
use super::settings::LogSettings;
use super::sink::{AuditCounts, Collector, Job, Line};
use crate::clock::Clock;

/// How many bytes are written at once; a longer line is written alone.
const CHUNK_BYTES_MAX: usize = 256 << 10;

enum Output {
    File(LogFile),
    Standard,
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.write(lines),
            Self::Standard => {
                let mut out = io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
        }
    }
}

/// Opens the file and starts the thread, which ends when nobody can send any more.
pub(super) fn start(
    settings: &LogSettings,
    jobs: mpsc::Receiver<Job>,
    counts: Arc<AuditCounts>,
    clock: Arc<dyn Clock>,
    runtime: &Handle,
) -> io::Result<()> {
    let mut output = match settings.path.as_os_str() == "-" {
        true => Output::Standard,
        false => Output::File(LogFile::open(settings.path.clone(), settings.rotation, clock.clone())?),
    };
    let bytes_max = settings.truncation.map_or(CHUNK_BYTES_MAX, |truncation| truncation.batch_bytes_max);
    let mut collector = Collector::new(jobs, &settings.batching, bytes_max, clock);
    let runtime = runtime.clone();
    let work = move || {
        while let Some(batch) = runtime.block_on(collector.next()) {
            write(&mut output, batch.lines, &counts);
            if let Some(flushed) = batch.flush {
                let _ = flushed.send(());
            }
        }
    };
    std::thread::Builder::new().name("audit-log".into()).spawn(work).map(drop)
}

/// Writes lines, as many at once as fit.
fn write(output: &mut Output, lines: Vec<Line>, counts: &AuditCounts) {
    let mut chunk: Vec<u8> = Vec::new();
    let mut of_chunk: Vec<Line> = Vec::new();
    let mut write = |chunk: &mut Vec<u8>, of_chunk: &mut Vec<Line>| {
        let written = output.write(chunk);
        if let Err(error) = &written {
            counts.errors.with(["log"], |errors: &Counter| of_chunk.iter().for_each(|_| errors.add_one()));
            tracing::error!(%error, events = of_chunk.len(), "audit events are lost: the log cannot be written");
        }
        of_chunk.drain(..).for_each(|line| line.finish(written.is_ok()));
        chunk.clear();
    };
    for line in lines {
        if !chunk.is_empty() && chunk.len() + line.text.len() >= CHUNK_BYTES_MAX {
            write(&mut chunk, &mut of_chunk);
        }
        chunk.extend_from_slice(&line.text);
        chunk.push(b'\n');
        of_chunk.push(line);
    }
    if !of_chunk.is_empty() {
        write(&mut chunk, &mut of_chunk);
    }
}
