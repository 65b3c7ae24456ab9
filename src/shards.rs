//! Owns the sharded table: a `DashMap`'s shards, opened through its raw API, and the few operations
//! the store needs over one locked shard.
//!
//! The only file that names DashMap and the only one with `unsafe`. Who takes which lock, and when,
//! is decided in `gate.rs`; what an entry means, in `entry.rs`. The models in `loom-tests/` put a
//! stand-in with the same interface in this file's place. Runs no user code: nothing here drops a
//! record while a lock is held, every entry that leaves the table is handed to the caller.
#![allow(unsafe_code)]

mod shared;

pub(crate) use self::shared::{Shared, Stretch};

use std::hash::BuildHasher;
use std::ops::ControlFlow;

use dashmap::{DashMap, RwLock, RwLockReadGuard, RwLockWriteGuard, SharedValue};
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::raw::RawTable;

use crate::bias::{Announced, Bias};
use crate::clock::Tick;
use crate::entry::Entry;
use crate::id::SessionId;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

type Bucket<T> = (SessionId, SharedValue<Entry<T>>);
type Table<T> = RawTable<Bucket<T>>;

/// Two buckets to a cache line, whatever `T` is: a sweep reads deadlines one after the other.
const BUCKETS_PER_LINE: usize = 2;

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Bucket<[u64; 100]>>() * BUCKETS_PER_LINE == 64);

/// A table is made smaller if at most so many eighths of a smaller one's room are then taken: few enough that it
/// does not double for the next moment's crowd and halve by turns.
const TAKEN: usize = 5;

/// A table that is rebuilt as large as it is has at least this part of its room free afterwards: so that many
/// inserts, at the least, pay for it together.
const ROOM: usize = 8;

/// The smallest table worth making smaller, in buckets: 2 KiB.
const SMALL: usize = 64;

/// The part of two neighbouring shards' sessions that the odd one gets, of 2^32: as 1 to the square root
/// of 2. Tables double when they are 7/8 full. If all did at one number of sessions, the store would take
/// twice the memory from one moment on, and all the pauses would come together; so they do in two halves,
/// which lie half an octave apart.
const LIGHT: u32 = 1_779_033_703;

/// Where the bits of the hash begin that choose a pair of shards: 15 at the most, above those that choose a bucket
/// and below the upper seven, by which hashbrown tells buckets apart.
const PAIR: u32 = 42;

/// A lock for what lies beside the shards: DashMap's own, which no panic poisons, and which
/// ThreadSanitizer sees, other than the standard library's.
#[derive(Default)]
pub(crate) struct Mutex<T>(RwLock<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    pub(crate) fn lock(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write()
    }
}

/// Where an id belongs: computed once for each operation.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) id: SessionId,
    pub(crate) shard: usize,
    hash: u64,
}

/// The sharded table.
pub(crate) struct Shards<T> {
    map: DashMap<SessionId, Entry<T>, SeedableRandomState>,
    bias: Bias,
    /// The number of the last pair of shards: all ones.
    last_pair: usize,
    /// For each shard, how often its entries have moved to other buckets. Written under the
    /// exclusive lock.
    layouts: Box<[AtomicU64]>,
    /// The buckets of all shards together.
    buckets: AtomicUsize,
}

impl<T> Shards<T> {
    /// `count` is a power of two and at least 2; `now` is when the store begins.
    pub(crate) fn new(count: usize, now: Tick) -> Self {
        // From the system's entropy, which foldhash does not ask for by itself: half of an id that a caller chose
        // must not be guessed to be the key, or the other half would not count.
        let key = std::hash::RandomState::new().hash_one(count);
        let hasher = SeedableRandomState::with_seed(key, SharedSeed::global_random());
        Self {
            map: DashMap::with_hasher_and_shard_amount(hasher, count),
            bias: Bias::new(count, now),
            last_pair: count / 2 - 1,
            layouts: (0..count).map(|_| AtomicU64::new(0)).collect(),
            // An unallocated table counts as one.
            buckets: AtomicUsize::new(count),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.map.shards().len()
    }

    /// Returns how many buckets all shards have together.
    pub(crate) fn buckets(&self) -> usize {
        // Relaxed: a count, changed under the shards' locks, of which any recent value will do.
        self.buckets.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn place(&self, id: SessionId) -> Place {
        let hash = self.map.hasher().hash_one(id);
        let pair = (hash >> PAIR) as usize & self.last_pair;
        // Of these bits the upper half is what counts, and it does not choose the bucket in a table of up to 2^16.
        let light = hash as u32 <= LIGHT;
        Place { id, shard: 2 * pair + usize::from(light), hash }
    }

    pub(crate) fn shared(&self, shard: usize) -> Shared<'_, T> {
        Shared::new(self.locked(shard).0, &self.layouts[shard])
    }

    /// Enters a shard to read it under its shared lock.
    #[inline(always)]
    pub(crate) fn locked(&self, shard: usize) -> Locked<'_, T> {
        let table = self.map.shards()[shard].read();
        // For tests: readers without a lock from the first read on.
        if cfg!(cloakroom_biased) {
            self.bias.begin(shard);
        }
        Locked(table)
    }

