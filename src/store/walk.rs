//! Owns the operations that go through all sessions: always a slice of one shard at a time.
//!
//! A slice locks one shard, copies or removes a bounded number of entries, unlocks it, and only then
//! are closures called, listeners told and values dropped. So a walk sees no single instant of the
//! store, and delays nobody by more than one slice.

use std::collections::HashSet;
use std::ops::ControlFlow;

use triomphe::Arc;

use super::moves::Met;
use super::{Inner, SessionStore};
use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::entry::{Entry, Record};
use crate::id::SessionId;
use crate::stats::StoreStats;
use crate::sweep::{Batch, DEFAULT_BUDGET};

/// Sessions copied under one shared lock: their reference counts are in as many cache lines, some
/// 100 ns each when none is cached.
const COPIED_PER_SLICE: usize = 128;

/// Buckets that one call of `stats` looks at, over all shards: 128 KiB of them, and an estimate that
/// is within two points of a hundred, 19 times out of 20, for a table half full.
const SAMPLED: usize = 4096;

impl<T> SessionStore<T> {
    /// Calls a closure for each live session, with its id and its data.
    ///
    /// A session that lives throughout the walk is seen exactly once; if it is rotated meanwhile, at
    /// least once, under one of its ids. One that is created or ends meanwhile may be seen or not. Does
    /// not count as activity. The order is arbitrary.
    ///
    /// Takes time for each session, and memory for the ids of one shard at a time.
    ///
    /// # Locking
    ///
    /// One shard's shared lock at a time, for a slice of its buckets. The closure runs outside.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::SessionStore;
    ///
    /// let store = SessionStore::<Option<u64>>::builder().build()?;
    /// store.create_with(Some(42));
    /// store.create_with(None);
    /// let mut users = Vec::new();
    /// store.for_each(|_, user| users.extend(*user));
    /// assert_eq!(users, [42]);
    /// // Log that user out everywhere.
    /// assert_eq!(store.retain(|_, user| *user != Some(42)), 1);
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn for_each(&self, mut visit: impl FnMut(&SessionId, &T)) {
        self.inner.walk(|id, record| {
            visit(&id, &record.value);
            self.inner.ends.discard(&self.inner.stats, record);
            Met::Yes
        });
    }

    /// Ends every live session for which the closure returns `false`, and returns how many.
    ///
    /// The closure's verdict holds for the data it saw: if the session is saved in the meantime, it
    /// is asked again about what was saved. Sees the sessions that [`for_each`](Self::for_each)
    /// sees, so that none escapes by being rotated. They end with [`Cause::Destroyed`].
    ///
    /// # Locking
    ///
    /// As `for_each`, and the shard's exclusive lock for each removal.
    pub fn retain(&self, mut keep: impl FnMut(&SessionId, &T) -> bool) -> usize {
        let mut removed = 0;
        self.inner.walk(|id, mut record| {
            let met = loop {
                if keep(&id, &record.value) {
                    break Met::Yes;
                }
                match self.inner.remove_version(id, &record, Cause::Destroyed) {
                    Removal::Done => {
                        removed += 1;
                        break Met::Yes;
                    }
                    Removal::Gone => break Met::No,
                    Removal::Changed(changed) => {
                        let judged = std::mem::replace(&mut record, changed);
                        self.inner.ends.discard(&self.inner.stats, judged);
                    }
                }
            };
            self.inner.ends.discard(&self.inner.stats, record);
            met
        });
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
        let cause = |entry: &Entry<T>| entry.death(now).map_or(Cause::Cleared, Cause::from);
        let walk = inner.moves.follow();
        for shard in 0..inner.gate.count() {
            let mut lock = inner.gate.exclusive(shard);
            let table = lock.take_all();
            inner.capacity.release(table.len());
            drop(lock);
            let ended = table.into_entries().map(|(id, entry)| {
                let cause = cause(&entry);
                Ended::new(id, entry, cause)
            });
            inner.tell(ended.collect::<Vec<_>>());
        }
        walk.catch_up(|id| {
            let place = inner.gate.place(id);
            let mut lock = inner.gate.exclusive(place.shard);
            let Some(entry) = lock.remove(&place) else { return Met::No };
            inner.capacity.release(1);
            drop(lock);
            let cause = cause(&entry);
            inner.tell_one(Ended::new(id, entry, cause));
            Met::Yes
        });
    }

