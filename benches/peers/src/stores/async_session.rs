//! async-session: its `MemoryStore`, and cloakroom behind its interface.
//!
//! `MemoryStore`'s sessions share their data with the store: changing a loaded session changes the stored
//! one before it is saved. Destroying takes a session, so it begins with a load.

use std::time::{Duration, Instant};

use async_session::{MemoryStore, Session, SessionStore};
use cloakroom::adapters::async_session::Store;
use pollster::block_on;

use crate::peer::{Cleanup, Lifetimes, Payload, Peer, Settings, text};

pub struct AsyncSession<S> {
    store: S,
    ttl: Duration,
}

/// What distinguishes one store from another.
pub trait Backend: SessionStore {
    const NAME: &'static str;
    const CLEANUP: Cleanup;

    fn open() -> Self;
    fn purge(&self);
    fn stored(&self) -> usize;
}

impl Backend for MemoryStore {
    const NAME: &'static str = "async-session";
    const CLEANUP: Cleanup = Cleanup::ByPurge;

    fn open() -> Self {
        Self::new()
    }

    fn purge(&self) {
        block_on(self.cleanup()).expect("memory does not fail");
    }

    fn stored(&self) -> usize {
        block_on(self.count())
    }
}

impl Backend for Store {
    const NAME: &'static str = "cloakroom-async";
    const CLEANUP: Cleanup = Cleanup::ByUse;

    fn open() -> Self {
        Self::default()
    }

    fn purge(&self) {}

    fn stored(&self) -> usize {
        self.sessions().len()
    }
}

fn fill(session: &mut Session, payload: Payload) {
    let written = session
        .insert(text::NEXT, payload.next())
        .and_then(|()| session.insert(text::USER, text::FILLING));
    written.expect("numbers and text are JSON");
}

impl<S: Backend> AsyncSession<S> {
    fn create_for(&self, payload: Payload, lifetime: Duration) -> String {
        let mut session = Session::new();
        session.expire_in(lifetime);
        fill(&mut session, payload);
        let cookie = block_on(self.store.store_session(session)).expect("memory does not fail");
        cookie.expect("a new session has a cookie")
    }
}

impl<S: Backend> Peer for AsyncSession<S> {
    /// The cookie's value.
    type Id = String;
    type Handle = Session;

    const NAME: &'static str = S::NAME;
    const LIFETIMES: Lifetimes = Lifetimes::OfSession;
    const CLEANUP: Cleanup = S::CLEANUP;

    fn open(settings: &Settings) -> Self {
        Self { store: S::open(), ttl: settings.ttl }
    }

    fn create(&self, payload: Payload) -> String {
        self.create_for(payload, self.ttl)
    }

    fn create_until(&self, payload: Payload, deadline: Instant) -> String {
        self.create_for(payload, deadline.saturating_duration_since(Instant::now()))
    }

    fn load(&self, id: &String) -> Option<Session> {
        block_on(self.store.load_session(id.clone())).expect("a cookie is base64")
    }

    fn next(handle: &Session) -> usize {
        handle.get(text::NEXT).expect("every session names another")
    }

    fn save(&self, handle: &mut Session, payload: Payload) {
        fill(handle, payload);
        block_on(self.store.store_session(handle.clone())).expect("memory does not fail");
    }

    fn destroy(&self, id: &String) {
        let session = self.load(id).expect("a session was lost");
        block_on(self.store.destroy_session(session)).expect("memory does not fail");
    }

    fn unknown_id() -> String {
        let cookie = Session::new().into_cookie_value();
        cookie.expect("a new session has a cookie")
    }

    fn load_malformed(&self, text: &str) -> Option<bool> {
        let found = block_on(self.store.load_session(text.to_owned()));
        Some(matches!(found, Ok(Some(_))))
    }

    fn purge(&self) {
        self.store.purge();
    }

    fn stored(&self) -> Option<usize> {
        Some(self.store.stored())
    }
}
