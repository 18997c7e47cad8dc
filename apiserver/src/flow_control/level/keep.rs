//! What has to happen while somebody waits and nobody else does anything: seats that linger come free, limits are adjusted,
//! and answers that stand still give their seats to those who wait. Where nobody waits nothing of this runs.

use std::sync::Arc;
use std::time::Duration;

use super::{Level, Seat, State, hand_on};
use crate::flow_control::kinds::Phase;
use crate::flow_control::queue_set::{Key, Stage};
use crate::flow_control::seat_seconds::Nanos;

/// How long an answer may stand still while somebody waits for its seats. The reference lets a client that does not read
/// its answer keep them for a minute, and one that does not read the state that a watch begins with for as long as it likes.
const STILL_MAX: Nanos = 2_000_000_000;

impl Level {
    /// Goes on until nobody waits; `adjust` divides the seats of the server anew when that is due.
    pub(in super::super) async fn keep(self: Arc<Self>, adjust: impl Fn(Nanos)) {
        loop {
            let now = self.common.now();
            adjust(now);
            let Some(next) = self.look(now) else { return };
            let wait = Duration::from_nanos(next.saturating_sub(now));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Does what is due; when to look again, if somebody waits.
    fn look(&self, now: Nanos) -> Option<Nanos> {
        let mut looked_at = Vec::new();
        let mut state = self.lock();
        state.set.advance(now);
        if now.saturating_sub(state.swept) >= STILL_MAX {
            state.swept = now;
            looked_at = self.sweep(&mut state, now);
        }
        hand_on(&mut state);
        let waits = state.set.sums.waiting > 0;
        let due = state.swept + STILL_MAX;
        state.keeper = waits.then(|| state.set.next_release().map_or(due, |release| release.min(due)));
        let next = state.keeper;
        drop(state);
        // If one of them is the last of its request, it has to lock the level.
        drop(looked_at);
        next
    }

    /// Takes their seats from those whose answers stand still.
    fn sweep(&self, state: &mut State, now: Nanos) -> Vec<Arc<Seat>> {
        let (mut looked_at, mut still) = (Vec::new(), Vec::new());
        for request in state.set.requests.iter_mut().filter(|request| request.stage == Stage::Executing) {
            let Some(asked) = &mut request.payload else { continue };
            let Some(seat) = asked.seat.upgrade() else { continue };
            let steps = seat.steps();
            if steps > 0 && steps == std::mem::replace(&mut asked.seen, steps) {
                still.extend(seat.give());
                self.common.kinds.leave(Phase::Executing, seat.reads(), now);
            }
            looked_at.push(seat);
        }
        still.into_iter().for_each(|key| self.end(state, key, now));
        looked_at
    }

    /// A request is not served any more.
    pub(super) fn end(&self, state: &mut State, key: Key, now: Nanos) {
        let request = state.set.requests.get(key);
        let is_watch = request.payload.as_ref().is_some_and(|asked| asked.info.verb == "watch");
        let (flow, started) = (request.flow, request.started);
        state.set.flows.executed(flow, now.saturating_sub(started), is_watch);
        state.set.finish(key, now);
        let earlier = |next: &Nanos| state.set.next_release().is_some_and(|release| release < *next);
        if state.keeper.as_ref().is_some_and(earlier) {
            self.changed.notify_one();
        }
    }
}