    /// Enters a biased shard to read it without its lock; `None` if the lock has to be taken.
    #[inline(always)]
    pub(crate) fn announce(&self, shard: usize) -> Option<Inside<'_, T>> {
        let lock = &*self.map.shards()[shard];
        // Announcing takes a locked instruction, behind which a read of the table would only begin.
        let announced = self.bias.announce(shard, || fetch(std::ptr::from_ref(lock).cast()))?;
        Some(Inside { lock, _announced: announced })
    }

    #[inline]
    pub(crate) fn bias(&self) -> &Bias {
        &self.bias
    }

    pub(crate) fn try_shared(&self, shard: usize) -> Option<Shared<'_, T>> {
        let table = self.map.shards()[shard].try_read()?;
        Some(Shared::new(table, &self.layouts[shard]))
    }

    #[inline(always)]
    pub(crate) fn exclusive(&self, shard: usize) -> Exclusive<'_, T> {
        let table = self.map.shards()[shard].write();
        if self.bias.is_on(shard) {
            self.bias.end(shard);
        }
        self.own(shard, table)
    }

    /// `None` if another thread is in the shard.
    #[inline(always)]
    pub(crate) fn try_exclusive(&self, shard: usize) -> Option<Exclusive<'_, T>> {
        let table = self.map.shards()[shard].try_write()?;
        if self.bias.is_on(shard) && !self.bias.try_end(shard) {
            return None;
        }
        Some(self.own(shard, table))
    }

    /// The shard is not biased, and nobody reads it.
    #[inline]
    fn own<'a>(&'a self, shard: usize, table: RwLockWriteGuard<'a, Table<T>>) -> Exclusive<'a, T> {
        Exclusive {
            table,
            layout: &self.layouts[shard],
            buckets: &self.buckets,
            hasher: self.map.hasher(),
            bias: &self.bias,
            shard,
        }
    }
}

/// A shard whose reader has announced itself.
pub(crate) struct Inside<'a, T> {
    /// No `&Table`: an argument's must not change until `show` returns, which drops the announcement before.
    lock: &'a RwLock<Table<T>>,
    _announced: Announced<'a>,
}

impl<T> Inside<'_, T> {
    /// Shows one entry, and leaves.
    #[inline(always)]
    pub(crate) fn show<R>(self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        // SAFETY: the table lives as long as its lock. Nobody changes it while `_announced` lives, which is dropped
        // last here: whoever wants to has the exclusive lock and makes an `Exclusive`, the only way to a `&mut`, once
        // `bias` says that nobody is announced for the shard; and `bias` lets no thread announce itself twice. One that
        // `leave` has let readers in to is only a lock's guard by then, which holds no `&mut` and drops none.
        let table = unsafe { &*self.lock.data_ptr() };
        Some(show(find(table, place)?))
    }
}

/// A shard whose reader has its shared lock.
pub(crate) struct Locked<'a, T>(RwLockReadGuard<'a, Table<T>>);

impl<T> Locked<'_, T> {
    /// Shows one entry, and leaves.
    #[inline(always)]
    pub(crate) fn show<R>(self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        Some(show(find(&self.0, place)?))
    }
}

#[inline(always)]
fn find<'a, T>(table: &'a Table<T>, place: &Place) -> Option<&'a Entry<T>> {
    fetch_home(table, place.hash);
    Some(table.get(place.hash, |bucket| bucket.0 == place.id)?.1.get())
}

