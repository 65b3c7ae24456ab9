//! Owns [`Watch`]: waiting for the end of one session.
//!
//! A session that nobody watches costs nothing: whoever ends a session looks at one count. Runs no executor and no
//! timer. Wakers are user code, and are called where a panic is caught and no lock is held.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::attributes::Attributes;
use crate::ends::Cause;
use crate::id::SessionId;
use crate::store::SessionStore;
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// Parts of the list of the watched, each with a lock: those who watch rarely meet. Fewer in a model, which follows each.
const PARTS: usize = if cfg!(cloakroom_loom) { 2 } else { 16 };

/// What one watch knows.
#[derive(Default)]
struct State(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    cause: Option<Cause>,
    waker: Option<Waker>,
}

type Part = Mutex<HashMap<SessionId, Vec<Arc<State>>>>;

/// The sessions of a store that somebody watches.
pub(crate) struct Watched {
    /// How many watches there are.
    count: CachePadded<AtomicUsize>,
    parts: [Part; PARTS],
}

/// So that the memory of a time when many were watched is not held for ever.
fn give_back(part: &mut HashMap<SessionId, Vec<Arc<State>>>) {
    if part.is_empty() {
        part.shrink_to_fit();
    }
}

impl Watched {
    pub(crate) fn new() -> Self {
        let parts = std::array::from_fn(|_| Mutex::new(HashMap::new()));
        Self { count: CachePadded::new(AtomicUsize::new(0)), parts }
    }

    /// Tells whether anybody watches any session.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        // Relaxed: who watches has raised it before it found its session in the table, under the shard's lock, and
        // who asks has taken that session out, under the same lock.
        self.count.load(Ordering::Relaxed) > 0
    }

    fn part(&self, id: SessionId) -> &Part {
        &self.parts[id.low_bits() % PARTS]
    }

    fn enter(&self, id: SessionId) -> Arc<State> {
        let state = Arc::<State>::default();
        // Relaxed, here and below: see `any`.
        self.count.fetch_add(1, Ordering::Relaxed);
        self.part(id).lock().entry(id).or_default().push(Arc::clone(&state));
        state
    }

    fn leave(&self, id: SessionId, state: &Arc<State>) {
        let mut part = self.part(id).lock();
        let Some(watches) = part.get_mut(&id) else { return };
        let before = watches.len();
        watches.retain(|other| !Arc::ptr_eq(other, state));
        let left = watches.len();
        if left == 0 {
            part.remove(&id);
            give_back(&mut part);
        }
        self.count.fetch_sub(before - left, Ordering::Relaxed);
    }

    /// Wakes those who watch a session, through `wake`, which runs user code.
    pub(crate) fn stir(&self, id: SessionId, wake: impl FnMut(Waker)) {
        if !self.any() {
            return;
        }
        let part = self.part(id).lock();
        let watches = part.get(&id).into_iter().flatten();
        let wakers: Vec<Waker> = watches.filter_map(|watch| watch.0.lock().waker.take()).collect();
        drop(part);
        wakers.into_iter().for_each(wake);
    }

    /// Tells those who watch a session that it has ended, and wakes them through `wake`, which runs user code.
    pub(crate) fn end(&self, id: SessionId, cause: Cause, mut wake: impl FnMut(Waker)) {
        if !self.any() {
            return;
        }
        let mut part = self.part(id).lock();
        let watches = part.remove(&id).unwrap_or_default();
        give_back(&mut part);
        drop(part);
        self.count.fetch_sub(watches.len(), Ordering::Relaxed);
        for watch in watches {
            let waker = {
                let mut seen = watch.0.lock();
                seen.cause = Some(cause);
                seen.waker.take()
            };
            waker.into_iter().for_each(&mut wake);
        }
    }
}

