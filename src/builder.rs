//! Owns every setting of a store: its default, its limits, and the check of all of them together.

use std::fmt::Debug;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::capacity::OnFull;
use crate::clock::{Clock, ticks};
use crate::ends::{End, Listener};
use crate::entry::Policy;
use crate::error::BuildError;
use crate::id::mint::Mint;
use crate::policy;
use crate::register::{IndexBy, Limit, OnLimit, Register};
use crate::store::SessionStore;
use crate::subject::Subject;
use crate::sweep::DEFAULT_BUDGET;
use crate::weigh::Scales;

/// Shards of an unbounded store: a table grows one shard at a time, so that more shards make the
/// longest pause shorter; beyond this the shards' own state crowds the cache.
const DEFAULT_SHARDS: usize = 512;

/// Shards for each core at the least, so that threads rarely meet: DashMap's own rule.
const SHARDS_PER_CORE: usize = 4;

/// Sessions for each shard, at the bound, that a bounded store's default aims at: an eviction then
/// finds its sample in one shard.
const SESSIONS_PER_SHARD: usize = 64;

/// DashMap needs two.
const MIN_SHARDS: usize = 2;

/// 8 MiB of empty shards.
const MAX_SHARDS: usize = 65_536;

/// As many as a slice may look at and still be short: some 50 µs if none is in a cache.
const MAX_BUDGET: usize = 4096;

/// Sessions of one subject at the most, where they are limited: the list is gone through at each sign-in that
/// finds it full.
const MAX_PER_SUBJECT: usize = 1024;

/// Where new ids take their randomness from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdSource {
    /// Each id is one call to the operating system. No randomness waits in memory, so that neither a
    /// forked process nor a restored snapshot of a virtual machine can hand out an id twice.
    #[default]
    Os,
    /// Each thread draws 64 ids in one call and hands them out one by one: faster.
    ///
    /// # Security
    ///
    /// The child of a `fork` draws afresh: `pthread_atfork` tells it, so that a process made by the bare
    /// system call does not notice. Nor does a virtual machine that is restored twice from one snapshot.
    /// Use [`IdSource::Os`] there.
    Buffered,
}

/// Settings for a new [`SessionStore`]. All are optional; [`build`](Self::build) checks them.
///
/// With neither [`ttl`](Self::ttl) nor [`idle_timeout`](Self::idle_timeout) sessions never expire:
/// give at least one of them to a store that faces the internet. OWASP's Session Management Cheat
/// Sheet asks for both.
///
/// # Examples
///
/// ```
/// use cloakroom::SessionStore;
/// use std::time::Duration;
///
/// let store = SessionStore::<u64>::builder()
///     .ttl(Duration::from_secs(12 * 60 * 60))
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .max_sessions(1_000_000)
///     .build()?;
/// # Ok::<(), cloakroom::BuildError>(())
/// ```
#[must_use = "a builder makes a store only when `build` is called"]
pub struct Builder<T> {
    ttl: Option<Duration>,
    idle_timeout: Option<Duration>,
    max_sessions: Option<usize>,
    on_full: OnFull,
    shards: Option<usize>,
    sweep_budget: usize,
    clock: Clock,
    mint: Mint,
    listener: Option<Listener<T>>,
    index_by: Option<IndexBy<T>>,
    limit: Option<Limit>,
    scales: Option<Scales<T>>,
}

/// What `build` has checked.
pub(crate) struct Config<T> {
    pub(crate) policy: Policy,
    pub(crate) max_sessions: Option<usize>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) on_full: OnFull,
    pub(crate) shards: usize,
    pub(crate) sweep_budget: usize,
    pub(crate) clock: Clock,
    pub(crate) mint: Mint,
    pub(crate) listener: Option<Listener<T>>,
    pub(crate) register: Option<Register<T>>,
}

impl<T> Builder<T> {
    pub(crate) fn new() -> Self {
        Self {
            ttl: None,
            idle_timeout: None,
            max_sessions: None,
            on_full: OnFull::default(),
            shards: None,
            sweep_budget: DEFAULT_BUDGET,
            clock: Clock::system(),
            mint: Mint::Os,
            listener: None,
            index_by: None,
            limit: None,
            scales: None,
        }
    }

