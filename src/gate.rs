//! Owns how a shard is entered: shared, exclusive, or two at once, and that no writer starves.
//!
//! DashMap's lock lets readers in while a writer is parked, so that looping readers can keep a writer
//! out for ever. Here a writer that does not get in at once announces itself, and readers let it
//! pass: they back off for a moment, bounded, and then go on, so that writers cannot starve readers
//! in turn. Two locks are held only by [`Gate::exclusive_pair`], in the order of the shards.

use crate::entry::Entry;
use crate::id::SessionId;
use crate::shards::{Exclusive, Place, Shards, Shared};
use crate::sync::{AtomicU32, Backoff, Ordering};

/// The shards behind their gates.
pub(crate) struct Gate<T> {
    shards: Shards<T>,
    /// For each shard, how many writers wait for it. Dense, not padded: it is written only under
    /// contention, and every reader reads it.
    waiting: Box<[AtomicU32]>,
}

impl<T> Gate<T> {
    pub(crate) fn new(shards: usize) -> Self {
        let waiting = (0..shards).map(|_| AtomicU32::new(0)).collect();
        Self { shards: Shards::new(shards), waiting }
    }

    /// Returns the number of shards, a power of two.
    pub(crate) fn count(&self) -> usize {
        self.shards.count()
    }

    /// Returns how many buckets all shards have together.
    pub(crate) fn buckets(&self) -> usize {
        self.shards.buckets()
    }

    #[inline]
    pub(crate) fn place(&self, id: SessionId) -> Place {
        self.shards.place(id)
    }

    /// Shows one entry under its shard's shared lock.
    #[inline]
    pub(crate) fn read<R>(&self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        self.let_waiting_writers_pass(place.shard);
        self.shards.read(place, show)
    }

    pub(crate) fn shared(&self, shard: usize) -> Shared<'_, T> {
        self.let_waiting_writers_pass(shard);
        self.shards.shared(shard)
    }

    #[inline]
    fn let_waiting_writers_pass(&self, shard: usize) {
        // Relaxed: a hint. A reader that misses it delays the writer by one probe.
        if self.waiting.get(shard).is_some_and(|waiting| waiting.load(Ordering::Relaxed) != 0) {
            self.let_writers_pass(shard);
        }
    }

    pub(crate) fn try_shared(&self, shard: usize) -> Option<Shared<'_, T>> {
        self.shards.try_shared(shard)
    }

    #[cold]
    fn let_writers_pass(&self, shard: usize) {
        let backoff = Backoff::new();
        // Relaxed: see `shared`. Bounded by the back-off, however many writers come.
        while !backoff.is_completed() && self.waiting[shard].load(Ordering::Relaxed) != 0 {
            backoff.snooze();
        }
    }

    #[inline]
    pub(crate) fn exclusive(&self, shard: usize) -> Exclusive<'_, T> {
        match self.shards.try_exclusive(shard) {
            Some(lock) => lock,
            None => self.wait(shard),
        }
    }

    #[cold]
    fn wait(&self, shard: usize) -> Exclusive<'_, T> {
        // Relaxed, both: a hint to readers, see `shared`; the lock itself orders everything.
        self.waiting[shard].fetch_add(1, Ordering::Relaxed);
        let lock = self.shards.exclusive(shard);
        self.waiting[shard].fetch_sub(1, Ordering::Relaxed);
        lock
    }

    #[inline]
    pub(crate) fn try_exclusive(&self, shard: usize) -> Option<Exclusive<'_, T>> {
        self.shards.try_exclusive(shard)
    }

    /// Locks the shards of two places, the lower shard first: two calls never wait for each other.
    pub(crate) fn exclusive_pair(&self, a: &Place, b: &Place) -> Pair<'_, T> {
        let low = self.exclusive(a.shard.min(b.shard));
        let high = (a.shard != b.shard).then(|| self.exclusive(a.shard.max(b.shard)));
        Pair { low, high, low_shard: a.shard.min(b.shard) }
    }
}

/// One or two shards under their exclusive locks.
pub(crate) struct Pair<'a, T> {
    low: Exclusive<'a, T>,
    high: Option<Exclusive<'a, T>>,
    low_shard: usize,
}

impl<'a, T> Pair<'a, T> {
    /// Returns the locked shard that a place belongs to: one of the two the pair was made for.
    pub(crate) fn shard_of(&mut self, place: &Place) -> &mut Exclusive<'a, T> {
        match &mut self.high {
            Some(high) if place.shard != self.low_shard => high,
            _ => &mut self.low,
        }
    }
}