/// The end of one session, to be waited for: made by [`SessionStore::watch`].
///
/// A future that belongs to no runtime; in a thread, [`wait`](Self::wait). Resolves with the [`Cause`] when the
/// session is destroyed, revoked, evicted, cleared, or swept after it expired, and when it is rotated: then this id is
/// dead, and the session lives on under another.
///
/// # Expiry
///
/// There is no timer. That a session has expired is noticed when it is swept, which traffic anywhere in the store
/// brings about within a sixteenth of the shortest lifetime, or within some seconds where a session was given one below
/// 16 s by [`set_expiry`](SessionStore::set_expiry); or at the next poll. Whoever waits is woken, to poll again, when
/// the session is to end at another time than before. In a store that may fall silent, poll it again after [`expires_in`](SessionStore::expires_in), or whenever the connection is pinged: a timeout
/// around the future does both.
///
/// # Examples
///
/// ```
/// use cloakroom::{Cause, SessionStore};
///
/// let store = SessionStore::new(3600);
/// let session = store.create();
/// let watch = store.watch(session.id()).ok_or("no such session")?;
/// store.destroy(session.id());
/// assert_eq!(watch.wait(), Cause::Destroyed);
/// assert!(store.watch(session.id()).is_none());
/// # Ok::<(), &str>(())
/// ```
#[must_use = "a watch does nothing unless it is waited for"]
pub struct Watch<T = Attributes> {
    store: SessionStore<T>,
    id: SessionId,
    state: Arc<State>,
}

impl<T> Watch<T> {
    /// Watches a session whether it lives or not: the store says.
    pub(crate) fn begin(store: SessionStore<T>, id: SessionId) -> Self {
        let state = store.watched().enter(id);
        Self { store, id, state }
    }

    /// Waits for the end of the session, and returns why it ended. Takes a thread: in async code, `await` it.
    ///
    /// Wakes when the session is to expire, so that it returns in time even if nobody uses the store. Not for a
    /// listener or a `Drop` of the data: of ends that are noticed there one is told after they have returned.
    #[cfg(not(cloakroom_loom))]
    pub fn wait(self) -> Cause {
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let context = Context::from_waker(&waker);
        loop {
            match self.look(&context) {
                Ok(cause) => return cause,
                // Nothing to wait for but a wake-up, if it lives for ever, or has ended and whoever took it out of the
                // table is about to tell.
                Err(None | Some(Duration::MAX)) => std::thread::park(),
                Err(Some(left)) => std::thread::park_timeout(left),
            }
        }
    }

    /// Returns why the session has ended, or else how long it will live; `None` for that if it has ended and nobody was
    /// told yet. From then on the task is woken. What is returned is of one look at the session: between two, it might
    /// expire unseen.
    fn look(&self, context: &Context<'_>) -> Result<Cause, Option<Duration>> {
        let waker = context.waker().clone();
        let before = {
            let mut seen = self.state.0.lock();
            if seen.cause.is_none() { seen.waker.replace(waker) } else { None }
        };
        // Its drop is user code.
        drop(before);
        let left = self.store.end_if_expired(self.id);
        self.state.0.lock().cause.ok_or(left)
    }
}

impl<T> Future for Watch<T> {
    type Output = Cause;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Cause> {
        self.look(context).map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.store.watched().leave(self.id, &self.state);
    }
}

impl<T> std::fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_bare(store: &SessionStore<u64>) -> bool {
        let watched = store.watched();
        !watched.any() && watched.parts.iter().all(|part| part.lock().capacity() == 0)
    }

    #[test]
    fn watches_that_were_told_dropped_or_refused_leave_nothing() {
        let store = SessionStore::<u64>::builder().build().unwrap();
        let mut session = store.create();
        let id = *session.id();
        assert!(store.watch("nobody").is_none() && is_bare(&store));
        let (dropped, told) = (store.watch(&id).unwrap(), store.watch(&id).unwrap());
        drop(dropped);
        assert!(!is_bare(&store));
        assert!(store.rotate(&mut session) && is_bare(&store));
        assert!(store.watch(&id).is_none() && is_bare(&store));
        // One of the new id is not touched by the drop of one of the old.
        let other = store.watch(session.id()).unwrap();
        assert_eq!(told.wait(), Cause::Rotated);
        assert!(!is_bare(&store));
        drop(other);
        assert!(is_bare(&store) && store.destroy(session.id()) && is_bare(&store));
    }
}