    /// Sets the absolute lifetime: a session ends this long after it was created, used or not.
    ///
    /// More than zero; more than [`MAX_LIFETIME`](crate::MAX_LIFETIME) is cut to it. Default: none.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets the sliding lifetime: a session ends when it was not used for this long.
    ///
    /// `load`, `touch`, `save`, `try_save`, `update` and `rotate` are use; `peek`, `contains` and
    /// `expires_in` are not. With a [`ttl`](Self::ttl) the earlier of the two deadlines counts.
    ///
    /// More than zero and not more than `ttl`; more than [`MAX_LIFETIME`](crate::MAX_LIFETIME) is cut to it. Default:
    /// none.
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = Some(idle_timeout);
        self
    }

    /// Sets [`ttl`](Self::ttl) and [`idle_timeout`](Self::idle_timeout) to what a standard asks for:
    /// [`Policy::aal2`](crate::Policy::aal2), [`Policy::aal3`](crate::Policy::aal3).
    pub fn policy(self, policy: policy::Policy) -> Self {
        self.ttl(policy.ttl()).idle_timeout(policy.idle_timeout())
    }

    /// Bounds how many sessions the store holds, expired ones that are not yet swept included.
    ///
    /// One bound for the whole store, never exceeded. What happens at the bound is
    /// [`on_full`](Self::on_full)'s choice. At least 1. Default: no bound.
    ///
    /// In a store with [`index_by`](Self::index_by), a session of a subject never makes room: guests may use
    /// all the room that subjects leave free, and give it back to whoever signs in. Where all room is held by
    /// subjects, whoever comes next is refused, as [`OnFull::Refuse`] says, unless
    /// [`max_per_subject`](Self::max_per_subject) ends a session of their own for the new one.
    pub fn max_sessions(mut self, max_sessions: usize) -> Self {
        self.max_sessions = Some(max_sessions);
        self
    }

    /// Bounds how many bytes the sessions' data may take, as `weigher` says of each, beside
    /// [`max_sessions`](Self::max_sessions). Never exceeded.
    ///
    /// Data that is larger than the bound, or of 4 GiB and more, is refused before any lock is taken. Room is made as at
    /// `max_sessions`, by as many as it takes, a microsecond or so each; what all of them together could not make
    /// room for is refused, and ends nobody, unless several operations make room at once and not all of them fit. A
    /// session that is refused keeps its old data. At least 1. Default: no bound.
    ///
    /// The weigher is asked whenever data is to be stored, outside every lock, and is to depend on the data alone. It
    /// counts what the data holds on the heap, and `size_of` the data itself if you like; the store's own share is
    /// not in it. Of data that shrinks, count the capacity, which it keeps. What weighs 0 counts as 1.
    ///
    /// # Panics
    ///
    /// If the weigher panics, the panic reaches the caller of the operation, and the store is as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{SaveError, SessionStore};
    ///
    /// let store = SessionStore::<String>::builder().max_bytes(1000, String::len).build()?;
    /// let mut session = store.create_with("a".repeat(600));
    /// session.push_str(&"b".repeat(600));
    /// assert_eq!(store.try_save(&mut session), Err(SaveError::TooLarge));
    /// assert_eq!(store.stats().bytes, 600);
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn max_bytes(
        mut self,
        max_bytes: u64,
        weigher: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) -> Self {
        self.scales = Some(Scales { max_bytes, weigher: Box::new(weigher) });
        self
    }

    /// Chooses what happens to a new session at [`max_sessions`](Self::max_sessions). Default:
    /// [`OnFull::Evict`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{CreateError, OnFull, SessionStore};
    ///
    /// let builder = SessionStore::<u32>::builder().max_sessions(1).on_full(OnFull::Refuse);
    /// let store = builder.build()?;
    /// store.create();
    /// assert_eq!(store.try_create().unwrap_err(), CreateError::AtCapacity { max_sessions: 1 });
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// Sets the number of shards, each with a lock and a table of its own.
    ///
    /// A power of two from 2 to 65536. Default: 512, or 4 for each core if that is more; fewer if
    /// [`max_sessions`](Self::max_sessions) is small, one for about 64 sessions. Many more shards than
    /// sessions make evictions slow, which then look for a session in one shard after the other.
    ///
    /// 512 keep the pause short in which one table grows, of a store with millions of sessions. One that stays below
    /// some 100,000 may be faster with 64, whose locks stay in the processor's nearest cache: measure.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// Sets how many buckets of the table one slice of sweeping looks at, at the most.
    ///
    /// From 1 to 4096. Default: 512. A smaller budget makes each slice shorter and more of them.
    pub fn sweep_budget(mut self, buckets: usize) -> Self {
        self.sweep_budget = buckets;
        self
    }

    /// Sets where the time comes from: a [`ManualClock`](crate::ManualClock) in tests. Default:
    /// [`Clock::system`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Sets where new ids take their randomness from. Default: [`IdSource::Os`].
    pub fn id_source(mut self, source: IdSource) -> Self {
        self.mint = match source {
            IdSource::Os => Mint::Os,
            IdSource::Buffered => Mint::Buffered,
        };
        self
    }

    /// Draws ids from a caller's function, in tests of collisions and failing entropy.
    #[cfg(any(test, cloakroom_loom))]
    pub fn scripted_ids(
        mut self,
        next: impl Fn() -> Result<u128, getrandom::Error> + Send + Sync + 'static,
    ) -> Self {
        self.mint = Mint::Scripted(Box::new(next));
        self
    }

    /// Sets a listener that is told of every session that ends, with its last data and the cause.
    ///
    /// It is called once for each session, after the operation that removed it has taken effect: by the thread
    /// of that operation, or, of an end that a listener caused, by any that is telling of ends just then. An
    /// expired session ends, for the listener, when it is swept. Dropping the store tells it nothing.
    ///
    /// # Locking
    ///
    /// Runs outside every lock and may call the store; but it runs inside somebody's operation, so
    /// keep it short. Ends that it causes itself are told to it after it has returned; of a chain of
    /// more than 1024, each caused by the one before, the rest is told when the next session ends.
    ///
    /// # Panics
    ///
    /// A panic of the listener is caught and counted in
    /// [`StoreStats::panics`](crate::StoreStats::panics).
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{Cause, SessionStore};
    /// use std::sync::mpsc;
    ///
    /// let (sender, ends) = mpsc::channel();
    /// let builder = SessionStore::<u32>::builder();
    /// let store = builder.on_end(move |end| sender.send((end.cause, *end.data)).unwrap()).build()?;
    /// store.destroy(store.create_with(7).id());
    /// assert_eq!(ends.recv(), Ok((Cause::Destroyed, 7)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_end(mut self, listener: impl Fn(End<'_, T>) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// Says whose a session is, from its data; `None` for a guest's. The store then keeps an index of each
    /// subject's sessions: [`sessions_of`](SessionStore::sessions_of),
    /// [`revoke_all`](SessionStore::revoke_all), [`max_per_subject`](Self::max_per_subject).
    ///
    /// It is asked whenever data is to be stored, by `create`, `save`, `try_save` and `update`, so that the
    /// index follows the data. It is to depend on the data alone, and on nothing that versions of the data share, as
    /// what is behind an `Arc<Mutex<_>>`: changed there, whose a session is may go unnoticed, even by a save, because
    /// a save asks whether it is still the same subject's as the version that it was made from.
    ///
    /// # Expiry
    ///
    /// With both a [`ttl`](Self::ttl) and an [`idle_timeout`](Self::idle_timeout), or a lifetime that a framework's
    /// adapter has set, the absolute limit may come early by a part in 2^23 of what lies between the two: 10 ms in a
    /// day. It is never late.
    ///
    /// # Locking
    ///
    /// Runs outside every lock, before anything is stored. May call the store.
    ///
    /// # Panics
    ///
    /// If it panics, the panic reaches the caller of the operation, and the store is as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{Attributes, SessionStore, Subject};
    ///
    /// let builder = SessionStore::<Attributes>::builder();
    /// let store = builder.index_by(|data| data.get("user_id").map(Subject::from)).build()?;
    /// let mut session = store.create();
    /// session.set("user_id", "42");
    /// store.save(&session);
    /// assert_eq!(store.count_of("42"), 1);
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn index_by(
        mut self,
        index_by: impl Fn(&T) -> Option<Subject> + Send + Sync + 'static,
    ) -> Self {
        self.index_by = Some(IndexBy::new(index_by));
        self
    }

    /// Limits how many live sessions a subject may have, and says what happens to one more.
    ///
    /// Exact, whatever signs in at the same time, and by whatever operation: a session counts from when data with
    /// that subject is stored in it. Refused operations change nothing: `try_create` and `try_save` say so in
    /// their errors.
    ///
    /// From 1 to 1024; needs [`index_by`](Self::index_by). Default: no limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{CreateError, OnLimit, SessionStore, Subject};
    ///
    /// let builder = SessionStore::<u64>::builder().index_by(|user| Some(Subject::from(*user)));
    /// let store = builder.max_per_subject(1, OnLimit::Reject).build()?;
    /// store.create_with(42);
    /// let refused = store.try_create_with(42).unwrap_err();
    /// assert_eq!(refused.error, CreateError::SubjectLimit { max_per_subject: 1 });
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn max_per_subject(mut self, sessions: usize, then: OnLimit) -> Self {
        self.limit = Some(Limit { most: sessions, then });
        self
    }

    /// Checks the settings and makes the store.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] that names the setting, its value and its limit, if a value is out of range
    /// or two contradict each other.
    pub fn build(self) -> Result<SessionStore<T>, BuildError> {
        not_zero("ttl", self.ttl)?;
        not_zero("idle_timeout", self.idle_timeout)?;
        if let (Some(idle), Some(ttl)) = (self.idle_timeout, self.ttl) {
            let limit = format!("at most ttl, which is {ttl:?}");
            check("idle_timeout", idle, idle <= ttl, &limit)?;
        }
        if let Some(max) = self.max_sessions {
            check("max_sessions", max, max > 0, "at least 1")?;
        }
        if let Some(shards) = self.shards {
            let valid = shards.is_power_of_two() && (MIN_SHARDS..=MAX_SHARDS).contains(&shards);
            let limit = format!("a power of two from {MIN_SHARDS} to {MAX_SHARDS}");
            check("shards", shards, valid, &limit)?;
        }
        if let Some(Limit { most, .. }) = self.limit {
            let valid = (1..=MAX_PER_SUBJECT).contains(&most);
            check("max_per_subject", most, valid, &format!("from 1 to {MAX_PER_SUBJECT}"))?;
            check(
                "max_per_subject",
                most,
                self.index_by.is_some(),
                "given together with index_by",
            )?;
        }
        if let Some(Scales { max_bytes, .. }) = self.scales {
            check("max_bytes", max_bytes, max_bytes > 0, "at least 1")?;
        }
        let budget = self.sweep_budget;
        let limit = format!("from 1 to {MAX_BUDGET}");
        check("sweep_budget", budget, (1..=MAX_BUDGET).contains(&budget), &limit)?;
        Ok(SessionStore::from_config(self.into_config()))
    }

    pub(crate) fn into_config(self) -> Config<T> {
        let shards = self.shards.unwrap_or_else(|| default_shards(self.max_sessions));
        let limit = self.limit;
        Config {
            policy: Policy {
                ttl: self.ttl.map(ticks),
                idle: self.idle_timeout.map(ticks).and_then(NonZeroU64::new),
            },
            max_sessions: self.max_sessions,
            on_full: self.on_full,
            shards,
            sweep_budget: self.sweep_budget,
            clock: self.clock,
            mint: self.mint,
            listener: self.listener,
            max_bytes: self.scales.as_ref().map(|scales| scales.max_bytes),
            register: (self.index_by.is_some() || self.scales.is_some()).then(|| {
                let by = self.index_by.unwrap_or_else(IndexBy::nobody);
                Register::new(shards, by, limit, self.scales)
            }),
        }
    }
}

