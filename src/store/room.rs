//! Owns who makes room at the bound of a store that knows whose its sessions are: guests, and never a subject's.
//!
//! Among the guests, some that come up for it are compared, and the one that is soonest to expire goes. A guest that
//! was touched or has signed in since it was chosen is spared, which is decided under its shard's lock.

use super::Inner;
use crate::capacity::{OnFull, Slot as Room};
use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::entry::Entry;
use crate::error::SaveError;
use crate::id::SessionId;
use crate::index::{Index, Located, Slot, Standing};
use crate::register::Register;
use crate::session::Session;
use crate::stats::Event;
use crate::sync::Backoff;
use crate::weigh::TooLarge;

/// Guests compared for one eviction: as many as a store without subjects compares.
const SAMPLE: usize = 16;

/// How often an eviction that lost a race is tried again before the store counts as full: see
/// `capacity.rs`, which has the same number for the same reason.
const ATTEMPTS: usize = 32;

/// Sessions that one operation may end to make room, where sessions are weighed or a subject has as many as it may:
/// whoever begins another for each that ends, as a listener may, is refused in the end.
pub(super) const ENDS: usize = 1024;

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
    /// Like [`refuse`](Self::refuse), and counts it, of a save by a handle.
    #[cold]
    pub(super) fn refuse_of(&self, large: TooLarge, session: &Session<T>) -> SaveError {
        let refused = self.refuse(large, *session.id());
        if refused == SaveError::Gone {
            self.stats.count(Event::SavedGone);
        }
        refused
    }

    /// Says why what is too large for a session is not stored: because it is, or because there is no session.
    #[cold]
    pub(super) fn refuse(&self, TooLarge: TooLarge, id: SessionId) -> SaveError {
        if self.is_taken(id, self.clock.now()) { SaveError::TooLarge } else { SaveError::Gone }
    }

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
        for _ in 0..if weight == 0 { ATTEMPTS } else { ENDS } {
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

    /// Ends a guest, but not the one of this id, or what has expired, for the bytes that another session has grown
    /// by. Returns whether it is worth another try.
    #[cold]
    pub(super) fn make_bytes(&self, spare: SessionId, now: Tick, backoff: &Backoff) -> bool {
        let Some(register) = &self.register else { return false };
        if self.sweep.is_due(now) && self.sweep_for_bytes(now) {
            return true;
        }
        let victim = match self.choose(&register.index, spare, Some(spare), now) {
            Choice::Victim(victim) => victim,
            Choice::None => return self.sweep_for_bytes(now),
            Choice::NotYet => {
                backoff.snooze();
                return true;
            }
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

/// What a race would have to come between: a choice, and what is made of it.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::store::SessionStore;
    use crate::subject::Subject;

    const IDLE: Duration = Duration::from_secs(60);

    /// A store of so many sessions; whose they are, 0 for a guest's.
    fn store(most: usize, clock: &ManualClock) -> SessionStore<u64> {
        let subject = |whose: &u64| (*whose != 0).then(|| Subject::from(*whose));
        let builder = SessionStore::<u64>::builder().index_by(subject).max_sessions(most);
        builder.idle_timeout(IDLE).shards(4).clock(clock.clone()).build().unwrap()
    }

    fn index(store: &SessionStore<u64>) -> &Index {
        &store.inner.register.as_ref().unwrap().index
    }

    fn choose(store: &SessionStore<u64>) -> Choice {
        let now = store.inner.clock.now();
        store.inner.choose(index(store), SessionId::from_bits(1), None, now)
    }

    /// Ends the guest that is chosen now as a create would that has paused in between.
    fn evict_after(store: &SessionStore<u64>, pause: impl FnOnce()) -> Option<Cause> {
        let Choice::Victim(victim) = choose(store) else { panic!("there is a guest") };
        pause();
        let now = store.inner.clock.now();
        let ended = store.inner.evict(index(store), &victim, now);
        ended.map(|ended| ended.cause())
    }

    #[test]
    fn guest_that_was_used_or_has_signed_in_since_it_was_chosen_is_spared() {
        let clock = ManualClock::new();
        let store = store(1, &clock);
        let guest = *store.create().id();
        let touch = || {
            clock.advance(IDLE / 2);
            assert!(store.touch(&guest));
        };
        assert_eq!((evict_after(&store, touch), store.contains(&guest)), (None, true));
        let place = store.inner.gate.place(guest);
        let slot = || store.inner.gate.read(&place, |entry| entry.record().slot());
        let sign_in = |user| _ = store.update(&guest, |whose| *whose = user);
        assert_eq!((evict_after(&store, || sign_in(1)), store.contains(&guest)), (None, true));
        // As one user and then as another, whose list has given it the guest's node again.
        sign_in(0);
        let before = slot();
        let sign_in_often = || _ = (1..).find(|user| (sign_in(*user), slot()).1 == before);
        assert_eq!((evict_after(&store, sign_in_often), store.contains(&guest)), (None, true));
    }

    #[test]
    fn guest_that_has_expired_since_it_was_chosen_ends_as_expired() {
        let clock = ManualClock::new();
        let store = store(1, &clock);
        store.create();
        assert_eq!(evict_after(&store, || clock.advance(IDLE)), Some(Cause::Expired));
        let other = self::store(1, &clock);
        other.create();
        assert_eq!(evict_after(&other, || ()), Some(Cause::Evicted));
    }

    /// Whoever took it out of the table has yet to say so.
    #[test]
    fn guest_that_is_in_the_table_no_more_is_chosen_no_more() {
        let store = store(1, &ManualClock::new());
        let guest = *store.create().id();
        let place = store.inner.gate.place(guest);
        let entry = store.inner.gate.exclusive(place.shard).remove(&place).unwrap();
        assert!(matches!(choose(&store), Choice::NotYet));
        let mut sample = Vec::new();
        index(&store).sample_guests(guest, 1, &mut sample);
        assert!(sample.is_empty(), "it still comes up");
        store.inner.capacity.release(1);
        store.inner.tell([Ended::new(guest, entry, Cause::Destroyed)]);
        assert!(index(&store).is_bare());
    }

    #[test]
    fn commit_that_needs_bytes_waits_for_guests_that_have_yet_to_come() {
        let store = store(2, &ManualClock::new());
        let mine = *store.create_with(1).id();
        let another_try = || {
            let now = store.inner.clock.now();
            store.inner.make_bytes(mine, now, &Backoff::new())
        };
        let slot = store.inner.capacity.reserve();
        assert!(slot.is_some() && another_try());
        drop(slot);
        assert!(!another_try());
    }

    #[test]
    fn store_is_full_of_subjects_only_if_none_of_its_slots_is_of_a_session_that_has_yet_to_come() {
        let store = store(21, &ManualClock::new());
        (1..=20).for_each(|user| _ = store.create_with(user));
        let slot = store.inner.capacity.reserve();
        assert!(slot.is_some() && matches!(choose(&store), Choice::NotYet));
        drop(slot);
        store.create_with(21);
        assert!(matches!(choose(&store), Choice::None));
    }
}
