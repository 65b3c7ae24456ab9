//! Owns the counters, and the snapshot of them that users see.
//!
//! A counter is spread over padded stripes, one for each of a few threads, so that counting does not
//! make cores wait for each other. Counting never locks and never allocates.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
    Swept,
    Conflicted,
    SavedGone,
    Refused,
    Panicked,
}

const EVENTS: usize = Event::Panicked as usize + 1;

// One stripe is one padded line.
const _: () = assert!(EVENTS * size_of::<AtomicU64>() <= 128);

/// Stripes at the most: 8 KiB of counters.
const STRIPES: usize = 64;

/// A store's counters.
pub(crate) struct Stats {
    stripes: Box<[CachePadded<[AtomicU64; EVENTS]>]>,
}

std::thread_local! {
    /// Which stripe the thread counts on, before it is cut to the number of stripes.
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed: any number will do.
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

impl Stats {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let stripes = (cores * 2).next_power_of_two().min(STRIPES);
        let stripe = || CachePadded::new([const { AtomicU64::new(0) }; EVENTS]);
        Self {
            stripes: (0..stripes).map(|_| stripe()).collect(),
        }
    }

    #[inline]
    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    #[inline]
    pub(crate) fn add(&self, event: Event, many: u64) {
        // A thread that is being torn down has no stripe of its own any more.
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0) & (self.stripes.len() - 1);
        // Relaxed: counts say nothing about other memory.
        self.stripes[stripe][event as usize].fetch_add(many, Ordering::Relaxed);
    }

    pub(crate) fn total(&self, event: Event) -> u64 {
        // Relaxed: see `add`.
        self.stripes
            .iter()
            .map(|stripe| stripe[event as usize].load(Ordering::Relaxed))
            .sum()
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
    /// Live sessions removed to make room at `max_sessions`.
    pub evicted: u64,
    /// Ids replaced by `rotate`.
    pub rotated: u64,
    /// Sessions removed by `clear`.
    pub cleared: u64,
    /// Sessions removed by sweeping: slices, looks ahead and `purge_expired`.
    pub swept: u64,
    /// Calls of `try_save` that met a conflict, and retries of `update`.
    pub conflicts: u64,
    /// Calls of `save` and `try_save` on a session that had ended.
    pub saves_refused: u64,
    /// New sessions that found the store full.
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
            swept: self.total(Event::Swept),
            conflicts: self.total(Event::Conflicted),
            saves_refused: self.total(Event::SavedGone),
            creates_refused: self.total(Event::Refused),
            panics: self.total(Event::Panicked),
            ..StoreStats::default()
        }
    }
}