impl<T> Config<T> {
    /// The settings of [`SessionStore::new`](crate::SessionStore::new), which cannot fail: 0 seconds
    /// is allowed there.
    pub(crate) fn with_ttl(ttl: Duration) -> Self {
        Builder::new().ttl(ttl).into_config()
    }
}

impl<T> Debug for Builder<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("ttl", &self.ttl)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_sessions", &self.max_sessions)
            .field("on_full", &self.on_full)
            .field("shards", &self.shards)
            .field("sweep_budget", &self.sweep_budget)
            .field("max_bytes", &self.scales.as_ref().map(|scales| scales.max_bytes))
            .field("max_per_subject", &self.limit.map(|limit| limit.most))
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

fn default_shards(max_sessions: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let by_cores = (cores * SHARDS_PER_CORE).next_power_of_two();
    let most = by_cores.clamp(DEFAULT_SHARDS, MAX_SHARDS);
    let by_size = max_sessions.map_or(most, |max| max.div_ceil(SESSIONS_PER_SHARD));
    by_size.clamp(MIN_SHARDS, most).next_power_of_two()
}

fn not_zero(setting: &'static str, lifetime: Option<Duration>) -> Result<(), BuildError> {
    let Some(lifetime) = lifetime else {
        return Ok(());
    };
    check(setting, lifetime, lifetime > Duration::ZERO, "more than zero")
}

fn check(
    setting: &'static str,
    value: impl Debug,
    valid: bool,
    limit: &str,
) -> Result<(), BuildError> {
    if valid { Ok(()) } else { Err(BuildError::new(setting, format!("{value:?}"), limit)) }
}
