//! A store for [actix-session](https://docs.rs/actix-session) 0.11, which has none of its own in memory.
//!
//! ```
//! use cloakroom::adapters::actix_session::{State, Store};
//! use cloakroom::{SessionStore, Subject};
//! use std::time::Duration;
//!
//! let sessions = SessionStore::builder()
//!     .ttl(Duration::from_secs(12 * 60 * 60))   // the absolute lifetime
//!     .max_sessions(1_000_000)
//!     .index_by(|state: &State| state.get("user").map(Subject::from))
//!     .build()?;
//! let store = Store::from(sessions);
//! // One store, cloned into each worker:
//! // HttpServer::new(move || App::new().wrap(SessionMiddleware::new(store.clone(), key.clone())))
//!
//! // Elsewhere in the process: log a user out everywhere. Values are JSON.
//! store.sessions().revoke_all("\"ada\"");
//! # Ok::<(), cloakroom::BuildError>(())
//! ```
//!
//! # What it does where other stores differ
//!
//! * `save` makes the key: 22 characters, 128 bits from the operating system, never one that is taken.
//! * `update` never creates. For a session that has ended it changes nothing, is counted in
//!   [`StoreStats::saves_refused`](crate::StoreStats::saves_refused), and returns the same key. The
//!   Redis store saves the state under a new key instead, with which a request that began before a
//!   logout signs the visitor in again after it.
//! * `update_ttl` lets a session live longer, never shorter, and never brings one back.
//! * `delete` is final, at once, for every request. But a request that began before it and calls `renew` after it
//!   begins a new session with all it had loaded: to a store that is a `save` like any other.
//! * [`index_by`](crate::Builder::index_by), the limit of a subject's sessions and
//!   [`max_bytes`](crate::Builder::max_bytes) work through it: the index follows what is saved, and a `save`
//!   or `update` that is refused is an error with the reason, `Other`, which becomes a 500.
//! * No session outlives the [`ttl`](crate::Builder::ttl) of the store inside, however often it is used; but
//!   `renew` makes a new one, with which the `ttl` begins anew. An
//!   [`idle_timeout`](crate::Builder::idle_timeout) of the store inside has no effect: actix-session's own takes
//!   its place.
//!
//! # What it costs
//!
//! A load is the core's load and a clone of the state, because the interface returns a map by value: a
//! table, and each key and value in it. `save` and `update` keep the map that they are given, without a
//! copy. Above that, the middleware encrypts or signs the key in the cookie, and `Session` takes JSON for
//! each value. The [`SessionStore`] itself, with a type of your own, does none of that: there, a load
//! allocates nothing.

use std::collections::HashMap;

use actix_session::storage::{LoadError, SaveError, SessionKey, UpdateError};
use anyhow::Error;
use time::Duration;

use crate::ends::Plain;
use crate::store::{Expiry, SessionStore};

/// What actix-session keeps of a session: JSON text for each key.
pub type State = HashMap<String, String>;

impl Plain for State {}

/// A [`SessionStore`] of actix-session's states, as actix-session wants it. Clones share the sessions.
///
/// See the [module](self) for what it does and costs.
///
/// # Examples
///
/// ```
/// use actix_session::storage::SessionStore as _;
/// use cloakroom::adapters::actix_session::{State, Store};
///
/// # cloakroom::conformance::block_on(async {
/// let store = Store::default();
/// let state = State::from([("user".to_owned(), "\"ada\"".to_owned())]);
/// let key = store.save(state, &time::Duration::hours(1)).await?;
/// assert!(store.sessions().contains(key.as_ref()));
/// # Ok::<(), actix_session::storage::SaveError>(())
/// # })?;
/// # Ok::<(), actix_session::storage::SaveError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Store {
    sessions: SessionStore<State>,
}

impl Store {
    /// Returns the sessions: to list, revoke, count and purge them. Their ids' texts are the keys.
    #[must_use]
    pub fn sessions(&self) -> &SessionStore<State> {
        &self.sessions
    }
}

impl From<SessionStore<State>> for Store {
    fn from(sessions: SessionStore<State>) -> Self {
        Self { sessions }
    }
}

/// Returns a lifetime: nothing, if it is negative.
fn lifetime(ttl: &Duration) -> std::time::Duration {
    (*ttl).try_into().unwrap_or_default()
}

impl actix_session::storage::SessionStore for Store {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        Ok(self.sessions.load(key.as_ref()).map(|session| State::clone(&session)))
    }

    async fn save(&self, state: State, ttl: &Duration) -> Result<SessionKey, SaveError> {
        let created = self.sessions.create_dated(state, Expiry::After(lifetime(ttl)));
        let session = created.map_err(|rejected| SaveError::Other(Error::new(rejected.error)))?;
        let key = session.id().to_token().as_str().to_owned();
        key.try_into().map_err(|error| SaveError::Other(Error::new(error)))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        ttl: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        // Refused and counted where there is nothing to update: see the module.
        let updated = self.sessions.replace(key.as_ref(), state, Expiry::After(lifetime(ttl)));
        updated.map(|_| key).map_err(|refused| UpdateError::Other(Error::new(refused)))
    }

    async fn update_ttl(&self, key: &SessionKey, ttl: &Duration) -> Result<(), Error> {
        self.sessions.prolong(key.as_ref(), lifetime(ttl));
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), Error> {
        self.sessions.destroy(key.as_ref());
        Ok(())
    }
}
