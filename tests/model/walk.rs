//! Owns the operations of a run that go through all sessions, and the examination at its end.

use cloakroom::Cause;

use super::op::{Op, Span, Target};
use super::reference::{Heard, Verdict};
use super::run::{Run, same};
use super::subjects::SUBJECTS;

/// Ids that are examined one by one at the end: the newest.
const EXAMINED: usize = 40;

/// Into so many parts a `retain` divides the sessions, to end one part.
const PARTS: u32 = 3;

impl Run {
    pub(super) fn purge(&mut self) -> Verdict {
        let dead = self.reference.dead();
        same("purge_expired", self.store.purge_expired(), dead)?;
        self.settle(Vec::new())?;
        same("expired sessions that outlast a purge", self.reference.dead(), 0)
    }

    pub(super) fn retain(&mut self, residue: u8) -> Verdict {
        let goes = |data: u32| data % PARTS == u32::from(residue) % PARTS;
        let due = self.ends_of_live(Cause::Destroyed, goes);
        let mut seen = Vec::new();
        let removed = self.store.retain(|id, data| {
            seen.push((*id, data.get()));
            !goes(data.get())
        });
        same("retain", removed, due.len())?;
        self.saw_all(seen)?;
        self.settle(due)
    }

    pub(super) fn for_each(&mut self) -> Verdict {
        let mut seen = Vec::new();
        self.store.for_each(|id, data| seen.push((*id, data.get())));
        self.saw_all(seen)?;
        self.settle(Vec::new())
    }

    /// Checks that a walk saw each live session once, with its data, and no other.
    fn saw_all(&self, mut seen: Vec<(cloakroom::SessionId, u32)>) -> Verdict {
        seen.sort_unstable();
        let live = self.ends_of_live(Cause::Destroyed, |_| true);
        let live: Vec<_> = live.into_iter().map(|end| (end.id, end.data)).collect();
        same("the sessions that a walk saw", seen, live)
    }

    pub(super) fn clear(&mut self) -> Verdict {
        let due = self.ends_of_live(Cause::Cleared, |_| true);
        self.store.clear();
        let heard = self.take_heard();
        // What had expired ends as expired, and was not swept.
        self.reference.settle(heard, due, None)?;
        same("sessions that outlast a clear", self.reference.sessions.len(), 0)
    }

    /// Returns the ends of the live sessions that are chosen, in the order of their ids.
    fn ends_of_live(&self, cause: Cause, chosen: impl Fn(u32) -> bool) -> Vec<Heard> {
        let live = self.reference.live_ids().into_iter();
        let end = |id| Heard { id, data: self.reference.sessions[&id].data, cause };
        live.map(end).filter(|end| chosen(end.data)).collect()
    }

    /// Examines the store as a whole: each live session is found with its data and its time left,
    /// each dead one is missed, and what is purged, cleared and created afterwards adds up.
    pub(crate) fn validate(&mut self) -> Verdict {
        for back in 0..self.names.len().min(EXAMINED) {
            let target = Target::Back(back as u8);
            self.step(Op::ExpiresIn(target))?;
            self.step(Op::Contains(target))?;
            self.step(Op::Peek(target))?;
            self.step(Op::Authenticated(target, back as u8))?;
            self.step(Op::Load(target))?;
        }
        for subject in 0..SUBJECTS {
            self.step(Op::SessionsOf(subject))?;
            self.step(Op::CountOf(subject))?;
        }
        self.step(Op::ForEach)?;
        let live = self.reference.live_ids().len();
        let stored = self.store.len();
        same("len is at least the live", stored >= live, true)?;
        self.step(Op::Purge)?;
        same("len after a purge", self.store.len(), live)?;
        self.step(Op::Clear)?;
        // Enough for walks and purges of several slices.
        self.step(Op::CreateMany(u8::MAX))?;
        self.step(Op::ForEach)?;
        self.step(Op::Advance(Span::Century))?;
        self.step(Op::Purge)?;
        self.step(Op::Clear)
    }
}
