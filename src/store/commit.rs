//! Owns the changes of a session's data: save, conditional save, and the commit that every change is.
//!
//! A commit puts a new record in the place of the old one, under the shard's exclusive lock, and
//! never inserts: what has ended stays ended. Records are made before the lock is taken and dropped
//! after it is released.

use std::cell::Cell;

use triomphe::Arc;

use super::lifetime::Dating;
#[cfg(any(
    test,
    feature = "tower-sessions",
    feature = "actix-session",
    feature = "async-session"
))]
use super::lifetime::within;
use super::room::ENDS;
use super::{Inner, SessionStore};
use crate::capacity::Capacity;
use crate::clock::Tick;
use crate::entry::{Entry, Record};
use crate::error::SaveError;
use crate::id::SessionId;
use crate::register::{Change, Register, Unbooked};
use crate::session::Session;
use crate::shards::Place;
use crate::stats::Event;
use crate::terms::Word;

/// What became of a commit, with a record that is to be dropped outside the lock.
pub(super) enum Committed<T> {
    /// Stored; this was stored before.
    Replaced(Arc<Record<T>>),
    /// Not stored, because another was stored than the caller wanted.
    Conflict(Arc<Record<T>>),
    /// Not stored, because the session has ended.
    Gone(Arc<Record<T>>),
    /// Not stored, because whose the session would be is to be asked first.
    Unasked(Arc<Record<T>>),
    /// Not stored, because the data is larger than it may be.
    TooLarge(Arc<Record<T>>),
    /// Not stored, because there is no room for what the data has grown by: so many bytes.
    NoBytes(Arc<Record<T>>, u32),
    /// Not stored, because the subject that the session would belong to has as many as it may; with the bytes that the
    /// data has grown by.
    Limited(Arc<Record<T>>, u32),
}

impl<T: Clone> SessionStore<T> {
    /// Stores a handle's data. Returns `true` if it was stored; `false`, and changes nothing, if the
    /// session has ended, or would become another subject's that has as many as it may, or if its data
    /// is too large.
    ///
    /// The last save wins: use [`try_save`](Self::try_save) or [`update`](Self::update) where two
    /// requests may change one session. The handle's id need not come from this store's `create`,
    /// but a session is never created here.
    ///
    /// Stores what the handle holds without a copy, if it was changed since it was loaded or saved, and not cloned
    /// since then.
    ///
    /// # Expiry
    ///
    /// Counts as activity. Never changes the session's absolute limit.
    #[inline]
    pub fn save(&self, session: &Session<T>) -> bool {
        self.save_or_say(session).is_ok()
    }

    /// Saves like [`save`](Self::save), or says why not; never [`SaveError::Conflict`].
    #[inline]
    pub(crate) fn save_or_say(&self, session: &Session<T>) -> Result<(), SaveError> {
        match &self.inner.register {
            None => self.inner.save_unlisted(session),
            Some(register) => self.inner.save_listed(session, register),
        }
    }

    /// Stores a handle's data, unless somebody else saved the session since this handle loaded it.
    ///
    /// A handle's own saves are no conflict, unless two threads save it at once; those of its clones, made after they
    /// were cloned, are. After an error the handle holds its data as before.
    ///
    /// # Expiry
    ///
    /// Counts as activity, if it is stored.
    ///
    /// # Errors
    ///
    /// [`SaveError::Conflict`] if it was saved by another; [`SaveError::Gone`] if it has ended;
    /// [`SaveError::SubjectLimit`] if it would become another subject's, which has as many as it may;
    /// [`SaveError::TooLarge`] and [`SaveError::AtByteLimit`] at [`max_bytes`](crate::Builder::max_bytes).
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
        let wanted = |stored: &Arc<Record<T>>| session.is_based_on(stored);
        let change = self.inner.change(session)?;
        let committed = self.inner.commit_handle(session, change.as_ref(), wanted);
        if let Err(SaveError::Conflict) = committed {
            self.inner.stats.count(Event::Conflicted);
        }
        let copy = committed?;
        for held in session.rebase(copy) {
            self.inner.ends.discard(&self.inner.stats, held);
        }
        Ok(())
    }
}

impl<T> Inner<T> {
    /// Returns a live session's record.
    pub(super) fn current(&self, now: Tick, place: &Place) -> Option<Arc<Record<T>>> {
        let show = |entry: &Entry<T>| entry.is_live(now).then(|| Arc::clone(entry.record()));
        self.gate.read(place, show).flatten()
    }

