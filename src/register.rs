//! Owns [`Register`]: what a store keeps of its sessions beside the table, and the user code that says it.
//!
//! User code (`index_by`) is asked before any lock is taken, and only about data that is to be stored: what has
//! been stored is in the index, whatever the code would say of it later.

use triomphe::Arc;

use std::cell::{Cell, OnceCell};

use crate::capacity::Capacity;
use crate::clock::Tick;
use crate::entry::{Entry, Record};
use crate::id::SessionId;
use crate::index::{Full, Index, Located, Slot, seconds};
use crate::subject::Subject;
use crate::terms::Word;
use crate::weigh::{Scales, TooLarge};

/// Says whose a session is.
type SubjectOf<T> = Box<dyn Fn(&T) -> Option<Subject> + Send + Sync>;

/// Says whether a session is the same subject's with either data.
type SameSubject<T> = Box<dyn Fn(&T, &T) -> bool + Send + Sync>;

/// User code in the two forms in which the register asks it: a save that changes no subject makes one call, which
/// returns one bit.
pub(crate) struct IndexBy<T> {
    subject: SubjectOf<T>,
    same: SameSubject<T>,
}

impl<T> IndexBy<T> {
    /// For a store that weighs its sessions and does not ask whose they are.
    pub(crate) fn nobody() -> Self {
        Self { subject: Box::new(|_| None), same: Box::new(|_, _| true) }
    }

    pub(crate) fn new(by: impl Fn(&T) -> Option<Subject> + Send + Sync + 'static) -> Self {
        let by = std::sync::Arc::new(by);
        let same = std::sync::Arc::clone(&by);
        let same = move |one: &T, other: &T| same(one) == same(other);
        Self { subject: Box::new(move |data| by(data)), same: Box::new(same) }
    }
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
    /// the store has no idle timeout or the session a lifetime of its own, its creation counts. In its last
    /// stretch, as [`last_seen`](crate::SessionInfo::last_seen) has it, a session may count as idle that is used.
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
    scales: Option<Scales<T>>,
    pub(crate) limit: Option<Limit>,
}

/// What a commit may change in the register.
pub(crate) struct Change<'a, T> {
    register: &'a Register<T>,
    /// What is to be stored.
    data: &'a T,
    /// Whose the session will be, once that was asked.
    subject: OnceCell<Option<Subject>>,
    /// Versions of the data that are known to be the same subject's, so that a commit that replaces one of them
    /// leaves the register alone.
    same: [Option<&'a Record<T>>; 2],
    /// What the data weighs, if that is asked.
    weight: Option<u32>,
    /// Bytes that were found for what the session grows by: whoever commits gives back what is left.
    pub(crate) found: Cell<u64>,
}

/// The nodes that a session has had and will have, if they are not the same.
type Moves = Option<[Slot; 2]>;

/// A session that is about to be moved in the register.
pub(crate) struct Booked {
    /// For the record that is to be stored.
    pub(crate) word: Word,
    /// Whether the session leaves a subject.
    pub(crate) estranged: bool,
    /// The node that it has had, if it is to have another.
    left: Option<Slot>,
    /// What the session has weighed so far.
    weighed: u32,
}

/// Why a session was not moved, with what its data has grown by.
pub(crate) enum Unbooked {
    /// Its subject has as many sessions as it may.
    Full(u32),
    /// There is no room for what it has grown by.
    NoBytes(u32),
    /// Whose it is was not asked yet, and cannot be now.
    Unasked,
}

