//! Owns whose the sessions are: lists, limits, revocation, and when a session's user authenticated.

use std::time::{Duration, SystemTime};

use cloakroom::{Cause, OnLimit, SessionId};

use super::handle::Handle;
use super::key::{Key, by};
use super::op::{PER_SUBJECT, Target, subject};
use super::reference::{Heard, NEVER, Reference, Verdict};
use super::room::Room;
use super::run::{Run, same};

/// Subjects that are asked for: a guest's number, three that have sessions, and one that never has any.
pub(super) const SUBJECTS: u8 = 5;

/// A subject has as many sessions as it may, and none makes room.
pub(super) struct OverLimit;

/// One session in a list: its id, when it was created, when it expires, when it was last used.
type Info = (SessionId, SystemTime, Option<SystemTime>, Option<SystemTime>);

fn at(nanoseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

fn at_second(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

impl Reference {
    /// Returns whose a session with this data is; `None` for a guest's.
    pub(super) fn subject_of(&self, data: u32) -> Option<u32> {
        Some(subject(data)).filter(|subject| self.is_indexed() && *subject != 0)
    }

    /// Returns a subject's live sessions, what became its last coming first.
    pub(super) fn list(&self, subject: u32) -> Vec<SessionId> {
        let mut list = self.live_ids();
        list.retain(|id| self.subject_of(self.sessions[id].data) == Some(subject));
        list.sort_by_key(|id| std::cmp::Reverse(self.sessions[id].came));
        list
    }

    /// Returns how many of a subject's sessions are dead and still in the table.
    fn dead_of(&self, subject: u32) -> u64 {
        let all = self.sessions.values();
        let theirs = all.filter(|stored| self.subject_of(stored.data) == Some(subject));
        theirs.filter(|stored| !self.lives(stored)).count() as u64
    }

    /// Returns how many dead sessions may go, when this data is stored, without being swept: the subject's own,
    /// and those that make room.
    pub(super) fn may_be_unswept(&self, room: Room, evicted: &[Heard], data: u32) -> u64 {
        let own = self.subject_of(data).map_or(0, |subject| self.dead_of(subject));
        match room {
            Room::Free => own,
            _ if self.config.weighs => u64::MAX,
            _ => own + u64::from(evicted.is_empty()),
        }
    }

    /// Returns who has to end for a session of this id, or a new one, to hold this data.
    pub(super) fn displaced_by(
        &self,
        id: Option<SessionId>,
        data: u32,
    ) -> Result<Option<Heard>, OverLimit> {
        let (Some(subject), Some(then)) = (self.subject_of(data), self.config.on_limit()) else {
            return Ok(None);
        };
        let mut list = self.list(subject);
        if list.len() < PER_SUBJECT || id.is_some_and(|id| list.contains(&id)) {
            return Ok(None);
        }
        // Of several that are equally idle, the one that has been the subject's the longest.
        list.reverse();
        let used = |id: &SessionId| {
            let stored = &self.sessions[id];
            self.last_seen(stored).map_or(at_second(stored.born), at)
        };
        let victim = match then {
            OnLimit::RevokeOldest => list.first().copied(),
            OnLimit::RevokeIdlest => list.into_iter().min_by_key(used),
            _ => None,
        };
        let victim = victim.ok_or(OverLimit)?;
        let data = self.sessions[&victim].data;
        Ok(Some(Heard { id: victim, data, cause: Cause::Displaced }))
    }

    fn info(&self, id: SessionId) -> Info {
        let stored = &self.sessions[&id];
        let expires = (stored.deadline != NEVER).then(|| at(stored.deadline));
        (id, at_second(stored.born), expires, self.last_seen(stored).map(at))
    }
}

impl Run {
    pub(super) fn sessions_of(&mut self, subject: u8) -> Verdict {
        let subject = u32::from(subject % SUBJECTS);
        let got = self.store.sessions_of(subject).into_iter();
        let got = got.map(|it| (it.id, it.created, it.expires, it.last_seen));
        let want = self.reference.list(subject).into_iter().map(|id| self.reference.info(id));
        same("sessions_of", got.collect::<Vec<_>>(), want.collect())?;
        self.settle(Vec::new())
    }

    pub(super) fn count_of(&mut self, subject: u8) -> Verdict {
        let subject = u32::from(subject % SUBJECTS);
        same("count_of", self.store.count_of(subject), self.reference.list(subject).len())?;
        self.settle(Vec::new())
    }

    pub(super) fn revoke_all(&mut self, subject: u8) -> Verdict {
        let subject = u32::from(subject % SUBJECTS);
        let revoked = self.store.revoke_all(subject);
        self.revoked(subject, None, revoked)
    }

    pub(super) fn revoke_others(&mut self, subject: u8, keep: Target) -> Verdict {
        let Some((_, Some(keep))) = self.key(keep) else {
            return Ok(());
        };
        let subject = u32::from(subject % SUBJECTS);
        let revoked = self.store.revoke_others(subject, &keep);
        self.revoked(subject, Some(keep), revoked)
    }

    fn revoked(&mut self, subject: u32, keep: Option<SessionId>, revoked: usize) -> Verdict {
        let mut list = self.reference.list(subject);
        list.retain(|id| keep != Some(*id));
        same("how many were revoked", revoked, list.len())?;
        let due = list.into_iter().filter_map(|id| self.end_of(Some(id), Cause::Revoked));
        let (due, unswept) = (due.collect(), self.reference.dead_of(subject));
        let heard = self.take_heard();
        self.settle_heard(heard, due, None, unswept)
    }

    pub(super) fn reauthenticate(&mut self, handle: &mut Handle) -> Verdict {
        let end = self.end_of(Some(*handle.session.id()), Cause::Rotated);
        let done = self.store.reauthenticate(&mut handle.session).is_ok();
        let (new, second) = (self.reference.begin(0), self.reference.second());
        self.renamed(handle, done, end, |stored| {
            stored.renew(&new);
            stored.authenticated = Some(second);
        })
    }

    pub(super) fn authenticated(&mut self, key: &Key, id: Option<SessionId>, age: u8) -> Verdict {
        let age = Duration::from_secs(age.into());
        let got = by!(key, key => self.store.authenticated_at(key));
        let recent = by!(key, key => self.store.authenticated_within(key, age));
        let second = self.reference.live(id).and_then(|stored| stored.authenticated);
        same("authenticated_at", got, second.map(at_second))?;
        // Counted from the beginning of the second, so that it says no rather too early.
        let ago = second.map(|second| self.reference.elapsed() - Duration::from_secs(second));
        same("authenticated_within", recent, ago.is_some_and(|ago| ago <= age))?;
        self.settle(Vec::new())
    }
}
