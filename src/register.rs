//! Owns [`Register`]: what a store keeps of its sessions beside the table, and the user code that says it.
//!
//! User code (`index_by`) is asked before any lock is taken, and only about data that is to be stored: what has
//! been stored is in the index, whatever the code would say of it later.

use triomphe::Arc;

use crate::clock::Tick;
use crate::entry::Record;
use crate::id::SessionId;
use crate::index::{Full, Index, Located, Slot, seconds};
use crate::mark::Mark;
use crate::subject::Subject;

/// Says whose a session is, and whether it was the same subject's with other data. Asked both at once, so that a
/// save makes one call that the compiler cannot see through.
pub(crate) type IndexBy<T> = Box<dyn Fn(&T, Option<&T>) -> Said + Send + Sync>;

/// What user code has said of a session.
pub(crate) struct Said {
    subject: Option<Subject>,
    /// Whether it said the same of the other data.
    same: bool,
}

/// Returns user code in the form in which the register asks it.
pub(crate) fn index_by<T>(
    by: impl Fn(&T) -> Option<Subject> + Send + Sync + 'static,
) -> IndexBy<T> {
    Box::new(move |data, other| {
        let subject = by(data);
        Said { subject, same: other.is_none_or(|other| by(other) == subject) }
    })
}

/// What happens when a subject begins one session more than it may have: see
/// [`max_per_subject`](crate::Builder::max_per_subject).
///
/// An expired session never counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLimit {
    /// The new session is refused.
    Reject,
    /// The session that has been the subject's the longest ends.
    RevokeOldest,
    /// The session that was used the longest ago ends. Where nothing says when a session was used, because
    /// the store has no idle timeout or the session a lifetime of its own, its creation counts.
    RevokeIdlest,
}

/// How many sessions a subject may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) most: usize,
    pub(crate) then: OnLimit,
}

/// The store's register of its sessions.
pub(crate) struct Register<T> {
    pub(crate) index: Index,
    by: IndexBy<T>,
    pub(crate) limit: Option<Limit>,
    /// Whether guests are listed too: in a bounded store, where they make room.
    guests: bool,
}

/// What a commit has to do about the register: nothing in a store that has none, which is decided when the
/// operation begins and costs the rest of it nothing.
pub(crate) trait Booking<T> {
    /// Enters a session whose record is about to be replaced where it will belong. Called under the session's
    /// shard's exclusive lock, like `settle`, which must follow.
    fn book(&self, stored: &Arc<Record<T>>, id: SessionId) -> Result<Booked, Full>;

    /// Takes the session out where it no longer belongs, or where it does not come to belong.
    fn settle(&self, booked: &Booked, stored: bool);

    /// Returns where the session will belong, and the register.
    fn at(&self) -> Option<(&Register<T>, Located)>;
}

/// A session that is about to be moved in the register.
pub(crate) struct Booked {
    /// For the record that is to be stored.
    pub(crate) mark: Mark,
    /// The nodes that the session has had and will have, if they are not the same.
    moves: Option<[Option<Slot>; 2]>,
}

impl Booked {
    #[inline]
    fn stays(mark: Mark) -> Self {
        Self { mark, moves: None }
    }
}

/// For a store without a register.
pub(crate) struct Unlisted;

impl<T> Booking<T> for Unlisted {
    #[inline]
    fn book(&self, stored: &Arc<Record<T>>, _: SessionId) -> Result<Booked, Full> {
        Ok(Booked::stays(stored.mark()))
    }

    #[inline]
    fn settle(&self, _: &Booked, _: bool) {}

    #[inline]
    fn at(&self) -> Option<(&Register<T>, Located)> {
        None
    }
}

/// What a commit changes in the register.
pub(crate) struct Change<'a, T> {
    register: &'a Register<T>,
    /// Whose the session will be.
    subject: Option<Subject>,
    /// Versions of the data that are known to be the same subject's, so that a commit that replaces one of them
    /// leaves the register alone.
    same: [Option<&'a Record<T>>; 2],
}

