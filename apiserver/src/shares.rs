//! A quantity that users share: places for requests, or bytes. Whoever waits gets it in turn, user by user, and no user
//! can have all of it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::UserInfo;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How much there is, and of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// How much there is.
    pub total: usize,
    /// How much of it one user can have.
    pub share: usize,
    /// How many may wait, of all users.
    pub waiting: usize,
    /// How many of one user may wait.
    pub waiting_share: usize,
}

/// What users share.
#[derive(Debug, Clone)]
pub(crate) struct Shares(Arc<Shared>);

/// There is nothing left for this user, and no place to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted;

#[derive(Debug)]
struct Shared {
    sizes: Sizes,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waiting: usize,
    /// Whether somebody waits because too little is left, and comes first.
    is_short: bool,
    /// Where in `slots` a user is.
    places: HashMap<Arc<str>, Slot>,
    slots: Vec<User>,
    /// Slots of nobody.
    free: Vec<Slot>,
    /// How many users are known that have nothing and wait for nothing.
    idle: usize,
    /// Users of whom somebody waits, the next first.
    turns: VecDeque<Slot>,
}

/// The number of a user, for as long as it has something or waits.
type Slot = usize;

/// How many users are known that have nothing: who asks again soon need not be made anew.
const IDLE_MAX: usize = 256;

#[derive(Debug, Default)]
struct User {
    /// None in a slot of nobody.
    name: Option<Arc<str>>,
    taken: usize,
    /// How many wait.
    waiting: usize,
    /// Those who wait, and some who have left since.
    queue: VecDeque<Waiting>,
    /// Whether it is among those whose turn comes.
    has_turn: bool,
}

#[derive(Debug)]
struct Waiting {
    amount: usize,
    granted: oneshot::Sender<Share>,
}

/// What one request has; it goes back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shared: Option<Arc<Shared>>,
    user: Slot,
    amount: usize,
}

impl Shares {
    /// So much, for so many.
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self(Arc::new(Shared { sizes, state: Mutex::default() }))
    }

    /// Takes `amount` for a user, or as much as one user can have. Waits for it no longer than `wait_max`.
    ///
    /// # Errors
    /// [`Exhausted`], at once if too many wait already, else after `wait_max`.
    pub(crate) async fn take(&self, user: &UserInfo, amount: usize, wait_max: Duration) -> Result<Share, Exhausted> {
        let amount = amount.min(self.0.sizes.share).min(self.0.sizes.total);
        let (user, granted) = {
            let mut state = self.0.state.lock();
            let user = state.slot(&user.username);
            if state.take(&self.0.sizes, user, amount) {
                return Ok(self.0.share(user, amount));
            }
            (user, state.wait(&self.0.sizes, user, amount)?)
        };
        let _line = Line { shared: &self.0, user };
        match tokio::time::timeout(wait_max, granted).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    /// How much is taken.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.0.state.lock().taken
    }
}

/// One that waits. When it waits no more, what it waited for may be somebody else's turn.
struct Line<'a> {
    shared: &'a Arc<Shared>,
    user: Slot,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.shared.hand_on(|state| state.leave(self.user));
    }
}

