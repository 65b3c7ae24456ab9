//! Owns who makes room at the bound of a store that knows whose its sessions are: guests, and never a subject's.
//!
//! Among the guests, some that come up for it are compared, and the one that is soonest to expire goes. A guest that
//! was touched or has signed in since it was chosen is spared, which is decided under its shard's lock.

use super::Inner;
use crate::capacity::{OnFull, Slot as Room};
use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::entry::Entry;
use crate::id::SessionId;
use crate::index::{Index, Located, Slot, Standing};
use crate::register::Register;
use crate::sync::Backoff;

/// Guests compared for one eviction: as many as a store without subjects compares.
const SAMPLE: usize = 16;

/// How often an eviction that lost a race is tried again before the store counts as full: see
/// `capacity.rs`, which has the same number for the same reason.
const ATTEMPTS: usize = 32;

/// Guests that one new session may take the place of, where sessions are weighed.
const EVICTIONS: usize = 1024;

/// A guest that may have to go, and the deadline it was chosen for.
#[derive(Clone, Copy)]
struct Victim {
    slot: Slot,
    id: SessionId,
    deadline: Tick,
}

/// What a look at the guests has found.
enum Choice {
    Victim(Victim),
    /// All room is held by sessions that may not be ended.
    None,
    /// Some slots are held by sessions that have yet to enter the table, or have just left it.
    NotYet,
}

impl<T> Inner<T> {
    /// Returns a slot, taken from a guest if the store is full, or `None` if all room is held by subjects, or by
    /// guests whom the store may not end. What was evicted goes to `ended`.
    pub(super) fn make_room_among_guests(
        &self,
        register: &Register<T>,
        weight: u32,
        seed: SessionId,
        now: Tick,
        ended: &mut Vec<Ended<T>>,
    ) -> Option<Room<'_>> {
        let backoff = Backoff::new();
        for _ in 0..if weight == 0 { ATTEMPTS } else { EVICTIONS } {
            if let Some(room) = self.capacity.reserve_both(weight) {
                return Some(room);
            }
            match self.choose(&register.index, seed, None, now) {
                Choice::Victim(victim) => {
                    if let Some(evicted) = self.evict(&register.index, &victim, now) {
                        ended.push(evicted);
                        let room = self.capacity.pass_on();
                        if weight == 0 {
                            return Some(room);
                        }
                        // It may have weighed too little, and slot and bytes are taken together.
                        drop(room);
                    }
                }
                Choice::None => return None,
                Choice::NotYet => backoff.snooze(),
            }
        }
        None
    }

    /// Ends a guest, but not the one of this id, or else what has expired, for the bytes that another session has grown
    /// by. Returns whether it is worth another try.
    #[cold]
    pub(super) fn make_bytes(&self, spare: SessionId, now: Tick) -> bool {
        let Some(register) = &self.register else { return false };
        let Choice::Victim(victim) = self.choose(&register.index, spare, Some(spare), now) else {
            return self.sweep_for_bytes(now);
        };
        let evicted = self.evict(&register.index, &victim, now);
        self.capacity.release(usize::from(evicted.is_some()));
        self.tell(evicted);
        true
    }

    fn choose(
        &self,
        index: &Index,
        seed: SessionId,
        spare: Option<SessionId>,
        now: Tick,
    ) -> Choice {
        let mut sample = Vec::with_capacity(SAMPLE);
        let subjects = index.sample_guests(seed, SAMPLE, &mut sample);
        let others = sample.into_iter().filter(|(_, id)| spare != Some(*id));
        let seen = others.filter_map(|(slot, id)| {
            let deadline = self.deadline_of_guest(index, slot, id)?;
            Some(Victim { slot, id, deadline })
        });
        let may_go = self.capacity.on_full() == OnFull::Evict;
        match seen.min_by_key(|victim| victim.deadline) {
            Some(victim) if may_go || victim.deadline <= now => Choice::Victim(victim),
            Some(_) => Choice::None,
            // As many as have a slot are in the table.
            None if subjects.is_some_and(|held| held >= self.capacity.held()) => Choice::None,
            None if !may_go => Choice::None,
            None => Choice::NotYet,
        }
    }

    /// Returns a guest's deadline, if it still is a guest under this id.
    fn deadline_of_guest(&self, index: &Index, slot: Slot, id: SessionId) -> Option<Tick> {
        let place = self.gate.place(id);
        let look = |entry: &Entry<T>| is_in(entry, slot).then(|| entry.deadline());
        let deadline = self.gate.read(&place, look).flatten();
        if deadline.is_none() {
            self.strike(index, &index.among_guests(id), slot, id);
        }
        deadline
    }

    /// Takes a guest out of the table, unless it was touched, has signed in or has ended since it was chosen.
    fn evict(&self, index: &Index, victim: &Victim, now: Tick) -> Option<Ended<T>> {
        let place = self.gate.place(victim.id);
        let mut shard = self.gate.exclusive(place.shard);
        let entry = shard.find(&place).filter(|entry| is_in(entry, victim.slot))?;
        let guests: &Located = &index.among_guests(victim.id);
        if index.standing(victim.slot, guests, victim.id) != Standing::Here {
            return None;
        }
        let death = entry.death(now);
        if death.is_none() && entry.deadline() != victim.deadline {
            return None;
        }
        let entry = shard.remove(&place)?;
        drop(shard);
        let ended = Ended::new(victim.id, entry, death.map_or(Cause::Evicted, Cause::from));
        // At once, and not when its end is told, so that it does not come up again.
        self.forget(&ended);
        Some(ended)
    }
}

/// Tells whether an entry is that of a node's session.
pub(super) fn is_in<T>(entry: &Entry<T>, slot: Slot) -> bool {
    entry.record().slot() == Some(slot)
}
