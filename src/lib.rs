//! A sharded, concurrent, in-process session store with idle and absolute expiry.
//!
//! It is not a cache (it never drops a live session unless you set a bound), not a web framework (it
//! takes and gives ids; the cookie is yours, see the feature `cookie`), and not a database (sessions
//! end with the process).
//!
//! ```
//! use cloakroom::SessionStore;
//! use std::time::Duration;
//!
//! #[derive(Clone, Default)]
//! struct Visitor { user: Option<u64>, cart: Vec<u32> }
//!
//! let store = SessionStore::<Visitor>::builder()
//!     .ttl(Duration::from_secs(12 * 60 * 60))
//!     .idle_timeout(Duration::from_secs(30 * 60))
//!     .build()?;
//! let mut session = store.create();
//! session.user = Some(42);
//! store.rotate(&mut session);
//! store.try_save(&mut session)?;
//! let found = store.load(session.id()).ok_or("the session has ended")?;
//! assert_eq!(found.user, Some(42));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! * **Cheap to share.** A [`SessionStore`] is one reference count; clones share the sessions.
//! * **Cheap to load.** A load allocates nothing and waits for no exclusive lock: it shares one shard's
//!   lock for one probe. A [`Session`] is a snapshot, never a guard, so it may be held across
//!   an `.await`.
//! * **Expired is gone.** An expired session is invisible at once, swept or not.
//! * **Nothing comes back.** Only `create` and its kin create: a save that races a logout loses.
//! * **No lost updates** where you ask for it: [`try_save`](SessionStore::try_save) reports the
//!   conflict, [`update`](SessionStore::update) applies every change.
//! * **Sweeping never stops the world.** No thread, no timer, no lock on the whole map: each operation
//!   does a bounded bit, and garbage stays bounded, with or without reads.
//! * **Bounded is bounded.** [`max_sessions`](Builder::max_sessions) is never exceeded.
//! * **Your code never runs under a lock.** Closures, listeners, `Clone` and `Drop` may call the store,
//!   and may panic. (Not two at once: where the `Drop` of what a closure was shown panics too, while the
//!   closure's panic unwinds, Rust aborts.)
//!
//! What is lock-free and what is not: sliding and ending a deadline, counting, drawing an id, reading
//! the clock and `len` are. A load holds its shard's lock, shared, for one probe, and none where nobody has
//! written the shard for a few milliseconds, or where one or two threads do all the work and mostly read;
//! whatever changes the table holds it exclusively, for a probe and at times the growth of that shard's
//! table. Nothing ever waits for the whole map.
//!
//! # Security
//!
//! Ids are 128 bits straight from the operating system. They do not appear in `Debug`, in errors or in
//! anything the crate prints; neither does the data. Unknown, ended and malformed ids are one and the
//! same miss. Call [`rotate`](SessionStore::rotate) at every sign-in.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `cookie` | no | the session cookie, its removal, and reading the id back, on the `cookie` crate |
//! | `axum` | no | `adapters::axum`: a layer and an extractor for typed sessions, for axum and any tower service |
//! | `metrics` | no | `StoreMetrics`: what a store holds and has done, as gauges and counters of the `metrics` facade |
//! | `tracing` | no | an event for each session that ends |
//! | `tower-sessions` | no | `adapters::tower_sessions::Store`, for tower-sessions 0.15 |
//! | `actix-session` | no | `adapters::actix_session::Store`, for actix-session 0.11 |
//! | `async-session` | no | `adapters::async_session::Store`, for async-session 3.0 |
//! | `conformance` | no | the checks that all adapters pass, for whoever writes another |
//!
//! The events of `tracing` have the level debug, the target `cloakroom`, and two fields: `session`, the
//! id's [fingerprint](SessionId::fingerprint), and `cause`, a [`Cause`]. One more, without fields, says that a
//! handle of `adapters::axum` left its changes when it was too late. None is emitted under a lock. Loads, creates and
//! saves are no events themselves; the ends that they bring about are, of whom they sweep or evict.
//!
//! # Minimum supported Rust version
//!
//! 1.85. A change of it is a minor release.

#[cfg(any(
    feature = "axum",
    feature = "tower-sessions",
    feature = "actix-session",
    feature = "async-session"
))]
pub mod adapters;
mod attributes;
mod authenticated;
mod bias;
mod builder;
mod capacity;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "cookie")]
mod cookie;
mod digits;
mod ends;
mod entry;
mod error;
mod gate;
mod id;
mod index;
mod marks;
#[cfg(feature = "metrics")]
mod metrics;
mod policy;
mod register;
mod session;
#[cfg_attr(cloakroom_loom, path = "../loom-tests/src/shards.rs")]
mod shards;
mod stats;
mod store;
#[cfg_attr(cloakroom_loom, path = "../loom-tests/src/stripe.rs")]
mod stripe;
mod subject;
mod sweep;
mod sync;
mod terms;
mod watched;
mod weigh;

pub use crate::attributes::Attributes;
pub use crate::builder::{Builder, IdSource};
pub use crate::capacity::OnFull;
pub use crate::clock::{Clock, MAX_LIFETIME, ManualClock};
#[cfg(feature = "cookie")]
pub use crate::cookie::SessionCookie;
pub use crate::ends::{Cause, End};
pub use crate::error::{BuildError, CreateError, EntropyError, Rejected, RotateError, SaveError};
pub use crate::id::{AsSessionId, SessionId, SessionToken};
#[cfg(feature = "metrics")]
pub use crate::metrics::StoreMetrics;
pub use crate::policy::Policy;
pub use crate::register::OnLimit;
pub use crate::session::Session;
pub use crate::stats::StoreStats;
pub use crate::store::{Expiry, SessionInfo, SessionStore};
pub use crate::subject::Subject;
pub use crate::watched::Watch;

#[cfg(cloakroom_loom)]
pub use crate::shards::watch;

/// So that what the README shows compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