impl State {
    /// The slot of a user, who counts as idle until something is taken or waited for.
    fn slot(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.places.get(name) {
            return *slot;
        }
        if self.idle >= IDLE_MAX {
            self.forget_idle();
        }
        let name: Arc<str> = name.into();
        let user = User { name: Some(name.clone()), ..User::default() };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = user;
                slot
            }
            None => {
                self.slots.push(user);
                self.slots.len() - 1
            }
        };
        self.places.insert(name, slot);
        self.idle += 1;
        slot
    }

    /// Changes what a user has or waits for, and knows who is idle.
    fn change(&mut self, user: Slot, change: impl FnOnce(&mut User)) {
        let user = &mut self.slots[user];
        let was_idle = user.is_idle();
        change(user);
        match (was_idle, user.is_idle()) {
            (true, false) => self.idle -= 1,
            (false, true) => self.idle += 1,
            _ => {}
        }
    }

    fn forget_idle(&mut self) {
        for (slot, user) in self.slots.iter_mut().enumerate().filter(|(_, user)| user.is_idle()) {
            let Some(name) = user.name.take() else { continue };
            if std::mem::take(user).has_turn {
                self.turns.retain(|turn| *turn != slot);
            }
            self.places.remove(&name);
            self.free.push(slot);
        }
        self.idle = 0;
    }

    /// Takes it if it is there and nobody's turn comes first.
    fn take(&mut self, sizes: &Sizes, user: Slot, amount: usize) -> bool {
        let of = &self.slots[user];
        if self.is_short || self.taken + amount > sizes.total || of.taken + amount > sizes.share || of.waiting > 0 {
            return false;
        }
        self.change(user, |user| user.taken += amount);
        self.taken += amount;
        true
    }

    fn wait(&mut self, sizes: &Sizes, user: Slot, amount: usize) -> Result<oneshot::Receiver<Share>, Exhausted> {
        if self.waiting >= sizes.waiting || self.slots[user].waiting >= sizes.waiting_share {
            return Err(Exhausted);
        }
        self.line_up(user);
        let (granted, receiver) = oneshot::channel();
        self.change(user, |user| {
            user.queue.push_back(Waiting { amount, granted });
            user.waiting += 1;
        });
        self.waiting += 1;
        self.is_short |= self.taken + amount > sizes.total;
        Ok(receiver)
    }

    /// The user's turn comes after those of all others.
    fn line_up(&mut self, user: Slot) {
        if !std::mem::replace(&mut self.slots[user].has_turn, true) {
            self.turns.push_back(user);
        }
    }

    /// One of a user waits no more, with what it waited for or without.
    fn leave(&mut self, user: Slot) {
        /// How many that have left may stand in a queue beside as many that wait.
        const LEFT_MAX: usize = 64;
        self.waiting -= 1;
        self.change(user, |user| {
            user.waiting -= 1;
            if user.queue.len() > 2 * user.waiting + LEFT_MAX {
                user.queue.retain(|waiting| !waiting.granted.is_closed());
            }
        });
    }

    /// What the first of a user waits for.
    fn first(&mut self, user: Slot) -> Option<usize> {
        let queue = &mut self.slots[user].queue;
        while queue.pop_front_if(|waiting| waiting.granted.is_closed()).is_some() {}
        queue.front().map(|waiting| waiting.amount)
    }

    fn give_back(&mut self, user: Slot, amount: usize) {
        self.taken -= amount;
        self.change(user, |user| user.taken -= amount);
    }
}

impl User {
    /// Whether it has nothing and nobody of it waits; nobody's slot is not idle.
    fn is_idle(&self) -> bool {
        self.name.is_some() && self.taken == 0 && self.waiting == 0
    }
}

impl Shared {
    fn share(self: &Arc<Self>, user: Slot, amount: usize) -> Share {
        Share { shared: Some(self.clone()), user, amount }
    }

    /// Changes the state and gives what is free then to those whose turn it is.
    fn hand_on(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        state.is_short = false;
        // Each user that waits is asked once; who has its share already, or waits no more, loses nothing but its turn.
        for _ in 0..state.turns.len() {
            let Some(user) = state.turns.pop_front() else { return };
            let Some(amount) = state.first(user) else {
                state.slots[user].has_turn = false;
                continue;
            };
            if state.taken + amount > self.sizes.total {
                // Nobody with smaller wishes comes first, or large ones would never be met.
                state.turns.push_front(user);
                state.is_short = true;
                return;
            }
            if state.slots[user].taken + amount <= self.sizes.share {
                self.grant(&mut state, user, amount);
            }
            state.slots[user].has_turn = false;
            if !state.slots[user].queue.is_empty() {
                state.line_up(user);
            }
        }
    }

    fn grant(self: &Arc<Self>, state: &mut State, user: Slot, amount: usize) {
        let Some(waiting) = state.slots[user].queue.pop_front() else { return };
        match waiting.granted.send(self.share(user, amount)) {
            Ok(()) => {
                state.change(user, |user| user.taken += amount);
                state.taken += amount;
            }
            // It was never taken, and the state is locked here.
            Err(mut share) => share.shared = None,
        }
    }
}

impl Share {
    /// Gives a part back.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        if let Some(shared) = self.shared.as_ref().filter(|_| back > 0) {
            self.amount -= back;
            shared.hand_on(|state| state.give_back(self.user, back));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.hand_on(|state| state.give_back(self.user, self.amount));
        }
    }
}

#[cfg(test)]
mod tests;
