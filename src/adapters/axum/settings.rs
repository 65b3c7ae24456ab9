//! Owns what can be chosen for a layer.

use std::fmt;

use crate::cookie::SessionCookie;
use crate::store::SessionStore;

/// What becomes of a change if somebody else saved the session since this request loaded it.
///
/// It holds for the changes that are saved when the handler is done, and for those that a handle holds when
/// [`update`](super::Session::update) is called. A handler that wants to know, or to mend it, calls
/// [`try_save`](super::Session::try_save); one that changes by `update` alone never conflicts.
///
/// A session that ended meanwhile stays ended, whatever is chosen here; its changes are dropped and
/// counted. With `LastWins` the response goes out as the handler made it, because all of this might
/// have happened in another order: first the change, then the end. The other two say 409 there too,
/// because the session may live on under another id, without the change.
pub enum OnConflict<T> {
    /// The session holds what the last request saved: what most frameworks do, and right where
    /// requests seldom change one session at once. The default.
    LastWins,
    /// The change is dropped, and the client gets 409 Conflict with an empty body. It may try again.
    Refuse,
    /// Both changes are kept: the function gets what the request loaded, what it made of it, and what
    /// is stored, which it is to change. Of two handles of one request the later may get what another had left
    /// for what was loaded, and of a visitor without a session `T::default()`. Runs outside every lock, and again
    /// if yet another save came between.
    Merge(fn(loaded: &T, changed: &T, stored: &mut T)),
}

impl<T> OnConflict<T> {
    pub(super) fn merge(self) -> Option<fn(loaded: &T, changed: &T, stored: &mut T)> {
        match self {
            Self::Merge(merge) => Some(merge),
            Self::LastWins | Self::Refuse => None,
        }
    }
}

impl<T> Clone for OnConflict<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OnConflict<T> {}

impl<T> fmt::Debug for OnConflict<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastWins => "LastWins",
            Self::Refuse => "Refuse",
            Self::Merge(_) => "Merge(..)",
        })
    }
}

/// How long the browser keeps the cookie. The store decides how long the session lives, either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookieLifetime {
    /// Until the browser is closed: the cookie has no `Max-Age`, and is sent once. The default, and
    /// what OWASP's Session Management Cheat Sheet prefers ("Expire and Max-Age Attributes").
    #[default]
    Browser,
    /// As long as the session, over restarts of the browser: `Max-Age` is what the store says when the cookie is sent.
    /// That is when the session is new or gets another id, and, in a store with an idle timeout, which moves the
    /// deadline with each use, with every response whose request used the session.
    ///
    /// Without an idle timeout the browser does not learn of an end that
    /// [`set_expiry`](crate::SessionStore::set_expiry) moves later, and drops the cookie at the old one:
    /// [`rotate`](super::Session::rotate) the session too.
    Session,
}

/// What a layer works with.
pub(super) struct Settings<T> {
    pub(super) store: SessionStore<T>,
    pub(super) cookie: SessionCookie,
    pub(super) on_conflict: OnConflict<T>,
    pub(super) lifetime: CookieLifetime,
}

impl<T> Clone for Settings<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            cookie: self.cookie.clone(),
            on_conflict: self.on_conflict,
            lifetime: self.lifetime,
        }
    }
}
