//! What frameworks see of a store, one module for each: typed sessions of our own for axum and any other
//! tower service, in `axum`, which is the way to go; and the store behind the sessions that a framework has
//! already, in `tower_sessions`, `actix_session` and `async_session`.
//!
//! # The sessions that a framework has already
//!
//! An adapter translates types and nothing else: what may happen to a session is decided by the
//! [`SessionStore`](crate::SessionStore) inside, which each `Store` here is made of, gives access to,
//! and shares with its clones. So one process can serve its framework's sessions and also list, revoke,
//! count and purge them.
//!
//! What holds for all of them: only a framework's "create" creates; a save that comes after a logout
//! changes nothing; a session ends when the framework says, and never later than the
//! [`ttl`](crate::Builder::ttl) of the store inside. That is the absolute lifetime that none of the
//! frameworks keeps. The store's [`idle_timeout`](crate::Builder::idle_timeout) does not apply: how long
//! an unused session lives is said by the framework, with each save.
//!
//! Whose the sessions are works through them as well: [`index_by`](crate::Builder::index_by) is asked about
//! what the framework saves, and where a limit or [`max_bytes`](crate::Builder::max_bytes) refuses that, the
//! framework gets an error, for nothing else would tell the visitor.
//!
//! What no adapter can give, because the interfaces have no room for it: conflict-checked saves, atomic
//! updates and a rotation that neither loses nor doubles a session. For those use the
//! [`SessionStore`](crate::SessionStore) itself.

#[cfg(feature = "actix-session")]
pub mod actix_session;
#[cfg(feature = "async-session")]
pub mod async_session;
#[cfg(feature = "axum")]
pub mod axum;
#[cfg(any(feature = "tower-sessions", feature = "async-session"))]
mod packed;
#[cfg(feature = "tower-sessions")]
pub mod tower_sessions;
