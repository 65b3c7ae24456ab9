//! Owns how many sessions there may be: one reservation for the whole store, and who makes room.
//!
//! A session holds a slot from before it enters the table until after it has left it, so the table
//! never holds more than the bound, whatever races. At the bound an expired session that a due sweep or
//! the sample finds goes first, then the one soonest to expire among the sample: under an idle timeout
//! that is sampled LRU, with no bookkeeping of its own. Looks at entries under shared locks and never
//! holds two.

use std::cell::Cell;
use std::ops::ControlFlow;

use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::gate::Gate;
use crate::id::SessionId;
use crate::sync::{AtomicU64, AtomicUsize, Backoff, Mutex, Ordering};
use crossbeam_utils::CachePadded;

/// Sessions compared for one eviction. Redis samples 5 by default and calls 10 close to true LRU
/// (documentation of `maxmemory-samples`); 16 costs one more cache line pair of deadlines.
const SAMPLE: usize = 16;

/// Buckets looked at in one shard for a sample: enough for 16 at the lowest load of a table that
/// only grows, 7/16.
const SAMPLE_BUCKETS: usize = 64;

/// How often an eviction that lost a race is tried again before the store counts as full: as many
/// touches in a row must hit just the sample's choice, or as many creates must be half done.
const ATTEMPTS: usize = 32;

/// What happens to a new session when the store is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// What is soonest to expire among a sample of 16 makes room, an expired session above all; where a
    /// slice of the sweep is due, what that finds. A store of up to 16 sessions is its own sample. In a
    /// store with [`index_by`](crate::Builder::index_by), a sample of the sessions without a subject.
    #[default]
    Evict,
    /// An expired session makes room, if the sample or a few slices of the sweep find one; a live one
    /// never does. With no room,
    /// [`try_create`](crate::SessionStore::try_create) is an error and
    /// [`create`](crate::SessionStore::create) returns a session that is not stored.
    Refuse,
}

/// The store's slots.
pub(crate) struct Capacity {
    max: usize,
    on_full: OnFull,
    held: CachePadded<AtomicUsize>,
    /// The bytes that are held beside the slots; `max_bytes` is none if nobody weighs sessions.
    bytes: CachePadded<AtomicU64>,
    max_bytes: u64,
    /// Held while slots and bytes are taken together, so that nobody is refused for what another takes and gives
    /// back. Whoever gives back needs it not.
    both: Mutex<()>,
}

/// A slot that is given back unless it is kept.
pub(crate) struct Slot<'a> {
    capacity: &'a Capacity,
    /// The bytes that go with it: 0 where nobody weighs sessions.
    weight: u32,
}

impl Slot<'_> {
    /// Leaves the slot to the session that has entered the table.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.capacity.release(1);
        self.capacity.release_bytes(self.weight.into());
    }
}

/// What an operation has found for a session that is to come or to grow, of those that it has ended: nobody else's,
/// until it is used or given back.
pub(crate) struct Found<'a> {
    capacity: &'a Capacity,
    slot: bool,
    bytes: u64,
    /// The bytes that are needed.
    need: u32,
}

impl<'a> Found<'a> {
    /// `bytes` were found before.
    pub(crate) fn new(capacity: &'a Capacity, need: u32, bytes: u64) -> Self {
        Self { capacity, slot: false, bytes, need }
    }

    /// Takes over what a session held that has left the table, but for what is not needed: one slot is all that
    /// anybody needs.
    pub(crate) fn add(&mut self, bytes: u32) {
        let taken = self.missing().min(bytes.into());
        self.bytes += taken;
        self.capacity.release(usize::from(self.slot));
        self.slot = true;
        self.capacity.release_bytes(u64::from(bytes) - taken);
    }

    /// Returns how many bytes are to be found yet.
    pub(crate) fn missing(&self) -> u64 {
        u64::from(self.need).saturating_sub(self.bytes)
    }

    /// Returns how many slots it holds.
    pub(crate) fn slots(&self) -> usize {
        usize::from(self.slot)
    }

    /// Takes what is free of the bytes that are missing, so that nobody else does while the rest is found.
    pub(crate) fn claim(&mut self) {
        if self.missing() > 0 {
            let _both = self.capacity.both.lock();
            self.take_free(self.missing().min(self.capacity.free_bytes()));
        }
    }

    /// `both` is locked.
    fn take_free(&mut self, bytes: u64) {
        // Relaxed: see `held`.
        self.capacity.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
    }

    /// Returns a slot with the bytes, if what is missing is free.
    pub(crate) fn reserve(&mut self) -> Option<Slot<'a>> {
        let capacity = self.capacity;
        // Nobody is to be refused for what another takes and gives back.
        let _both = (self.need > 0).then(|| capacity.both.lock());
        let missing = self.missing();
        if missing > capacity.free_bytes() {
            return None;
        }
        if !std::mem::take(&mut self.slot) {
            capacity.reserve()?.keep();
        }
        self.take_free(missing);
        self.bytes -= u64::from(self.need);
        Some(Slot { capacity, weight: self.need })
    }

    /// Returns the bytes, to be given back by the caller, if what is missing is free.
    pub(crate) fn take_bytes(&mut self) -> Option<u64> {
        let _both = self.capacity.both.lock();
        let missing = self.missing();
        if missing > self.capacity.free_bytes() {
            return None;
        }
        self.take_free(missing);
        Some(self.take_all())
    }

    /// Returns all bytes, to be given back by the caller.
    pub(crate) fn take_all(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }
}

