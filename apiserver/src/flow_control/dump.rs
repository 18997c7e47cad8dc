//! What is in the queues, as a table for people (`apf_controller_debug.go` in apiserver's `util/flowcontrol`).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use store::Store;

use super::FlowControl;
use super::level::{Asked, State};
use super::queue_set::{Key, Request, Stage};
use super::seat_seconds::Nanos;

/// Where the tables are.
const PATH: &str = "/debug/api_priority_and_fairness/";
/// How wide a column is at least, and how far from the next.
const WIDTH_MIN: usize = 8;
const PADDING: usize = 1;

/// What a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dump {
    /// A row for each level.
    Levels,
    /// A row for each queue.
    Queues,
    /// A row for each request.
    Requests,
}

impl Dump {
    /// The table at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path.strip_prefix(PATH)? {
            "dump_priority_levels" => Some(Self::Levels),
            "dump_queues" => Some(Self::Queues),
            "dump_requests" => Some(Self::Requests),
            _ => None,
        }
    }

    fn columns(self, details: bool) -> Vec<&'static str> {
        const LEVELS: &str = "PriorityLevelName ActiveQueues IsIdle IsQuiescing WaitingRequests ExecutingRequests \
                              DispatchedRequests RejectedRequests TimedoutRequests CancelledRequests";
        const QUEUES: &str = "PriorityLevelName Index PendingRequests ExecutingRequests SeatsInUse NextDispatchR \
                              InitialSeatsSum MaxSeatsSum TotalWorkSum";
        // The fifth is spelled like that.
        const REQUESTS: &str = "PriorityLevelName FlowSchemaName QueueIndex RequestIndexInQueue FlowDistingsher \
                                ArriveTime InitialSeats FinalSeats AdditionalLatency StartTime";
        const DETAILS: &str = "UserName Verb APIPath Namespace Name APIVersion Resource SubResource";
        let names = match self {
            Self::Levels => LEVELS,
            Self::Queues => QUEUES,
            Self::Requests => REQUESTS,
        };
        names.split(' ').chain(DETAILS.split(' ').filter(|_| details)).collect()
    }
}

type Rows = Vec<Vec<String>>;

impl FlowControl {
    /// The table, with who asks for what if `details` are wanted.
    pub(crate) fn dump(&self, store: &dyn Store, dump: Dump, details: bool) -> String {
        self.table(store);
        let (now, time) = (self.0.common.now(), self.0.common.clock.now());
        let at = |nanos: Nanos| time_at(time, now, nanos);
        let levels: Vec<_> = self.0.levels.lock().by_name.values().map(Arc::clone).collect();
        let details = details && dump == Dump::Requests;
        let mut rows: Rows = vec![dump.columns(details).into_iter().map(String::from).collect()];
        for level in levels {
            let mut state = level.lock();
            state.set.advance(now);
            match dump {
                Dump::Levels => rows.push(level_row(&level.name, &state)),
                Dump::Queues => queues(&level.name, &state, &mut rows),
                Dump::Requests => requests(&level.name, &state, at, details, &mut rows),
            }
        }
        table(&rows)
    }
}

fn level_row(name: &str, state: &State) -> Vec<String> {
    let (set, sums) = (&state.set, &state.set.sums);
    let active = set.queues.iter().filter(|queue| queue.waiting() > 0).count();
    let counts = [sums.waiting as u64, sums.executing as u64, sums.dispatched, sums.rejected, 0, sums.cancelled];
    let flags = [active.to_string(), set.is_idle().to_string(), state.is_quiescing.to_string()];
    [name.to_string()].into_iter().chain(flags).chain(counts.map(|count| count.to_string())).collect()
}

fn queues(name: &str, state: &State, rows: &mut Rows) {
    for (index, queue) in state.set.queues.iter().enumerate() {
        let [initial, most] = queue.seats_wanted();
        let (waiting, executing, in_use) = (queue.waiting(), queue.executing(), queue.seats_in_use);
        let before = [index, waiting, executing, in_use].map(|number| number.to_string());
        let after = [queue.next.to_string(), initial.to_string(), most.to_string(), queue.work().to_string()];
        rows.push([name.to_string()].into_iter().chain(before).chain(after).collect());
    }
}

