//! Owns the operations that go through all sessions: always a slice of one shard at a time.
//!
//! A slice locks one shard, copies or removes a bounded number of entries, unlocks it, and only then
//! are closures called, listeners told and values dropped. So a walk sees no single instant of the
//! store, and delays nobody by more than one slice.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Inner, SessionStore};
use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::entry::Record;
use crate::id::SessionId;
use crate::stats::StoreStats;
use crate::sweep::{Batch, DEFAULT_BUDGET};
use crate::sync::{AtomicUsize, Ordering, thread_local};

/// Sessions copied under one shared lock: their reference counts are in as many cache lines, some
/// 100 ns each when none is cached.
const COPIED_PER_SLICE: usize = 128;

/// A bucket beyond those of any table.
const PAST_THE_END: usize = usize::MAX;

/// Buckets that one call of `stats` looks at, over all shards: 128 KiB of them, and an estimate that
/// is within two points of a hundred, 19 times out of 20, for a table half full.
const SAMPLED: usize = 4096;

impl<T> SessionStore<T> {
    /// Calls a closure for each live session, with its id and its data.
    ///
    /// A session that lives throughout the walk is seen exactly once; if it is rotated meanwhile, it
    /// may be seen under both ids. One that is created or ends meanwhile may be seen or not. Does not
    /// count as activity. The order is arbitrary.
    ///
    /// Takes time and, shard by shard, 16 bytes of memory for each session.
    ///
    /// # Locking
    ///
    /// One shard's shared lock at a time, for a slice of its buckets. The closure runs outside.
    pub fn for_each(&self, mut visit: impl FnMut(&SessionId, &T)) {
        let _walk = Walk::begin(&self.inner.walks);
        let _visits = Visits::begin(&self.inner.walks);
        for shard in 0..self.inner.gate.count() {
            self.inner.walk(shard, |id, record| visit(&id, &record.value));
        }
    }

    /// Ends every live session for which the closure returns `false`, and returns how many.
    ///
    /// The closure's verdict holds for the data it saw: if the session is saved in the meantime, it
    /// is asked again about what was saved. Sees the sessions that [`for_each`](Self::for_each)
    /// sees. They end with [`Cause::Destroyed`].
    ///
    /// # Locking
    ///
    /// As `for_each`, and the shard's exclusive lock for each removal.
    pub fn retain(&self, mut keep: impl FnMut(&SessionId, &T) -> bool) -> usize {
        let _walk = Walk::begin(&self.inner.walks);
        let _visits = Visits::begin(&self.inner.walks);
        let mut removed = 0;
        for shard in 0..self.inner.gate.count() {
            self.inner.walk(shard, |id, mut record| {
                while !keep(&id, &record.value) {
                    match self.inner.remove_version(id, record) {
                        Removal::Done => removed += 1,
                        Removal::Gone => {}
                        Removal::Changed(changed) => {
                            record = changed;
                            continue;
                        }
                    }
                    break;
                }
            });
        }
        removed
    }

    /// Ends every session that is in the store when the call begins.
    ///
    /// None escapes by being rotated meanwhile. One that is created meanwhile may be ended or not.
    ///
    /// # Locking
    ///
    /// One shard's exclusive lock at a time, for as long as it takes to swap an empty table in.
    pub fn clear(&self) {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let _walk = Walk::begin(&inner.walks);
        for shard in 0..inner.gate.count() {
            let table = inner.gate.exclusive(shard).take_all();
            inner.capacity.release(table.len());
            let ended = table.into_entries().map(|(id, entry)| {
                let cause = entry.death(now).map_or(Cause::Cleared, Cause::from);
                Ended::new(id, entry, cause)
            });
            inner.ends.deliver(&inner.stats, ended);
        }
    }

    /// Removes every session that has expired when the call begins, and returns how many.
    ///
    /// Never needed: every operation sweeps a little. For whoever wants the memory back now.
    ///
    /// # Locking
    ///
    /// One shard's exclusive lock at a time, for one slice of its buckets.
    pub fn purge_expired(&self) -> usize {
        let inner = &*self.inner;
        let now = inner.clock.now();
        (0..inner.gate.count()).map(|shard| inner.purge(shard, now)).sum()
    }

    /// Returns the store's counters, and how many of its sessions are live.
    ///
    /// The counters are exact. `live` and `expired_unswept` are counted by looking at up to 4096
    /// buckets of the table: all of them in a small store, which makes them exact as well; a sample
    /// in a large one.
    ///
    /// # Locking
    ///
    /// Waits for no lock: a shard that a writer holds at that moment is left out of the sample.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let inner = &*self.inner;
        let stored = inner.capacity.held() as u64;
        let (live, dead) = inner.sample(inner.clock.now());
        let expired_unswept = match live + dead {
            0 => 0,
            // All of them were seen, or as good as: no estimate.
            seen if seen >= stored => dead.min(stored),
            seen => (u128::from(stored) * u128::from(dead) / u128::from(seen)) as u64,
        };
        let live = stored - expired_unswept;
        StoreStats { stored, live, expired_unswept, ..inner.stats.snapshot() }
    }
}

/// Keeps sessions from rotating out of the path of a walk, until it is dropped.
struct Walk<'a>(&'a AtomicUsize);

