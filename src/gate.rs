//! Owns how a shard is entered: shared, exclusive, or two at once, and that no writer starves.
//!
//! DashMap's lock lets readers in while a writer is parked, so that looping readers can keep a writer
//! out for ever. Here a writer that does not get in at once announces itself, and readers let it
//! pass: they back off for a moment, bounded, and then go on, so that writers cannot starve readers
//! in turn. Readers that need no lock, of a shard that `bias.rs` says it of, starve nobody: a writer has
//! the lock already when it waits for them, and no others come. Two locks are held only by
//! [`Gate::exclusive_pair`], in the order of the shards.

use crate::clock::Clock;
use crate::entry::Entry;
use crate::id::SessionId;
use crate::shards::{Exclusive, Inside, Locked, Place, Shards, Shared};
use crate::sync::Backoff;

/// The shards behind their gates.
pub(crate) struct Gate<T> {
    shards: Shards<T>,
    clock: Clock,
}

impl<T> Gate<T> {
    pub(crate) fn new(shards: usize, clock: Clock) -> Self {
        Self { shards: Shards::new(shards, clock.now()), clock }
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

    /// Shows one entry, which no writer is at meanwhile. What shows it enters no shard.
    #[inline(always)]
    pub(crate) fn read<R>(&self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        match self.enter(place.shard) {
            Ok(shard) => shard.show(place, show),
            Err(shard) => shard.show(place, show),
        }
    }

    /// Enters a shard to read it: without its lock, if it is biased, and otherwise with it.
    #[inline(always)]
    pub(crate) fn enter(&self, shard: usize) -> Result<Inside<'_, T>, Locked<'_, T>> {
        self.shards.announce(shard).ok_or_else(|| {
            if self.shards.bias().counts() {
                self.survey();
            }
            self.let_waiting_writers_pass(shard);
            self.shards.locked(shard)
        })
    }

    /// Biases shards that are read and not written towards their readers, if it is time to.
    #[cold]
    #[inline(never)]
    fn survey(&self) {
        let lock = |shard| self.shards.try_shared(shard);
        self.shards.bias().survey(self.clock.now(), lock);
    }

    pub(crate) fn shared(&self, shard: usize) -> Shared<'_, T> {
        self.let_waiting_writers_pass(shard);
        self.shards.shared(shard)
    }

    #[inline]
    fn let_waiting_writers_pass(&self, shard: usize) {
        // A reader that misses it delays the writer by one probe.
        if self.shards.bias().is_awaited(shard) {
            self.let_writers_pass(shard);
        }
    }

    pub(crate) fn try_shared(&self, shard: usize) -> Option<Shared<'_, T>> {
        self.shards.try_shared(shard)
    }

    #[cold]
    fn let_writers_pass(&self, shard: usize) {
        let backoff = Backoff::new();
        // Bounded by the back-off, however many writers come.
        while !backoff.is_completed() && self.shards.bias().is_awaited(shard) {
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
        self.shards.bias().await_lock(shard);
        let lock = self.shards.exclusive(shard);
        self.shards.bias().got_lock(shard);
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
