//! Owns the end of a session: telling the listener, and dropping what the store let go.
//!
//! This is where user code runs (the listener, a value's `Drop`), so nothing here is ever called
//! under a lock. A panic in user code is caught and counted: it came from somebody's session, not
//! from the operation that happened to clear it away. User code that ends further sessions does not
//! recurse: they queue, and the outermost delivery on the thread hands them on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use triomphe::{Arc, UniqueArc};

use crate::entry::{Death, Entry, Record};
use crate::id::SessionId;
use crate::marks::Marks;
use crate::stats::{Event, Stats};
use crate::sync::{AtomicUsize, Mutex, Ordering, thread_local};
use crate::watched::Watched;

/// How long a chain of ends, each caused by the one before, one delivery follows. A listener that ends a
/// session for each end it hears of would otherwise never return: at a microsecond or so each, a chain
/// costs the operation a millisecond. What is left waits for the next delivery.
const CHAIN: usize = 1024;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// It was destroyed, by [`destroy`](crate::SessionStore::destroy) or
    /// [`retain`](crate::SessionStore::retain).
    Destroyed,
    /// Its deadline passed.
    Expired,
    /// It made room for another at [`max_sessions`](crate::Builder::max_sessions) or
    /// [`max_bytes`](crate::Builder::max_bytes).
    Evicted,
    /// Its id was replaced by [`rotate`](crate::SessionStore::rotate); the session lives on under
    /// the new id.
    Rotated,
    /// The store was [cleared](crate::SessionStore::clear).
    Cleared,
    /// Its subject's sessions were revoked, by [`revoke_all`](crate::SessionStore::revoke_all) or
    /// [`revoke_others`](crate::SessionStore::revoke_others).
    Revoked,
    /// It made room for another of the same subject at
    /// [`max_per_subject`](crate::Builder::max_per_subject).
    Displaced,
}

impl From<Death> for Cause {
    fn from(death: Death) -> Self {
        match death {
            Death::Revoked => Self::Destroyed,
            Death::Expired => Self::Expired,
        }
    }
}

impl Cause {
    fn event(self) -> Event {
        match self {
            Self::Destroyed => Event::Destroyed,
            Self::Expired => Event::Expired,
            Self::Evicted => Event::Evicted,
            Self::Rotated => Event::Rotated,
            Self::Cleared => Event::Cleared,
            Self::Revoked => Event::Revoked,
            Self::Displaced => Event::Displaced,
        }
    }
}

/// The end of a session, as a listener sees it.
///
/// `Debug` shows neither the id nor the data.
#[non_exhaustive]
pub struct End<'a, T> {
    /// The id that is now dead.
    pub id: SessionId,
    /// The data as it was last saved.
    pub data: &'a T,
    /// Why it ended.
    pub cause: Cause,
}

impl<T> std::fmt::Debug for End<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("id", &self.id)
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

