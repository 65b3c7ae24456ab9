//! Owns the operations on all sessions of one subject: list, count, revoke.
//!
//! A subject's list says which ids to look at, some at a time; what is answered, and what is ended, is decided for
//! each session under its own shard's lock. So a subject with a million sessions delays nobody by more than a slice.

use std::collections::HashSet;
use std::time::SystemTime;

use super::room::{Made, Need, is_in};
use super::{Inner, SessionStore};
use crate::capacity::Found;
use crate::clock::{NEVER, Tick, Wall};
use crate::ends::{Cause, Ended};
use crate::entry::Entry;
use crate::id::SessionId;
use crate::index::{Index, Located, STEP, Slot, Standing, tick};
use crate::register::{OnLimit, Register};
use crate::subject::Subject;

/// One session in a list of a subject's sessions.
///
/// The times are the system's, for people to read: the store itself counts on a clock that nobody sets. With a
/// [`ManualClock`](crate::ManualClock) they count from the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's id.
    pub id: SessionId,
    /// When it was created, to the second. A rotation leaves it.
    pub created: SystemTime,
    /// When it will end if it is not used; `None` if never.
    pub expires: Option<SystemTime>,
    /// When it was last used; `None` where nothing says so, because the store has no idle timeout or the session
    /// has a lifetime of its own. In the last stretch, when the absolute limit is nearer than the idle
    /// timeout, it may have been used since.
    pub last_seen: Option<SystemTime>,
}

/// What is known of a live session of a subject, in ticks.
#[derive(Clone, Copy)]
struct Sight {
    slot: Slot,
    id: SessionId,
    created: Tick,
    expires: Tick,
    seen: Option<Tick>,
}

impl Sight {
    fn into_info(self, wall: &Wall) -> SessionInfo {
        SessionInfo {
            id: self.id,
            created: wall.at(self.created),
            expires: (self.expires != NEVER).then(|| wall.at(self.expires)),
            last_seen: self.seen.map(|seen| wall.at(seen)),
        }
    }
}

impl<T> SessionStore<T> {
    /// Returns a subject's live sessions, the one that became the subject's last coming first. Counts as nobody's
    /// activity.
    ///
    /// A session that is the subject's throughout the call is listed once, whether it is rotated meanwhile or not. No
    /// id is listed twice; but a session that has left the subject during the call, was rotated, and has come back, may
    /// be under both its ids.
    /// Empty in a store without [`index_by`](crate::Builder::index_by). Takes time for that subject's
    /// sessions only.
    ///
    /// # Locking
    ///
    /// The lock of the subject's part of the index for a slice of its list at a time, and each session's shard's
    /// shared lock for a probe.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{SessionStore, Subject};
    ///
    /// #[derive(Clone, Default)]
    /// struct Visitor { user: Option<u64> }
    ///
    /// let builder = SessionStore::<Visitor>::builder();
    /// let store = builder.index_by(|visitor| visitor.user.map(Subject::from)).build()?;
    /// let phone = store.create_with(Visitor { user: Some(42) });
    /// let laptop = store.create_with(Visitor { user: Some(42) });
    ///
    /// let ids: Vec<_> = store.sessions_of(42).iter().map(|session| session.id).collect();
    /// assert_eq!(ids, [*laptop.id(), *phone.id()]);
    /// assert_eq!(store.revoke_others(42, phone.id()), 1);
    /// assert_eq!(store.count_of(42), 1);
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    #[must_use]
    pub fn sessions_of(&self, subject: impl Into<Subject>) -> Vec<SessionInfo> {
        let wall = self.inner.clock.wall();
        let sights = self.inner.sights(&subject.into()).into_iter();
        sights.map(|sight| sight.into_info(&wall)).collect()
    }

    /// Returns how many live sessions a subject has, like the length of
    /// [`sessions_of`](Self::sessions_of).
    #[must_use]
    pub fn count_of(&self, subject: impl Into<Subject>) -> usize {
        self.inner.sights(&subject.into()).len()
    }

