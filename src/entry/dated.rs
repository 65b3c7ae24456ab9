//! Owns how a deadline is set whose end the session's framework says anew with each commit.

use super::{Entry, Terms};
use crate::clock::Tick;

impl<T> Entry<T> {
    /// Gives a live session the deadline that `choose` makes of its limit; no activity moves it from now on.
    ///
    /// Needs the exclusive lock: see [`set_terms`](Self::set_terms).
    pub(crate) fn date(&mut self, choose: impl FnOnce(Tick) -> Tick) {
        let limit = self.limit();
        self.set_terms(choose(limit), Terms { limit, slides: false });
    }

    /// Like [`touch`](Self::touch), and moves the deadline to `target`, if that is later.
    pub(crate) fn prolong(&self, now: Tick, target: Tick) -> bool {
        let seen = self.deadline();
        self.settle(seen, now, target.min(self.limit()))
    }

    fn limit(&self) -> Tick {
        self.record.word().limit(self.deadline())
    }
}
