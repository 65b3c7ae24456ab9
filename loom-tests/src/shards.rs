//! Owns the sharded table of the models: a stand-in for `src/shards.rs` with the same interface.
//!
//! Everything above it is the real source. A shard is a `BTreeMap` behind a lock that loom explores;
//! an id's lowest bits say where it belongs, so that a model that scripts its ids chooses shards and
//! buckets, and a replay finds them again.
//!
//! The lock admits what DashMap's admits: readers pass a parked writer, and a try fails if the lock
//! is taken at that moment. Loom's own `RwLock` is not used, because it never shows a try that fails
//! against a holder which does nothing else, and is poisoned by a panic, which DashMap's lock is not.
//!
//! Who may be in a shard is checked apart from the lock, so that a reader that passes it by shows: a
//! second `RwLock` says who is in, and loom's cell whether they would race.

#![expect(clippy::disallowed_types, reason = "the std lock here only ever answers a try")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use loom::cell::{ConstPtr, MutPtr, UnsafeCell};
use loom::thread::Thread;

use crate::bias::{Announced, Bias};
use crate::clock::Tick;
use crate::entry::Entry;
use crate::id::SessionId;
use crate::stripe;
use crate::sync::{AtomicU64, Ordering};

/// Buckets of a shard: enough for a cursor to stop in the middle.
const BUCKETS: usize = 4;

/// The bits of an id that choose its bucket.
const BUCKET_SHIFT: usize = 4;

/// An id with this bit panics, once, when a sweep takes it: a fault inside a slice.
const FAULTY: usize = 1 << 7;

/// Where an id belongs.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) id: SessionId,
    pub(crate) shard: usize,
    bucket: usize,
}

/// Where a look over a stretch of buckets ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    pub(crate) looked: usize,
    pub(crate) next: Option<usize>,
}

/// The sharded table.
pub(crate) struct Shards<T> {
    locks: Box<[Lock<T>]>,
    bias: Bias,
}

impl<T> Shards<T> {
    pub(crate) fn new(count: usize, now: Tick) -> Self {
        Self { locks: (0..count).map(|_| Lock::new()).collect(), bias: Bias::new(count, now) }
    }

    pub(crate) fn count(&self) -> usize {
        self.locks.len()
    }

    pub(crate) fn buckets(&self) -> usize {
        BUCKETS * self.count()
    }

    pub(crate) fn place(&self, id: SessionId) -> Place {
        let bits = id.low_bits();
        let bucket = (bits >> BUCKET_SHIFT) % BUCKETS;
        Place { id, shard: bits % self.locks.len(), bucket }
    }

    pub(crate) fn bias(&self) -> &Bias {
        &self.bias
    }

    pub(crate) fn announce(&self, shard: usize) -> Option<Inside<'_, T>> {
        if watch::biases() {
            // As a thread of a process has that ever counted.
            stripe::ask();
        }
        let announced = self.bias.announce(shard, || ())?;
        watch::announced();
        Some(Inside { seen: self.locks[shard].seen(), _announced: announced })
    }

    pub(crate) fn locked(&self, shard: usize) -> Locked<'_, T> {
        Locked(self.shared(shard))
    }

    pub(crate) fn shared(&self, shard: usize) -> Shared<'_, T> {
        let shared = self.locks[shard].shared();
        if watch::biases() {
            self.bias.begin(shard);
        }
        shared
    }

    pub(crate) fn try_shared(&self, shard: usize) -> Option<Shared<'_, T>> {
        self.locks[shard].try_shared()
    }

    pub(crate) fn exclusive(&self, shard: usize) -> Exclusive<'_, T> {
        let held = self.locks[shard].exclusive();
        if self.bias.is_on(shard) {
            self.bias.end(shard);
        }
        self.own(shard, held)
    }

    pub(crate) fn try_exclusive(&self, shard: usize) -> Option<Exclusive<'_, T>> {
        let held = self.locks[shard].try_exclusive()?;
        if self.bias.is_on(shard) && !self.bias.try_end(shard) {
            return None;
        }
        Some(self.own(shard, held))
    }

    fn own<'a>(
        &'a self,
        shard: usize,
        held: Held<'a, T, RwLockWriteGuard<'a, ()>>,
    ) -> Exclusive<'a, T> {
        let lock = &self.locks[shard];
        let table = granted(lock.table.try_write()).expect("no reader is in a writer's shard");
        let (race, bias) = (lock.race.get_mut(), &self.bias);
        Exclusive { table, race, bias, shard, held }
    }
}

