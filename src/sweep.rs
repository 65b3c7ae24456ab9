//! Owns the removal of expired sessions: which shard, when, and how much at a time.
//!
//! There is no sweeping thread and no lock on the whole map. Two triggers keep garbage bounded: any
//! operation may run one slice when a slice is due, so that sweeping is prompt and traffic anywhere
//! also clears shards that nobody visits; and where slices do not keep pace, each insert looks at a
//! few buckets ahead in its own shard, whose lock it holds anyway. One slice is a
//! bounded number of buckets and of removals, starts where the last one stopped, takes a shard only
//! if its lock is free, and one thread at a time runs one. Drops nothing: what is removed goes to
//! the caller, who delivers it outside every lock.

use std::ops::ControlFlow;

use crossbeam_utils::CachePadded;

use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::gate::Gate;
use crate::shards::{Exclusive, Spent, Stretch};
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Buckets that one slice looks at unless the builder says otherwise: 16 KiB, read in sequence.
pub(crate) const DEFAULT_BUDGET: usize = 512;

/// Entries that one slice removes at the most: with the list they are put on, a few microseconds
/// under the lock, well within the 50 µs that any operation may hold a shard for sweeping. The stack of a model's
/// thread holds fewer.
pub(crate) const REMOVALS: usize = if cfg!(cloakroom_loom) { 4 } else { 64 };

/// Times that inserts alone pass over a shard while as many sessions are created as it holds. So each
/// insert looks at 8 to 16 buckets of a table that has only grown, and on average half
/// of a seventh of what is stored has expired and is not yet removed; a tenth is the promise.
const PASSES_PER_TURNOVER: usize = 7;

/// Buckets that an insert looks at, at the most, in a table that was once much fuller: 4 KiB, read in
/// sequence, and some 50 µs if every one holds a session to be removed from a cold cache.
const LOOK_AHEAD: usize = 128;

/// Shards that one slice visits at the most, so that a slice over empty shards is bounded too.
const SHARDS_PER_SLICE: usize = 128;

/// The timed slices pass over the whole table in this part of the shortest lifetime in force, which
/// leaves at most 1/16 of the sessions expired and not yet removed, without any insert.
const PASSES_PER_LIFETIME: u64 = 16;

/// Nanoseconds between two slices of a store that is not behind: a tick of the coarse clock at the
/// kernel's usual 250 Hz. When more than one has become due they are caught up on, one an operation.
const SHORTEST_PERIOD: u64 = 4_000_000;

/// The shortest lifetime of a store that slices keep pace with, in nanoseconds: a tick for each pass.
const SHORTEST_PASS: u64 = PASSES_PER_LIFETIME * SHORTEST_PERIOD;

/// Nanoseconds between two slices at the most: a second, so that half a million buckets are passed in a
/// quarter of an hour even when lifetimes are weeks.
const LONGEST_PERIOD: u64 = 1_000_000_000;

/// The shortest lifetime of a single session that quickens the sweep, in nanoseconds: 16 s, so that
/// one session that was to end at once does not make it pass more often than once a second for ever.
/// Where lifetimes are shorter than that, inserts look ahead.
const SHORTEST_HASTE: u64 = 16_000_000_000;

/// A slice that finds more than one expired session in this many buckets puts the sweep behind: the
/// next pass is run at one slice an operation.
const BEHIND: usize = 16;

/// `Sweep::due` of a sweep that is behind: the next operation runs a slice.
const AT_ONCE: Tick = 0;

/// `Sweep::due` as long as nothing in the store can expire.
const NOT_DUE: Tick = u64::MAX;

/// The state of a store's sweep. All but `due`, `shortest` and `claimed` are changed only by the
/// holder of the claim or of a shard's exclusive lock.
pub(crate) struct Sweep {
    /// When the next slice is to run. Read by every operation, written once a slice.
    due: CachePadded<AtomicU64>,
    /// Whether a thread is running a slice.
    claimed: AtomicBool,
    /// Slices to be run at one an operation.
    behind: AtomicU64,
    /// The shard the next slice begins in.
    turn: AtomicUsize,
    /// For each shard, the bucket the next look begins at; under the shard's exclusive lock.
    cursors: Box<[AtomicUsize]>,
    /// The shortest lifetime that any session of the store was ever given, in nanoseconds.
    shortest: AtomicU64,
    /// The shortest lifetime that the slices keep pace with: the store's, but no less than [`SHORTEST_PASS`] and no
    /// more than [`SHORTEST_HASTE`].
    floor: u64,
    budget: usize,
}

/// What one slice removed: a list on the stack, because a load must not allocate.
pub(crate) struct Batch<T> {
    ended: [Option<Ended<T>>; REMOVALS],
    len: usize,
}

