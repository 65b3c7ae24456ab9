//! Owns the changes of a session's data: save, conditional save, atomic update.
//!
//! A commit puts a new record in the place of the old one, under the shard's exclusive lock, and
//! never inserts: what has ended stays ended. Records are made before the lock is taken and dropped
//! after it is released.

use std::sync::Arc;

use super::{Inner, SessionStore};
use crate::clock::Tick;
use crate::entry::{Entry, Record};
use crate::error::SaveError;
use crate::id::AsSessionId;
use crate::session::Session;
use crate::shards::Place;
use crate::stats::Event;
use crate::sync::Backoff;

/// What became of a commit, with the record to drop outside the lock.
enum Committed<T> {
    Replaced(Arc<Record<T>>),
    Conflict,
    Gone,
}

impl<T: Clone> SessionStore<T> {
    /// Stores a handle's data. Returns `true` if it was stored; `false`, and changes nothing, if the
    /// session has ended.
    ///
    /// The last save wins: use [`try_save`](Self::try_save) or [`update`](Self::update) where two
    /// requests may change one session. The handle's id need not come from this store's `create`,
    /// but a session is never created here.
    ///
    /// Stores what the handle holds without a copy, if it was changed since it was loaded or saved.
    ///
    /// # Expiry
    ///
    /// Counts as activity. Never changes the session's absolute limit.
    pub fn save(&self, session: &Session<T>) -> bool {
        let inner = &*self.inner;
        let record = session.to_commit();
        let (now, place) = (inner.clock.now(), inner.gate.place(*session.id()));
        match inner.commit(now, &place, &record, |_| true) {
            Committed::Replaced(old) => {
                inner.ends.discard(&inner.stats, old);
                if let Some(before) = session.note_saved(record) {
                    inner.ends.discard(&inner.stats, before);
                }
                true
            }
            Committed::Conflict | Committed::Gone => {
                inner.stats.count(Event::SavedGone);
                inner.ends.discard(&inner.stats, record);
                false
            }
        }
    }

    /// Stores a handle's data, unless somebody else saved the session since this handle loaded it.
    ///
    /// A handle's own saves are no conflict. After an error the handle holds its data as before.
    ///
    /// # Expiry
    ///
    /// Counts as activity, if it is stored.
    ///
    /// # Errors
    ///
    /// [`SaveError::Conflict`] if it was saved by another; [`SaveError::Gone`] if it has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{SaveError, SessionStore};
    ///
    /// let store = SessionStore::new(3600);
    /// let mut mine = store.create();
    /// let mut theirs = store.load(mine.id()).ok_or("gone")?;
    /// theirs.set("seat", "7");
    /// store.try_save(&mut theirs)?;
    /// mine.set("seat", "8");
    /// assert_eq!(store.try_save(&mut mine), Err(SaveError::Conflict));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_save(&self, session: &mut Session<T>) -> Result<(), SaveError> {
        let inner = &*self.inner;
        let record = session.to_commit();
        let (now, place) = (inner.clock.now(), inner.gate.place(*session.id()));
        let refused = match inner.commit(now, &place, &record, |stored| session.is_based_on(stored))
        {
            Committed::Replaced(old) => {
                inner.ends.discard(&inner.stats, old);
                for held in session.rebase(record) {
                    inner.ends.discard(&inner.stats, held);
                }
                return Ok(());
            }
            Committed::Conflict => SaveError::Conflict,
            Committed::Gone => {
                inner.stats.count(Event::SavedGone);
                SaveError::Gone
            }
        };
        inner.ends.discard(&inner.stats, record);
        Err(refused)
    }

    /// Changes a session's data as one step, and returns what the closure returned; `None` if there
    /// is no live session of this id.
    ///
    /// The closure works on a copy, outside every lock. If somebody else saved in the meantime, it
    /// runs again on a copy of what they saved: so it may run several times, and only its last run
    /// counts. If it panics, nothing is changed.
    ///
    /// # Expiry
    ///
    /// Counts as activity.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::SessionStore;
    ///
    /// let store = SessionStore::<u32>::builder().build()?;
    /// let session = store.create();
    /// let visits = store.update(session.id(), |visits| { *visits += 1; *visits });
    /// assert_eq!(visits, Some(1));
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn update<R>(
        &self,
        id: impl AsSessionId,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Option<R> {
        let inner = &*self.inner;
        let place = inner.resolve(id.named()).map(|id| inner.gate.place(id));
        let current = || inner.current(inner.clock.now(), place.as_ref()?);
        let backoff = Backoff::new();
        while let (Some(seen), Some(place)) = (current(), &place) {
            let mut value = seen.value.clone();
            let result = change(&mut value);
            let record = Record::fresh(value);
            record.claim();
            // The clock once more: the closure took its time.
            let now = inner.clock.now();
            let committed = inner.commit(now, place, &record, |stored| Arc::ptr_eq(stored, &seen));
            inner.ends.discard(&inner.stats, record);
            inner.ends.discard(&inner.stats, seen);
            match committed {
                Committed::Replaced(old) => {
                    inner.ends.discard(&inner.stats, old);
                    return Some(result);
                }
                Committed::Conflict => backoff.snooze(),
                Committed::Gone => break,
            }
        }
        inner.stats.count(Event::Missed);
        None
    }
}

impl<T> Inner<T> {
    /// Returns a live session's record.
    pub(super) fn current(&self, now: Tick, place: &Place) -> Option<Arc<Record<T>>> {
        let show = |entry: &Entry<T>| entry.is_live(now).then(|| Arc::clone(entry.record()));
        self.gate.read(place, show).flatten()
    }

    /// Puts a claimed record in the place of the stored one, if the session lives and `wanted`
    /// agrees to replace that one. `wanted` compares pointers, no user code.
    ///
    /// The caller keeps a reference to the record, so that it is never dropped here.
    fn commit(
        &self,
        now: Tick,
        place: &Place,
        record: &Arc<Record<T>>,
        wanted: impl FnOnce(&Arc<Record<T>>) -> bool,
    ) -> Committed<T> {
        let mut shard = self.gate.exclusive(place.shard);
        let committed = match shard.find(place) {
            Some(entry) if entry.is_live(now) => {
                // Only what is stored is activity: a conflict must not show.
                if wanted(entry.record()) {
                    entry.touch(now, self.policy.idle);
                    Committed::Replaced(entry.commit(Arc::clone(record)))
                } else {
                    Committed::Conflict
                }
            }
            _ => Committed::Gone,
        };
        drop(shard);
        match committed {
            Committed::Replaced(_) => self.stats.count(Event::Saved),
            Committed::Conflict => self.stats.count(Event::Conflicted),
            Committed::Gone => {}
        }
        self.tend(now);
        committed
    }
}