/// Asks for the buckets in which the entry most likely is, before the table's control bytes have told: in a table
/// larger than the cache, the two waits are then one.
#[inline(always)]
fn fetch_home<T>(table: &Table<T>, hash: u64) {
    // Buckets lie before the table's end in descending order, and a search begins at this one.
    let home = hash as usize & (table.buckets() - 1);
    let bucket = table.data_end().as_ptr().wrapping_sub(home + 1);
    fetch(bucket.cast());
    fetch(bucket.wrapping_sub(BUCKETS_PER_LINE).cast());
}

/// Asks for the cache line at an address.
#[inline(always)]
fn fetch(at: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is a hint, which reads nothing that the program could see and cannot
        // fault, whatever the address. Every x86-64 processor has it (SSE).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Returns the entry in bucket `index`, or `None` if the bucket is empty.
fn full_bucket<T>(table: &Table<T>, index: usize) -> Option<&Bucket<T>> {
    if index >= table.buckets() {
        return None;
    }
    // SAFETY: `is_bucket_full` asks for an index below the number of buckets, which was just
    // compared; the table cannot change in between, because it is borrowed.
    if !unsafe { table.is_bucket_full(index) } {
        return None;
    }
    // SAFETY: `bucket` asks for the same. A full bucket's table is allocated: the shared static of
    // an unallocated table holds one bucket, which is never full.
    let bucket = unsafe { table.bucket(index) };
    // SAFETY: the bucket is full, so it holds an initialized value, and the reference lives no
    // longer than the borrow of the table, during which nothing moves or removes it.
    Some(unsafe { bucket.as_ref() })
}

/// A shard under its exclusive lock.
pub(crate) struct Exclusive<'a, T> {
    table: RwLockWriteGuard<'a, Table<T>>,
    layout: &'a AtomicU64,
    buckets: &'a AtomicUsize,
    hasher: &'a SeedableRandomState,
    bias: &'a Bias,
    shard: usize,
}

/// A table that has left its shard: freed by dropping it, outside the lock.
pub(crate) struct Spent<T>(Table<T>);

impl<T> Spent<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (SessionId, Entry<T>)> {
        self.0.into_iter().map(|(id, entry)| (id, entry.into_inner()))
    }
}

