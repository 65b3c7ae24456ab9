//! Owns one stored session: its deadline word and its record, as pure functions of `now`.
//!
//! The deadline word lies inline in the table's bucket and is the session's life. It is a time while
//! the session lives; [`REVOKED`] and [`EXPIRED`] are final. After an entry is in the table the word
//! changes only by read-modify-write, so whoever ends a session ends it against every touch that
//! races. Knows nothing of locks, tables or clocks.

#[cfg(any(test, feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
mod dated;

use triomphe::Arc;

use crate::clock::{NEVER, Tick, after};
use crate::mark::Mark;
use crate::sync::{AtomicU64, Ordering};

/// The deadline word of a session that was destroyed and is not yet out of the table.
const REVOKED: Tick = 0;

/// The deadline word of a session that somebody saw expired: what was seen dead stays dead, even if
/// another thread still works with an older reading of the clock.
const EXPIRED: Tick = 1;

/// `Record::terms` of a record that was never in a table.
const FRESH: u64 = 0;

/// How long a session may live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The absolute deadline, which no activity moves.
    pub(crate) limit: Tick,
    /// Whether activity moves the deadline, by the store's idle timeout and up to `limit`.
    pub(crate) slides: bool,
}

impl Terms {
    /// Packs into one word; the limit loses its lowest bit, one nanosecond.
    fn to_word(self) -> u64 {
        self.limit & !1 | u64::from(self.slides)
    }

    fn from_word(word: u64) -> Self {
        Self { limit: word & !1, slides: word & 1 == 1 }
    }
}

/// What a commit stores: the data, and the terms of the session it belongs to.
///
/// A record is stored at most once, so whether two handles hold the same record says whether they
/// hold the same version.
pub(crate) struct Record<T> {
    terms: AtomicU64,
    /// What is known of the session beside its data, as `mark.rs` packs it. Goes from record to record.
    mark: AtomicU64,
    pub(crate) value: T,
}

impl<T> Record<T> {
    /// Returns a record that no store has seen.
    pub(crate) fn fresh(value: T) -> Arc<Self> {
        Arc::new(Self { terms: AtomicU64::new(FRESH), mark: AtomicU64::new(0), value })
    }

    /// Returns a record for a new session.
    pub(crate) fn with_terms(value: T, terms: Terms) -> Arc<Self> {
        let terms = AtomicU64::new(terms.to_word());
        Arc::new(Self { terms, mark: AtomicU64::new(0), value })
    }