/// Those of each queue, first who waits, and at last those without one.
fn requests(name: &str, state: &State, at: impl Fn(Nanos) -> String, details: bool, rows: &mut Rows) {
    let set = &state.set;
    let mut row = |queue: i64, place: i64, key: Key| {
        let request = set.requests.get(key);
        let Some(asked) = &request.payload else { return };
        let mut row = vec![name.to_string(), set.flows.schema(request.flow).to_string()];
        row.extend([queue.to_string(), place.to_string()]);
        row.extend(of_request(request, asked, &at));
        if details {
            row.extend(of_asked(asked));
        }
        rows.push(row);
    };
    let executing = |queue: Option<usize>| {
        let is = move |request: &Request<Asked>| request.stage == Stage::Executing && request.queue == queue;
        set.requests.iter().filter(move |(_, request)| is(request)).map(|(key, _)| key)
    };
    for (index, queue) in set.queues.iter().enumerate().filter(|(_, queue)| queue.waiting() + queue.executing() > 0) {
        queue.keys().enumerate().for_each(|(place, key)| row(index as i64, place as i64, key));
        executing(Some(index)).for_each(|key| row(index as i64, -1, key));
    }
    executing(None).for_each(|key| row(-1, -1, key));
}

fn of_request(request: &Request<Asked>, asked: &Asked, at: impl Fn(Nanos) -> String) -> [String; 6] {
    let flow = asked.by.map_or("", |by| by.of(&asked.user, &asked.info));
    let started = if request.stage == Stage::Waiting { NEVER.to_string() } else { at(request.started) };
    [
        flow.to_string(),
        at(request.arrived),
        request.work.initial_seats.to_string(),
        request.work.final_seats.to_string(),
        api::go::duration::format(i64::try_from(request.work.lingers).unwrap_or(i64::MAX)),
        started,
    ]
}

fn of_asked(asked: &Asked) -> [String; 8] {
    let (user, info) = (&asked.user, &asked.info);
    let fields = [&user.username, &info.verb, &info.path, &info.namespace, &info.name].map(|text| shown(text));
    let [user, verb, path, namespace, name] = fields;
    [user, verb, path, namespace, name, info.group_version(), shown(&info.resource), shown(&info.subresource)]
}

/// What a client has thought up must not begin a line.
fn shown(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "?")
}

/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A time of the server as one of the wall clock, as Go's `time.RFC3339Nano` prints it.
fn time_at(wall: Timestamp, now: Nanos, nanos: Nanos) -> String {
    let before = SignedDuration::from_nanos(i64::try_from(now.saturating_sub(nanos)).unwrap_or(i64::MAX));
    wall.checked_sub(before).map_or_else(|_| NEVER.into(), |time| time.to_string())
}

/// Rows with commas behind their cells, each column as wide as its widest cell (`tabwriter`).
fn table(rows: &Rows) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count() + ",".len()).max().unwrap_or(0);
        (widest + PADDING).max(WIDTH_MIN)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (cell, width) in row.iter().zip(&widths).take(columns.saturating_sub(1)) {
            out.push_str(cell);
            out.push(',');
            let spaces = width - cell.chars().count() - ",".len();
            out.extend(std::iter::repeat_n(' ', spaces));
        }
        out.push_str(row.last().map_or("", String::as_str));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [["Name", "B", "C"], ["a-long-name", "1", ""]];
        let rows: Rows = rows.map(|row| row.map(String::from).to_vec()).to_vec();
        assert_eq!(table(&rows), "Name,        B,      C\na-long-name, 1,      \n");
    }

    #[test]
    fn paths_are_known() {
        assert_eq!(Dump::at("/debug/api_priority_and_fairness/dump_queues"), Some(Dump::Queues));
        assert_eq!(Dump::at("/debug/api_priority_and_fairness/"), None);
        assert_eq!(Dump::at("/debug/pprof"), None);
    }
}