/// What a store calls with every end.
pub(crate) type Listener<T> = Box<dyn Fn(End<'_, T>) + Send + Sync>;

/// Data whose `Drop` is no user code, as a framework's is: wherever no lock is held it may be dropped, and
/// nobody has to catch its panics or keep it from calling the store in circles.
#[cfg(any(test, feature = "tower-sessions", feature = "actix-session", feature = "async-session"))]
pub(crate) trait Plain {}

#[cfg(test)]
impl Plain for u64 {}

/// A session that has left the table.
pub(crate) struct Ended<T> {
    id: SessionId,
    record: Arc<Record<T>>,
    cause: Cause,
}

impl<T> Ended<T> {
    pub(crate) fn new(id: SessionId, entry: Entry<T>, cause: Cause) -> Self {
        Self { id, record: entry.into_record(), cause }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn record(&self) -> &Record<T> {
        &self.record
    }

    pub(crate) fn cause(&self) -> Cause {
        self.cause
    }
}

/// What the store has let go of and must still deal with.
enum Leaving<T> {
    Ended(Ended<T>),
    Held(Arc<Record<T>>),
}

/// The store's listener, and the ends that wait for it.
pub(crate) struct Ends<T> {
    listener: Option<Listener<T>>,
    /// No user code runs while it is locked.
    queue: Mutex<Vec<Leaving<T>>>,
    /// How many are in the queue, or about to be.
    queued: AtomicUsize,
    pub(crate) watched: Watched,
}

thread_local! {
    /// The stores whose ends this thread is delivering, by address.
    static DELIVERING: Marks = const { Marks::new() };
}

impl<T> Ends<T> {
    pub(crate) fn new(listener: Option<Listener<T>>) -> Self {
        Self {
            listener,
            queue: Mutex::new(Vec::new()),
            queued: AtomicUsize::new(0),
            watched: Watched::new(),
        }
    }

    /// Tells the listener of sessions that ended, and drops them. Counts each by its cause.
    pub(crate) fn deliver(&self, stats: &Stats, ended: impl IntoIterator<Item = Ended<T>>) {
        let counted = ended.into_iter().map(|ended| {
            stats.count(ended.cause.event());
            Leaving::Ended(ended)
        });
        self.let_go(stats, counted);
    }

    /// Tells whether nobody hears of an end: no listener, no watch, no subscriber of its events.
    #[inline]
    pub(crate) fn is_unheard(&self, stats: &Stats) -> bool {
        self.listener.is_none() && !self.watched.any() && !is_traced(stats)
    }

    /// Deals with an end that nobody hears of, which only lets go of the record.
    #[inline]
    pub(crate) fn end_unheard(&self, stats: &Stats, ended: Ended<T>) {
        stats.count(ended.cause.event());
        self.discard_last(stats, ended.record);
    }

    /// Like [`discard`](Self::discard), of a record that is most likely held by nobody else.
    #[inline]
    pub(crate) fn discard_last(&self, stats: &Stats, held: Arc<Record<T>>) {
        match Arc::try_unique(held) {
            Ok(last) if std::mem::needs_drop::<T>() => self.drop_last(stats, last),
            Ok(last) => Record::release_last(last),
            Err(held) => self.discard(stats, held),
        }
    }

    /// Wakes those who watch a session that is to end at another time than they know.
    pub(crate) fn stir(&self, stats: &Stats, id: SessionId) {
        self.watched.stir(id, |waker| contain(stats, || waker.wake()));
    }

    /// Lets go of a record that the store held and no longer needs.
    #[inline]
    pub(crate) fn discard(&self, stats: &Stats, held: Arc<Record<T>>) {
        if !std::mem::needs_drop::<T>() {
            // No user code is involved: this only frees memory.
            return drop(held);
        }
        // Where somebody else holds it too, nothing is dropped yet.
        if let Some(last) = Arc::into_unique(held) {
            self.drop_last(stats, last);
        }
    }

    #[inline(never)]
    fn drop_last(&self, stats: &Stats, last: UniqueArc<Record<T>>) {
        let Some(_delivery) = Delivery::enter(self.address()) else {
            return self.enqueue(vec![Leaving::Held(last.shareable())]);
        };
        contain(stats, || Record::release_last(last));
        self.hand_on(stats);
    }

    /// Drops many, like [`discard`](Self::discard).
    pub(crate) fn discard_all(
        &self,
        stats: &Stats,
        held: impl IntoIterator<Item = Arc<Record<T>>>,
    ) {
        if !std::mem::needs_drop::<T>() {
            // Nobody is told, and no user code is involved: this only frees memory.
            held.into_iter().for_each(Record::release);
            return;
        }
        self.let_go(stats, held.into_iter().map(Leaving::Held));
    }

    fn let_go(&self, stats: &Stats, leaving: impl IntoIterator<Item = Leaving<T>>) {
        if !std::mem::needs_drop::<T>() && self.is_unheard(stats) {
            // No user code is involved: this only frees memory.
            leaving.into_iter().for_each(drop);
            return;
        }
        let mut leaving = leaving.into_iter().peekable();
        if leaving.peek().is_none() {
            return;
        }
        let Some(_delivery) = Delivery::enter(self.address()) else {
            // Collected first: the iterator is the caller's, and the queue is locked for the push.
            return self.enqueue(leaving.collect());
        };
        leaving.for_each(|leaving| self.finish(stats, leaving));
        self.hand_on(stats);
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    #[cold]
    fn enqueue(&self, leaving: Vec<Leaving<T>>) {
        // Relaxed, here and below: a thread sees what it queued itself, and hands that on.
        self.queued.fetch_add(leaving.len(), Ordering::Relaxed);
        self.queue.lock().extend(leaving);
    }

    /// Deals with the ends that user code caused while others were delivered.
    pub(crate) fn hand_on(&self, stats: &Stats) {
        for _ in 0..CHAIN {
            // Nearly always nothing: no lock that all threads share.
            if self.queued.load(Ordering::Relaxed) == 0 {
                break;
            }
            let queued = std::mem::take(&mut *self.queue.lock());
            self.queued.fetch_sub(queued.len(), Ordering::Relaxed);
            queued.into_iter().for_each(|queued| self.finish(stats, queued));
        }
    }

    fn finish(&self, stats: &Stats, leaving: Leaving<T>) {
        let record = match leaving {
            Leaving::Held(record) => record,
            Leaving::Ended(Ended { id, record, cause }) => {
                if is_traced(stats) {
                    contain(stats, || trace(&id, cause));
                }
                if let Some(listener) = &self.listener {
                    let data = &record.value;
                    contain(stats, || listener(End { id, data, cause }));
                }
                self.watched.end(id, cause, |waker| contain(stats, || waker.wake()));
                record
            }
        };
        contain(stats, || drop(record));
    }
}

/// Tells whether somebody wants the events of ends. The subscriber that says so is user code.
#[cfg(feature = "tracing")]
fn is_traced(stats: &Stats) -> bool {
    use tracing::level_filters::LevelFilter;

    let mut wanted = false;
    if LevelFilter::current() >= tracing::Level::DEBUG {
        contain(stats, || wanted = tracing::enabled!(target: "cloakroom", tracing::Level::DEBUG));
    }
    wanted
}

#[cfg(not(feature = "tracing"))]
const fn is_traced(_: &Stats) -> bool {
    false
}

/// Emits the event of an end. A subscriber is user code: never under a lock.
#[cfg(feature = "tracing")]
fn trace(id: &SessionId, cause: Cause) {
    tracing::debug!(
        target: "cloakroom",
        session = %format_args!("{:08x}", id.fingerprint()),
        ?cause,
        "session ended"
    );
}

#[cfg(not(feature = "tracing"))]
const fn trace(_: &SessionId, _: Cause) {}

/// Runs user code and keeps a panic from going further.
fn contain(stats: &Stats, user_code: impl FnOnce()) {
    // Unwind safety: the store was left consistent before user code began, and what the closure
    // borrowed is not looked at again.
    let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) else { return };
    stats.count(Event::Panicked);
    // The payload's own `Drop` is user code too. If it panics, that panic's payload is let go of unseen.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(payload);
    }
}

/// Marks a store's ends as being delivered on this thread.
struct Delivery(usize);

impl Delivery {
    /// Returns `None` if they are being delivered already, further up the stack.
    fn enter(store: usize) -> Option<Self> {
        let entered = DELIVERING.with(|stores| stores.add(store));
        // `then`, because a `Self` that is made and not returned takes the outer one's mark away.
        entered.then(|| Self(store))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        DELIVERING.with(|stores| stores.remove(self.0));
    }
}
