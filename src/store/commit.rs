//! Owns the changes of a session's data: save, conditional save, atomic update.
//!
//! A commit puts a new record in the place of the old one, under the shard's exclusive lock, and
//! never inserts: what has ended stays ended. Records are made before the lock is taken and dropped
//! after it is released.

use std::sync::Arc;

use super::{Inner, SessionStore};
use crate::entry::Record;
use crate::error::SaveError;
use crate::id::{AsSessionId, SessionId};
use crate::session::Session;
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
        let record = session.to_commit();
        let committed = self.inner.commit(*session.id(), Arc::clone(&record), |_| true);
        match committed {
            Committed::Replaced(old) => {
                let noted_before = session.note_saved(record);
                for old in noted_before.into_iter().chain([old]) {
                    self.inner.ends.discard(&self.inner.stats, old);
                }
                true
            }
            Committed::Conflict | Committed::Gone => {
                self.inner.stats.count(Event::SavedGone);
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
        let record = session.to_commit();
        let committed = self
            .inner
            .commit(*session.id(), Arc::clone(&record), |stored| session.is_based_on(stored));
        match committed {
            Committed::Replaced(old) => {
                // The handle was based on the old version, so that this is not the last reference.
                drop(old);
                for held in session.rebase(record) {
                    self.inner.ends.discard(&self.inner.stats, held);
                }
                Ok(())
            }
            Committed::Conflict => {
                self.inner.stats.count(Event::Conflicted);
                Err(SaveError::Conflict)
            }
            Committed::Gone => {
                self.inner.stats.count(Event::SavedGone);
                Err(SaveError::Gone)
            }
        }
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
        let Some(id) = self.inner.resolve(id.named()) else {
            self.inner.stats.count(Event::Missed);
            return None;
        };
        let backoff = Backoff::new();
        loop {
            let Some(seen) = self.inner.current(id) else {
                break;
            };
            let mut value = seen.value.clone();
            let result = change(&mut value);
            let record = Record::fresh(value);
            record.claim();
            match self.inner.commit(id, record, |stored| Arc::ptr_eq(stored, &seen)) {
                Committed::Replaced(old) => {
                    drop(seen);
                    self.inner.ends.discard(&self.inner.stats, old);
                    return Some(result);
                }
                Committed::Conflict => self.inner.stats.count(Event::Conflicted),
                Committed::Gone => break,
            }
            backoff.snooze();
        }
        self.inner.stats.count(Event::Missed);
        None
    }
}

impl<T> Inner<T> {
    /// Returns a live session's record.
    fn current(&self, id: SessionId) -> Option<Arc<Record<T>>> {
        let now = self.clock.now();
        let show =
            |entry: &crate::entry::Entry<T>| entry.is_live(now).then(|| Arc::clone(entry.record()));
        self.gate.read(&self.gate.place(id), show).flatten()
    }

    /// Puts a claimed record in the place of the stored one, if the session lives and `wanted`
    /// agrees to replace that one. `wanted` compares pointers, no user code.
    fn commit(
        &self,
        id: SessionId,
        record: Arc<Record<T>>,
        wanted: impl FnOnce(&Arc<Record<T>>) -> bool,
    ) -> Committed<T> {
        let now = self.clock.now();
        let place = self.gate.place(id);
        let mut shard = self.gate.exclusive(place.shard);
        let committed = match shard.find(&place) {
            Some(entry) if entry.is_live(now) => {
                // Only what is stored is activity: a conflict must not show.
                if wanted(entry.record()) {
                    entry.touch(now, self.policy.idle);
                    Committed::Replaced(entry.commit(record))
                } else {
                    Committed::Conflict
                }
            }
            _ => Committed::Gone,
        };
        drop(shard);
        if matches!(committed, Committed::Replaced(_)) {
            self.stats.count(Event::Saved);
        }
        self.tend(now);
        committed
    }
}