impl Drop for Found<'_> {
    fn drop(&mut self) {
        self.capacity.release(usize::from(self.slot));
        self.capacity.release_bytes(self.bytes);
    }
}

impl Capacity {
    pub(crate) fn new(max: Option<usize>, max_bytes: Option<u64>, on_full: OnFull) -> Self {
        let held = CachePadded::new(AtomicUsize::new(0));
        Self {
            max: max.unwrap_or(usize::MAX),
            on_full,
            held,
            bytes: CachePadded::new(AtomicU64::new(0)),
            max_bytes: max_bytes.unwrap_or(u64::MAX),
            both: Mutex::new(()),
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Returns how many slots are held: the sessions in the table, and those about to enter it.
    pub(crate) fn held(&self) -> usize {
        // Relaxed: a count, which says nothing about other memory.
        self.held.load(Ordering::Relaxed)
    }

    /// Gives back the slots of sessions that have left the table.
    pub(crate) fn release(&self, slots: usize) {
        // Relaxed: see `held`; the table's locks order the sessions themselves.
        self.held.fetch_sub(slots, Ordering::Relaxed);
    }

    pub(crate) fn on_full(&self) -> OnFull {
        self.on_full
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Returns how many bytes are held: by the sessions in the table, and those about to enter it.
    pub(crate) fn bytes(&self) -> u64 {
        // Relaxed: see `held`.
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns how many bytes nobody holds.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.max_bytes.saturating_sub(self.bytes())
    }

    /// Gives back bytes.
    pub(crate) fn release_bytes(&self, bytes: u64) {
        if bytes > 0 {
            // Relaxed: see `held`.
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Takes bytes for a session that has a slot, of those that were found for it first, if there is room.
    pub(crate) fn grow(&self, bytes: u32, found: &Cell<u64>) -> bool {
        let mut had = Found::new(self, bytes, found.take());
        let all = had.take_bytes();
        found.set(all.map_or_else(|| had.take_all(), |all| all - u64::from(bytes)));
        all.is_some()
    }

    /// Returns a slot with so many bytes, or `None` if there is no room for both.
    pub(crate) fn reserve_both(&self, weight: u32) -> Option<Slot<'_>> {
        if weight == 0 {
            return self.reserve();
        }
        Found::new(self, weight, 0).reserve()
    }

    /// Returns a slot, or `None` if the store is full.
    pub(crate) fn reserve(&self) -> Option<Slot<'_>> {
        let room = |held: usize| (held < self.max).then(|| held + 1);
        // Relaxed: see `held`.
        let reserved = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        reserved.ok().map(|_| Slot { capacity: self, weight: 0 })
    }

    /// Returns a slot, taken from another session if the store is full, or `None` if no session may
    /// be ended. What was evicted goes to `ended`.
    pub(crate) fn make_room<T>(
        &self,
        gate: &Gate<T>,
        seed: SessionId,
        now: Tick,
        ended: &mut Vec<Ended<T>>,
    ) -> Option<Slot<'_>> {
        let backoff = Backoff::new();
        for _ in 0..ATTEMPTS {
            if let Some(slot) = self.reserve() {
                return Some(slot);
            }
            match self.victim(gate, seed, now) {
                Some(victim) => {
                    if let Some(evicted) = evict(gate, &victim, now) {
                        ended.push(evicted);
                        // The victim's slot passes on.
                        return Some(Slot { capacity: self, weight: 0 });
                    }
                }
                // Full of live sessions; or of slots whose sessions have yet to enter the table.
                None if self.on_full == OnFull::Refuse => return None,
                None => backoff.snooze(),
            }
        }
        None
    }

    /// Chooses among the sessions next to the place of `seed`, a fresh random id.
    fn victim<T>(&self, gate: &Gate<T>, seed: SessionId, now: Tick) -> Option<Victim> {
        let start = gate.place(seed).shard;
        let mut best: Option<Victim> = None;
        let mut sampled = 0;
        for step in 0..gate.count() {
            let shard = gate.shared((start + step) % gate.count());
            shard.look_around(seed.low_bits(), SAMPLE_BUCKETS, |id, entry| {
                sampled += 1;
                let deadline = entry.deadline();
                if best.as_ref().is_none_or(|best| deadline < best.deadline) {
                    best = Some(Victim { id, deadline });
                }
                if sampled < SAMPLE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if sampled == SAMPLE {
                break;
            }
        }
        best.filter(|best| self.on_full == OnFull::Evict || best.deadline <= now)
    }
}

/// A session that may have to go, and the deadline it was chosen for.
struct Victim {
    id: SessionId,
    deadline: Tick,
}

/// Takes the victim out of the table, unless it was touched or ended since it was chosen.
fn evict<T>(gate: &Gate<T>, victim: &Victim, now: Tick) -> Option<Ended<T>> {
    let place = gate.place(victim.id);
    let mut shard = gate.exclusive(place.shard);
    let entry = shard.find(&place)?;
    let death = entry.death(now);
    if death.is_none() && entry.deadline() != victim.deadline {
        return None;
    }
    let entry = shard.remove(&place)?;
    Some(Ended::new(victim.id, entry, death.map_or(Cause::Evicted, Cause::from)))
}