/// What a part of a slice removed.
pub(crate) type Removed<'a, T> = std::iter::Flatten<std::slice::Iter<'a, Option<Ended<T>>>>;

impl<T> Batch<T> {
    pub(crate) fn new() -> Self {
        Self { ended: [const { None }; REMOVALS], len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns what has come to it since it had so many.
    pub(crate) fn since(&self, held: usize) -> Removed<'_, T> {
        self.ended[held..self.len].iter().flatten()
    }

    fn is_full(&self) -> bool {
        self.len == REMOVALS
    }

    fn push(&mut self, ended: Ended<T>) {
        self.ended[self.len] = Some(ended);
        self.len += 1;
    }

    /// Takes the dead out of up to `most` buckets of a locked shard from `from` on, as far as the list
    /// holds them.
    pub(crate) fn take_dead(
        &mut self,
        lock: &mut Exclusive<'_, T>,
        from: usize,
        most: usize,
        now: Tick,
    ) -> Stretch {
        take_dead(lock, from, most, now, |ended| {
            self.push(ended);
            if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = Ended<T>;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Ended<T>>, REMOVALS>>;

    fn into_iter(self) -> Self::IntoIter {
        self.ended.into_iter().flatten()
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a Ended<T>;
    type IntoIter = Removed<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.ended.iter().flatten()
    }
}

/// The right to run a slice, given back when dropped, also by a panic.
struct Claim<'a>(&'a AtomicBool);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Sweep::claim`, so that the next holder sees the state
        // as it was left.
        self.0.swap(false, Ordering::Release);
    }
}

impl Sweep {
    /// `budget` is at least 1; `shortest` is the store's shorter lifetime, if it has any.
    pub(crate) fn new(shards: usize, budget: usize, shortest: Option<u64>) -> Self {
        let due = if shortest.is_some() { AT_ONCE } else { NOT_DUE };
        Self {
            due: CachePadded::new(AtomicU64::new(due)),
            claimed: AtomicBool::new(false),
            behind: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            cursors: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            shortest: AtomicU64::new(shortest.unwrap_or(u64::MAX)),
            floor: shortest.unwrap_or(u64::MAX).clamp(SHORTEST_PASS, SHORTEST_HASTE),
            budget,
        }
    }

    /// Tells whether an operation should run a slice: one relaxed load and a comparison.
    #[inline]
    pub(crate) fn is_due(&self, now: Tick) -> bool {
        // Relaxed: a hint; the claim decides.
        now >= self.due.load(Ordering::Relaxed)
    }

    /// Tells whether a slice is due for each operation.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        // Relaxed: see `is_due`.
        self.due.load(Ordering::Relaxed) == AT_ONCE
    }

    /// Tells whether any session of the store was ever given a lifetime.
    pub(crate) fn is_needed(&self) -> bool {
        // Relaxed: see `hasten`.
        self.shortest.load(Ordering::Relaxed) != u64::MAX
    }

    /// Takes note of a session's own lifetime: if it is shorter than any before, the sweep keeps its
    /// pace with it from now on.
    pub(crate) fn hasten(&self, lifetime: u64) {
        // Relaxed, all: hints, and each word stands alone. Read first, because it is nearly always
        // so already, and the line is every thread's.
        if self.shortest.load(Ordering::Relaxed) <= lifetime {
            return;
        }
        let before = self.shortest.fetch_min(lifetime, Ordering::Relaxed);
        if before.max(self.floor) > lifetime.max(self.floor) {
            self.due.fetch_min(AT_ONCE, Ordering::Relaxed);
        }
    }

    /// Runs one slice, if no other thread is at it. `removed` is called with what it removes of a shard, and
    /// how many that are, under its lock.
    pub(crate) fn slice<T>(
        &self,
        gate: &Gate<T>,
        now: Tick,
        batch: &mut Batch<T>,
        removed: impl Fn(usize, Removed<'_, T>),
    ) {
        let Some(_claim) = self.claim() else { return };
        let pass = self.slices_per_pass(gate);
        // Relaxed, here and below: only the holder of the claim changes these; see `Claim`.
        let due = self.due.load(Ordering::Relaxed);
        let mut behind = self.behind.load(Ordering::Relaxed);
        if due != AT_ONCE {
            // All that have become due since the last one, which waited for a tick of the clock; the one that is
            // run here is the first of them.
            let since = now.saturating_sub(due).saturating_add(self.period(pass));
            let missed = (since / self.exact_period(pass)).max(1);
            behind = behind.max(missed).min(pass);
        }
        let looked = self.look_round(gate, now, batch, removed);
        behind = if batch.len() * BEHIND > looked { pass } else { behind.saturating_sub(1) };
        self.behind.swap(behind, Ordering::Relaxed);
        let next = if behind > 0 { AT_ONCE } else { now.saturating_add(self.period(pass)) };
        self.due.swap(next, Ordering::Relaxed);
    }

    fn claim(&self) -> Option<Claim<'_>> {
        // Relaxed: only saves a contended line the exchange.
        if self.claimed.load(Ordering::Relaxed) {
            return None;
        }
        // Acquire: pairs with the Release of the claim before.
        (!self.claimed.swap(true, Ordering::Acquire)).then(|| Claim(&self.claimed))
    }

    /// Looks at the next buckets of the next shards; returns at how many.
    fn look_round<T>(
        &self,
        gate: &Gate<T>,
        now: Tick,
        batch: &mut Batch<T>,
        removed: impl Fn(usize, Removed<'_, T>),
    ) -> usize {
        let mut looked = 0;
        for _ in 0..SHARDS_PER_SLICE {
            if looked >= self.budget || batch.is_full() {
                break;
            }
            // Relaxed: see `slice`.
            let shard = self.turn.load(Ordering::Relaxed) % gate.count();
            // Declared before the lock, so that the old table is freed after it is released.
            let _spent;
            let mut finished = true;
            if let Some(mut lock) = gate.try_exclusive(shard) {
                let (from, most) = (self.cursor(shard), self.budget - looked);
                let held = batch.len();
                let stretch = batch.take_dead(&mut lock, from, most, now);
                if batch.len() > held {
                    removed(batch.len() - held, batch.since(held));
                }
                self.set_cursor(shard, stretch.next);
                looked += stretch.looked;
                finished = stretch.next.is_none();
                // A load runs slices, and must not allocate a smaller table.
                _spent = finished.then(|| lock.free_if_empty()).flatten();
            }
            // A shard that was busy gets its turn in the next pass.
            if finished {
                self.turn.swap((shard + 1) % gate.count(), Ordering::Relaxed);
            }
        }
        looked
    }

    /// Looks a few buckets ahead in a shard that an insert has locked, unless slices keep pace. Returns a table to
    /// be freed after the lock is released, if it was much too large.
    pub(crate) fn look_ahead<T>(
        &self,
        lock: &mut Exclusive<'_, T>,
        shard: usize,
        now: Tick,
        ended: &mut Vec<Ended<T>>,
    ) -> Option<Spent<T>> {
        // Relaxed: see `hasten`.
        if self.is_due(now) || self.shortest.load(Ordering::Relaxed) < self.floor {
            let share = (lock.buckets() * PASSES_PER_TURNOVER).div_ceil(lock.len().max(1));
            let most = share.min(LOOK_AHEAD);
            let stretch = take_dead(lock, self.cursor(shard), most, now, |dead| {
                ended.push(dead);
                ControlFlow::Continue(())
            });
            self.set_cursor(shard, stretch.next);
            // Entries that moved now would escape the rest of this pass.
            if stretch.next.is_some() {
                return None;
            }
        }
        let spent = lock.shrink_if_sparse()?;
        // Its entries have moved to where the sweep has been.
        self.set_cursor(shard, None);
        Some(spent)
    }

    /// Returns the bucket the next look at a locked shard begins at.
    fn cursor(&self, shard: usize) -> usize {
        // Relaxed, here and below: under the shard's exclusive lock.
        self.cursors[shard].load(Ordering::Relaxed)
    }

    fn set_cursor(&self, shard: usize, next: Option<usize>) {
        self.cursors[shard].store(next.unwrap_or(0), Ordering::Relaxed);
    }

    /// Returns how many slices one pass over the table takes, at the most.
    fn slices_per_pass<T>(&self, gate: &Gate<T>) -> u64 {
        let by_buckets = gate.buckets().div_ceil(self.budget);
        (by_buckets + gate.count().div_ceil(SHARDS_PER_SLICE)) as u64
    }

    /// Returns the nanoseconds from slice to slice that finish a pass in the time allowed.
    fn exact_period(&self, pass: u64) -> u64 {
        // Relaxed: see `hasten`.
        let shortest = self.shortest.load(Ordering::Relaxed).max(self.floor);
        (shortest / PASSES_PER_LIFETIME / pass).max(1)
    }

    fn period(&self, pass: u64) -> u64 {
        self.exact_period(pass).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
    }
}

/// Takes the dead out of up to `most` buckets of a locked shard from `from` on.
fn take_dead<T>(
    lock: &mut Exclusive<'_, T>,
    from: usize,
    most: usize,
    now: Tick,
    mut take: impl FnMut(Ended<T>) -> ControlFlow<()>,
) -> Stretch {
    // Looked at once more under the lock, which keeps every touch out.
    lock.take(
        from,
        most,
        |entry| entry.death(now).is_some(),
        |id, entry| {
            let cause = entry.death(now).map_or(Cause::Expired, Cause::from);
            take(Ended::new(id, entry, cause))
        },
    )
}
