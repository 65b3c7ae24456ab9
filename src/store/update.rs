//! Owns the atomic update of a session's data: user code works on a copy, and what it has made is committed if
//! nothing was committed meanwhile.

use triomphe::Arc;

use super::commit::Committed;
use super::lifetime::Dating;
use super::{Inner, SessionStore};
use crate::entry::Record;
use crate::error::SaveError;
use crate::id::AsSessionId;
use crate::register::Change;
use crate::shards::Place;
use crate::stats::Event;
use crate::sync::Backoff;
use crate::weigh::TooLarge;

impl<T: Clone> SessionStore<T> {
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
    pub fn update<R>(&self, id: impl AsSessionId, change: impl FnMut(&mut T) -> R) -> Option<R> {
        self.try_update(id, change).ok()
    }

    /// Changes a session's data as one step, like [`update`](Self::update), or says why not.
    ///
    /// # Errors
    ///
    /// [`SaveError::Gone`] if there is no live session of this id; [`SaveError::SubjectLimit`] if it would
    /// become another subject's, which has as many as it may; [`SaveError::TooLarge`] and [`SaveError::AtByteLimit`] at
    /// [`max_bytes`](crate::Builder::max_bytes). Never [`SaveError::Conflict`].
    pub fn try_update<R>(
        &self,
        id: impl AsSessionId,
        change: impl FnMut(&mut T) -> R,
    ) -> Result<R, SaveError> {
        self.update_or_count(id, change, Event::Missed)
    }

    /// Updates, or counts that there is no session: as a refused save, where the change is one.
    #[inline(always)]
    pub(crate) fn update_or_count<R>(
        &self,
        id: impl AsSessionId,
        mut change: impl FnMut(&mut T) -> R,
        gone: Event,
    ) -> Result<R, SaveError> {
        let inner = &*self.inner;
        let place = inner.resolve(id.named()).map(|id| inner.gate.place(id));
        let current = || inner.current(inner.clock.now(), place.as_ref()?);
        let backoff = Backoff::new();
        while let (Some(seen), Some(place)) = (current(), &place) {
            let mut value = seen.value.clone();
            let result = change(&mut value);
            let record = Record::fresh(value);
            match inner.commit_update(place, record, seen) {
                Ok(()) => return Ok(result),
                Err(SaveError::Conflict) => {
                    inner.stats.count(Event::Conflicted);
                    backoff.snooze();
                }
                Err(SaveError::Gone) => break,
                Err(refused) => return Err(refused),
            }
        }
        inner.stats.count(gone);
        Err(SaveError::Gone)
    }
}

impl<T> Inner<T> {
    /// Stores an updated copy of what was seen, if that is still stored, and drops what is left over.
    fn commit_update(
        &self,
        place: &Place,
        record: Arc<Record<T>>,
        seen: Arc<Record<T>>,
    ) -> Result<(), SaveError> {
        let listed = self.register.as_ref().map(|register| (register, Arc::clone(&record)));
        let change = listed.as_ref().map(|(it, data)| it.change(&data.value, &seen, Some(data)));
        let committed = match change.transpose() {
            Ok(change) => self.commit_seen(place, record, &seen, change.as_ref()),
            Err(TooLarge) => Committed::TooLarge(record),
        };
        if let Some((_, data)) = listed {
            self.ends.discard(&self.stats, data);
        }
        self.ends.discard(&self.stats, seen);
        let (result, left) = committed.into_result();
        self.ends.discard_last(&self.stats, left);
        result
    }

    fn commit_seen(
        &self,
        place: &Place,
        record: Arc<Record<T>>,
        seen: &Arc<Record<T>>,
        change: Option<&Change<'_, T>>,
    ) -> Committed<T> {
        // The clock once more: user code took its time.
        let now = self.clock.now();
        let wanted = |stored: &Arc<Record<T>>| Arc::ptr_eq(stored, seen);
        self.commit(now, place, record, change, wanted, Dating::Activity)
    }
}