/// The content of a shard.
struct Table<T> {
    buckets: BTreeMap<usize, (SessionId, Entry<T>)>,
    layout: u64,
    fault_met: bool,
}

impl<T> Table<T> {
    fn entry(&self, place: &Place) -> Option<&Entry<T>> {
        self.buckets.get(&place.bucket).filter(|(id, _)| *id == place.id).map(|(_, entry)| entry)
    }
}

/// A shard's lock.
struct Lock<T> {
    /// Changed by every attempt and every release: what loom sees of the lock. What is tried after
    /// the change and before the next is one step for it.
    word: AtomicU64,
    queue: Mutex<Queue>,
    state: RwLock<()>,
    /// Held by whoever is in, with the lock or without.
    table: RwLock<Table<T>>,
    race: UnsafeCell<()>,
}

/// Who waits for a lock.
#[derive(Default)]
struct Queue {
    parked: Vec<Thread>,
    writers: usize,
    /// Readers let in since a writer parked.
    passes: usize,
}

impl<T> Lock<T> {
    fn new() -> Self {
        let table = Table { buckets: BTreeMap::new(), layout: 0, fault_met: false };
        let queue = Mutex::new(Queue::default());
        Self {
            word: AtomicU64::new(0),
            queue,
            state: RwLock::new(()),
            table: RwLock::new(table),
            race: UnsafeCell::new(()),
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_shared(&self) -> Option<Shared<'_, T>> {
        // Acquire: pairs with the Release of a guard's drop.
        self.word.fetch_add(1, Ordering::Acquire);
        self.read()
    }

    fn read(&self) -> Option<Shared<'_, T>> {
        let held = Held::new(self, granted(self.state.try_read())?);
        let mut queue = self.queue();
        if queue.writers > 0 {
            queue.passes += 1;
            watch::passed(queue.passes);
        }
        Some(Shared { seen: self.seen(), _held: held })
    }

    /// What a reader sees, who has the lock or needs none.
    fn seen(&self) -> Seen<'_, T> {
        let table = granted(self.table.try_read()).expect("no writer is in a reader's shard");
        Seen { table, _race: self.race.get() }
    }

    fn try_exclusive(&self) -> Option<Held<'_, T, RwLockWriteGuard<'_, ()>>> {
        // Acquire: pairs with the Release of a guard's drop.
        self.word.fetch_add(1, Ordering::Acquire);
        self.write()
    }

    fn write(&self) -> Option<Held<'_, T, RwLockWriteGuard<'_, ()>>> {
        Some(Held::new(self, granted(self.state.try_write())?))
    }

    fn shared(&self) -> Shared<'_, T> {
        loop {
            if let Some(guard) = self.try_shared() {
                return guard;
            }
            self.queue().parked.push(loom::thread::current());
            loom::thread::park();
        }
    }

    fn exclusive(&self) -> Held<'_, T, RwLockWriteGuard<'_, ()>> {
        let mut parked = 0;
        loop {
            // AcqRel: as for a try; and that what a writer did before it parked, its announcement
            // above all, does not stay hidden for ever from readers that pass it. Loom knows no
            // "in finite time", and real memory does.
            self.word.fetch_add(1, Ordering::AcqRel);
            let guard = self.write();
            let mut queue = self.queue();
            if let Some(guard) = guard {
                queue.writers -= parked;
                queue.passes = 0;
                return guard;
            }
            queue.writers += 1 - parked;
            parked = 1;
            queue.parked.push(loom::thread::current());
            drop(queue);
            loom::thread::park();
        }
    }

    /// `free` drops the guard's hold on the lock.
    fn release(&self, free: impl FnOnce()) {
        // Release: pairs with the Acquire of the next attempt. Others run before this change, and
        // find the lock held; none runs between it and what follows.
        self.word.fetch_add(1, Ordering::Release);
        free();
        let parked = std::mem::take(&mut self.queue().parked);
        parked.iter().for_each(Thread::unpark);
    }
}

fn granted<G>(tried: Result<G, TryLockError<G>>) -> Option<G> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A hold on a lock, of either kind.
struct Held<'a, T, G> {
    /// `None` only while it is dropped.
    guard: Option<G>,
    lock: &'a Lock<T>,
}

