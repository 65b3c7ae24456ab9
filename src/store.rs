//! Owns [`SessionStore`]: what the clock, the ids, the shards and the sweep make together.
//!
//! Each operation reads the clock once, hashes once and locks one shard once, unless it says otherwise,
//! and runs user code only after the lock is released. Loading and destroying are here;
//! creating in `store/create.rs`, changes of data in `store/commit.rs`, of lifetimes and ids in
//! `store/lifetime.rs`, all of one subject in `store/subjects.rs`, what only adapters need in
//! `store/dated.rs`, walks in `store/walk.rs`, with what they must know of rotations in `store/moves.rs`.

mod commit;
mod create;
#[cfg(any(test, feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
mod dated;
mod freshness;
mod lifetime;
mod moves;
mod room;
mod subjects;
mod update;
mod walk;

pub use lifetime::Expiry;
pub use subjects::SessionInfo;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use self::moves::Moves;
use crate::attributes::Attributes;
use crate::authenticated::Authenticated;
use crate::builder::{Builder, Config};
use crate::capacity::Capacity;
use crate::clock::{Clock, Tick};
use crate::ends::{Cause, Ended, Ends};
use crate::entry::{Entry, Policy, Record};
use crate::gate::Gate;
use crate::id::mint::Mint;
use crate::id::sealed::Named;
use crate::id::{AsSessionId, SessionId};
use crate::register::Register;
use crate::session::Session;
use crate::shards::{Exclusive, Place};
use crate::stats::{Event, Stats};
use crate::sweep::{Batch, Removed, Sweep};
use crate::sync::{AtomicBool, Ordering};

/// Misses of a thread from one that asks for the time to the next, while the sweep is not behind: the
/// clock's call is then a percent of a miss, and a flood of misses still sweeps what has expired. A prime: misses by
/// what is no id are counted too, but look at nothing, and must not take just these turns.
const MISSES_PER_LOOK: u64 = 61;

/// What a load finds: the time, and the record if it is live.
type Seen<T> = (Tick, Option<triomphe::Arc<Record<T>>>);

/// A sharded, concurrent store of sessions, shared by all its clones.
///
/// Cloning costs one reference count. All methods take `&self`, and none is `async`. A store is shared
/// between threads if `T` is `Send` and `Sync`.
///
/// # Locking
///
/// `load`, `peek`, `touch`, `contains` and `expires_in` take one shard's shared lock for one probe, and
/// none where nobody has written the shard for a few milliseconds, or where only one or two threads of the process use
/// stores, and mostly read: they then announce themselves in a word of their thread's own, for which whoever writes looks first. (This is *BRAVO*, Dice and Kogan, "BRAVO:
/// Biased Locking for Reader-Writer Locks", USENIX ATC 2019. Of more than 64 threads at a time, those that
/// came last take locks.)
/// Whatever changes the table takes one shard's exclusive lock, and `rotate` two. That is a bounded
/// piece of work, but for one shard's table that grows or is made smaller. Any operation may run a slice of the sweep,
/// which takes a shard only if its lock is free; in a store with [`index_by`](crate::Builder::index_by) or
/// [`max_bytes`](crate::Builder::max_bytes) it also locks parts of the index, for some microseconds each. No lock is
/// held while a closure, a listener or a `Clone` or `Drop` of `T` runs, so any of them may call the store.
///
/// # Examples
///
/// ```
/// use cloakroom::SessionStore;
///
/// let store = SessionStore::new(3600);
/// let mut session = store.create();
/// session.set("user_id", "42");
/// store.save(&session);
///
/// let loaded = store.load(session.id()).ok_or("no such session")?;
/// assert_eq!(loaded.get("user_id"), Some("42"));
/// assert!(store.destroy(session.id()));
/// # Ok::<(), &str>(())
/// ```
pub struct SessionStore<T = Attributes> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    policy: Policy,
    clock: Clock,
    mint: Mint,
    gate: Gate<T>,
    sweep: Sweep,
    capacity: Capacity,
    ends: Ends<T>,
    stats: Stats,
    /// Whether any session was created under a caller's text. Until then, a text that is not the
    /// form of an id is a miss without a digest or a lock.
    foreign_ids: AtomicBool,
    moves: Moves,
    authenticated: Authenticated,
    /// Whose the sessions are, in a store that asks. Apart, because most do not.
    register: Option<Box<Register<T>>>,
}

