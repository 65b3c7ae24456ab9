//! Owns [`Policy`]: lifetimes by the name of where they come from.

use std::time::Duration;

/// An absolute lifetime and an idle timeout that belong together: for [`Builder::policy`](crate::Builder::policy).
///
/// From NIST SP 800-63B-4, "Digital Identity Guidelines: Authentication and Authenticator Management" (July 2025),
/// section 2, "Reauthentication" of each assurance level: after the overall timeout, or the inactivity timeout, a
/// session is to end unless its user authenticates again
/// ([`reauthenticate`](crate::SessionStore::reauthenticate)). Whoever is asked for less, or for more, sets
/// [`ttl`](crate::Builder::ttl) and [`idle_timeout`](crate::Builder::idle_timeout).
///
/// # Examples
///
/// ```
/// use cloakroom::{ManualClock, Policy, SessionStore};
///
/// let builder = SessionStore::<u32>::builder().policy(Policy::aal2());
/// let store = builder.clock(ManualClock::new()).build()?;
/// assert_eq!(store.expires_in(store.create().id()), Some(Policy::aal2().idle_timeout()));
/// # Ok::<(), cloakroom::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    ttl: Duration,
    idle_timeout: Duration,
}

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Policy {
    /// Returns the lifetimes of authentication assurance level 2 (section 2.2): overall no more than 24 hours,
    /// inactivity no more than 1 hour.
    #[must_use]
    pub const fn aal2() -> Self {
        Self { ttl: Duration::from_secs(24 * HOUR.as_secs()), idle_timeout: HOUR }
    }

    /// Returns the lifetimes of authentication assurance level 3 (section 2.3): overall no more than 12 hours,
    /// inactivity no more than 15 minutes.
    #[must_use]
    pub const fn aal3() -> Self {
        Self {
            ttl: Duration::from_secs(12 * HOUR.as_secs()),
            idle_timeout: Duration::from_secs(15 * 60),
        }
    }

    /// Returns the absolute lifetime.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns the idle timeout.
    #[must_use]
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }
}