    /// Ends all sessions of a subject, and returns how many: "log out everywhere".
    ///
    /// No session that is the subject's from when the call begins outlives it, whatever is signed in, saved or rotated
    /// meanwhile. One that becomes the subject's during the call, for the first time or again, may be ended or not.
    /// They end with [`Cause::Revoked`].
    ///
    /// # Locking
    ///
    /// As for [`sessions_of`](Self::sessions_of), and each session's shard's exclusive lock for its removal: a
    /// million sessions are ended one by one while others are served.
    pub fn revoke_all(&self, subject: impl Into<Subject>) -> usize {
        self.inner.revoke_but(&subject.into(), None)
    }

    /// Ends all sessions of a subject but one, like [`revoke_all`](Self::revoke_all): "log out my other devices".
    ///
    /// The one that is kept may be rotated meanwhile. If it is not a live session of the subject, all end.
    pub fn revoke_others(&self, subject: impl Into<Subject>, keep: &SessionId) -> usize {
        let slot = |entry: &Entry<T>| entry.record().slot();
        let keep = self.inner.gate.read(&self.inner.gate.place(*keep), slot).flatten();
        self.inner.revoke_but(&subject.into(), keep)
    }
}

impl<T> Inner<T> {
    /// Calls `visit` for each session in a subject's list, which need not be in the table any more.
    fn each_of(
        &self,
        subject: &Subject,
        mut visit: impl FnMut(&Register<T>, &Located, Slot, SessionId),
    ) {
        if let Some(register) = &self.register {
            let at = register.index.locate(subject);
            let mut walk = register.index.walk(&at);
            let mut step = Vec::with_capacity(if walk.is_some() { STEP } else { 0 });
            while walk.as_mut().is_some_and(|walk| walk.step(&mut step)) {
                for (slot, id) in step.drain(..) {
                    visit(register, &at, slot, id);
                }
            }
        }
        self.tend(self.clock.now());
    }

    /// Returns the live sessions of a subject, each once.
    fn sights(&self, subject: &Subject) -> Vec<Sight> {
        let (mut sights, mut moved) = (Vec::new(), false);
        self.each_of(subject, |register, at, slot, id| {
            let sight = self.sight(&register.index, at, slot, id);
            moved |= sight.is_some_and(|sight| sight.id != id);
            sights.extend(sight);
        });
        // Under another id than it was listed under: as one that was rotated, or as one that had been met before, has
        // left the subject since, and has come back into the node of a session that has ended.
        if moved {
            let mut met = HashSet::new();
            sights.retain(|sight| met.insert(sight.id));
        }
        sights
    }

    fn revoke_but(&self, subject: &Subject, keep: Option<Slot>) -> usize {
        let mut revoked = 0;
        self.each_of(subject, |register, at, slot, id| {
            if keep != Some(slot) {
                let ended =
                    self.end_of_subject(&register.index, at, slot, id, Some(Cause::Revoked));
                revoked += usize::from(ended == Some(Cause::Revoked));
            }
        });
        revoked
    }

    /// Looks at a session in a subject's list, under whatever id it now has.
    fn sight(&self, index: &Index, at: &Located, slot: Slot, mut id: SessionId) -> Option<Sight> {
        loop {
            let now = self.clock.now();
            let look = |entry: &Entry<T>| {
                let expires = entry.live_until(now)?;
                let here = index.standing(slot, at, id) == Standing::Here;
                let created = tick(index.born(slot).filter(|_| here)?);
                let seen = entry.seen(expires, self.policy.idle);
                Some(Sight { slot, id, created, expires, seen })
            };
            let in_slot = |entry: &Entry<T>| is_in(entry, slot).then(|| look(entry));
            if let Some(sight) = self.gate.read(&self.gate.place(id), in_slot).flatten() {
                return sight;
            }
            let Standing::Renamed(new) = self.strike(index, at, slot, id) else { return None };
            id = new;
        }
    }

    /// Strikes out the node of a session that is not in the table any more, and says what else became of it.
    pub(super) fn strike(
        &self,
        index: &Index,
        at: &Located,
        slot: Slot,
        id: SessionId,
    ) -> Standing {
        let place = self.gate.place(id);
        let mut shard = self.gate.exclusive(place.shard);
        if shard.find(&place).is_some_and(|entry| is_in(entry, slot)) {
            // Rotated here, or created under a known id, since it was missed.
            return Standing::Renamed(id);
        }
        index.strike(slot, at, id)
    }

