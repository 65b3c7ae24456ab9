//! Owns [`Terms`], how long a session may live, and the [`Word`] in which its record keeps them.
//!
//! In a store that keeps an index, the word also holds the number of the session's node there. The limit
//! then has 31 bits: it is kept in parts of what lay between it and the deadline when the word was made, to
//! less than a part in 2^23, and counted from the deadline, which activity can only move towards it.

use crate::clock::{NEVER, Tick};
use crate::index::Slot;

/// How long a session may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The absolute deadline, which no activity moves.
    pub(crate) limit: Tick,
    /// Whether activity moves the deadline, by the store's idle timeout and up to `limit`.
    pub(crate) slides: bool,
}

const SLIDES: u64 = 1;

/// Set if the session has a node in the index.
const LISTED: u64 = 2;

/// Where the number of the node lies, 31 bits.
const SLOT: u32 = 2;
const SLOT_MASK: u64 = (1 << 31) - 1;

/// Where the limit of a session with a node lies: 25 bits, and 6 that say of what size.
const LIMIT: u32 = 33;
const PARTS: u32 = 25;
const PARTS_MASK: u64 = (1 << PARTS) - 1;

/// The size that stands for a limit that never comes.
const NO_LIMIT: u64 = 63;

/// Terms, and the session's node in the index if it has one. All zero for a record that was never stored: no
/// limit lies in a clock's first nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    /// The word of a record whose session is over: no node, nobody asks for its terms, and not all zero.
    pub(crate) const OVER: Self = Self(SLIDES);

    /// Packs the terms of a session without a node; the limit loses its lowest two bits.
    #[inline]
    pub(crate) fn new(terms: Terms) -> Self {
        Self(terms.limit & !(SLIDES | LISTED) | u64::from(terms.slides))
    }

    #[inline]
    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) fn slides(self) -> bool {
        self.0 & SLIDES != 0
    }

    /// Returns the terms of a session with this deadline.
    pub(crate) fn terms(self, deadline: Tick) -> Terms {
        Terms { limit: self.limit(deadline), slides: self.slides() }
    }

    pub(crate) fn limit(self, deadline: Tick) -> Tick {
        if self.0 & LISTED == 0 { self.0 & !SLIDES } else { unpack(self.0 >> LIMIT, deadline) }
    }

    /// Returns the number of the session's node.
    #[inline]
    pub(crate) fn slot(self) -> Option<Slot> {
        (self.0 & LISTED != 0).then_some((self.0 >> SLOT & SLOT_MASK) as Slot)
    }

    /// Gives a session with this deadline another node, or none.
    #[must_use]
    pub(crate) fn with_slot(self, slot: Option<Slot>, deadline: Tick) -> Self {
        let terms = self.terms(deadline);
        let Some(slot) = slot else { return Self::new(terms) };
        let limit = pack(terms.limit, deadline) << LIMIT;
        Self(limit | u64::from(slot) << SLOT | LISTED | u64::from(terms.slides))
    }

    /// Gives a session other terms and another deadline, and leaves it its node.
    #[must_use]
    pub(crate) fn with_terms(self, terms: Terms, deadline: Tick) -> Self {
        Self::new(terms).with_slot(self.slot(), deadline)
    }
}

fn pack(limit: Tick, deadline: Tick) -> u64 {
    if limit == NEVER {
        return NO_LIMIT << PARTS;
    }
    // Without its lowest bits it may have come to lie before the deadline.
    let limit = limit.max(deadline);
    // Half of what 25 bits hold, so that no rounding takes the limit round.
    let distance = limit - deadline;
    let size = (u64::BITS - distance.leading_zeros()).saturating_sub(PARTS - 1);
    u64::from(size) << PARTS | limit >> size & PARTS_MASK
}

