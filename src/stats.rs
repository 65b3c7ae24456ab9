//! Owns the counters, and the snapshot of them that users see.
//!
//! Counting never locks, never allocates and, on all but a crowd of threads, needs no locked
//! instruction: each of up to [`OWNED`] threads at a time has a stripe of counters that it alone
//! writes. Counts are exact.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::stripe::{self, OWNED};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Created,
    Loaded,
    Missed,
    Saved,
    Destroyed,
    Expired,
    Evicted,
    Rotated,
    Cleared,
    Revoked,
    Displaced,
    Swept,
    Conflicted,
    SavedGone,
    Refused,
    Panicked,
}

const EVENTS: usize = Event::Panicked as usize + 1;

// One stripe is one padded line.
const _: () = assert!(EVENTS * size_of::<AtomicU64>() <= 128);

/// A store's counters: with those that are shared, 8 KiB.
pub(crate) struct Stats {
    owned: Box<[Counters; OWNED]>,
    /// Of all the threads that found no free one.
    shared: Counters,
}

type Counters = CachePadded<[AtomicU64; EVENTS]>;

impl Stats {
    pub(crate) fn new() -> Self {
        let zeros = || CachePadded::new([const { AtomicU64::new(0) }; EVENTS]);
        Self { owned: Box::new(std::array::from_fn(|_| zeros())), shared: zeros() }
    }

    /// Returns how often it has been counted where the calling thread counts.
    #[inline]
    pub(crate) fn count(&self, event: Event) -> u64 {
        self.add(event, 1)
    }

    /// Like [`count`](Self::count), so many times.
    #[inline]
    pub(crate) fn add(&self, event: Event, many: u64) -> u64 {
        match stripe::mine() {
            Some(stripe) => {
                let counter = &self.owned[stripe][event as usize];
                // Relaxed, both: counts say nothing about other memory, and this one has one writer.
                let count = counter.load(Ordering::Relaxed) + many;
                counter.store(count, Ordering::Relaxed);
                count
            }
            None => self.add_shared(event, many),
        }
    }

    /// Counts for a thread that has no stripe, or has yet to ask for one.
    #[cold]
    fn add_shared(&self, event: Event, many: u64) -> u64 {
        // The threads of a model share: each schedule would contain who asked first.
        if !cfg!(cloakroom_loom) && stripe::ask() {
            return self.add(event, many);
        }
        // Relaxed: see `add`.
        self.shared[event as usize].fetch_add(many, Ordering::Relaxed) + many
    }

    pub(crate) fn total(&self, event: Event) -> u64 {
        let stripes = self.owned.iter().chain([&self.shared]);
        // Relaxed: see `add`.
        stripes.map(|stripe| stripe[event as usize].load(Ordering::Relaxed)).sum()
    }
}

/// What a store holds and has done, at about one moment.
///
/// The counters are since the store was made, exact, and read without a lock; while others work,
/// they need not be of one instant. `live` and `expired_unswept` are counted over the whole store if
/// it is small, and estimated from a sample of it if it is large: see
/// [`SessionStore::stats`](crate::SessionStore::stats).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Sessions in the table, expired ones that are not yet swept among them.
    pub stored: u64,
    /// What the sessions in the table weigh, as [`max_bytes`](crate::Builder::max_bytes)' weigher says; 0 without
    /// one.
    pub bytes: u64,
    /// Sessions in the table that can be loaded.
    pub live: u64,
    /// Sessions in the table that have ended and are not yet removed.
    pub expired_unswept: u64,
    /// Sessions created, not counting those the store had no room for.
    pub created: u64,
    /// Calls of `load` and `peek` that found a session.
    pub loaded: u64,
    /// Calls of `load`, `peek` and `update` that found none: unknown, ended or malformed id alike.
    pub missed: u64,
    /// Calls of `save`, `try_save` and `update` that stored something.
    pub saved: u64,
    /// Sessions destroyed, by `destroy` or `retain`.
    pub destroyed: u64,
    /// Sessions removed because they had expired, by whatever operation.
    pub expired: u64,
    /// Live sessions removed to make room at `max_sessions` or `max_bytes`.
    pub evicted: u64,
    /// Ids replaced by `rotate`.
    pub rotated: u64,
    /// Sessions removed by `clear`.
    pub cleared: u64,
    /// Sessions ended by `revoke_all` or `revoke_others`.
    pub revoked: u64,
    /// Live sessions ended for another of their subject at `max_per_subject`.
    pub displaced: u64,
    /// Dead sessions removed by slices, by creates as they look ahead, and by `purge_expired`.
    pub swept: u64,
    /// Calls of `try_save` that met a conflict, and retries of `update`.
    pub conflicts: u64,
    /// Calls of `save` and `try_save`, and saves by the adapters, on a session that had ended.
    pub saves_refused: u64,
    /// New sessions that found the store full, or their subject with as many as it may have, or whose data was too
    /// large.
    pub creates_refused: u64,
    /// Panics of user code, a listener or a value's `Drop`, that the store caught.
    pub panics: u64,
}

impl Stats {
    /// Returns the counters; the caller adds what the table holds.
    pub(crate) fn snapshot(&self) -> StoreStats {
        StoreStats {
            created: self.total(Event::Created),
            loaded: self.total(Event::Loaded),
            missed: self.total(Event::Missed),
            saved: self.total(Event::Saved),
            destroyed: self.total(Event::Destroyed),
            expired: self.total(Event::Expired),
            evicted: self.total(Event::Evicted),
            rotated: self.total(Event::Rotated),
            cleared: self.total(Event::Cleared),
            revoked: self.total(Event::Revoked),
            displaced: self.total(Event::Displaced),
            swept: self.total(Event::Swept),
            conflicts: self.total(Event::Conflicted),
            saves_refused: self.total(Event::SavedGone),
            creates_refused: self.total(Event::Refused),
            panics: self.total(Event::Panicked),
            ..StoreStats::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn thread_that_has_counted_has_a_stripe_of_its_own() {
        let stats = Stats::new();
        let counted = || {
            stats.count(Event::Created);
            stats.owned[stripe::mine().unwrap()][Event::Created as usize].load(Ordering::Relaxed)
        };
        assert_eq!(thread::scope(|scope| scope.spawn(counted).join().unwrap()), 1);
    }
}