impl<'a, T, G> Held<'a, T, G> {
    fn new(lock: &'a Lock<T>, guard: G) -> Self {
        Self { guard: Some(guard), lock }
    }
}

impl<T, G> Drop for Held<'_, T, G> {
    fn drop(&mut self) {
        self.lock.release(|| self.guard = None);
    }
}

/// A shard as its readers see it.
struct Seen<'a, T> {
    table: RwLockReadGuard<'a, Table<T>>,
    _race: ConstPtr<()>,
}

impl<T> Seen<'_, T> {
    fn show<R>(&self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        self.table.entry(place).map(show)
    }
}

/// A shard whose reader has announced itself.
pub(crate) struct Inside<'a, T> {
    /// Dropped first.
    seen: Seen<'a, T>,
    _announced: Announced<'a>,
}

impl<T> Inside<'_, T> {
    pub(crate) fn show<R>(self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        self.seen.show(place, show)
    }
}

/// A shard whose reader has its shared lock.
pub(crate) struct Locked<'a, T>(Shared<'a, T>);

impl<T> Locked<'_, T> {
    pub(crate) fn show<R>(self, place: &Place, show: impl FnOnce(&Entry<T>) -> R) -> Option<R> {
        self.0.seen.show(place, show)
    }
}

/// A shard under its shared lock.
pub(crate) struct Shared<'a, T> {
    /// Dropped first.
    seen: Seen<'a, T>,
    _held: Held<'a, T, RwLockReadGuard<'a, ()>>,
}

impl<T> Shared<'_, T> {
    fn table(&self) -> &Table<T> {
        &self.seen.table
    }

    pub(crate) fn layout(&self) -> u64 {
        self.table().layout
    }

    pub(crate) fn look(
        &self,
        from: usize,
        most: usize,
        mut show: impl FnMut(SessionId, &Entry<T>) -> ControlFlow<()>,
    ) -> Stretch {
        let end = BUCKETS.min(from.saturating_add(most));
        let mut at = from;
        while at < end {
            let bucket = self.table().buckets.get(&at);
            at += 1;
            if bucket.is_some_and(|(id, entry)| show(*id, entry).is_break()) {
                break;
            }
        }
        Stretch { looked: at.saturating_sub(from), next: (at < BUCKETS).then_some(at) }
    }

    pub(crate) fn look_around(
        &self,
        seed: usize,
        most: usize,
        mut show: impl FnMut(SessionId, &Entry<T>) -> ControlFlow<()>,
    ) -> usize {
        let most = most.min(BUCKETS);
        for looked in 0..most {
            let bucket = self.table().buckets.get(&(seed.wrapping_add(looked) % BUCKETS));
            if bucket.is_some_and(|(id, entry)| show(*id, entry).is_break()) {
                return looked + 1;
            }
        }
        most
    }
}

/// A shard under its exclusive lock.
pub(crate) struct Exclusive<'a, T> {
    /// Dropped first, with what follows.
    table: RwLockWriteGuard<'a, Table<T>>,
    race: MutPtr<()>,
    bias: &'a Bias,
    shard: usize,
    held: Held<'a, T, RwLockWriteGuard<'a, ()>>,
}

/// A table that has left its shard.
pub(crate) struct Spent<T>(BTreeMap<usize, (SessionId, Entry<T>)>);

impl<T> Spent<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (SessionId, Entry<T>)> {
        self.0.into_values()
    }
}