impl<T> Exclusive<'_, T> {
    /// Leaves a shard that is likely to be read next: by readers without its lock, if few threads work.
    #[inline(always)]
    pub(crate) fn leave(self) {
        let Self { table, bias, shard, .. } = self;
        bias.give_back(shard, table);
    }

    pub(crate) fn find(&mut self, place: &Place) -> Option<&mut Entry<T>> {
        fetch_home(&self.table, place.hash);
        let bucket = self.table.get_mut(place.hash, |bucket| bucket.0 == place.id)?;
        Some(bucket.1.get_mut())
    }

    /// Puts in an entry under an id that is not in the table.
    ///
    /// Usually constant; proportional to the shard when its table has to grow or to be rebuilt.
    pub(crate) fn insert(&mut self, place: &Place, entry: Entry<T>) {
        let hasher = self.hasher;
        if self.table.len() == self.table.capacity() {
            self.make_room();
        }
        let bucket = (place.id, SharedValue::new(entry));
        self.table.insert(place.hash, bucket, |bucket| hasher.hash_one(bucket.0));
    }

    /// Makes room in a table whose unused buckets are used up: by entries, or by what entries that were removed
    /// have left behind.
    ///
    /// In the latter case hashbrown doubles a table that is more than half full, so that sessions that come and
    /// go at a bound would come to take twice the memory. Here it is rebuilt as large as it is, unless it would
    /// soon be used up again.
    #[cold]
    fn make_room(&mut self) {
        let (hasher, len, before) = (self.hasher, self.table.len(), self.table.buckets());
        let full = before / 8 * 7;
        if before >= SMALL && (full / 2..=full - full / ROOM).contains(&len) {
            drop(self.rebuild(full));
        } else {
            self.table.reserve(1, |bucket| hasher.hash_one(bucket.0));
        }
        self.mark_resized(before);
    }

    /// Moves the entries to a new table with room for so many, and returns the old one.
    fn rebuild(&mut self, capacity: usize) -> Spent<T> {
        let hasher = self.hasher;
        let mut table = Table::with_capacity(capacity);
        for bucket in self.table.drain() {
            table.insert(hasher.hash_one(bucket.0), bucket, |bucket| hasher.hash_one(bucket.0));
        }
        Spent(std::mem::replace(&mut *self.table, table))
    }

    pub(crate) fn remove(&mut self, place: &Place) -> Option<Entry<T>> {
        self.remove_if(place, |_| true)
    }

    /// Takes out the entry at a place, if there is one and `pick` chooses it.
    pub(crate) fn remove_if(
        &mut self,
        place: &Place,
        mut pick: impl FnMut(&Entry<T>) -> bool,
    ) -> Option<Entry<T>> {
        fetch_home(&self.table, place.hash);
        let chosen = |bucket: &Bucket<T>| bucket.0 == place.id && pick(bucket.1.get());
        let bucket = self.table.remove_entry(place.hash, chosen)?;
        Some(bucket.1.into_inner())
    }

    /// Takes the entries that `pick` chooses out of up to `most` buckets from `from` on, until
    /// `take` says stop.
    pub(crate) fn take(
        &mut self,
        from: usize,
        most: usize,
        mut pick: impl FnMut(&Entry<T>) -> bool,
        mut take: impl FnMut(SessionId, Entry<T>) -> ControlFlow<()>,
    ) -> Stretch {
        let buckets = self.table.buckets();
        let end = buckets.min(from.saturating_add(most));
        let mut at = from;
        while let Some(chosen) = (at..end).find(|index| {
            full_bucket(&self.table, *index).is_some_and(|bucket| pick(bucket.1.get()))
        }) {
            at = chosen + 1;
            let (id, entry) = self.take_bucket(chosen);
            if take(id, entry).is_break() {
                return Stretch { looked: at - from, next: (at < buckets).then_some(at) };
            }
        }
        let at = end.max(from);
        Stretch { looked: at - from, next: (at < buckets).then_some(at) }
    }

    /// The bucket at `index` is full.
    fn take_bucket(&mut self, index: usize) -> (SessionId, Entry<T>) {
        assert!(full_bucket(&self.table, index).is_some(), "only a full bucket can be taken");
        // SAFETY: the assertion shows that the index is in bounds and the table allocated.
        let bucket = unsafe { self.table.bucket(index) };
        // SAFETY: the bucket is full and of this table, which is borrowed mutably, so that no
        // reference to its value is left; `remove` moves the value out and marks the bucket empty,
        // so that it is dropped once.
        let ((id, entry), _) = unsafe { self.table.remove(bucket) };
        (id, entry.into_inner())
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn buckets(&self) -> usize {
        self.table.buckets()
    }

    /// See [`Shared::layout`].
    pub(crate) fn layout(&self) -> u64 {
        // Relaxed: under the exclusive lock.
        self.layout.load(Ordering::Relaxed)
    }

    /// Empties the shard at one stroke.
    pub(crate) fn take_all(&mut self) -> Spent<T> {
        let spent = std::mem::take(&mut *self.table);
        self.mark_resized(spent.buckets());
        Spent(spent)
    }

    /// Returns the table if it is empty and not small.
    pub(crate) fn free_if_empty(&mut self) -> Option<Spent<T>> {
        let worth_it = self.table.is_empty() && self.table.buckets() > SMALL;
        worth_it.then(|| self.take_all())
    }

    /// Moves the entries to a smaller table if they are few in a large one, and returns the old
    /// table. Less work than the last growth of the table was.
    pub(crate) fn shrink_if_sparse(&mut self) -> Option<Spent<T>> {
        let (len, buckets) = (self.table.len(), self.table.buckets());
        let half = buckets / 16 * 7;
        if buckets <= SMALL || len > half / 8 * TAKEN {
            return None;
        }
        let spent = self.rebuild(len.div_ceil(TAKEN) * 8);
        self.mark_resized(buckets);
        Some(spent)
    }

    fn mark_resized(&self, before: usize) {
        let grown = self.table.buckets().wrapping_sub(before);
        // Relaxed: see `Shards::buckets`. Wraps where the table has become smaller.
        self.buckets.fetch_add(grown, Ordering::Relaxed);
        self.mark_moved();
    }

    /// Tells those who go through the shard in steps that entries have moved.
    pub(crate) fn mark_moved(&self) {
        // Relaxed: under the exclusive lock; see `Shared::layout`.
        self.layout.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
