//! Owns how long a session lives and under which id: touch, expiry, rotation.

use std::time::Duration;

use triomphe::Arc;

use super::{Inner, SessionStore};
use crate::clock::{NEVER, Tick, after, ticks};
use crate::ends::{Cause, Ended};
use crate::entry::{Entry, Terms};
use crate::error::RotateError;
use crate::id::{AsSessionId, SessionId};
use crate::index::seconds;
use crate::session::Session;
use crate::watched::{Watch, Watched};

/// When one session is to end, whatever the store's settings say: for
/// [`set_expiry`](SessionStore::set_expiry).
///
/// A [`Duration`] converts into [`Expiry::After`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expiry {
    /// This long from now, used or not: the idle timeout no longer applies. Zero is at once; more
    /// than [`MAX_LIFETIME`](crate::MAX_LIFETIME) is cut to it.
    After(Duration),
    /// Never, used or not.
    Never,
    /// As the store's settings say for a session created now.
    Policy,
}

impl From<Duration> for Expiry {
    fn from(lifetime: Duration) -> Self {
        Self::After(lifetime)
    }
}

/// Returns how long it is until a deadline that is not past.
fn left(now: Tick, deadline: Tick) -> Duration {
    if deadline == NEVER { Duration::MAX } else { Duration::from_nanos(deadline - now) }
}

impl<T> SessionStore<T> {
    /// Counts as activity: with an idle timeout, moves the session's deadline. Returns `true` if the
    /// session is live.
    ///
    /// # Expiry
    ///
    /// Never revives an expired session, never makes a deadline earlier, never moves it beyond the
    /// absolute limit.
    ///
    /// # Locking
    ///
    /// The shard's shared lock.
    pub fn touch(&self, id: impl AsSessionId) -> bool {
        let idle = self.inner.policy.idle;
        let touch = |entry: &Entry<T>, now| entry.touch(now, idle).then_some(());
        self.inner.ask(id.named(), touch).is_some()
    }

    /// Tells whether activity moves the deadlines of sessions.
    #[cfg(feature = "axum")]
    pub(crate) fn slides(&self) -> bool {
        self.inner.policy.idle.is_some()
    }

    /// Returns how long a session will live if it is not used, or `None` if there is no live one of
    /// this id. [`Duration::MAX`] stands for a session that never expires.
    ///
    /// Does not count as activity.
    #[must_use]
    pub fn expires_in(&self, id: impl AsSessionId) -> Option<Duration> {
        let deadline = self.inner.ask(id.named(), Entry::live_until);
        deadline.map(|(now, deadline)| left(now, deadline))
    }

    /// Sets when a live session ends, instead of what the store's settings say. Returns `false`, and
    /// changes nothing, if there is no live one of this id.
    ///
    /// Holds for the rest of the session's life, through saves and rotations, until it is set again.
    ///
    /// # Locking
    ///
    /// The shard's exclusive lock.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::SessionStore;
    /// use std::time::Duration;
    ///
    /// let store = SessionStore::new(3600);
    /// let session = store.create();
    /// store.set_expiry(session.id(), Duration::from_secs(7 * 24 * 60 * 60));
    /// assert!(store.expires_in(session.id()) > Some(Duration::from_secs(3600)));
    /// ```
    pub fn set_expiry(&self, id: impl AsSessionId, expiry: impl Into<Expiry>) -> bool {
        let expiry = expiry.into();
        let Some(id) = self.inner.resolve(id.named()) else {
            return false;
        };
        let now = self.inner.clock.now();
        let (deadline, terms) = self.inner.terms_of(expiry, now);
        let place = self.inner.gate.place(id);
        let mut shard = self.inner.gate.exclusive(place.shard);
        let live = match shard.find(&place) {
            Some(entry) if entry.is_live(now) => {
                entry.set_terms(deadline, terms);
                true
            }
            _ => false,
        };
        drop(shard);
        if let (true, Expiry::After(lifetime)) = (live, expiry) {
            self.inner.sweep.hasten(ticks(lifetime));
        }
        if live {
            self.inner.ends.stir(&self.inner.stats, id);
        }
        self.inner.tend(now);
        live
    }

    /// Watches for the end of a session; `None` if there is no live one of this id. Does not count as activity.
    ///
    /// For whatever is to end with its session: a WebSocket, a stream of events. The store lives as long as a watch of
    /// it. Of a caller's id that begins another session while the end of the one before is still being told, a watch
    /// may take that end for its own.
    ///
    /// # Locking
    ///
    /// The shard's shared lock, and one of the watchers' own.
    pub fn watch(&self, id: impl AsSessionId) -> Option<Watch<T>> {
        let id = self.inner.resolve(id.named())?;
        // First the watch and then the look, so that no end comes between them unseen.
        let watch = Watch::begin(self.clone(), id);
        self.contains(&id).then_some(watch)
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.inner.ends.watched
    }

    /// Takes a session that has expired out of the table, and returns how long one that has not will live.
    pub(crate) fn end_if_expired(&self, id: SessionId) -> Option<Duration> {
        let inner = &*self.inner;
        let now = inner.clock.now();
        let place = inner.gate.place(id);
        let deadline = inner.gate.read(&place, |entry| entry.live_until(now))?;
        if deadline.is_none() {
            let ended = inner.take_dead(&mut inner.gate.exclusive(place.shard), &place, now);
            inner.tell(ended);
        }
        deadline.map(|deadline| left(now, deadline))
    }