    /// Apart from the next two, so that the save of a store without a register is compiled as if there were
    /// none, and one that changes no subject as if it could not.
    #[inline(never)]
    fn save_unlisted(&self, session: &Session<T>) -> Result<(), SaveError>
    where
        T: Clone,
    {
        self.saved(session, self.commit_handle(session, None, |_| true))
    }

    #[inline(never)]
    fn save_listed(&self, session: &Session<T>, register: &Register<T>) -> Result<(), SaveError>
    where
        T: Clone,
    {
        let (base, draft) = session.versions();
        if register.stays(session, base, draft) {
            // Most often it replaces what this handle was made from, and the register has nothing to do.
            let own = |stored: &Arc<Record<T>>| {
                Arc::ptr_eq(stored, base) || draft.is_some_and(|draft| Arc::ptr_eq(stored, draft))
            };
            match self.commit_handle(session, None, own) {
                Err(SaveError::Conflict) => {}
                saved => return self.saved(session, saved),
            }
        }
        self.save_and_move(session, register)
    }

    /// Saves what may change the session's place in the register, and asks user code once where that will be.
    #[inline(never)]
    fn save_and_move(&self, session: &Session<T>, register: &Register<T>) -> Result<(), SaveError>
    where
        T: Clone,
    {
        let change = register.change_of(session).map_err(|large| self.refuse_of(large, session))?;
        self.saved(session, self.commit_handle(session, Some(&change), |_| true))
    }

    /// Takes note of what a save stored.
    #[inline(always)]
    fn saved(
        &self,
        session: &Session<T>,
        saved: Result<Option<Arc<Record<T>>>, SaveError>,
    ) -> Result<(), SaveError> {
        if let Some(before) = saved?.and_then(|copy| session.note_copy(copy)) {
            self.ends.discard(&self.stats, before);
        }
        Ok(())
    }

    /// Asks what a save of this handle may change in the register, if there is one. Runs user code.
    #[inline(always)]
    fn change<'a>(&'a self, session: &'a Session<T>) -> Result<Option<Change<'a, T>>, SaveError> {
        let Some(register) = &self.register else { return Ok(None) };
        let (base, draft) = session.versions();
        let change = register.change(session, base, draft);
        change.map(Some).map_err(|large| self.refuse_of(large, session))
    }

    /// Stores what a handle holds, its draft or else a copy of its data. Returns the copy, if it was one.
    #[inline(always)]
    fn commit_handle(
        &self,
        session: &Session<T>,
        change: Option<&Change<'_, T>>,
        wanted: impl Fn(&Arc<Record<T>>) -> bool,
    ) -> Result<Option<Arc<Record<T>>>, SaveError>
    where
        T: Clone,
    {
        let place = self.gate.place(*session.id());
        if let Some(draft) = session.draft() {
            // The time in between: the count waits for the locked instruction that has just raised it.
            let now = self.clock.now();
            if Session::is_storable(&draft) {
                let committed = self.commit(now, &place, draft, change, wanted, Dating::Activity);
                return self.conclude(committed).map(|()| None);
            }
        }
        self.commit_copy(session, &place, change, wanted)
    }

    #[cold]
    fn commit_copy(
        &self,
        session: &Session<T>,
        place: &Place,
        change: Option<&Change<'_, T>>,
        wanted: impl Fn(&Arc<Record<T>>) -> bool,
    ) -> Result<Option<Arc<Record<T>>>, SaveError>
    where
        T: Clone,
    {
        let copy = session.to_copy();
        let now = self.clock.now();
        let stored = Arc::clone(&copy);
        let committed = self.commit(now, place, stored, change, wanted, Dating::Activity);
        match self.conclude(committed) {
            Ok(()) => Ok(Some(copy)),
            Err(error) => {
                self.ends.discard(&self.stats, copy);
                Err(error)
            }
        }
    }

    /// Drops what a commit left over, and says whether it stored.
    pub(super) fn conclude(&self, committed: Committed<T>) -> Result<(), SaveError> {
        let (result, left) = committed.into_result();
        if result == Err(SaveError::Gone) {
            self.stats.count(Event::SavedGone);
        }
        self.ends.discard(&self.stats, left);
        result
    }

