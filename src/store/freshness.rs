//! Owns when a session's user last proved who they are, and proving it again.

use std::time::{Duration, SystemTime};

use super::lifetime::Renewal;
use super::{Inner, SessionStore};
use crate::clock::{Tick, ticks};
use crate::error::RotateError;
use crate::id::AsSessionId;
use crate::id::sealed::Named;
use crate::index::tick;
use crate::session::Session;

impl<T> SessionStore<T> {
    /// Takes note that the session's user has authenticated just now: gives the session a new id, like
    /// [`rotate`](Self::rotate), and new deadlines, as if it began now.
    ///
    /// For whenever a password, a passkey or a second factor was checked: at sign-in, where it does what `rotate`
    /// does and more, and at step-up. Data, subject and time of creation stay; a lifetime that
    /// [`set_expiry`](Self::set_expiry) set does not.
    ///
    /// # Security
    ///
    /// As NIST SP 800-63B-4 asks: reauthentication restarts both timeouts. What was noted is forgotten when the
    /// session becomes another subject's, or nobody's, through [`index_by`](crate::Builder::index_by).
    ///
    /// # Errors
    ///
    /// As for [`try_rotate`](Self::try_rotate).
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{Policy, SessionStore};
    /// use std::time::Duration;
    ///
    /// let store = SessionStore::<u32>::builder().policy(Policy::aal2()).build()?;
    /// let mut session = store.create();
    /// let recent = Duration::from_secs(5 * 60);
    /// assert!(!store.authenticated_within(session.id(), recent));
    /// store.reauthenticate(&mut session)?;
    /// assert!(store.authenticated_within(session.id(), recent));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reauthenticate(&self, session: &mut Session<T>) -> Result<(), RotateError> {
        self.rotate_with(session, Renewal::Authenticated)
    }

    /// Returns when the session's user last authenticated, to the second; `None` if there is no live session of this
    /// id, or nobody has called [`reauthenticate`](Self::reauthenticate) for it. Does not count as activity.
    ///
    /// The system's time of day, for people to read: ask [`authenticated_within`](Self::authenticated_within) before
    /// something is allowed. With a [`ManualClock`](crate::ManualClock) it counts from the Unix epoch.
    #[must_use]
    pub fn authenticated_at(&self, id: impl AsSessionId) -> Option<SystemTime> {
        let (_, at) = self.inner.authenticated(id)?;
        Some(self.inner.clock.wall().at(at))
    }

    /// Tells whether the session's user has authenticated not longer ago than this, on the store's own clock, to the
    /// second: up to one second before that time it may say no already. Does not count as activity.
    #[must_use]
    pub fn authenticated_within(&self, id: impl AsSessionId, age: Duration) -> bool {
        let at = self.inner.authenticated(id);
        at.is_some_and(|(now, at)| now.saturating_sub(at) <= ticks(age))
    }
}

impl<T> Inner<T> {
    /// Returns the time, and when a live session's user last authenticated.
    fn authenticated(&self, id: impl AsSessionId) -> Option<(Tick, Tick)> {
        let id = self.resolve(id.named())?;
        let (now, at) = self.ask(Named::Id(id), |entry, now| {
            entry.is_live(now).then(|| self.authenticated.at(id)).flatten()
        })?;
        Some((now, tick(at)))
    }
}