    /// Gives a session a new id. Returns `true` if it did; `false`, and changes nothing, if the
    /// session has ended.
    ///
    /// The old id is dead at the instant the new one lives, for every other request: never both,
    /// never neither. Stored data, saves of others included, and lifetime go with it; unsaved
    /// changes stay in the handle.
    ///
    /// # Expiry
    ///
    /// Counts as activity. The absolute limit stays what it was.
    ///
    /// # Locking
    ///
    /// The exclusive locks of the shards of both ids, taken in the order of the shards.
    ///
    /// # Security
    ///
    /// Call it whenever a visitor signs in or gains rights, so that an id known before is worth
    /// nothing after (session fixation; ASVS 5.0 7.2.4).
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness for the id. [`try_rotate`](Self::try_rotate)
    /// returns that as an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::SessionStore;
    ///
    /// let store = SessionStore::new(3600);
    /// let mut session = store.create();
    /// let before = *session.id();
    /// if store.rotate(&mut session) {
    ///     session.set("user_id", "42");
    ///     store.save(&session);
    /// }
    /// assert!(!store.contains(&before) && store.contains(session.id()));
    /// ```
    pub fn rotate(&self, session: &mut Session<T>) -> bool {
        match self.try_rotate(session) {
            Ok(()) => true,
            Err(RotateError::Gone) => false,
            Err(RotateError::Entropy(error)) => panic!("{error}"),
        }
    }

    /// Gives a session a new id, like [`rotate`](Self::rotate), or says why not.
    ///
    /// # Errors
    ///
    /// [`RotateError::Gone`] if the session has ended; [`RotateError::Entropy`] if there is no
    /// randomness for the id.
    pub fn try_rotate(&self, session: &mut Session<T>) -> Result<(), RotateError> {
        self.rotate_with(session, Renewal::None)
    }

    pub(super) fn rotate_with(
        &self,
        session: &mut Session<T>,
        renewal: Renewal,
    ) -> Result<(), RotateError> {
        let new = loop {
            let new = self.inner.mint.draw()?;
            match self.inner.rotate(*session.id(), new, renewal) {
                Rotated::Yes => break new,
                Rotated::Taken => {}
                Rotated::Gone => return Err(RotateError::Gone),
            }
        };
        session.set_id(new);
        Ok(())
    }
}

/// Returns when a session ends by `expiry`, at its limit at the latest.
pub(super) fn within(expiry: Expiry, now: Tick, limit: Tick) -> Tick {
    match expiry {
        Expiry::After(lifetime) => after(now, ticks(lifetime)).min(limit),
        Expiry::Never | Expiry::Policy => limit,
    }
}

/// What becomes of the deadline of a session whose data is stored.
#[derive(Clone, Copy)]
pub(super) enum Dating {
    /// It moves, as by any use.
    Activity,
    /// It is what the session's framework says.
    #[cfg(any(
        test,
        feature = "tower-sessions",
        feature = "actix-session",
        feature = "async-session"
    ))]
    Until(Expiry),
}

/// What a session gets with a new id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    None,
    /// New deadlines: its user has authenticated.
    Authenticated,
}

enum Rotated {
    Yes,
    /// The new id is in the table already.
    Taken,
    Gone,
}

impl<T> Inner<T> {
    /// Returns the first deadline and the terms of a session that begins now: those of the store's
    /// settings, or an end of its own that no activity moves, within the store's absolute lifetime.
    pub(super) fn start(&self, expiry: Expiry, now: Tick) -> (Tick, Terms) {
        let (deadline, terms) = self.policy.start(now);
        match expiry {
            Expiry::Policy => (deadline, terms),
            own => (within(own, now, terms.limit), Terms { slides: false, ..terms }),
        }
    }

    fn terms_of(&self, expiry: Expiry, now: Tick) -> (Tick, Terms) {
        let limit = match expiry {
            Expiry::After(lifetime) => after(now, ticks(lifetime)),
            Expiry::Never => NEVER,
            Expiry::Policy => return self.policy.start(now),
        };
        (limit, Terms { limit, slides: false })
    }

    fn rotate(&self, old: SessionId, new: SessionId, renewal: Renewal) -> Rotated {
        let now = self.clock.now();
        let (from, to) = (self.gate.place(old), self.gate.place(new));
        let mut pair = self.gate.exclusive_pair(&from, &to);
        if pair.shard_of(&to).find(&to).is_some() {
            return Rotated::Taken;
        }
        let shard = pair.shard_of(&from);
        let live = shard.find(&from).is_some_and(|entry| entry.touch(now, self.policy.idle));
        let Some(entry) = live.then(|| shard.remove(&from)).flatten() else {
            return Rotated::Gone;
        };
        let mut moved = Entry::new(entry.deadline(), Arc::clone(entry.record()));
        if renewal == Renewal::Authenticated {
            let (deadline, terms) = self.policy.start(now);
            moved.set_terms(deadline, terms);
        }
        self.authenticated.rename(old, new);
        if renewal == Renewal::Authenticated {
            self.authenticated.note(new, seconds(now));
        }
        if let (Some(register), Some(slot)) = (&self.register, moved.record().slot()) {
            register.index.rename(slot, new);
        }
        pair.shard_of(&to).insert(&to, moved);
        self.moves.note(old, new);
        drop(pair);
        self.tell_one(Ended::new(old, entry, Cause::Rotated));
        self.tend(now);
        Rotated::Yes
    }
}
