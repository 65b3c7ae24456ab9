//! A store for [async-session](https://docs.rs/async-session) 3.0, for the middlewares that
//! are written on it; tide's is from 0.17.0-beta.1 on, its 0.16 being on async-session 2.
//!
//! ```
//! use cloakroom::adapters::async_session::{State, Store};
//! use cloakroom::{SessionStore, Subject};
//! use std::time::Duration;
//!
//! let sessions = SessionStore::builder()
//!     .ttl(Duration::from_secs(12 * 60 * 60))   // the absolute lifetime
//!     .max_sessions(1_000_000)
//!     .index_by(|state: &State| state.get("user").map(Subject::from))
//!     .build()?;
//! let store = Store::from(sessions);
//! // app.with(tide::sessions::SessionMiddleware::new(store.clone(), secret));
//!
//! // Elsewhere in the process: log a user out everywhere. Values are JSON.
//! store.sessions().revoke_all("\"ada\"");
//! # Ok::<(), cloakroom::BuildError>(())
//! ```
//!
//! # What it does where other stores differ
//!
//! * Sessions are kept under their own id, which is a digest of the cookie. The cookie's value is never
//!   kept, so that nobody who sees the memory can use it.
//! * `store_session` creates only what has a cookie's value to hand out, that is a new or regenerated
//!   session, and never under an id that is taken: that session is regenerated once more. Any other
//!   session is updated. One that has ended is not: that changes nothing, is counted in
//!   [`StoreStats::saves_refused`](crate::StoreStats::saves_refused), and returns `Ok(None)`. Whoever gives a loaded
//!   session a cookie's value, by `set_cookie_value`, makes it a new one for the store, even after its end.
//! * A loaded session is a copy. With `MemoryStore` it shares its data with the stored one and with all
//!   others loaded: there, changes show to other requests before they are stored, and what is written
//!   after `regenerate` shows under the old id.
//! * A malformed cookie is `Ok(None)`, like an unknown one, and no error.
//! * [`index_by`](crate::Builder::index_by), the limit of a subject's sessions and
//!   [`max_bytes`](crate::Builder::max_bytes) work through it: the index follows what is stored, and a
//!   `store_session` that is refused is an `Err` with the reason.
//! * A session without an expiry lives until the [`ttl`](crate::Builder::ttl) of the store inside, or
//!   for ever if it has none. Expired sessions are swept as the store is used. What is left until an expiry
//!   runs on a clock that nobody sets, whatever becomes of the wall clock meanwhile. The `ttl` begins anew
//!   with `regenerate`, for the store a new session. An [`idle_timeout`](crate::Builder::idle_timeout) of the
//!   store inside has no effect: the expiry, or that there is none, takes its place.
//!
//! `regenerate` does not tell a store which session it replaces: end that one yourself, with
//! `destroy_session` on a clone from before, and before the new one is stored. After that, it counts beside the new one
//! where a subject may have only so many.
//!
//! # What it costs
//!
//! A load digests the cookie, for async-session's id, and makes a session that shares nothing with another:
//! a table, each key and value, and what async-session shares between clones. A store copies the data into
//! one piece, because what it is given shares its data with its clones, see [`State`]. The
//! [`SessionStore`] itself, with a type of your own, does none of that: there, a load allocates nothing.

mod digest;
mod parts;

use std::fmt;

use async_session::chrono::{DateTime, Utc};
use async_session::{Result, Session, async_trait};

use crate::adapters::packed::Packed;
use crate::clock;
use crate::ends::Plain;
use crate::error::{CreateError, Rejected};
use crate::id::SessionId;
use crate::store::{Expiry, SessionStore};

/// What a store keeps of a session: all but the id, which it is kept under.
///
/// The data is kept in one piece, so that a save or a load touches as little memory as it can.
///
/// `Debug` shows how many values there are and when the session ends, and nothing of the values.
#[derive(Clone)]
pub struct State {
    /// As `parts` writes it, in no order.
    data: Packed,
    expiry: Option<DateTime<Utc>>,
}

impl State {
    /// Returns a value, which is JSON.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// Returns all keys and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        parts::pairs(self.data.reader())
    }

    /// Returns when the session ends; `None` leaves that to the store.
    #[must_use]
    pub fn expiry(&self) -> Option<DateTime<Utc>> {
        self.expiry
    }
}

