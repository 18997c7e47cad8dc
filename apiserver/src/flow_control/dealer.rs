//! Which queues a flow may use: shuffle sharding (apiserver's `util/shufflesharding`). A deck of queues is dealt by the
//! hash of the flow, so that two flows seldom share all of their queues.

use sha2::{Digest, Sha256};

/// The most cards of a hand: hands whose hashes have 60 bits (`MaxHashBits`) out of a deck of at least as many cards have
/// no more, and validation sees to that.
pub(super) const HAND_MAX: usize = 15;

/// Deals hands out of a deck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dealer {
    deck: usize,
    hand: usize,
}

/// The cards of one hand, in the order in which they were dealt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand {
    cards: [usize; HAND_MAX],
    size: usize,
}

impl Dealer {
    /// Deals hands of so many cards, each a number below `deck`. A hand is not larger than its deck.
    pub(super) fn new(deck: usize, hand: usize) -> Self {
        let deck = deck.max(1);
        Self { deck, hand: hand.clamp(1, HAND_MAX.min(deck)) }
    }

    /// The hand of a hash: its digits in the bases `deck`, `deck - 1` and so on say which of the cards that are left is next.
    pub(super) fn deal(&self, mut hash: u64) -> Hand {
        let mut hand = Hand { cards: [0; HAND_MAX], size: self.hand };
        // The cards dealt so far, sorted: a digit counts those that are left, and so skips each of these that is not above it.
        let mut dealt = [0; HAND_MAX];
        for count in 0..self.hand {
            let left = (self.deck - count) as u64;
            let mut card = (hash % left) as usize;
            hash /= left;
            let mut place = 0;
            while place < count && dealt[place] <= card {
                card += 1;
                place += 1;
            }
            dealt.copy_within(place..count, place + 1);
            dealt[place] = card;
            hand.cards[count] = card;
        }
        hand
    }
}

impl Hand {
    /// The cards.
    pub(super) fn cards(&self) -> &[usize] {
        &self.cards[..self.size]
    }
}

/// The hash of a flow: of what a schema calls one (`hashFlowID` in apiserver's `util/flowcontrol`).
pub(super) fn hash(schema: &str, distinguisher: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(schema.as_bytes());
    hash.update([0]);
    hash.update(distinguisher.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn check(deck: usize, hand: usize, hash: u64, cards: &[usize]) {
        assert_eq!(Dealer::new(deck, hand).deal(hash).cards(), cards, "{hand} of {deck} by {hash}");
    }

    #[test]
    fn digits_of_the_hash_choose_among_the_cards_that_are_left() {
        check(6, 6, 0, &[0, 1, 2, 3, 4, 5]);
        check(6, 3, 6 * 5 * 4 - 1, &[5, 4, 3]);
        check(128, 1, 299, &[43]);
        // 3, then the third of those without it, then the third of those without both.
        check(10, 3, 3 + 10 * (3 + 9 * 3), &[3, 4, 5]);
        check(10, 3, 9 + 10 * (9 * 7), &[9, 0, 8]);
    }

    #[test]
    fn every_order_of_every_hand_is_dealt_once() {
        let dealer = Dealer::new(7, 4);
        let hands: BTreeSet<Vec<usize>> = (0..7 * 6 * 5 * 4).map(|hash| dealer.deal(hash).cards().to_vec()).collect();
        assert_eq!(hands.len(), 7 * 6 * 5 * 4);
        assert!(
            hands.iter().all(|hand| hand.iter().collect::<BTreeSet<_>>().len() == 4 && hand.iter().all(|c| *c < 7))
        );
    }

    #[test]
    fn flows_are_told_apart_by_schema_and_distinguisher() {
        let hashes: BTreeSet<u64> = [("a", "b"), ("ab", ""), ("a", ""), ("b", "a")].map(|(s, d)| hash(s, d)).into();
        assert_eq!(hashes.len(), 4);
        // The first eight bytes of the digest of "a\0b", the lowest first.
        let digest = Sha256::digest(b"a\0b");
        assert_eq!(hash("a", "b").to_le_bytes(), digest[..8]);
    }
}