impl SessionStore<Attributes> {
    /// Returns a store whose sessions end `ttl_secs` seconds after they were created.
    ///
    /// With `ttl_secs` 0 its sessions have expired as soon as they are created; the
    /// [`builder`](Self::builder) rejects that. More than [`MAX_LIFETIME`](crate::MAX_LIFETIME) is
    /// cut to it.
    #[must_use]
    pub fn new(ttl_secs: u64) -> Self {
        Self::from_config(Config::with_ttl(Duration::from_secs(ttl_secs)))
    }
}

impl<T> SessionStore<T> {
    /// Returns a builder with all settings at their defaults. The type of the data is to be named:
    /// `SessionStore::<Visitor>::builder()`, or `SessionStore::<Attributes>::builder()`.
    pub fn builder() -> Builder<T> {
        Builder::new()
    }

    pub(crate) fn from_config(config: Config<T>) -> Self {
        let policy = config.policy;
        let shortest = policy.shortest();
        let inner = Inner {
            policy,
            gate: Gate::new(config.shards, config.clock.clone()),
            clock: config.clock,
            mint: config.mint,
            sweep: Sweep::new(config.shards, config.sweep_budget, shortest),
            capacity: Capacity::new(config.max_sessions, config.max_bytes, config.on_full),
            ends: Ends::new(config.listener),
            stats: Stats::new(),
            foreign_ids: AtomicBool::new(false),
            moves: Moves::new(),
            authenticated: Authenticated::new(),
            register: config.register.map(Box::new),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns a session, or `None` if there is no live one of this id.
    ///
    /// # Expiry
    ///
    /// Counts as activity: with an idle timeout the session's deadline moves. An expired session is
    /// never returned, swept or not.
    ///
    /// # Locking
    ///
    /// The shard's shared lock, for one probe, or none: see [`SessionStore`](Self#locking). Allocates nothing. A
    /// text that is not the form of an id takes no lock.
    ///
    /// # Security
    ///
    /// Unknown, ended and malformed ids are the same `None`.
    #[inline]
    pub fn load(&self, id: impl AsSessionId) -> Option<Session<T>> {
        self.inner.view::<true>(id.named())
    }

    /// Returns a session without counting as activity: for looking at other people's sessions.
    #[inline]
    pub fn peek(&self, id: impl AsSessionId) -> Option<Session<T>> {
        self.inner.view::<false>(id.named())
    }

    /// Tells whether there is a live session of this id. Does not count as activity.
    #[must_use]
    pub fn contains(&self, id: impl AsSessionId) -> bool {
        self.inner.ask(id.named(), Entry::live_until).is_some()
    }

    /// Ends a session. Returns `true` if it was live; of several calls at once, for exactly one.
    ///
    /// # Locking
    ///
    /// The shard's exclusive lock, for one probe, if it is free. If others work in the shard, the session is dead, for
    /// everyone, as soon as the shared lock was had, and its removal from the table, for which the exclusive lock is
    /// needed, follows before the call returns.
    pub fn destroy(&self, id: impl AsSessionId) -> bool {
        self.inner.destroy(id.named())
    }

    /// Returns how many sessions are stored, expired ones that are not yet swept included.
    ///
    /// One atomic load.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.capacity.held()
    }

    /// Tells whether no session is stored, not even an expired one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Inner<T> {
    /// Returns the id that a name stands for, or `None` if no session can have it.
    #[inline]
    fn resolve(&self, named: Named<'_>) -> Option<SessionId> {
        match named {
            Named::Id(id) => Some(id),
            // Acquire: pairs with the Release in `try_create_with_id`.
            Named::Foreign(_) => self.foreign_ids.load(Ordering::Acquire).then(|| named.id()),
        }
    }

    /// In the caller's code, around a call that returns a pointer in a register: a handle that is returned
    /// through memory, word by word, and then moved stalls the processor for half as long as a load takes.
    #[inline(always)]
    fn view<const TOUCH: bool>(&self, named: Named<'_>) -> Option<Session<T>> {
        let Some(id) = self.resolve(named) else {
            self.stats.count(Event::Missed);
            return None;
        };
        let record = self.find::<TOUCH>(id)?;
        Some(Session::new(id, record))
    }

    #[inline(never)]
    fn find<const TOUCH: bool>(&self, id: SessionId) -> Option<triomphe::Arc<Record<T>>> {
        let place = self.gate.place(id);
        // Written out as two ways to the end, so that neither carries along which one it is.
        match self.gate.enter(place.shard) {
            Ok(shard) => self.found(shard.show(&place, |entry| self.look::<TOUCH>(entry))),
            Err(shard) => self.found(shard.show(&place, |entry| self.look::<TOUCH>(entry))),
        }
    }

    /// Asks for the time only now that something was found: it is a third of a miss.
    #[inline(always)]
    fn look<const TOUCH: bool>(&self, entry: &Entry<T>) -> Seen<T> {
        let now = self.clock.glance();
        let idle = if TOUCH { self.policy.idle } else { None };
        (now, entry.touch(now, idle).then(|| entry.record().clone()))
    }

    /// Counts a load, and gives the sweep its turn.
    #[inline(always)]
    fn found(&self, seen: Option<Seen<T>>) -> Option<triomphe::Arc<Record<T>>> {
        let Some((now, record)) = seen else {
            self.missed();
            return None;
        };
        if record.is_none() {
            return self.ended(now);
        }
        self.stats.count(Event::Loaded);
        self.tend(now);
        record
    }

    /// Counts a load of a session that is dead and still in the table.
    #[cold]
    fn ended<R>(&self, now: Tick) -> Option<R> {
        self.stats.count(Event::Missed);
        self.tend(now);
        None
    }

    /// Counts a load of what is not in the table, and gives the sweep its turn now and then.
    #[inline]
    fn missed(&self) {
        let misses = self.stats.count(Event::Missed);
        if misses % MISSES_PER_LOOK == 0 || self.sweep.is_behind() {
            self.tend(self.clock.glance());
        }
    }

    /// Asks one question about an entry, if it is there, and returns the time with the answer.
    fn ask<R>(
        &self,
        named: Named<'_>,
        ask: impl FnOnce(&Entry<T>, Tick) -> Option<R>,
    ) -> Option<(Tick, R)> {
        let id = self.resolve(named)?;
        let now = self.clock.now();
        let answer = self.gate.read(&self.gate.place(id), |entry| ask(entry, now));
        self.tend(now);
        answer.flatten().map(|answer| (now, answer))
    }

    fn destroy(&self, named: Named<'_>) -> bool {
        let Some(id) = self.resolve(named) else {
            return false;
        };
        let now = self.clock.now();
        let place = self.gate.place(id);
        let Some(mut shard) = self.gate.try_exclusive(place.shard) else {
            return self.revoke(&place, now);
        };
        // Most often the shard is free, and one look is all it takes.
        let live = shard.remove_if(&place, |entry| entry.is_live(now));
        shard.leave();
        let destroyed = live.is_some();
        if let Some(entry) = live {
            self.capacity.release(1);
            self.tell_one(Ended::new(id, entry, Cause::Destroyed));
        }
        self.tend(now);
        destroyed
    }

    /// Ends a session in a shard that others work in: dead first, which needs the shared lock only; then out of the
    /// table. Whoever takes a dead entry out tells of its end, so it does not matter if somebody else is faster.
    #[inline(never)]
    fn revoke(&self, place: &Place, now: Tick) -> bool {
        let revoked = self.gate.read(place, |entry| entry.revoke(now)).unwrap_or(false);
        if revoked {
            let ended = self.take_dead(&mut self.gate.exclusive(place.shard), place, now);
            self.tell(ended);
        }
        self.tend(now);
        revoked
    }

    /// Runs a slice of the sweep if one is due.
    #[inline]
    fn tend(&self, now: Tick) {
        if self.sweep.is_due(now) {
            self.sweep_slice(now);
        }
    }

    #[cold]
    fn sweep_slice(&self, now: Tick) {
        let mut batch = Batch::new();
        let give_back = |many, removed: Removed<'_, T>| self.give_back_all(many, removed);
        self.sweep.slice(&self.gate, now, &mut batch, give_back);
        self.settle(batch);
    }

    /// Deals with what a slice has removed, outside every lock.
    fn settle(&self, batch: Batch<T>) {
        self.count_swept(batch.len());
        self.tell(batch);
    }

    /// Deals with sessions that have left the table, outside every lock: whatever was kept of any of them goes, so
    /// that no user code holds it up, then the listener is told. Every session that ends comes by here, once.
    fn tell<I>(&self, ended: I)
    where
        I: IntoIterator<Item = Ended<T>>,
        for<'a> &'a I: IntoIterator<Item = &'a Ended<T>>,
    {
        if self.register.is_some() || self.authenticated.any() {
            (&ended).into_iter().for_each(|ended| self.forget(ended));
        }
        self.ends.deliver(&self.stats, ended);
    }

    /// Like [`tell`](Self::tell), for one session. Most often nobody hears of it, and it is passed in registers.
    #[inline(always)]
    fn tell_one(&self, ended: Ended<T>) {
        if self.ends.is_unheard(&self.stats) {
            self.forget(&ended);
            self.ends.end_unheard(&self.stats, ended);
        } else {
            self.tell_out(ended);
        }
    }

    #[inline(never)]
    fn tell_out(&self, ended: Ended<T>) {
        self.tell([ended]);
    }

    #[inline]
    fn forget(&self, ended: &Ended<T>) {
        self.capacity.release_bytes(self.take_over(ended).into());
    }

    /// Forgets a session that has left the table, and returns the bytes that it held, for the caller.
    #[inline]
    fn take_over(&self, ended: &Ended<T>) -> u32 {
        // A rotated session lives on, and its record with it.
        if ended.cause() == Cause::Rotated {
            return 0;
        }
        match &self.register {
            // It was forgotten before, and what is noted by now is of another session under its id.
            Some(_) if ended.record().slot().is_none() => 0,
            Some(register) => {
                self.authenticated.forget(ended.id());
                register.leave(ended.record())
            }
            None => {
                self.authenticated.forget(ended.id());
                0
            }
        }
    }

    fn count_swept(&self, swept: usize) {
        if swept > 0 {
            self.stats.add(Event::Swept, swept as u64);
        }
    }

    /// Gives back what a session held that leaves the table, under its shard's lock: it may have been destroyed by
    /// somebody who counts on its room by now.
    fn give_back(&self, ended: &Ended<T>) {
        self.capacity.release(1);
        if self.register.is_some() {
            self.forget(ended);
        }
    }

    /// Like [`give_back`](Self::give_back), of so many that were removed because they are dead. What has expired gives
    /// back its slot, and what it weighs in a store that asks: its place in the index and its neighbours are in no
    /// cache, and a lock that others wait for is no time to fetch them. [`tell`](Self::tell) does that.
    fn give_back_all<'a>(&self, many: usize, removed: impl Iterator<Item = &'a Ended<T>>)
    where
        T: 'a,
    {
        self.capacity.release(many);
        let Some(register) = &self.register else { return };
        for ended in removed {
            if ended.cause() != Cause::Expired {
                self.forget(ended);
            } else if register.weighs() {
                self.capacity.release_bytes(register.lighten(ended.record()).into());
            }
        }
    }

