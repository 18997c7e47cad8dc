//! Counters in Prometheus' text format, under the reference's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;

use crate::request::RequestInfo;

/// How many different sets of labels are kept apart.
const SERIES_MAX: usize = 4_096;
/// Upper bounds of the buckets of request durations, in seconds.
const BUCKETS: [f64; 12] = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Debug, Default, Clone)]
struct Series {
    count: u64,
    seconds: f64,
    buckets: [u64; BUCKETS.len()],
}

/// What the server counts.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Labels, Series>>,
}

impl Metrics {
    /// Counts a request that was answered.
    pub fn record(&self, info: &RequestInfo, code: u16, took: Duration) {
        let labels = Labels {
            verb: verb(&info.verb),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            code,
        };
        let mut requests = self.requests.lock();
        if requests.len() >= SERIES_MAX && !requests.contains_key(&labels) {
            return;
        }
        let series = requests.entry(labels).or_default();
        let seconds = took.as_secs_f64();
        series.count += 1;
        series.seconds += seconds;
        for (bucket, bound) in series.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// Everything as text.
    pub fn text(&self) -> String {
        let requests = self.requests.lock().clone();
        let mut out = String::with_capacity(16 * 1024);
        out.push_str("# HELP apiserver_request_total Requests by verb, resource and response code.\n");
        out.push_str("# TYPE apiserver_request_total counter\n");
        for (labels, series) in &requests {
            let _ =
                writeln!(out, "apiserver_request_total{{code=\"{}\",{}}} {}", labels.code, text(labels), series.count);
        }
        out.push_str("# HELP apiserver_request_duration_seconds Time until the answer began, by verb and resource.\n");
        out.push_str("# TYPE apiserver_request_duration_seconds histogram\n");
        for (labels, series) in by_resource(requests) {
            let text = text(&labels);
            for (count, bound) in series.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{text},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{text},le=\"+Inf\"}} {}", series.count);
            let _ = writeln!(out, "apiserver_request_duration_seconds_sum{{{text}}} {}", series.seconds);
            let _ = writeln!(out, "apiserver_request_duration_seconds_count{{{text}}} {}", series.count);
        }
        process(&mut out);
        out
    }
}

fn by_resource(requests: BTreeMap<Labels, Series>) -> BTreeMap<Labels, Series> {
    let mut sums: BTreeMap<Labels, Series> = BTreeMap::new();
    for (labels, series) in requests {
        let sum = sums.entry(Labels { code: 0, ..labels }).or_default();
        sum.count += series.count;
        sum.seconds += series.seconds;
        for (total, count) in sum.buckets.iter_mut().zip(series.buckets) {
            *total += count;
        }
    }
    sums
}

fn text(labels: &Labels) -> String {
    let Labels { verb, group, version, resource, subresource, .. } = labels;
    format!(
        "group=\"{group}\",resource=\"{}\",subresource=\"{}\",verb=\"{verb}\",version=\"{version}\"",
        escaped(resource),
        escaped(subresource)
    )
}

fn escaped(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect()
}

fn verb(verb: &str) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "OTHER",
    }
}

/// What the kernel counts of this process.
fn process(out: &mut String) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The command's name, in parentheses, may hold spaces.
    let Some((_, rest)) = stat.rsplit_once(')') else { return };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // Ticks are hundredths of a second and pages 4 KiB on every Linux this runs on.
    let _ = writeln!(
        out,
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {}",
        (number(11) + number(12)) / 100.0
    );
    let _ = writeln!(out, "# TYPE process_virtual_memory_bytes gauge\nprocess_virtual_memory_bytes {}", number(20));
    let _ = writeln!(
        out,
        "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}",
        number(21) * 4096.0
    );
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let _ = writeln!(out, "# TYPE process_open_fds gauge\nprocess_open_fds {}", files.count());
    }
}