    /// Moves the deadline of a session whose data was just stored. Only what is stored is activity: a conflict
    /// must not show.
    #[inline(always)]
    fn date(&self, now: Tick, entry: &mut Entry<T>, dating: Dating) {
        match dating {
            Dating::Activity => _ = entry.touch(now, self.policy.idle),
            #[cfg(any(
                test,
                feature = "tower-sessions",
                feature = "actix-session",
                feature = "async-session"
            ))]
            Dating::Until(expiry) => entry.date(|limit| within(expiry, now, limit)),
        }
    }

    /// Puts a record that the caller alone may store in the place of the stored one, if the session lives and
    /// `wanted` agrees to replace that one. `wanted` compares pointers, no user code. Drops no record.
    #[inline(always)]
    pub(super) fn commit(
        &self,
        mut now: Tick,
        place: &Place,
        mut record: Arc<Record<T>>,
        change: Option<&Change<'_, T>>,
        wanted: impl Fn(&Arc<Record<T>>) -> bool,
        dating: Dating,
    ) -> Committed<T> {
        let mut ends = 0..ENDS;
        let rest = change.map(|change| Rest { capacity: &self.capacity, found: &change.found });
        let committed = loop {
            let committed = self.commit_once(now, place, record, change, &wanted, dating);
            match committed {
                Committed::Replaced(_) | Committed::Conflict(_) | Committed::Gone(_) => {
                    break committed;
                }
                _ if ends.next().is_none() => break committed,
                _ => {}
            }
            match self.make_way(place.id, committed, change) {
                Ok(back) => record = back,
                Err(refused) => break refused,
            }
            // User code took its time.
            now = self.clock.now();
        };
        // Before others are told of what is swept.
        drop(rest);
        if let Committed::Replaced(_) = committed {
            self.stats.count(Event::Saved);
        }
        self.tend(now);
        committed
    }

    #[inline(always)]
    fn commit_once(
        &self,
        now: Tick,
        place: &Place,
        record: Arc<Record<T>>,
        change: Option<&Change<'_, T>>,
        wanted: &impl Fn(&Arc<Record<T>>) -> bool,
        dating: Dating,
    ) -> Committed<T> {
        let mut shard = self.gate.exclusive(place.shard);
        let committed = match shard.find(place) {
            Some(entry) if entry.is_live(now) => {
                if wanted(entry.record()) {
                    self.replace(now, place.id, entry, record, change, dating)
                } else {
                    Committed::Conflict(record)
                }
            }
            _ => Committed::Gone(record),
        };
        shard.leave();
        committed
    }

    #[inline(always)]
    fn replace(
        &self,
        now: Tick,
        id: SessionId,
        entry: &mut Entry<T>,
        record: Arc<Record<T>>,
        change: Option<&Change<'_, T>>,
        dating: Dating,
    ) -> Committed<T> {
        let stored = entry.record();
        if let Some(change) = change.filter(|change| !change.keeps(stored)) {
            return self.replace_and_move(now, id, entry, record, change, dating);
        }
        let word = stored.word();
        Committed::Replaced(self.replace_under(now, word, entry, record, dating))
    }

    #[cold]
    fn replace_and_move(
        &self,
        now: Tick,
        id: SessionId,
        entry: &mut Entry<T>,
        record: Arc<Record<T>>,
        change: &Change<'_, T>,
        dating: Dating,
    ) -> Committed<T> {
        let booked = match change.book(&self.capacity, entry, id) {
            Ok(booked) => booked,
            Err(Unbooked::Full(growth)) => return Committed::Limited(record, growth),
            Err(Unbooked::NoBytes(growth)) => return Committed::NoBytes(record, growth),
            Err(Unbooked::Unasked) => return Committed::Unasked(record),
        };
        let old = self.replace_under(now, booked.word, entry, record, dating);
        if booked.estranged {
            self.authenticated.forget(id);
        }
        change.settle(&self.capacity, &booked);
        Committed::Replaced(old)
    }

    #[inline(always)]
    fn replace_under(
        &self,
        now: Tick,
        word: Word,
        entry: &mut Entry<T>,
        record: Arc<Record<T>>,
        dating: Dating,
    ) -> Arc<Record<T>> {
        let old = entry.commit(record, word);
        self.date(now, entry, dating);
        old
    }
}

/// Gives back what was found for a commit and not needed.
struct Rest<'a> {
    capacity: &'a Capacity,
    found: &'a Cell<u64>,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.capacity.release_bytes(self.found.take());
    }
}

impl<T> Committed<T> {
    /// Returns whether it was stored, or why not, and the record that is left over.
    pub(super) fn into_result(self) -> (Result<(), SaveError>, Arc<Record<T>>) {
        match self {
            Self::Replaced(old) => (Ok(()), old),
            Self::Conflict(record) | Self::Unasked(record) => (Err(SaveError::Conflict), record),
            Self::Gone(record) => (Err(SaveError::Gone), record),
            Self::Limited(record, _) => (Err(SaveError::SubjectLimit), record),
            Self::TooLarge(record) => (Err(SaveError::TooLarge), record),
            Self::NoBytes(record, _) => (Err(SaveError::AtByteLimit), record),
        }
    }
}