impl<T> Exclusive<'_, T> {
    pub(crate) fn leave(self) {
        let Self { table, race, bias, shard, held } = self;
        drop((table, race));
        bias.give_back(shard, held);
    }

    fn table(&mut self) -> &mut Table<T> {
        &mut self.table
    }

    pub(crate) fn find(&mut self, place: &Place) -> Option<&mut Entry<T>> {
        let bucket = self.table().buckets.get_mut(&place.bucket)?;
        (bucket.0 == place.id).then_some(&mut bucket.1)
    }

    pub(crate) fn insert(&mut self, place: &Place, entry: Entry<T>) {
        let before = self.table().buckets.insert(place.bucket, (place.id, entry));
        assert!(before.is_none(), "a model gives each session a bucket, and src each id one entry");
    }

    pub(crate) fn remove(&mut self, place: &Place) -> Option<Entry<T>> {
        self.remove_if(place, |_| true)
    }

    pub(crate) fn remove_if(
        &mut self,
        place: &Place,
        mut pick: impl FnMut(&Entry<T>) -> bool,
    ) -> Option<Entry<T>> {
        self.table().entry(place).filter(|entry| pick(entry))?;
        self.table().buckets.remove(&place.bucket).map(|(_, entry)| entry)
    }

    pub(crate) fn take(
        &mut self,
        from: usize,
        most: usize,
        mut pick: impl FnMut(&Entry<T>) -> bool,
        mut take: impl FnMut(SessionId, Entry<T>) -> ControlFlow<()>,
    ) -> Stretch {
        let end = BUCKETS.min(from.saturating_add(most));
        let mut at = from;
        while at < end {
            let chosen = self.table().buckets.get(&at).is_some_and(|(_, entry)| pick(entry));
            at += 1;
            if chosen {
                self.fail_once_at(at - 1);
                let bucket = self.table().buckets.remove(&(at - 1));
                if bucket.is_some_and(|(id, entry)| take(id, entry).is_break()) {
                    break;
                }
            }
        }
        Stretch { looked: at.saturating_sub(from), next: (at < BUCKETS).then_some(at) }
    }

    fn fail_once_at(&mut self, index: usize) {
        let table = self.table();
        let faulty = table.buckets.get(&index).is_some_and(|(id, _)| id.low_bits() & FAULTY != 0);
        if faulty && !std::mem::replace(&mut table.fault_met, true) {
            // Not `panic!`, which would print a message for every schedule.
            std::panic::resume_unwind(Box::new("a fault in the sweep"));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.buckets.len()
    }

    pub(crate) fn buckets(&self) -> usize {
        BUCKETS
    }

    pub(crate) fn layout(&self) -> u64 {
        self.table.layout
    }

    pub(crate) fn mark_moved(&mut self) {
        self.table().layout += 1;
    }

    pub(crate) fn take_all(&mut self) -> Spent<T> {
        self.mark_moved();
        Spent(std::mem::take(&mut self.table().buckets))
    }

    /// Four buckets are never sparse.
    pub(crate) fn free_if_empty(&mut self) -> Option<Spent<T>> {
        None
    }

    pub(crate) fn shrink_if_sparse(&mut self) -> Option<Spent<T>> {
        None
    }
}

/// What a model may ask about the gate. The threads of a model are one to the system, so that this
/// is each model's own.
pub mod watch {
    use std::cell::Cell;

    std::thread_local! {
        static PASSES: Cell<usize> = const { Cell::new(0) };
        static SNOOZES: Cell<usize> = const { Cell::new(0) };
        static BIAS: Cell<Bias> = const { Cell::new(Bias::Never) };
        static ANNOUNCED: Cell<usize> = const { Cell::new(0) };
    }

    /// What becomes of a shard that is read.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Bias {
        /// Its readers take its lock.
        Never,
        /// Every reader that takes its lock leaves it biased.
        AtOnce,
        /// Every reader that takes a lock asks for a survey.
        Surveyed,
    }

    /// Forgets the schedule before.
    pub fn begin(bias: Bias) {
        PASSES.set(0);
        SNOOZES.set(0);
        BIAS.set(bias);
        ANNOUNCED.set(0);
    }

    /// Returns how many readers have entered a shard without its lock.
    pub fn readers_announced() -> usize {
        ANNOUNCED.get()
    }

    pub(super) fn biases() -> bool {
        BIAS.get() == Bias::AtOnce
    }

    pub(crate) fn surveys() -> bool {
        BIAS.get() == Bias::Surveyed
    }

    pub(super) fn announced() {
        ANNOUNCED.set(ANNOUNCED.get() + 1);
    }

    /// Returns the most readers that a shard has let in while a writer was parked.
    pub fn passes() -> usize {
        PASSES.get()
    }

    /// Returns how often any thread has backed off.
    pub fn snoozes() -> usize {
        SNOOZES.get()
    }

    pub(super) fn passed(passes: usize) {
        PASSES.set(PASSES.get().max(passes));
    }

    pub(crate) fn snoozed() {
        SNOOZES.set(SNOOZES.get() + 1);
    }
}
