//! Owns who makes room at the bound of a store that knows whose its sessions are: guests, and never a subject's.
//!
//! Among the guests, some that come up for it are compared, and the one that is soonest to expire goes. A guest that
//! was touched or has signed in since it was chosen is spared, which is decided under its shard's lock.

use super::Inner;
use super::commit::Committed;
use triomphe::Arc;

use crate::capacity::{Found, OnFull};
use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::entry::{Entry, Record};
use crate::error::SaveError;
use crate::id::SessionId;
use crate::index::{Index, Located, Slot, Standing};
use crate::register::{Change, Register};
use crate::session::Session;
use crate::stats::Event;
use crate::sync::Backoff;
use crate::weigh::TooLarge;

/// Guests compared for one eviction: as many as a store without subjects compares.
const SAMPLE: usize = 16;

/// How often in a row an eviction that lost a race is tried again before the store counts as full: see
/// `capacity.rs`, which has the same number for the same reason.
const ATTEMPTS: usize = 32;

/// How often one operation makes room and is tried again: whoever begins another session for each that ends, as a
/// listener may, is refused in the end.
pub(super) const ENDS: usize = 1024;

/// What an operation needs.
pub(super) struct Need {
    /// The bytes of a new session, which needs a slot too; or those that one grows by.
    pub(super) bytes: u32,
    /// The session that grows, which is not to make room for itself.
    pub(super) spare: Option<SessionId>,
    pub(super) now: Tick,
}

