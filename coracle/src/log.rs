//! The log: events on standard error, one line each, as text or as JSON.

use std::fmt::{self, Debug};
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How events are written.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people; in colour on a terminal.
    Text,
    /// For programs: an object a line.
    Json,
}

/// What is logged if `$CORACLE_LOG` does not say.
const FILTER: &str = "warn,coracle=info";

/// Logs from now on, panics too.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_target(true);
    match format {
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            events.with_ansi(colours).with_writer(|| OneLine(io::stderr())).init();
        }
        LogFormat::Json => events.with_ansi(false).event_format(Json).with_writer(io::stderr).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let said = panic.payload_as_str().unwrap_or("");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, said, "a task panicked");
    }));
}

/// Writes each event, which comes in one piece, as one line: line breaks within it are escaped.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (body, end) = match event {
            [body @ .., b'\n'] => (body, "\n"),
            body => (body, ""),
        };
        let mut line = Vec::with_capacity(event.len() + 16);
        for byte in body {
            match byte {
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                other => line.push(*other),
            }
        }
        line.extend_from_slice(end.as_bytes());
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// An event as an object: `ts`, `level`, `target`, `msg`, and its fields.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut object = Map::new();
        object.insert("ts".into(), time.into());
        object.insert("level".into(), metadata.level().as_str().to_ascii_lowercase().into());
        object.insert("target".into(), metadata.target().into());
        event.record(&mut Fields(&mut object));
        writeln!(writer, "{}", Value::Object(object))
    }
}

/// Puts an event's fields into an object.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.into(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn log() {
        tracing::error!(code = 7, error = "two\r\nlines", "first\nsecond \x1b[31mred\x1b[0m");
        tracing::warn!("next");
    }

    #[test]
    fn text_is_one_line_an_event_without_colour() {
        let sink = Sink::default();
        let written = sink.clone();
        let events = tracing_subscriber::fmt().with_ansi(false).with_writer(move || OneLine(written.clone()));
        tracing::subscriber::with_default(events.finish(), log);
        let text = sink.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("first\\nsecond") && !text.contains('\x1b') && !text.contains('\r'), "{text}");
    }

    #[test]
    fn json_is_an_object_an_event() {
        let sink = Sink::default();
        let written = sink.clone();
        let events = tracing_subscriber::fmt().event_format(Json).with_writer(move || written.clone());
        tracing::subscriber::with_default(events.finish(), log);
        let objects: Vec<Value> = sink.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["msg"], "first\nsecond \x1b[31mred\x1b[0m");
        assert_eq!((&objects[0]["code"], &objects[0]["error"]), (&7.into(), &"two\r\nlines".into()));
        assert_eq!((&objects[1]["level"], &objects[1]["msg"]), (&"warn".into(), &"next".into()));
        assert!(objects[1]["ts"].as_str().unwrap().starts_with("20"));
    }
}
