//! Fairness, limits and waiting, without a clock of its own.

use futures::FutureExt;

use super::*;

const SIZES: Sizes = Sizes { total: 4, share: 3, waiting: 4, waiting_share: 3 };
const WAIT: Duration = Duration::from_secs(15);

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, &[])
}

impl State {
    /// Whether nobody has anything or waits, and all know it.
    fn is_idle(&self) -> bool {
        let users = self.places.values().all(|slot| self.slots[*slot].is_idle());
        users && self.idle == self.places.len() && self.waiting == 0 && self.taken == 0
    }
}

#[tokio::test]
async fn few_idle_users_are_remembered() {
    let shares = Shares::new(SIZES);
    let held = shares.take(&user("alice"), 1, WAIT).await.unwrap();
    // One that has left stands in the queue of an idle user until that is forgotten.
    let bobs = shares.take(&user("bob"), 3, WAIT).await.unwrap();
    assert!(Box::pin(shares.take(&user("bob"), 1, WAIT)).now_or_never().is_none());
    drop(bobs);
    for number in 0..5 * IDLE_MAX {
        drop(shares.take(&user(&number.to_string()), 1, WAIT).await.unwrap());
    }
    let check = |idle: bool| {
        let state = shares.0.state.lock();
        assert!(state.slots.len() <= IDLE_MAX + 1 && state.places.len() <= IDLE_MAX + 1, "{state:?}");
        assert_eq!(state.is_idle(), idle, "{state:?}");
        assert!(state.turns.is_empty(), "{state:?}");
    };
    check(false);
    drop(held);
    check(true);
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
    assert!(shares.0.state.lock().is_idle());
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
    assert!(state.is_idle(), "{state:?}");
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