    #[inline]
    pub(crate) fn mark(&self) -> Mark {
        // Relaxed, here and below: written under the shard's exclusive lock, and once more by whoever has
        // taken the session out of the table; read under the shared lock.
        Mark::from_word(self.mark.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn set_mark(&self, mark: Mark) {
        self.mark.store(mark.to_word(), Ordering::Relaxed);
    }

    /// Makes the record a session's, under its terms. Only the first caller gets it.
    fn adopt(&self, terms: Terms) -> bool {
        let terms = terms.to_word();
        // Relaxed: the word only decides who; the record reaches others through a shard's lock.
        self.terms.compare_exchange(FRESH, terms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn is_fresh(&self) -> bool {
        // Relaxed: see `adopt`.
        self.terms.load(Ordering::Relaxed) == FRESH
    }

    fn terms(&self) -> Terms {
        // Relaxed: written under the shard's exclusive lock, read under its shared lock.
        Terms::from_word(self.terms.load(Ordering::Relaxed))
    }

    fn set_terms(&self, terms: Terms) {
        // Relaxed: see `terms`. A swap, because the word is also the target of `adopt`.
        self.terms.swap(terms.to_word(), Ordering::Relaxed);
    }
}

/// What the table holds for an id: 16 bytes, whatever `T` is.
pub(crate) struct Entry<T> {
    deadline: AtomicU64,
    record: Arc<Record<T>>,
}

/// Why an entry is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    Revoked,
    Expired,
}

impl<T> Entry<T> {
    pub(crate) fn new(deadline: Tick, record: Arc<Record<T>>) -> Self {
        Self { deadline: AtomicU64::new(deadline), record }
    }

    pub(crate) fn record(&self) -> &Arc<Record<T>> {
        &self.record
    }

    pub(crate) fn into_record(self) -> Arc<Record<T>> {
        self.record
    }

    /// Tells whether the session lives, without moving its deadline. A session found expired is
    /// marked, so that the answer is final.
    #[inline]
    pub(crate) fn is_live(&self, now: Tick) -> bool {
        self.extend(now, 0)
    }

    /// Like [`is_live`](Self::is_live), and counts as activity: the deadline of a live session
    /// moves to `idle` nanoseconds after `now`, never beyond its limit and never back.
    #[inline]
    pub(crate) fn touch(&self, now: Tick, idle: Option<u64>) -> bool {
        let target = match idle {
            Some(idle) => {
                let terms = self.record.terms();
                if terms.slides { after(now, idle).min(terms.limit) } else { 0 }
            }
            None => 0,
        };
        self.extend(now, target)
    }

    /// The one place that decides whether a session has expired.
    #[inline]
    fn extend(&self, now: Tick, target: Tick) -> bool {
        // Relaxed here and below: the word stands alone, all that matters is the one order of its
        // changes, and the record beside it is handed over by the shard's lock.
        let seen = self.deadline.load(Ordering::Relaxed);
        // Most often there is nothing to write.
        if seen > now && target <= seen { true } else { self.settle(seen, now, target) }
    }

    /// Moves the deadline of a live session on to `target`, or marks an expired one.
    #[inline(never)]
    fn settle(&self, mut seen: Tick, now: Tick, target: Tick) -> bool {
        loop {
            let (next, live) = if seen > now { (target, true) } else { (EXPIRED, false) };
            if if live { next <= seen } else { seen <= EXPIRED } {
                return live;
            }
            match self.deadline.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return live,
                Err(changed) => seen = changed,
            }
        }
    }

    /// Ends a live session. Only one caller gets `true`. A session found expired is marked, as by
    /// [`is_live`](Self::is_live).
    pub(crate) fn revoke(&self, now: Tick) -> bool {
        while let Some(seen) = self.live_until(now) {
            // Relaxed, both: see `extend`.
            let ended =
                self.deadline.compare_exchange(seen, REVOKED, Ordering::Relaxed, Ordering::Relaxed);
            if ended.is_ok() {
                return true;
            }
        }
        false
    }

    /// Returns why the session is dead, or `None` if it lives. Marks nothing.
    pub(crate) fn death(&self, now: Tick) -> Option<Death> {
        match self.deadline() {
            REVOKED => Some(Death::Revoked),
            deadline => (deadline <= now).then_some(Death::Expired),
        }
    }

    /// Returns the deadline of a live session.
    pub(crate) fn live_until(&self, now: Tick) -> Option<Tick> {
        let live = self.is_live(now);
        // It may have been touched or ended in between; either way the word tells.
        Some(self.deadline()).filter(|deadline| live && *deadline > now)
    }

    /// Returns when a session that lives until `expires` was last used, if its deadline says so.
    pub(crate) fn seen(&self, expires: Tick, idle: Option<u64>) -> Option<Tick> {
        idle.filter(|_| self.record.terms().slides).map(|idle| expires.saturating_sub(idle))
    }

    /// Returns the deadline word as it stands.
    pub(crate) fn deadline(&self) -> Tick {
        // Relaxed: see `extend`.
        self.deadline.load(Ordering::Relaxed)
    }

    /// Gives a live session other terms and another deadline. Needs the exclusive lock, which
    /// `&mut` stands for: no touch may be between reading the old terms and moving the deadline.
    pub(crate) fn set_terms(&mut self, deadline: Tick, terms: Terms) {
        self.record.set_terms(terms);
        // Relaxed: see `extend`. A swap, because the word is the target of other RMWs.
        self.deadline.swap(deadline, Ordering::Relaxed);
    }

    /// Puts a record in the place of the present one, under the same terms and this mark, and returns the old
    /// one, to be dropped outside the lock; or gives the record back, if it was some session's before.
    pub(crate) fn commit(
        &mut self,
        record: Arc<Record<T>>,
        mark: Mark,
    ) -> Result<Arc<Record<T>>, Arc<Record<T>>> {
        if record.adopt(self.record.terms()) {
            record.set_mark(mark);
            Ok(std::mem::replace(&mut self.record, record))
        } else {
            Err(record)
        }
    }
}

/// The lifetimes a store gives its sessions, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) ttl: Option<u64>,
    pub(crate) idle: Option<u64>,
}

impl Policy {
    /// Returns the first deadline and the terms of a session that begins now.
    pub(crate) fn start(&self, now: Tick) -> (Tick, Terms) {
        let limit = self.ttl.map_or(NEVER, |ttl| after(now, ttl));
        let deadline = self.idle.map_or(limit, |idle| after(now, idle).min(limit));
        (deadline, Terms { limit, slides: self.idle.is_some() })
    }
}