impl<T> Booking<T> for Change<'_, T> {
    #[inline]
    fn book(&self, stored: &Arc<Record<T>>, id: SessionId) -> Result<Booked, Full> {
        let [base, draft] = self.same;
        let is_stored = |same: &Record<T>| std::ptr::eq(same, &**stored);
        if base.is_some_and(is_stored) || draft.is_some_and(is_stored) {
            return Ok(Booked::stays(stored.mark()));
        }
        self.follow(stored.mark(), id)
    }

    #[inline]
    fn settle(&self, booked: &Booked, stored: bool) {
        if let Some([left, entered]) = booked.moves {
            if let Some(gone) = if stored { left } else { entered } {
                self.register.index.remove(gone);
            }
        }
    }

    fn at(&self) -> Option<(&Register<T>, Located)> {
        let subject = self.subject.as_ref()?;
        Some((self.register, self.register.index.locate(subject)))
    }
}

impl<T> Change<'_, T> {
    /// Enters a session where its new data belongs.
    #[cold]
    fn follow(&self, mark: Mark, id: SessionId) -> Result<Booked, Full> {
        let register = self.register;
        let at = self.subject.map(|subject| register.index.locate(&subject));
        let at = at.or_else(|| register.guest(id));
        let Some(moved) = register.index.follow(mark.slot(), at.as_ref()) else {
            return Ok(Booked::stays(mark));
        };
        let born = register.born(mark);
        let slot = moved.map(|to| register.index.add(to, id, born, register.most())).transpose()?;
        Ok(Booked { mark: mark.at(slot, born), moves: Some([mark.slot(), slot]) })
    }
}

impl<T> Register<T> {
    pub(crate) fn new(
        table_shards: usize,
        by: IndexBy<T>,
        limit: Option<Limit>,
        guests: bool,
    ) -> Self {
        Self { index: Index::new(table_shards), by, limit, guests }
    }

    /// Asks where a session with this data belongs. Runs user code.
    pub(crate) fn place(&self, data: &T) -> Option<Located> {
        (self.by)(data, None).subject.map(|subject| self.index.locate(&subject))
    }

    /// Asks what a commit of `data` changes, which was made of `base`, or is a copy of `draft`. Runs user code.
    #[inline]
    pub(crate) fn change<'a>(
        &'a self,
        data: &T,
        base: &'a Arc<Record<T>>,
        draft: Option<&'a Arc<Record<T>>>,
    ) -> Change<'a, T> {
        let Said { subject, same } = (self.by)(data, draft.map(|_| &base.value));
        let base = same.then_some(&**base);
        Change { register: self, subject, same: [base, draft.map(|draft| &**draft)] }
    }

    /// Enters a new session.
    pub(crate) fn enter(
        &self,
        at: Option<&Located>,
        id: SessionId,
        now: Tick,
    ) -> Result<Mark, Full> {
        let born = seconds(now);
        let guest = self.guest(id);
        let slot = at
            .or(guest.as_ref())
            .map(|at| self.index.add(at, id, born, self.most()))
            .transpose()?;
        Ok(Mark::default().at(slot, born))
    }

    /// Returns where a session without a subject is kept, if it is.
    fn guest(&self, id: SessionId) -> Option<Located> {
        self.guests.then(|| self.index.among_guests(id))
    }

    fn born(&self, mark: Mark) -> u32 {
        mark.slot().map_or(mark.born(), |slot| self.index.born(slot).unwrap_or_default())
    }

    /// Returns how many sessions a subject may have.
    pub(crate) fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.most)
    }

    /// Takes out a session that has left the table.
    pub(crate) fn leave(&self, record: &Record<T>) {
        if let Some(slot) = record.mark().slot() {
            record.set_mark(Mark::default());
            self.index.remove(slot);
        }
    }
}