fn unpack(packed: u64, deadline: Tick) -> Tick {
    let size = packed >> PARTS;
    if size == NO_LIMIT {
        return NEVER;
    }
    let from = deadline >> size;
    let distance = packed.wrapping_sub(from) & PARTS_MASK;
    from.wrapping_add(distance) << size
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Tick = 3_600_000_000_000;

    fn listed(limit: Tick, deadline: Tick) -> Word {
        Word::new(Terms { limit, slides: true }).with_slot(Some(7), deadline)
    }

    #[test]
    fn terms_without_a_node_are_kept_to_four_nanoseconds() {
        for (limit, slides) in [(5 * HOUR, true), (NEVER, false), (1_000_000_000, true)] {
            let word = Word::new(Terms { limit, slides });
            assert_eq!(word.terms(HOUR), Terms { limit, slides });
            assert_eq!(word.slot(), None);
        }
    }

    #[test]
    fn limit_beside_a_node_is_kept_to_a_part_of_its_distance_from_the_deadline() {
        let start = 987_654_321_987_654_320;
        for distance in [0, 4, 1000, 1 << 23, 1 << 24, 1 << 25, HOUR, 720 * HOUR, 876_000 * HOUR] {
            let limit = start + distance;
            let kept = listed(limit, start).limit(start);
            assert!(kept <= limit, "{kept} is beyond {limit}");
            assert!(limit - kept <= distance >> 23, "{kept} is far from {limit}");
        }
    }

    #[test]
    fn limit_beside_a_node_stays_where_it_is_while_the_deadline_moves_towards_it() {
        let start = 987_654_321_987_654_321;
        for distance in [1 << 20, HOUR, 24 * HOUR, 8760 * HOUR] {
            let word = listed(start + distance, start);
            let limit = word.limit(start);
            for step in 0..=1000 {
                assert_eq!(word.limit(start + (limit - start) / 1000 * step), limit);
            }
            assert_eq!(word.limit(limit), limit);
        }
    }

    #[test]
    fn limit_beside_a_node_is_exact_where_it_is_the_deadline_or_never_comes() {
        let deadline = 123_456_789_123_456_789;
        assert_eq!(listed(deadline, deadline).limit(deadline), deadline);
        assert_eq!(listed(NEVER, deadline).limit(deadline), NEVER);
        assert_eq!(listed(NEVER, NEVER).limit(NEVER), NEVER);
    }

    #[test]
    fn node_comes_and_goes_and_leaves_the_terms() {
        let terms = Terms { limit: 40 * HOUR, slides: true };
        let word = Word::new(terms).with_slot(Some((1 << 31) - 1), 39 * HOUR);
        assert_eq!(word.slot(), Some((1 << 31) - 1));
        let other = word.with_slot(Some(1), 39 * HOUR);
        assert_eq!((other.slot(), other.terms(39 * HOUR)), (Some(1), word.terms(39 * HOUR)));
        assert_eq!(other.with_slot(None, 39 * HOUR), Word::new(word.terms(39 * HOUR)));
        let fixed = Terms { limit: 50 * HOUR, slides: false };
        assert_eq!(other.with_terms(fixed, 50 * HOUR).terms(50 * HOUR), fixed);
        assert_eq!(other.with_terms(fixed, 50 * HOUR).slot(), Some(1));
    }

    #[test]
    fn rounding_does_not_add_up_when_a_session_changes_its_node() {
        let (start, limit) = (987_654_321_987_654_321, 987_654_321_987_654_321 + 24 * HOUR);
        let once = listed(limit, start);
        let often = (0..100).fold(once, |word, slot| word.with_slot(Some(slot + 1), start));
        assert_eq!(often.limit(start), once.limit(start));
    }

    /// Each step gives the session another node, another deadline within its limit, or one that activity might have
    /// moved it to, and is compared with what it would be if the limit were kept whole.
    #[test]
    fn limit_stays_within_its_part_of_the_distance_whatever_happens_to_the_deadline() {
        let state = std::cell::Cell::new(7_u64);
        let random = |below: u64| {
            state.set(state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            let high = u128::from(state.get() ^ state.get() >> 29);
            ((high * u128::from(below)) >> 64) as u64
        };
        for _ in 0..20_000 {
            let origin = 1_000_000_000 + random(1 << random(61));
            // Half of them as long as goes into a size, from where the first deadline lies.
            let most = 1 << random(62);
            let exact = origin + if random(2) == 0 { most - 1 } else { random(most) };
            let begin = random(1 << random(62)) * random(2);
            let (mut deadline, mut furthest) = (exact.min(origin + begin), 0);
            let slides = random(2) == 1;
            let mut word = Word::new(Terms { limit: exact, slides });
            for _ in 0..20 {
                let slot = random(1 << 31) as Slot;
                word = match random(4) {
                    0 => word.with_slot(Some(slot), deadline),
                    1 => {
                        let limit = word.limit(deadline);
                        deadline = origin + random(limit.saturating_sub(origin).max(1));
                        word.with_terms(Terms { limit, slides }, deadline)
                    }
                    2 => word.with_slot(None, deadline),
                    _ => {
                        let limit = word.limit(deadline);
                        let left = limit.saturating_sub(deadline);
                        deadline = deadline.max(limit - random(left.max(1)));
                        word
                    }
                };
                furthest = furthest.max(exact - deadline.min(exact));
                let limit = word.limit(deadline);
                assert!(limit <= exact, "{limit} is beyond {exact}");
                assert!(exact - limit <= 3 + (furthest >> 23), "{exact} became {limit}");
                assert_eq!(word.slides(), slides);
                assert_ne!(word, Word::default(), "a word that was stored");
            }
        }
    }
}