/// Whether room was made at a subject's limit.
pub(super) enum Made {
    /// It is worth another try.
    Room,
    /// Whoever might be ended has too little for what comes.
    TooLittle,
    /// The limit ends nobody.
    None,
}

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

    /// Ends guests until `enough` says that what is found for `need` is enough; none for what all of them together
    /// cannot make room for. Those that ended go to `ended`.
    pub(super) fn end_guests<'a, R>(
        &'a self,
        register: &Register<T>,
        need: &Need,
        found: &mut Found<'a>,
        ended: &mut Vec<Ended<T>>,
        enough: impl Fn(&mut Found<'a>) -> Option<R>,
    ) -> Option<R> {
        let (backoff, mut patience, mut may_go) = (Backoff::new(), 0..ATTEMPTS, false);
        loop {
            if let Some(enough) = enough(found) {
                return Some(enough);
            }
            let victim = match self.choose(&register.index, need, found.slots()) {
                Choice::Victim(victim) => victim,
                Choice::None => return None,
                Choice::NotYet => {
                    patience.next()?;
                    backoff.snooze();
                    continue;
                }
            };
            if victim.deadline > need.now && !may_go {
                if !self.suffices(register, need, found.missing()) {
                    return None;
                }
                found.claim();
                may_go = true;
            }
            match self.evict(&register.index, &victim, need.now) {
                Some(evicted) => {
                    // At once, and not when its end is told, so that it does not come up again.
                    found.add(self.take_over(&evicted));
                    ended.push(evicted);
                    patience = 0..ATTEMPTS;
                }
                None => _ = patience.next()?,
            }
        }
    }

    /// Tells whether so many bytes are free, or would be once all guests had ended that may.
    pub(super) fn suffices(&self, register: &Register<T>, need: &Need, missing: u64) -> bool {
        let guests = || {
            let own = need
                .spare
                .and_then(|id| self.gate.read(&self.gate.place(id), |it| it.record().slot())?);
            let own = own.map_or(0, |slot| register.index.guest_weight(slot));
            register.index.guests_weigh().saturating_sub(own.into())
        };
        let free = self.capacity.free_bytes();
        let may_go = self.capacity.on_full() == OnFull::Evict;
        missing <= free || may_go && missing <= free + guests()
    }

    /// Ends guests, or what has expired, for the bytes that another session has grown by, and lends them to its commit.
    /// Returns whether it is worth another try.
    #[cold]
    pub(super) fn make_bytes(&self, change: &Change<'_, T>, need: &Need) -> bool {
        let Some(register) = &self.register else { return false };
        if self.sweep.is_due(need.now) && self.sweep_for_bytes(need.now) {
            return true;
        }
        let mut ended = Vec::new();
        let mut found = Found::new(&self.capacity, need.bytes, change.found.take());
        let made = self.end_guests(register, need, &mut found, &mut ended, Found::take_bytes);
        change.found.set(made.unwrap_or_else(|| found.take_all()));
        drop(found);
        let freed = made.is_some() || !ended.is_empty();
        self.tell(ended);
        freed || self.sweep_for_bytes(need.now)
    }

    /// Makes way for a commit that was not stored for want of room, or asks what it needs to know. Returns what is to
    /// be tried again; or the commit, if that is refused. Runs user code.
    #[cold]
    pub(super) fn make_way(
        &self,
        id: SessionId,
        committed: Committed<T>,
        change: Option<&Change<'_, T>>,
    ) -> Result<Arc<Record<T>>, Committed<T>> {
        let Some(change) = change else { return Err(committed) };
        let need = |bytes| Need { bytes, spare: Some(id), now: self.clock.now() };
        match committed {
            Committed::Unasked(back) => {
                change.ask();
                Ok(back)
            }
            Committed::Limited(back, growth) => {
                let need = need(growth);
                match self.make_room_at_limit(change, &need) {
                    Made::Room => Ok(back),
                    Made::None => Err(Committed::Limited(back, growth)),
                    Made::TooLittle if self.make_bytes(change, &need) => Ok(back),
                    Made::TooLittle => Err(Committed::NoBytes(back, growth)),
                }
            }
            Committed::NoBytes(back, growth) if self.make_bytes(change, &need(growth)) => Ok(back),
            refused => Err(refused),
        }
    }

    fn make_room_at_limit(&self, change: &Change<'_, T>, need: &Need) -> Made {
        let Some((register, at)) = change.at() else { return Made::None };
        let mut ended = Vec::new();
        let mut found = Found::new(&self.capacity, need.bytes, change.found.take());
        let made = self.make_room_in(register, &at, need, &mut found, &mut ended);
        change.found.set(found.take_all());
        drop(found);
        self.tell(ended);
        made
    }

    /// `mine` is how many slots the operation holds itself.
    fn choose(&self, index: &Index, need: &Need, mine: usize) -> Choice {
        let mut sample = Vec::with_capacity(SAMPLE);
        let subjects = index.sample_guests(SAMPLE, &mut sample);
        let mine = mine + sample.iter().filter(|(_, id)| need.spare == Some(*id)).count();
        let others = sample.into_iter().filter(|(_, id)| need.spare != Some(*id));
        let seen = others.filter_map(|(slot, id)| {
            let deadline = self.deadline_of_guest(index, slot, id)?;
            Some(Victim { slot, id, deadline })
        });
        let may_go = self.capacity.on_full() == OnFull::Evict;
        match seen.min_by_key(|victim| victim.deadline) {
            Some(victim) if may_go || victim.deadline <= need.now => Choice::Victim(victim),
            Some(_) => Choice::None,
            // As many as have a slot are in the table.
            None if subjects.is_some_and(|held| held + mine >= self.capacity.held()) => {
                Choice::None
            }
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
        Some(Ended::new(victim.id, entry, death.map_or(Cause::Evicted, Cause::from)))
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
    use crate::sweep::Batch;

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

    fn need(store: &SessionStore<u64>, spare: Option<SessionId>) -> Need {
        Need { bytes: 0, spare, now: store.inner.clock.now() }
    }

    fn choose(store: &SessionStore<u64>) -> Choice {
        store.inner.choose(index(store), &need(store, None), 0)
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
        index(&store).sample_guests(1, &mut sample);
        assert!(sample.is_empty(), "it still comes up");
        store.inner.capacity.release(1);
        store.inner.tell([Ended::new(guest, entry, Cause::Destroyed)]);
        assert!(index(&store).is_bare());
    }

    /// Between a slice of the sweep and the news of it, whoever makes room finds all of it: nobody is refused or ends.
    #[test]
    fn what_has_left_the_table_weighs_nothing_before_its_end_is_told() {
        let clock = ManualClock::new();
        let builder = SessionStore::<u64>::builder().max_bytes(20, |_| 2).ttl(IDLE).shards(2);
        let store = builder.clock(clock.clone()).build().unwrap();
        (0..9).for_each(|n| _ = store.create_with(n));
        clock.advance(IDLE / 2);
        let guest = *store.create_with(9).id();
        clock.advance(IDLE / 2);
        let (inner, now) = (&*store.inner, store.inner.clock.now());
        let mut batch = Batch::new();
        inner.sweep.slice(&inner.gate, now, &mut batch, |many, removed| {
            inner.give_back_all(many, removed);
        });
        assert!(batch.len() > 0, "nothing was swept");
        assert_eq!(store.stats().bytes, 2 * store.len() as u64);
        // More than is free, and no more than with all that has expired.
        (0..9).for_each(|n| _ = store.create_with(n));
        assert!(store.contains(&guest), "a live session ended for those that had expired");
        inner.settle(batch);
        assert_eq!((store.len(), store.stats().bytes), (10, 20));
        assert_eq!(store.stats().evicted, 0);
    }

    #[test]
    fn commit_that_needs_bytes_waits_for_guests_only_that_have_yet_to_come() {
        for mine in [0, 1] {
            let store = store(2, &ManualClock::new());
            let mine = *store.create_with(mine).id();
            let look = || store.inner.choose(index(&store), &need(&store, Some(mine)), 0);
            let slot = store.inner.capacity.reserve();
            assert!(slot.is_some() && matches!(look(), Choice::NotYet));
            drop(slot);
            assert!(matches!(look(), Choice::None), "there is nobody but the session that grows");
        }
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