    /// Takes a session in a subject's list out of the table, under whatever id it now has, and returns how it ended:
    /// for `cause`, if it lives; without a cause, it ends only if it is dead.
    fn end_of_subject(
        &self,
        index: &Index,
        at: &Located,
        slot: Slot,
        mut id: SessionId,
        cause: Option<Cause>,
    ) -> Option<Cause> {
        loop {
            let node = (slot, id);
            match self.take_under(index, at, node, cause, |ended| self.give_back(ended)) {
                Err(Standing::Renamed(new)) => id = new,
                Err(_) => return None,
                Ok(ended) => {
                    let cause = ended.cause();
                    self.tell_one(ended);
                    return Some(cause);
                }
            }
        }
    }

    /// Takes a session out of the table like [`end_of_subject`](Self::end_of_subject), under this id only, and leaves
    /// what it held, under the lock, and the news to the caller. If it is not there, says what became of its node:
    /// which another session of the subject may have by now.
    fn take_under(
        &self,
        index: &Index,
        at: &Located,
        (slot, id): (Slot, SessionId),
        cause: Option<Cause>,
        removed: impl FnOnce(&Ended<T>),
    ) -> Result<Ended<T>, Standing> {
        let now = self.clock.now();
        let place = self.gate.place(id);
        let mut shard = self.gate.exclusive(place.shard);
        let Some(entry) = shard.find(&place).filter(|entry| is_in(entry, slot)) else {
            return Err(index.strike(slot, at, id));
        };
        let cause = entry.death(now).map(Cause::from).or(cause);
        let cause = cause.filter(|_| index.standing(slot, at, id) == Standing::Here);
        let Some(cause) = cause else { return Err(Standing::Here) };
        let Some(entry) = shard.remove(&place) else { return Err(Standing::Gone) };
        let ended = Ended::new(id, entry, cause);
        removed(&ended);
        Ok(ended)
    }

    /// Makes room for one more session in a full list, if the store's limit allows, and if whoever would end has
    /// enough for it. Whoever ended goes to `ended`, and what it held to `found`.
    #[cold]
    pub(super) fn make_room_in(
        &self,
        register: &Register<T>,
        at: &Located,
        need: &Need,
        found: &mut Found<'_>,
        ended: &mut Vec<Ended<T>>,
    ) -> Made {
        let Some(limit) = register.limit else { return Made::None };
        let mut live = Vec::new();
        let mut gone = false;
        for (slot, id) in register.index.sessions(at) {
            match self.sight(&register.index, at, slot, id) {
                Some(sight) if sight.id == id => live.push(sight),
                // Rotated; or its node is another's by now, which was not in the list that was full.
                Some(_) => gone = true,
                None => {
                    gone = true;
                    // An expired one, if it is still there.
                    self.end_of_subject(&register.index, at, slot, id, None);
                }
            }
        }
        // Another commit of the same session may have brought it here meanwhile.
        let here = live.iter().any(|sight| need.spare == Some(sight.id));
        if gone || here || live.len() < limit.most {
            return Made::Room;
        }
        let Some(victim) = victim(limit.then, &live) else { return Made::None };
        let has = register.index.weight(victim.slot).into();
        if !self.suffices(register, need, found.missing().saturating_sub(has)) {
            return Made::TooLittle;
        }
        // Not followed to another id: whoever has its node by now may have just come.
        let (node, cause) = ((victim.slot, victim.id), Some(Cause::Displaced));
        if let Ok(taken) = self.take_under(&register.index, at, node, cause, |_| ()) {
            found.add(self.take_over(&taken));
            ended.push(taken);
        }
        Made::Room
    }
}

/// Chooses who ends where a subject has as many sessions as it may, the newest of which comes first.
fn victim(then: OnLimit, live: &[Sight]) -> Option<&Sight> {
    match then {
        OnLimit::Reject => None,
        OnLimit::RevokeOldest => live.last(),
        // Of several, the one that has been the subject's the longest.
        OnLimit::RevokeIdlest => live.iter().rev().min_by_key(|it| it.seen.unwrap_or(it.created)),
    }
}

#[cfg(test)]
mod tests;
