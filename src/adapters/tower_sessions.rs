//! A store for [tower-sessions](https://docs.rs/tower-sessions) 0.15, for axum and other tower services.
//!
//! ```
//! use cloakroom::adapters::tower_sessions::{State, Store};
//! use cloakroom::{SessionStore, Subject};
//! use std::time::Duration;
//!
//! let sessions = SessionStore::builder()
//!     .ttl(Duration::from_secs(12 * 60 * 60))   // the absolute lifetime
//!     .max_sessions(1_000_000)
//!     .index_by(|state: &State| state.get("user")?.as_str().map(Subject::from))
//!     .build()?;
//! let store = Store::from(sessions);
//! // let layer = tower_sessions::SessionManagerLayer::new(store.clone());
//!
//! // Elsewhere in the process: log a user out everywhere.
//! store.sessions().revoke_all("ada");
//! # Ok::<(), cloakroom::BuildError>(())
//! ```
//!
//! # What it does where other stores differ
//!
//! * `create` always stores under a new id of this store's own making, and tells it through the record.
//!   So no id is handed out that is taken, that has ended (after `flush`), or that a client made up.
//! * `save` never creates. For a session that has ended it changes nothing, is counted in
//!   [`StoreStats::saves_refused`](crate::StoreStats::saves_refused), and returns `Ok`, because an error
//!   would turn the response into a 500. So no late save brings a session back after a logout, and
//!   `clear` with an unknown id in the cookie does not make that id a session. But a request that began before
//!   the logout and calls `cycle_id` after it begins a new session with all it had loaded: to a store that is a
//!   `create` like any other. So are two such calls at once, of which two sessions come. Here,
//!   [`index_by`](crate::Builder::index_by) finds them.
//! * `expiry_date` is honoured to the moment, dates in the past included, within the
//!   [`ttl`](crate::Builder::ttl) of the store inside. What is left until then runs on a clock that nobody
//!   sets: where the wall clock is set meanwhile, a session ends no sooner or later for it. The `ttl` begins
//!   anew with `cycle_id`, which makes a session of its own. An [`idle_timeout`](crate::Builder::idle_timeout)
//!   of the store inside has no effect: the date takes its place.
//! * [`index_by`](crate::Builder::index_by), the limit of a subject's sessions and
//!   [`max_bytes`](crate::Builder::max_bytes) work through it: the index follows what is saved, and a
//!   `create` or `save` that is refused is an `Error::Backend` with the reason, which becomes a 500.
//! * Expired sessions are swept as the store is used; [`ExpiredDeletion`] is there for those who want
//!   the memory back at a certain time.
//!
//! It is not for the front of a `CachingSessionStore`, which fills its cache by saves and needs the two
//! sides to agree on an id.
//!
//! # What it costs
//!
//! A load is the core's load and the making of a record, because the interface returns one by value: a
//! table, and each key and value in it. `create` and `save` copy the data into one piece, because they
//! borrow it, see [`State`]. Each call is a boxed future, and `Session` above it takes a lock and JSON for
//! each value. The [`SessionStore`] itself, with a type of your own, does none of that: there, a load
//! allocates nothing.

mod shapes;
mod state;
mod value;

pub use state::State;

use async_trait::async_trait;
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::{Error, ExpiredDeletion, Result};

use crate::clock;
use crate::error::{CreateError, Rejected};
use crate::id::SessionId;
use crate::store::{Expiry, SessionStore};

/// A [`SessionStore`] of tower-sessions' records, as tower-sessions wants it. Clones share the sessions.
///
/// See the [module](self) for what it does and costs.
///
/// # Examples
///
/// ```
/// use cloakroom::adapters::tower_sessions::Store;
/// use tower_sessions_core::Session;
/// use std::sync::Arc;
///
/// # cloakroom::conformance::block_on(async {
/// let store = Store::default();
/// let session = Session::new(None, Arc::new(store.clone()), None);
/// session.insert("visits", 1).await?;
/// session.save().await?;
/// assert_eq!(store.sessions().len(), 1);
/// # Ok::<(), tower_sessions_core::session::Error>(())
/// # })?;
/// # Ok::<(), tower_sessions_core::session::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Store {
    sessions: SessionStore<State>,
}

impl Store {
    /// Returns the end at a date: at once, if that is past.
    fn until(&self, date: OffsetDateTime) -> Expiry {
        // In nanoseconds: two dates of the calendar are dear to make and to subtract.
        self.sessions.expiry_at(date.unix_timestamp_nanos())
    }

    /// Returns the sessions: to list, revoke, count and purge them.
    ///
    /// They are under the ids that the cookies carry: [`session_id`] translates one.
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

/// Returns the id in this crate's form: the same bits, and the same text in a cookie.
#[must_use]
pub fn session_id(id: Id) -> SessionId {
    SessionId::from_bits(u128::from_be_bytes(id.0.to_le_bytes()))
}

/// Returns the id in tower-sessions' form: the same bits, and the same text in a cookie.
#[must_use]
pub fn tower_id(id: &SessionId) -> Id {
    Id(i128::from_le_bytes(id.bits().to_be_bytes()))
}

fn now() -> OffsetDateTime {
    clock::wall().into()
}

#[async_trait]
impl tower_sessions_core::SessionStore for Store {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let created =
            self.sessions.create_dated(State::from(&*record), self.until(record.expiry_date));
        let session = created.map_err(backend)?;
        record.id = tower_id(session.id());
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        let expiry = self.until(record.expiry_date);
        // Refused and counted where there is nothing to save: see the module.
        let saved = self.sessions.replace(&session_id(record.id), State::from(record), expiry);
        saved.map(|_| ()).map_err(|refused| Error::Backend(refused.to_string()))
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let is_over = |state: &State| state.expiry_date() <= now();
        let record = |state: &State| Record {
            id: *id,
            data: state.to_data(),
            expiry_date: state.expiry_date(),
        };
        Ok(self.sessions.load_dated(&session_id(*id), is_over, record))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.sessions.destroy(&session_id(*id));
        Ok(())
    }
}

#[async_trait]
impl ExpiredDeletion for Store {
    async fn delete_expired(&self) -> Result<()> {
        self.sessions.purge_expired();
        Ok(())
    }
}

fn backend(rejected: Rejected<State>) -> Error {
    let error: CreateError = rejected.error;
    Error::Backend(error.to_string())
}
