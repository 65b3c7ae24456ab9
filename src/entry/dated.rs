//! Owns how a deadline is set whose end the session's framework says anew with each commit.

use triomphe::Arc;

use super::{Entry, Record, Terms};
use crate::clock::Tick;
use crate::sync::Ordering;

impl<T> Entry<T> {
    /// Puts a record that nobody else has seen in the place of a live session's present one, and sets
    /// the deadline that `choose` makes of the session's limit, which no activity moves from now on.
    /// Returns the old record, to be dropped outside the lock.
    ///
    /// Needs the exclusive lock: see [`set_terms`](Self::set_terms).
    #[must_use]
    pub(crate) fn replace(
        &mut self,
        record: Arc<Record<T>>,
        choose: impl FnOnce(Tick) -> Tick,
    ) -> Arc<Record<T>> {
        let limit = self.record.terms().limit;
        record.set_terms(Terms { limit, slides: false });
        // Relaxed: see `extend`. A swap, because the word is the target of other RMWs.
        self.deadline.swap(choose(limit), Ordering::Relaxed);
        std::mem::replace(&mut self.record, record)
    }

    /// Like [`touch`](Self::touch), and moves the deadline to `target`, if that is later.
    pub(crate) fn prolong(&self, now: Tick, target: Tick) -> bool {
        self.extend(now, target.min(self.record.terms().limit))
    }
}
