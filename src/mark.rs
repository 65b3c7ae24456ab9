//! Owns [`Mark`]: what a record keeps of its session beside the data, in one word.

use crate::index::Slot;

/// Set in the lower half if the session has no node in the index; the other bits are then when it was created.
const NODELESS: u32 = 1 << 31;

/// What is known of a session beside its data. All zero for a session of a store that keeps no index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) fn from_word(word: u64) -> Self {
        Self(word)
    }

    fn low(self) -> u32 {
        self.0 as u32
    }

    /// Returns the session's node in the index.
    pub(crate) fn slot(self) -> Option<Slot> {
        (self.low() != 0 && self.low() & NODELESS == 0).then_some(self.low())
    }

    /// Returns when a session without a node was created, in seconds of the clock.
    pub(crate) fn born(self) -> u32 {
        self.low() & !NODELESS
    }

    /// Returns when the session's user last authenticated, in seconds of the clock.
    pub(crate) fn authenticated(self) -> Option<u32> {
        Some((self.0 >> 32) as u32).filter(|at| *at != 0)
    }

    /// Takes note that the session's user authenticated at a second of the clock, or that nobody did.
    #[must_use]
    pub(crate) fn authenticate(self, at: Option<u32>) -> Self {
        // A machine's first second counts with its second.
        let high = at.map_or(0, |at| at.max(1));
        Self(u64::from(self.low()) | u64::from(high) << 32)
    }

    /// Takes note of the session's node, or of when it was created if it has none.
    #[must_use]
    pub(crate) fn at(self, slot: Option<Slot>, born: u32) -> Self {
        let low = slot.unwrap_or(NODELESS | born);
        Self(self.0 & !u64::from(u32::MAX) | u64::from(low))
    }
}
