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
pub struct Sizes {
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
pub struct Shares(Arc<Shared>);

/// There is nothing left for this user, and no place to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted;

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
    users: HashMap<Arc<str>, User>,
    /// Users of whom somebody waits, the next first.
    turns: VecDeque<Arc<str>>,
}

#[derive(Debug, Default)]
struct User {
    taken: usize,
    /// How many wait.
    waiting: usize,
    /// Those who wait, and some who have left since.
    queue: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    amount: usize,
    granted: oneshot::Sender<Share>,
}

/// What one request has; it goes back when this is dropped.
#[derive(Debug)]
pub struct Share {
    shared: Option<Arc<Shared>>,
    name: Arc<str>,
    amount: usize,
}

impl Shares {
    /// So much, for so many.
    pub fn new(sizes: Sizes) -> Self {
        Self(Arc::new(Shared { sizes, state: Mutex::default() }))
    }

    /// Takes `amount` for a user, or as much as one user can have. Waits for it no longer than `wait_max`.
    ///
    /// # Errors
    /// [`Exhausted`], at once if too many wait already, else after `wait_max`.
    pub async fn take(&self, user: &UserInfo, amount: usize, wait_max: Duration) -> Result<Share, Exhausted> {
        let amount = amount.min(self.0.sizes.share).min(self.0.sizes.total);
        let granted = {
            let mut state = self.0.state.lock();
            if let Some(name) = state.take(&self.0.sizes, &user.username, amount) {
                return Ok(self.0.share(name, amount));
            }
            state.wait(&self.0.sizes, &user.username, amount)?
        };
        let _line = Line { shared: &self.0, name: &user.username };
        match tokio::time::timeout(wait_max, granted).await {
            Ok(Ok(share)) => Ok(share),
            Ok(Err(_)) | Err(_) => Err(Exhausted),
        }
    }

    /// How much is taken.
    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.0.state.lock().taken
    }
}

/// One that waits. When it waits no more, what it waited for may be somebody else's turn.
struct Line<'a> {
    shared: &'a Arc<Shared>,
    name: &'a str,
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.shared.hand_on(|state| state.leave(self.name));
    }
}

impl State {
    /// Takes it if it is there and nobody's turn comes first.
    fn take(&mut self, sizes: &Sizes, name: &str, amount: usize) -> Option<Arc<str>> {
        if self.is_short || self.taken + amount > sizes.total {
            return None;
        }
        if let Some((known, user)) = self.users.get_key_value(name) {
            if user.taken + amount > sizes.share || user.waiting > 0 {
                return None;
            }
            let known = known.clone();
            self.users.get_mut(&known).expect("it was just there").taken += amount;
            self.taken += amount;
            return Some(known);
        }
        let known: Arc<str> = name.into();
        self.users.insert(known.clone(), User { taken: amount, ..User::default() });
        self.taken += amount;
        Some(known)
    }

    fn wait(&mut self, sizes: &Sizes, name: &str, amount: usize) -> Result<oneshot::Receiver<Share>, Exhausted> {
        let of_user = self.users.get(name).map_or(0, |user| user.waiting);
        if self.waiting >= sizes.waiting || of_user >= sizes.waiting_share {
            return Err(Exhausted);
        }
        let name: Arc<str> = self.users.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone());
        let (granted, receiver) = oneshot::channel();
        let user = self.users.entry(name.clone()).or_default();
        if user.queue.is_empty() {
            self.turns.push_back(name);
        }
        user.queue.push_back(Waiting { amount, granted });
        user.waiting += 1;
        self.waiting += 1;
        self.is_short |= self.taken + amount > sizes.total;
        Ok(receiver)
    }

    /// One of a user waits no more, with what it waited for or without.
    fn leave(&mut self, name: &str) {
        /// How many that have left may stand in a queue beside as many that wait.
        const LEFT_MAX: usize = 64;
        self.waiting -= 1;
        if let Some(user) = self.users.get_mut(name) {
            user.waiting -= 1;
            if user.queue.len() > 2 * user.waiting + LEFT_MAX {
                user.queue.retain(|waiting| !waiting.granted.is_closed());
            }
        }
        self.forget(name);
    }

    /// What the first of a user waits for.
    fn first(&mut self, name: &str) -> Option<usize> {
        let user = self.users.get_mut(name)?;
        while user.queue.pop_front_if(|waiting| waiting.granted.is_closed()).is_some() {}
        user.queue.front().map(|waiting| waiting.amount)
    }

    fn forget(&mut self, name: &str) {
        let Some(user) = self.users.get(name).filter(|user| user.taken == 0 && user.waiting == 0) else { return };
        if !user.queue.is_empty() {
            self.turns.retain(|turn| **turn != *name);
        }
        self.users.remove(name);
    }
}

impl Shared {
    fn share(self: &Arc<Self>, name: Arc<str>, amount: usize) -> Share {
        Share { shared: Some(self.clone()), name, amount }
    }