impl<'a, T> Change<'a, T> {
    fn new(
        register: &'a Register<T>,
        data: &'a T,
        same: [Option<&'a Record<T>>; 2],
        weight: Option<u32>,
    ) -> Self {
        Self { register, data, subject: OnceCell::new(), same, weight, found: Cell::new(0) }
    }

    /// Tells whether the session stays where it is when this record is replaced.
    #[inline]
    pub(crate) fn keeps(&self, stored: &Arc<Record<T>>) -> bool {
        self.same.into_iter().flatten().any(|same| std::ptr::eq(same, &**stored))
    }

    /// Asks whose the session will be. Runs user code.
    #[cold]
    pub(crate) fn ask(&self) -> Option<Subject> {
        *self.subject.get_or_init(|| self.register.subject(self.data))
    }

    /// Enters a session whose record is about to be replaced where it will belong, and takes the bytes that it grows
    /// by. Called under the session's shard's exclusive lock, like `settle`, which must follow once it is replaced.
    pub(crate) fn book(
        &self,
        capacity: &Capacity,
        entry: &Entry<T>,
        id: SessionId,
    ) -> Result<Booked, Unbooked> {
        let subject = self.subject.get().ok_or(Unbooked::Unasked)?;
        let word = entry.record().word();
        let weighs = self.weight.and(word.slot());
        let weighed = weighs.map_or(0, |slot| self.register.index.weight(slot));
        let growth = self.weight.map_or(0, |weight| weight.saturating_sub(weighed));
        if growth > 0 && !capacity.grow(growth, &self.found) {
            // Nobody is to make room for what the limit refuses, or before whom it ends.
            let full = word.slot().is_some_and(|slot| self.meets_limit(slot, subject.as_ref()));
            return Err(if full { Unbooked::Full(growth) } else { Unbooked::NoBytes(growth) });
        }
        let Ok(moves) = self.follow(word.slot(), subject.as_ref(), id) else {
            self.found.set(self.found.get() + u64::from(growth));
            return Err(Unbooked::Full(growth));
        };
        // Whoever has authenticated was somebody else.
        let estranged = moves.is_some_and(|[left, _]| self.register.index.has_subject(left));
        let word = moves.map_or(word, |[_, to]| word.with_slot(Some(to), entry.deadline()));
        Ok(Booked { word, estranged, left: moves.map(|[left, _]| left), weighed })
    }

    /// Tells whether a session is to be one more, as far as the list shows, than the subject may have.
    fn meets_limit(&self, slot: Slot, subject: Option<&Subject>) -> bool {
        let (register, index) = (self.register, &self.register.index);
        subject.filter(|_| register.limit.is_some()).is_some_and(|subject| {
            let to = index.locate(subject);
            index.born_elsewhere(slot, &to).is_some() && index.is_full(&to, register.most())
        })
    }

    fn follow(
        &self,
        slot: Option<Slot>,
        subject: Option<&Subject>,
        id: SessionId,
    ) -> Result<Moves, Full> {
        let (index, Some(slot)) = (&self.register.index, slot) else { return Ok(None) };
        let to = subject.map_or_else(|| index.among_guests(id), |subject| index.locate(subject));
        let Some(born) = index.born_elsewhere(slot, &to) else { return Ok(None) };
        let entered = index.add(&to, id, born, self.register.most())?;
        Ok(Some([slot, entered]))
    }

    /// Takes the session out where it no longer belongs, and gives back the bytes that it does not take any more.
    pub(crate) fn settle(&self, capacity: &Capacity, booked: &Booked) {
        let index = &self.register.index;
        if let Some(weight) = self.weight {
            capacity.release_bytes(booked.weighed.saturating_sub(weight).into());
            if let Some(slot) = booked.word.slot() {
                index.set_weight(slot, weight);
            }
        }
        if let Some(left) = booked.left {
            index.remove(left);
        }
    }

    /// Returns where the session will belong, and the register.
    pub(crate) fn at(&self) -> Option<(&'a Register<T>, Located)> {
        let subject = self.ask()?;
        Some((self.register, self.register.index.locate(&subject)))
    }
}

impl<T> Register<T> {
    pub(crate) fn new(
        table_shards: usize,
        by: IndexBy<T>,
        limit: Option<Limit>,
        scales: Option<Scales<T>>,
    ) -> Self {
        Self { index: Index::new(table_shards), by, scales, limit }
    }

    /// Asks whose a session with this data is. Runs user code.
    fn subject(&self, data: &T) -> Option<Subject> {
        (self.by.subject)(data)
    }

    /// Asks where a new session with this data belongs, and what it weighs. Runs user code.
    pub(crate) fn place(&self, data: &T) -> Result<(Option<Located>, u32), TooLarge> {
        let weight = self.weigh(data)?.unwrap_or(0);
        Ok((self.subject(data).map(|subject| self.index.locate(&subject)), weight))
    }

    fn weigh(&self, data: &T) -> Result<Option<u32>, TooLarge> {
        self.scales.as_ref().map(|scales| scales.weigh(data)).transpose()
    }

    /// Asks what a commit of `data` changes, which was made of `base`, or is a copy of `draft`. Runs user code.
    pub(crate) fn change<'a>(
        &'a self,
        data: &'a T,
        base: &'a Arc<Record<T>>,
        draft: Option<&'a Arc<Record<T>>>,
    ) -> Result<Change<'a, T>, TooLarge> {
        if self.weighs() {
            // It may always change what a session weighs.
            return self.change_of(data);
        }
        let same = self.stays(data, base, draft);
        let same = [same.then_some(&**base), draft.map(|draft| &**draft)];
        Ok(Change::new(self, data, same, None))
    }

    /// Asks whether a session stays where it is, and is not weighed, when `data` takes the place of `base` or
    /// of `draft`. Runs user code.
    #[inline]
    pub(crate) fn stays(
        &self,
        data: &T,
        base: &Arc<Record<T>>,
        draft: Option<&Arc<Record<T>>>,
    ) -> bool {
        !self.weighs() && (draft.is_none() || (self.by.same)(data, &base.value))
    }

    /// Asks what a commit of `data` changes, whatever it replaces. Runs user code.
    #[cold]
    pub(crate) fn change_of<'a>(&'a self, data: &'a T) -> Result<Change<'a, T>, TooLarge> {
        let (same, weight) = ([None, None], self.weigh(data)?);
        let change = Change::new(self, data, same, weight);
        change.ask();
        Ok(change)
    }

    /// Enters a new session, without a subject among the guests.
    pub(crate) fn enter(
        &self,
        at: Option<&Located>,
        weight: u32,
        id: SessionId,
        now: Tick,
    ) -> Result<Slot, Full> {
        let guests = self.index.among_guests(id);
        let slot = self.index.add(at.unwrap_or(&guests), id, seconds(now), self.most())?;
        if weight > 0 {
            self.index.set_weight(slot, weight);
        }
        Ok(slot)
    }

    /// Returns how many sessions a subject may have.
    pub(crate) fn most(&self) -> usize {
        self.limit.map_or(usize::MAX, |limit| limit.most)
    }

    /// Tells whether sessions are weighed.
    pub(crate) fn weighs(&self) -> bool {
        self.scales.is_some()
    }

    /// Takes off what a session weighs that has left the table, and returns that.
    pub(crate) fn lighten(&self, record: &Record<T>) -> u32 {
        record.slot().map_or(0, |slot| self.index.lighten(slot))
    }

    /// Takes out a session that has left the table, once, and returns what it weighed.
    pub(crate) fn leave(&self, record: &Record<T>) -> u32 {
        let Some(slot) = record.slot() else { return 0 };
        record.set_word(Word::OVER);
        self.index.remove(slot)
    }
}