impl<'a> Walk<'a> {
    fn begin(walks: &'a AtomicUsize) -> Self {
        // Relaxed, here and in `drop`: see `Inner::rotate`.
        walks.fetch_add(1, Ordering::Relaxed);
        Self(walks)
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    /// The stores whose sessions this thread is showing to a closure, by address.
    static VISITING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Marks that a closure of this thread is being shown a store's sessions: what that closure rotates
/// may go where the walk has been, or in the last shard it would be met again for ever.
struct Visits(usize);

impl Visits {
    fn begin(walks: &AtomicUsize) -> Self {
        let store = std::ptr::from_ref(walks).addr();
        // Fails only on a thread that is being torn down, which keeps no marks.
        let _ = VISITING.try_with(|stores| stores.borrow_mut().push(store));
        Self(store)
    }

    fn are_ours(walks: &AtomicUsize) -> bool {
        let store = std::ptr::from_ref(walks).addr();
        VISITING.try_with(|stores| stores.borrow().contains(&store)).unwrap_or(false)
    }
}

impl Drop for Visits {
    fn drop(&mut self) {
        let _ = VISITING.try_with(|stores| {
            let mut stores = stores.borrow_mut();
            if let Some(at) = stores.iter().rposition(|store| *store == self.0) {
                stores.remove(at);
            }
        });
    }
}

enum Removal<T> {
    Done,
    Gone,
    /// The session was saved; this is what it holds now.
    Changed(Arc<Record<T>>),
}

impl<T> Inner<T> {
    /// Tells whether a rotation by this thread must keep to the path of a walk.
    pub(super) fn is_walked_by_others(&self) -> bool {
        // Relaxed: a walk raises it before its first lock, so it is seen under the lock of any shard
        // that a walk has been in.
        self.walks.load(Ordering::Relaxed) > 0 && !Visits::are_ours(&self.walks)
    }

    /// Shows each live session of a shard once.
    fn walk(&self, shard: usize, mut visit: impl FnMut(SessionId, Arc<Record<T>>)) {
        let mut from = Some(0);
        let mut layout = None;
        let mut visited: Vec<SessionId> = Vec::new();
        let mut again: HashSet<SessionId> = HashSet::new();
        let mut slice: Vec<(SessionId, Arc<Record<T>>)> = Vec::with_capacity(COPIED_PER_SLICE);
        while let Some(mut start) = from {
            // Anew for each slice: closures take their time, and what has expired is not shown.
            let now = self.clock.now();
            let lock = self.gate.shared(shard);
            if layout.replace(lock.layout()).is_some_and(|before| before != lock.layout()) {
                // The entries have moved: from the beginning, without those seen before.
                again.extend(visited.drain(..));
                start = 0;
            }
            let stretch = lock.look(start, DEFAULT_BUDGET, |id, entry| {
                if entry.is_live(now) && !again.contains(&id) {
                    slice.push((id, Arc::clone(entry.record())));
                }
                if slice.len() < COPIED_PER_SLICE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            drop(lock);
            // Once more after the last: a session that was shown may have moved meanwhile.
            from = stretch.next.or((!slice.is_empty()).then_some(PAST_THE_END));
            visited.extend(slice.iter().map(|(id, _)| *id));
            slice.drain(..).for_each(|(id, record)| visit(id, record));
            self.tend(now);
        }
    }

    /// Removes a session if it still holds this record.
    fn remove_version(&self, id: SessionId, record: Arc<Record<T>>) -> Removal<T> {
        let now = self.clock.now();
        let place = self.gate.place(id);
        let mut shard = self.gate.exclusive(place.shard);
        let stored = match shard.find(&place) {
            Some(entry) if entry.is_live(now) => Arc::clone(entry.record()),
            _ => return Removal::Gone,
        };
        if !Arc::ptr_eq(&stored, &record) {
            return Removal::Changed(stored);
        }
        let Some(entry) = shard.remove(&place) else {
            return Removal::Gone;
        };
        drop(shard);
        drop((stored, record));
        self.capacity.release(1);
        self.ends.deliver(&self.stats, [Ended::new(id, entry, Cause::Destroyed)]);
        Removal::Done
    }

    /// Removes a shard's expired sessions, slice by slice.
    fn purge(&self, shard: usize, now: Tick) -> usize {
        let mut purged = 0;
        let mut from = Some(0);
        let mut layout = None;
        while let Some(mut start) = from {
            let mut batch = Batch::new();
            let mut lock = self.gate.exclusive(shard);
            if layout.replace(lock.layout()).is_some_and(|before| before != lock.layout()) {
                start = 0;
            }
            let stretch = batch.take_dead(&mut lock, start, DEFAULT_BUDGET, now);
            from = stretch.next;
            // The old table is freed after the lock is released.
            let spent = from.is_none().then(|| lock.shrink_if_sparse()).flatten();
            drop(lock);
            drop(spent);
            purged += batch.len();
            self.settle(batch);
        }
        purged
    }

    /// Counts the live and the dead in a bounded number of buckets, spread over all shards.
    fn sample(&self, now: Tick) -> (u64, u64) {
        let shards = self.gate.count();
        // Anywhere, because a sweep leaves a table cleaner behind its cursor than before it.
        let seed = (now.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
        let (mut live, mut dead, mut left) = (0, 0, SAMPLED.max(shards));
        for index in 0..shards {
            let Some(shard) = self.gate.try_shared(index) else {
                continue;
            };
            // What small shards leave over goes to the others.
            left -= shard.look_around(seed, left / (shards - index), |_, entry| {
                *(if entry.death(now).is_none() { &mut live } else { &mut dead }) += 1;
                ControlFlow::Continue(())
            });
        }
        (live, dead)
    }
}
