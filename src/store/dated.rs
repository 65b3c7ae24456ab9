//! Owns what the adapters need beyond the public operations: sessions whose end their framework says
//! with each commit, as so many seconds or as a date of the wall clock.
//!
//! Such an end takes the place of the store's idle timeout, and stays within the store's absolute
//! lifetime. No commit creates, and what has ended stays ended, as everywhere.
#![cfg_attr(
    not(all(feature = "tower-sessions", feature = "actix-session", feature = "async-session")),
    allow(dead_code, reason = "each adapter uses a part of it")
)]

use std::time::Duration;

use triomphe::Arc;

use super::commit::Committed;
use super::lifetime::Dating;
use super::walk::Removal;
use super::{Expiry, Inner, SessionStore};
use crate::clock::{after, ticks};
use crate::ends::{Cause, Plain};
use crate::entry::{Entry, Record};
use crate::error::{Rejected, SaveError};
use crate::id::{AsSessionId, SessionId};
use crate::register::Register;
use crate::session::Session;
use crate::stats::Event;

/// A session that has less than this to live, in nanoseconds, is compared with the wall clock: 50 ms,
/// two ticks of the coarsest clock and some more. A deadline is counted from the last tick, and may be
/// that much off a date.
const NEAR: u64 = 50_000_000;

impl<T> SessionStore<T> {
    /// Returns the end at a date of the wall clock, in nanoseconds since 1970: at once, if that is past.
    #[cfg(any(feature = "tower-sessions", feature = "async-session"))]
    pub(crate) fn expiry_at(&self, date: i128) -> Expiry {
        let left = date.saturating_sub_unsigned(self.inner.clock.since_1970().as_nanos());
        let left = if left < 0 { 0 } else { u64::try_from(left).unwrap_or(u64::MAX) };
        Expiry::After(Duration::from_nanos(left))
    }

    /// Creates a session with an end of its own, under a new id.
    pub(crate) fn create_dated(&self, data: T, expiry: Expiry) -> Result<Session<T>, Rejected<T>> {
        let created = self.inner.create(data, expiry);
        self.inner.keep_pace(expiry);
        created
    }

    /// Creates a session with an end of its own, under a caller's id unless that is taken.
    pub(crate) fn create_dated_as(
        &self,
        id: impl AsSessionId,
        data: T,
        expiry: Expiry,
    ) -> Result<Session<T>, Rejected<T>> {
        let created = self.inner.create_as(self.inner.adopt(id.named()), data, expiry);
        self.inner.keep_pace(expiry);
        created
    }

    /// Returns what `show` makes of a session's data, like [`load`](Self::load). If its end is near,
    /// `is_over` is asked, which knows the date that it was to end at; what is over is ended.
    pub(crate) fn load_dated<R>(
        &self,
        id: impl AsSessionId,
        is_over: impl FnOnce(&T) -> bool,
        show: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        let inner = &*self.inner;
        let Some(id) = inner.resolve(id.named()) else {
            inner.stats.count(Event::Missed);
            return None;
        };
        let now = inner.clock.now();
        let look = |entry: &Entry<T>| {
            let live = entry.touch(now, inner.policy.idle);
            live.then(|| (Arc::clone(entry.record()), entry.deadline()))
        };
        let found = inner.gate.read(&inner.gate.place(id), look).flatten();
        let found = found.and_then(|(record, deadline)| {
            if deadline.saturating_sub(now) > NEAR || !is_over(&record.value) {
                return Some(record);
            }
            // Where somebody saved it meanwhile, that save goes on, and this request was too early.
            if let Removal::Changed(record) = inner.remove_version(id, &record, Cause::Expired) {
                inner.ends.discard(&inner.stats, record);
            }
            inner.ends.discard(&inner.stats, record);
            None
        });
        inner.stats.count(if found.is_some() { Event::Loaded } else { Event::Missed });
        inner.tend(now);
        found.map(|record| show(&record.value))
    }

    /// Puts other data in the place of a live session's, and ends it when `expiry` says, as one step.
    /// Returns `false`, and changes nothing, if there is no live one of this id.
    ///
    /// # Errors
    ///
    /// As for [`try_update`](Self::try_update), but never [`SaveError::Gone`].
    pub(crate) fn replace(
        &self,
        id: impl AsSessionId,
        data: T,
        expiry: Expiry,
    ) -> Result<bool, SaveError>
    where
        T: Plain,
    {
        let inner = &*self.inner;
        let record = Record::fresh(data);
        let id = inner.resolve(id.named());
        let replaced = match (id, &inner.register) {
            (None, _) => Err(SaveError::Gone),
            (Some(id), None) => inner.replace_unlisted(id, record, expiry),
            (Some(id), Some(register)) => inner.replace_listed(id, record, expiry, register),
        };
        match replaced {
            Ok(()) => {
                inner.keep_pace(expiry);
                id.into_iter().for_each(|id| inner.ends.stir(&inner.stats, id));
                Ok(true)
            }
            Err(SaveError::Gone) => {
                inner.stats.count(Event::SavedGone);
                Ok(false)
            }
            Err(refused) => Err(refused),
        }
    }

    /// Lets a live session live this long from now, if that is longer than it would. Returns `false`
    /// if there is no live one of this id.
    pub(crate) fn prolong(&self, id: impl AsSessionId, lifetime: Duration) -> bool {
        let lifetime = ticks(lifetime);
        let prolong =
            |entry: &Entry<T>, now| entry.prolong(now, after(now, lifetime)).then_some(());
        self.inner.ask(id.named(), prolong).is_some()
    }
}

impl<T> Inner<T> {
    /// Apart from the next, so that it is compiled as if there were no register.
    fn replace_unlisted(
        &self,
        id: SessionId,
        record: Arc<Record<T>>,
        expiry: Expiry,
    ) -> Result<(), SaveError> {
        let (now, place) = (self.clock.now(), self.gate.place(id));
        let dating = Dating::Until(expiry);
        conclude(self.commit(now, &place, record, None, |_| true, dating))
    }

    #[inline(never)]
    fn replace_listed(
        &self,
        id: SessionId,
        record: Arc<Record<T>>,
        expiry: Expiry,
        register: &Register<T>,
    ) -> Result<(), SaveError> {
        let data = Arc::clone(&record);
        // User code, before anything is locked.
        let change = register.change_of(&data.value).map_err(|large| self.refuse(large, id))?;
        let (now, place) = (self.clock.now(), self.gate.place(id));
        let dating = Dating::Until(expiry);
        conclude(self.commit(now, &place, record, Some(&change), |_| true, dating))
    }

    /// Lets the sweep know how long such sessions live, by powers of two: what is left until a fixed
    /// date grows shorter with every commit.
    fn keep_pace(&self, expiry: Expiry) {
        if let Expiry::After(lifetime) = expiry {
            let power = ticks(lifetime).checked_ilog2();
            self.sweep.hasten(power.map_or(0, |power| 1 << power));
        }
    }
}

/// Drops what a commit left over, which is no user code.
fn conclude<T>(committed: Committed<T>) -> Result<(), SaveError> {
    let (result, left) = committed.into_result();
    Record::release(left);
    result
}

#[cfg(test)]
mod tests;