/// Whatever the order in which the session had its values.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let same = |(key, value)| other.get(key) == Some(value);
        self.expiry == other.expiry
            && self.iter().len() == other.iter().len()
            && self.iter().all(same)
    }
}

impl Eq for State {}

impl Plain for State {}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("len", &self.iter().len())
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

/// A [`SessionStore`] of async-session's states, as async-session wants it. Clones share the sessions.
///
/// See the [module](self) for what it does and costs.
///
/// # Examples
///
/// ```
/// use async_session::{Session, SessionStore as _};
/// use cloakroom::adapters::async_session::Store;
///
/// # cloakroom::conformance::block_on(async {
/// let store = Store::default();
/// let mut session = Session::new();
/// session.insert("user", "ada")?;
/// let cookie = store.store_session(session).await?.ok_or_else(|| async_session::Error::msg("not new"))?;
/// let loaded = store.load_session(cookie).await?;
/// assert_eq!(loaded.and_then(|session| session.get("user")), Some("ada".to_owned()));
/// # async_session::Result::Ok(())
/// # })?;
/// # async_session::Result::Ok(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Store {
    sessions: SessionStore<State>,
}

impl Store {
    /// Returns the end at a date: at once, if that is past.
    fn until(&self, date: Option<DateTime<Utc>>) -> Expiry {
        // In nanoseconds: two dates of the calendar are dear to make and to subtract.
        date.map_or(Expiry::Never, |date| {
            let seconds = i128::from(date.timestamp());
            let nanos = i128::from(date.timestamp_subsec_nanos());
            self.sessions.expiry_at(seconds * 1_000_000_000 + nanos)
        })
    }

    /// Returns the sessions: to list, revoke, count and purge them.
    ///
    /// They are under async-session's ids: [`session_id`] translates one.
    #[must_use]
    pub fn sessions(&self) -> &SessionStore<State> {
        &self.sessions
    }

    /// Stores a session under an id, or under a new one where that is taken. Returns its cookie's value.
    fn create(&self, id: &SessionId, mut cookie: String, mut state: State) -> Result<String> {
        let mut id = *id;
        loop {
            let expiry = self.until(state.expiry);
            match self.sessions.create_dated_as(&id, state, expiry) {
                Ok(_) => return Ok(cookie),
                Err(Rejected { value, error: CreateError::Taken }) => {
                    state = value;
                    let other = Session::new();
                    id = session_id(other.id());
                    cookie = other.into_cookie_value().unwrap_or_default();
                }
                Err(rejected) => return Err(rejected.error.into()),
            }
        }
    }
}

impl From<SessionStore<State>> for Store {
    fn from(sessions: SessionStore<State>) -> Self {
        Self { sessions }
    }
}

/// Returns the id in this crate's form: the first half of it, which is a digest of the cookie.
///
/// A text that is no such digest is digested.
#[must_use]
pub fn session_id(id: &str) -> SessionId {
    digest::first_half(id).unwrap_or_else(|| SessionId::digest(id))
}

fn now() -> DateTime<Utc> {
    clock::wall().into()
}

#[async_trait]
impl async_session::SessionStore for Store {
    async fn load_session(&self, cookie_value: String) -> Result<Option<Session>> {
        let Ok(id) = Session::id_from_cookie_value(&cookie_value) else {
            return Ok(None);
        };
        let is_over = |state: &State| state.expiry.is_some_and(|date| date <= now());
        let key = session_id(&id);
        let assemble = |state: &State| parts::assemble(id, state);
        self.sessions.load_dated(&key, is_over, assemble).transpose()
    }

    async fn store_session(&self, session: Session) -> Result<Option<String>> {
        let id = session_id(session.id());
        let state = State { data: parts::data(&session)?, expiry: session.expiry().copied() };
        session.reset_data_changed();
        if let Some(cookie) = session.into_cookie_value() {
            return self.create(&id, cookie, state).map(Some);
        }
        let expiry = self.until(state.expiry);
        // Refused and counted where there is nothing to update: see the module.
        self.sessions.replace(&id, state, expiry)?;
        Ok(None)
    }

    async fn destroy_session(&self, session: Session) -> Result {
        self.sessions.destroy(&session_id(session.id()));
        Ok(())
    }

    async fn clear_store(&self) -> Result {
        self.sessions.clear();
        Ok(())
    }
}