    /// Takes the session at a place out of its locked shard, if it is there and dead, and gives back what it held.
    fn take_dead(
        &self,
        shard: &mut Exclusive<'_, T>,
        place: &Place,
        now: Tick,
    ) -> Option<Ended<T>> {
        let mut death = None;
        let entry = shard.remove_if(place, |entry| {
            death = entry.death(now);
            death.is_some()
        })?;
        let ended = Ended::new(place.id, entry, Cause::from(death?));
        self.give_back(&ended);
        Some(ended)
    }
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<T>() {
            return;
        }
        // One by one, where a panic is caught: two values that panic would abort the process.
        for shard in 0..self.gate.count() {
            let entries = self.gate.exclusive(shard).take_all().into_entries();
            self.ends.discard_all(&self.stats, entries.map(|(_, entry)| entry.into_record()));
        }
        self.ends.hand_on(&self.stats);
    }
}

// User code runs where its panics are caught, or after the store was left consistent.
impl<T> UnwindSafe for SessionStore<T> {}
impl<T> RefUnwindSafe for SessionStore<T> {}

impl<T> Clone for SessionStore<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Default for SessionStore<T> {
    /// Returns an unbounded store whose sessions never expire: see [`Builder`].
    fn default() -> Self {
        Self::from_config(Builder::new().into_config())
    }
}

impl<T> fmt::Debug for SessionStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("len", &self.len())
            .field("shards", &self.inner.gate.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