    /// Changes the state and gives what is free then to those whose turn it is.
    fn hand_on(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        state.is_short = false;
        // Each user that waits is asked once; who has its share already, or waits no more, loses nothing but its turn.
        for _ in 0..state.turns.len() {
            let Some(name) = state.turns.pop_front() else { return };
            let Some(amount) = state.first(&name) else {
                state.forget(&name);
                continue;
            };
            if state.taken + amount > self.sizes.total {
                // Nobody with smaller wishes comes first, or large ones would never be met.
                state.turns.push_front(name);
                state.is_short = true;
                return;
            }
            if state.users[&name].taken + amount <= self.sizes.share {
                self.grant(&mut state, &name, amount);
            }
            if state.users.get(&name).is_some_and(|user| !user.queue.is_empty()) {
                state.turns.push_back(name);
            }
        }
    }

    fn grant(self: &Arc<Self>, state: &mut State, name: &Arc<str>, amount: usize) {
        let Some(user) = state.users.get_mut(name) else { return };
        let Some(waiting) = user.queue.pop_front() else { return };
        match waiting.granted.send(self.share(name.clone(), amount)) {
            Ok(()) => {
                user.taken += amount;
                state.taken += amount;
            }
            // It was never taken, and the state is locked here.
            Err(mut share) => share.shared = None,
        }
    }
}

impl Share {
    /// Gives a part back.
    pub fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        if let Some(shared) = self.shared.as_ref().filter(|_| back > 0) {
            self.amount -= back;
            shared.hand_on(|state| state.give_back(&self.name, back));
        }
    }
}

impl State {
    fn give_back(&mut self, name: &str, amount: usize) {
        self.taken -= amount;
        if let Some(user) = self.users.get_mut(name) {
            user.taken -= amount;
        }
        self.forget(name);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.hand_on(|state| state.give_back(&self.name, self.amount));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const SIZES: Sizes = Sizes { total: 4, share: 3, waiting: 4, waiting_share: 3 };
    const WAIT: Duration = Duration::from_secs(15);

    fn user(name: &str) -> UserInfo {
        UserInfo::new(name, &[])
    }

    #[tokio::test]
    async fn no_user_has_all_and_turns_go_round() {
        let shares = Shares::new(SIZES);
        let (alice, bob) = (user("alice"), user("bob"));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(shares.take(&alice, 1, WAIT).await.unwrap());
        }
        let mut second = Box::pin(shares.take(&alice, 1, WAIT));
        assert!(second.as_mut().now_or_never().is_none(), "one place is free, but not for alice");
        let bobs = shares.take(&bob, 1, WAIT).await.unwrap();
        let mut waiting: Vec<_> = [&alice, &bob].map(|of| Box::pin(shares.take(of, 1, WAIT))).into_iter().collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        // What comes free goes to alice, whose turn it is, then to bob, though alice had come before him.
        drop(held.pop());
        let _second = second.now_or_never().expect("alice's turn").unwrap();
        drop(held.pop());
        assert!(waiting[0].as_mut().now_or_never().is_none());
        let _third = waiting[1].as_mut().now_or_never().expect("bob's turn").unwrap();
        drop(bobs);
        assert!(waiting[0].as_mut().now_or_never().expect("alice's turn").is_ok());
        drop((held, waiting, _second, _third));
        assert_eq!(shares.taken(), 0);
        assert!(shares.0.state.lock().users.is_empty());
    }

    #[tokio::test]
    async fn who_waits_too_long_or_in_too_long_a_line_is_refused() {
        let shares = Shares::new(SIZES);
        let (alice, bob) = (user("alice"), user("bob"));
        let held = shares.take(&alice, 3, WAIT).await.unwrap();
        let waiting: Vec<_> = (0..3).map(|_| Box::pin(shares.take(&alice, 1, WAIT))).collect();
        let mut waiting = futures::future::join_all(waiting);
        assert!((&mut waiting).now_or_never().is_none());
        let refused = shares.take(&alice, 1, WAIT).now_or_never().expect("an answer at once");
        assert_eq!(refused.err(), Some(Exhausted));
        assert!(shares.take(&bob, 1, WAIT).await.is_ok(), "the others' line is not full");
        drop(waiting);
        let short = Duration::from_millis(1);
        assert_eq!(shares.take(&alice, 1, short).await.err(), Some(Exhausted));
        drop(held);
        let state = shares.0.state.lock();
        assert!(state.users.is_empty() && state.waiting == 0 && state.taken == 0, "{state:?}");
    }

    #[tokio::test]
    async fn large_wishes_are_met_and_cut_to_a_share() {
        let shares = Shares::new(SIZES);
        let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
        let mut all = shares.take(&alice, 100, WAIT).await.unwrap();
        assert_eq!(shares.taken(), 3);
        let mut large = Box::pin(shares.take(&bob, 3, WAIT));
        assert!(large.as_mut().now_or_never().is_none());
        all.shrink(2);
        assert!(large.as_mut().now_or_never().is_none());
        // One is too few for bob, and nobody passes him.
        let mut small = Box::pin(shares.take(&carol, 2, WAIT));
        assert!(small.as_mut().now_or_never().is_none());
        drop(all);
        assert!(large.as_mut().now_or_never().expect("bob's turn").is_ok());
        assert!(small.as_mut().now_or_never().expect("carol's turn").is_ok());
    }
}