    /// Removes every session that has expired when the call begins, and returns how many.
    ///
    /// Never needed: operations sweep a little by turns. For whoever wants the memory back now.
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
    /// buckets of the table, or two for each shard if that is more: all of them in a store whose table has no more,
    /// which makes them exact as well; a sample otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{ManualClock, SessionStore};
    /// use std::time::Duration;
    ///
    /// let clock = ManualClock::new();
    /// let builder = SessionStore::<u32>::builder().ttl(Duration::from_secs(60));
    /// let store = builder.clock(clock.clone()).build()?;
    /// store.create();
    /// clock.advance(Duration::from_secs(60));
    /// let stats = store.stats();
    /// assert_eq!((stats.stored, stats.live, stats.expired_unswept), (1, 0, 1));
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
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
        let bytes = inner.capacity.bytes();
        StoreStats { stored, bytes, live, expired_unswept, ..inner.stats.snapshot() }
    }
}

pub(super) enum Removal<T> {
    Done,
    Gone,
    /// The session was saved; this is what it holds now.
    Changed(Arc<Record<T>>),
}

impl<T> Inner<T> {
    /// Shows each live session, shard by shard, and then those that were rotated meanwhile.
    fn walk(&self, mut visit: impl FnMut(SessionId, Arc<Record<T>>) -> Met) {
        let walk = self.moves.follow();
        for shard in 0..self.gate.count() {
            self.walk_shard(shard, &mut visit);
        }
        walk.catch_up(|id| match self.current(self.clock.now(), &self.gate.place(id)) {
            Some(record) => visit(id, record),
            None => Met::No,
        });
    }

    /// Shows each live session of a shard once.
    fn walk_shard(&self, shard: usize, visit: &mut impl FnMut(SessionId, Arc<Record<T>>) -> Met) {
        let mut from = Some(0);
        let mut layout = None;
        let mut visited: Vec<SessionId> = Vec::new();
        let mut again: HashSet<SessionId> = HashSet::new();
        let mut slice: Vec<(SessionId, Arc<Record<T>>)> = Vec::with_capacity(COPIED_PER_SLICE);
        while let Some(start) = from {
            // Anew for each slice: closures take their time, and what has expired is not shown.
            let now = self.clock.now();
            let lock = self.gate.shared(shard);
            if layout.replace(lock.layout()).is_some_and(|before| before != lock.layout()) {
                // The entries have moved: from the beginning, without those seen before. Noted outside
                // the lock, because it takes time.
                drop(lock);
                again.extend(visited.drain(..));
                from = Some(0);
                continue;
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
            from = stretch.next;
            visited.extend(slice.iter().map(|(id, _)| *id));
            for (id, record) in slice.drain(..) {
                visit(id, record);
            }
            self.tend(now);
        }
    }

    /// Removes a session if it still holds this record.
    pub(super) fn remove_version(
        &self,
        id: SessionId,
        record: &Arc<Record<T>>,
        cause: Cause,
    ) -> Removal<T> {
        let now = self.clock.now();
        let place = self.gate.place(id);
        let mut shard = self.gate.exclusive(place.shard);
        match shard.find(&place) {
            Some(entry) if entry.is_live(now) => {
                if !Arc::ptr_eq(entry.record(), record) {
                    return Removal::Changed(Arc::clone(entry.record()));
                }
            }
            _ => return Removal::Gone,
        }
        let Some(entry) = shard.remove(&place) else { return Removal::Gone };
        self.capacity.release(1);
        drop(shard);
        self.tell_one(Ended::new(id, entry, cause));
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
            self.give_back_all(batch.len(), batch.since(0));
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
        let (mut live, mut dead, mut left) = (0, 0, SAMPLED.max(2 * shards));
        let all = self.gate.buckets() <= left;
        for index in 0..shards {
            let Some(shard) = self.gate.try_shared(index) else {
                continue;
            };
            // What small shards leave over goes to the others.
            let most = if all { usize::MAX } else { left / (shards - index) };
            let looked = shard.look_around(seed, most, |_, entry| {
                *(if entry.death(now).is_none() { &mut live } else { &mut dead }) += 1;
                ControlFlow::Continue(())
            });
            // They may have grown meanwhile.
            left = left.saturating_sub(looked);
        }
        (live, dead)
    }
}
