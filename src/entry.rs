//! Owns one stored session: its deadline word and its record, as pure functions of `now`.
//!
//! The deadline word lies inline in the table's bucket and is the session's life. It is a time while
//! the session lives; [`REVOKED`] and [`EXPIRED`] are final. After an entry is in the table the word
//! changes only by read-modify-write, so whoever ends a session ends it against every touch that
//! races. Knows nothing of locks, tables or clocks.

#[cfg(any(test, feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
mod dated;

use std::num::NonZeroU64;

use triomphe::{Arc, UniqueArc};

use crate::clock::{NEVER, Tick, after};
use crate::index::Slot;
use crate::sync::{AtomicU64, Ordering};
pub(crate) use crate::terms::Terms;
use crate::terms::Word;

/// The deadline word of a session that was destroyed and is not yet out of the table.
const REVOKED: Tick = 0;

/// The deadline word of a session that somebody saw expired: what was seen dead stays dead, even if
/// another thread still works with an older reading of the clock.
const EXPIRED: Tick = 1;

/// The word of a record that was never in a table.
const FRESH: Word = Word::from_bits(0);

/// The largest record that is moved where that saves a locked instruction, in bytes: about as long as one takes.
const MOVED: usize = 256;

/// What a commit stores: the data, and the terms of the session it belongs to.
///
/// A record is stored at most once, so whether two handles hold the same record says whether they
/// hold the same version. That nobody else stores it at the same time is up to who has it: a lock says
/// nothing of that, because handles that share one may be of several sessions, or of several stores.
pub(crate) struct Record<T> {
    /// The terms, with the session's node in the index: goes from record to record.
    word: AtomicU64,
    pub(crate) value: T,
}

impl<T> Record<T> {
    /// Returns a record that no store has seen.
    pub(crate) fn fresh(value: T) -> Arc<Self> {
        Arc::new(Self { word: AtomicU64::new(FRESH.to_bits()), value })
    }

    /// Returns a record for a new session.
    pub(crate) fn with_terms(value: T, terms: Terms) -> Arc<Self> {
        Arc::new(Self { word: AtomicU64::new(Word::new(terms).to_bits()), value })
    }

    /// Makes a record that nobody else holds one that no store has seen, with a copy of `value`; or lets go of it.
    pub(crate) fn again(mut record: Arc<Self>, value: &T) -> Option<Arc<Self>>
    where
        T: Clone,
    {
        let own = Arc::get_mut(&mut record)?;
        own.word = AtomicU64::new(FRESH.to_bits());
        own.value.clone_from(value);
        Some(record)
    }

    /// Lets go of a record that is most likely held by nobody else.
    #[inline]
    pub(crate) fn release(held: Arc<Self>) {
        match Arc::try_unique(held) {
            Ok(last) => Self::release_last(last),
            Err(held) => drop(held),
        }
    }

    /// Lets go of a record that nobody else holds. Moved out of its memory, which takes no locked instruction.
    #[inline]
    pub(crate) fn release_last(last: UniqueArc<Self>) {
        if size_of::<Self>() <= MOVED {
            drop(UniqueArc::into_inner(last));
        } else {
            drop(last);
        }
    }

    #[inline]
    pub(crate) fn is_fresh(&self) -> bool {
        self.word() == FRESH
    }

    /// Returns the session's terms and its node in the index.
    #[inline]
    pub(crate) fn word(&self) -> Word {
        // Relaxed: written under the shard's exclusive lock, or by whoever has taken the session out of the
        // table; read under the shared lock. For `is_fresh`, see `Session::is_storable`.
        Word::from_bits(self.word.load(Ordering::Relaxed))
    }

    pub(crate) fn set_word(&self, word: Word) {
        // Relaxed: see `word`.
        self.word.store(word.to_bits(), Ordering::Relaxed);
    }

    /// Returns the number of the session's node in the index.
    #[inline]
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.word().slot()
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
        // Relaxed here and below: the word stands alone, all that matters is the one order of its
        // changes, and the record beside it is handed over by the shard's lock.
        let seen = self.deadline.load(Ordering::Relaxed);
        seen > now || self.settle(seen, now, 0)
    }

    /// Like [`is_live`](Self::is_live), and counts as activity: the deadline of a live session
    /// moves to `idle` nanoseconds after `now`, never beyond its limit and never back.
    #[inline]
    pub(crate) fn touch(&self, now: Tick, idle: Option<NonZeroU64>) -> bool {
        let idle = idle.map_or(0, NonZeroU64::get);
        let seen = self.deadline.load(Ordering::Relaxed);
        // Most often there is nothing to write: too little time has passed, or the session does not idle.
        (seen > now && seen - now >= idle) || self.slide(seen, now, after(now, idle))
    }

    /// Like [`settle`](Self::settle), as far as the session's terms allow.
    #[inline(never)]
    fn slide(&self, seen: Tick, now: Tick, target: Tick) -> bool {
        let word = self.record.word();
        let target = if word.slides() { target.min(word.limit(seen)) } else { 0 };
        self.settle(seen, now, target)
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
    pub(crate) fn seen(&self, expires: Tick, idle: Option<NonZeroU64>) -> Option<Tick> {
        idle.filter(|_| self.record.word().slides()).map(|idle| expires.saturating_sub(idle.get()))
    }

    /// Returns the deadline word as it stands.
    pub(crate) fn deadline(&self) -> Tick {
        // Relaxed: see `extend`.
        self.deadline.load(Ordering::Relaxed)
    }

    /// Gives a live session other terms and another deadline. Needs the exclusive lock, which
    /// `&mut` stands for: no touch may be between reading the old terms and moving the deadline.
    pub(crate) fn set_terms(&mut self, deadline: Tick, terms: Terms) {
        self.record.set_word(self.record.word().with_terms(terms, deadline));
        // Relaxed: see `extend`. A swap, because the word is the target of other RMWs.
        self.deadline.swap(deadline, Ordering::Relaxed);
    }

    /// Puts a record in the place of the present one, under this word, and returns the old one, to be dropped
    /// outside the lock. The record is fresh, and the caller alone may store it.
    pub(crate) fn commit(&mut self, record: Arc<Record<T>>, word: Word) -> Arc<Record<T>> {
        debug_assert!(record.is_fresh(), "a record is stored once");
        record.set_word(word);
        std::mem::replace(&mut self.record, record)
    }
}

/// The lifetimes a store gives its sessions, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) ttl: Option<u64>,
    pub(crate) idle: Option<NonZeroU64>,
}

impl Policy {
    /// Returns the shorter lifetime.
    pub(crate) fn shortest(&self) -> Option<u64> {
        self.idle.map(NonZeroU64::get).into_iter().chain(self.ttl).min()
    }

    /// Returns the first deadline and the terms of a session that begins now.
    pub(crate) fn start(&self, now: Tick) -> (Tick, Terms) {
        let limit = self.ttl.map_or(NEVER, |ttl| after(now, ttl));
        let deadline = self.idle.map_or(limit, |idle| after(now, idle.get()).min(limit));
        (deadline, Terms { limit, slides: self.idle.is_some() })
    }
}
