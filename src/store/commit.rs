//! Owns the changes of a session's data: save, conditional save, atomic update.
//!
//! A commit puts a new record in the place of the old one, under the shard's exclusive lock, and
//! never inserts: what has ended stays ended. Records are made before the lock is taken and dropped
//! after it is released.

use triomphe::Arc;

use super::{Inner, SessionStore};
use crate::clock::Tick;
use crate::entry::{Entry, Record};
use crate::error::SaveError;
use crate::id::AsSessionId;
use crate::session::Session;
use crate::shards::Place;
use crate::stats::Event;
use crate::sync::Backoff;

/// What became of a commit, with a record that is to be dropped outside the lock.
pub(super) enum Committed<T> {
    /// Stored; this was stored before.
    Replaced(Arc<Record<T>>),
    /// Not stored, because another was stored than the caller wanted.
    Conflict(Arc<Record<T>>),
    /// Not stored, because it is stored already, here or under another id.
    Used(Arc<Record<T>>),
    /// Not stored, because the session has ended.
    Gone(Arc<Record<T>>),
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
        let Ok(copy) = self.inner.commit_handle(session, |_| true) else {
            return false;
        };
        if let Some(before) = copy.and_then(|copy| session.note_copy(copy)) {
            self.inner.ends.discard(&self.inner.stats, before);
        }
        true
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
        let copy = self.inner.commit_handle(session, |stored| session.is_based_on(stored))?;
        for held in session.rebase(copy) {
            self.inner.ends.discard(&self.inner.stats, held);
        }
        Ok(())
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
            // The clock once more: the closure took its time.
            let now = inner.clock.now();
            let committed = inner.commit(now, place, record, |stored| Arc::ptr_eq(stored, &seen));
            inner.ends.discard(&inner.stats, seen);
            let (done, left) = match committed {
                Committed::Replaced(old) => (Some(true), old),
                Committed::Conflict(record) | Committed::Used(record) => (None, record),
                Committed::Gone(record) => (Some(false), record),
            };
            inner.ends.discard(&inner.stats, left);
            match done {
                Some(true) => return Some(result),
                Some(false) => break,
                None => backoff.snooze(),
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

    /// Stores what a handle holds, its draft or else a copy of its data. Returns the copy, if it was one.
    fn commit_handle(
        &self,
        session: &Session<T>,
        wanted: impl Fn(&Arc<Record<T>>) -> bool,
    ) -> Result<Option<Arc<Record<T>>>, SaveError>
    where
        T: Clone,
    {
        let place = self.gate.place(*session.id());
        if let Some(draft) = session.draft() {
            match self.commit(self.clock.now(), &place, draft, &wanted) {
                // A clone of the handle, which shared the draft, has stored it in the meantime.
                Committed::Used(draft) => self.ends.discard(&self.stats, draft),
                committed => return self.conclude(committed).map(|()| None),
            }
        }
        let copy = session.to_copy();
        let committed = self.commit(self.clock.now(), &place, Arc::clone(&copy), wanted);
        match self.conclude(committed) {
            Ok(()) => Ok(Some(copy)),
            Err(error) => {
                self.ends.discard(&self.stats, copy);
                Err(error)
            }
        }
    }

    /// Drops what a commit left over, and says whether it stored.
    fn conclude(&self, committed: Committed<T>) -> Result<(), SaveError> {
        let (result, left) = match committed {
            Committed::Replaced(old) => (Ok(()), old),
            Committed::Conflict(record) | Committed::Used(record) => {
                (Err(SaveError::Conflict), record)
            }
            Committed::Gone(record) => {
                self.stats.count(Event::SavedGone);
                (Err(SaveError::Gone), record)
            }
        };
        self.ends.discard(&self.stats, left);
        result
    }

    /// Puts a record in the place of the stored one, if the session lives and `wanted` agrees to replace
    /// that one. `wanted` compares pointers, no user code. Drops no record.
    pub(super) fn commit(
        &self,
        now: Tick,
        place: &Place,
        record: Arc<Record<T>>,
        wanted: impl FnOnce(&Arc<Record<T>>) -> bool,
    ) -> Committed<T> {
        let mut shard = self.gate.exclusive(place.shard);
        let committed = match shard.find(place) {
            Some(entry) if entry.is_live(now) => {
                if wanted(entry.record()) {
                    self.replace(now, entry, record)
                } else {
                    Committed::Conflict(record)
                }
            }
            _ => Committed::Gone(record),
        };
        drop(shard);
        match committed {
            Committed::Replaced(_) => self.stats.count(Event::Saved),
            Committed::Conflict(_) => self.stats.count(Event::Conflicted),
            Committed::Used(_) | Committed::Gone(_) => {}
        }
        self.tend(now);
        committed
    }

    fn replace(&self, now: Tick, entry: &mut Entry<T>, record: Arc<Record<T>>) -> Committed<T> {
        match entry.commit(record) {
            Ok(old) => {
                // Only what is stored is activity: a conflict must not show.
                entry.touch(now, self.policy.idle);
                Committed::Replaced(old)
            }
            Err(record) => Committed::Used(record),
        }
    }
}
