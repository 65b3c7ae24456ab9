//! Owns the judgement who makes room at a bound: of sessions, or of what their data weighs.
//!
//! In a store that knows whose its sessions are only guests do, elsewhere anybody; the dead above all.

use std::collections::BTreeSet;

use cloakroom::{Cause, OnFull, SessionId};

use super::op::{MAX_BYTES, Whose, bytes};
use super::reference::{Heard, Reference, Stored, Verdict};

/// Sessions that an eviction compares.
const SAMPLE: usize = 16;

/// Whether a store has room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Room {
    Free,
    /// Somebody makes room: one session, if only sessions are counted.
    ByVictim,
    /// The expired make room if they are found.
    Perhaps,
    None,
}

/// What is to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    slots: usize,
    bytes: u64,
    /// The session that is to grow.
    spare: Option<SessionId>,
    /// The id of a session that is to come: who is dead under it leaves its room.
    under: Option<SessionId>,
}

impl Reference {
    fn weight(&self, data: u32) -> u64 {
        if self.config.weighs { bytes(data).max(1) } else { 0 }
    }

    pub(super) fn weight_of<'a>(&self, sessions: impl Iterator<Item = &'a Stored>) -> u64 {
        sessions.map(|session| self.weight(session.data)).sum()
    }

    /// Tells whether data weighs more than the whole store may.
    pub(super) fn is_too_large(&self, data: u32) -> bool {
        self.weight(data) > MAX_BYTES
    }

    /// Returns what a new session takes, under an id if that is known.
    pub(super) fn new_session(&self, under: Option<SessionId>, data: u32) -> Want {
        Want { slots: 1, bytes: self.weight(data), spare: None, under }
    }

    /// Returns what a session takes more than it has if it is to hold this data.
    pub(super) fn growth(&self, id: Option<SessionId>, data: u32) -> Want {
        let has = self.live(id).map(|stored| self.weight(stored.data));
        let bytes = has.map_or(0, |has| self.weight(data).saturating_sub(has));
        Want { slots: 0, bytes, spare: id, under: None }
    }

    /// Tells whether there is room once these are gone.
    fn fits(&self, want: &Want, gone: &BTreeSet<SessionId>) -> bool {
        let succeeds = |id, session| want.under == Some(id) && !self.lives(session);
        let left = || {
            let all = self.sessions.iter();
            all.filter(|(id, session)| !gone.contains(id) && !succeeds(**id, session))
        };
        let max = self.config.max_sessions().unwrap_or(usize::MAX);
        let weighs = self.weight_of(left().map(|(_, session)| session)) + want.bytes;
        (want.slots == 0 || left().count() < max) && (want.bytes == 0 || weighs <= MAX_BYTES)
    }

    /// Returns the sessions that may have to make room.
    fn guests(&self, want: &Want) -> BTreeSet<SessionId> {
        let guests = self.sessions.iter().filter(|(id, session)| {
            self.subject_of(session.data).is_none() && want.spare != Some(**id)
        });
        guests.map(|(id, _)| *id).collect()
    }

    /// `own` is whom the limit of their subject ends for it.
    pub(super) fn room(&self, want: &Want, own: Option<&Heard>) -> Room {
        let own: BTreeSet<_> = own.map(|end| end.id).into_iter().collect();
        let mut guests = self.guests(want);
        let sampled = guests.len() <= SAMPLE - usize::from(want.spare.is_some());
        let mut dead: BTreeSet<_> = self.sessions.keys().copied().collect();
        dead.retain(|id| self.live(Some(*id)).is_none());
        let all_may_go = self.config.on_full() == OnFull::Evict;
        if !all_may_go {
            guests.retain(|id| dead.contains(id));
        }
        guests.extend(&own);
        if self.fits(want, &own) {
            Room::Free
        } else if (all_may_go || sampled && own.is_empty()) && self.fits(want, &guests) {
            Room::ByVictim
        } else if self.fits(want, &(&guests | &dead)) {
            Room::Perhaps
        } else {
            Room::None
        }
    }

    /// Returns the live sessions that made room, after the check that each might be chosen, and no more of
    /// them than it took.
    pub(super) fn evictions(
        &self,
        want: &Want,
        own: Option<&Heard>,
        heard: &[Heard],
    ) -> Result<Vec<Heard>, String> {
        // Where bytes count, several make room, the dead among them, of which some may have come first.
        let dead = heard.iter().filter(|end| self.config.weighs && end.cause == Cause::Expired);
        let dead: BTreeSet<_> = dead.map(|end| end.id).collect();
        let mut gone: BTreeSet<_> = own.map(|end| end.id).into_iter().collect();
        let mut evicted = Vec::new();
        for end in heard.iter().filter(|end| end.cause == Cause::Evicted) {
            if self.fits(want, &gone) {
                return Err(format!("{end:?} though there was room for {want:?}"));
            }
            self.judge_victim(end, want, &(&gone | &dead))?;
            gone.insert(end.id);
            evicted.push(*end);
        }
        Ok(evicted)
    }

    /// Checks that a live session may have been chosen: the one soonest to expire of a sample. A sample of a
    /// small store is all of it.
    fn judge_victim(&self, victim: &Heard, want: &Want, gone: &BTreeSet<SessionId>) -> Verdict {
        let among = &self.guests(want) - gone;
        let Some(chosen) = self.sessions.get(&victim.id).filter(|_| among.contains(&victim.id))
        else {
            return Err(format!("{victim:?}, who need not make room"));
        };
        if self.config.on_full() == OnFull::Refuse {
            return Err(format!("{victim:?} in a store that refuses"));
        }
        let sooner = among.iter().filter(|id| self.sessions[*id].deadline < chosen.deadline);
        let sooner = sooner.count();
        let sampled = SAMPLE - usize::from(want.spare.is_some());
        if among.len() - sooner < sampled.min(among.len()) {
            return Err(format!("{victim:?}, but {sooner} of the sample expire sooner"));
        }
        Ok(())
    }

    /// Tells whether the store knows whose its sessions are.
    pub(super) fn is_indexed(&self) -> bool {
        self.config.whose != Whose::Nobodys
    }
}
