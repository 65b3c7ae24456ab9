//! actix-session: cloakroom behind its interface, and a map under one lock, because it has no store in
//! memory of its own.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use anyhow::Error;
use cloakroom::adapters::actix_session::{State, Store};
use pollster::block_on;

use crate::peer::{Cleanup, Lifetimes, Payload, Peer, Settings, text};

/// What distinguishes one store from another.
pub trait Backend: SessionStore + Send + Sync + Default + 'static {
    const NAME: &'static str;
    const CLEANUP: Cleanup;

    fn stored(&self) -> Option<usize>;
}

impl Backend for Store {
    const NAME: &'static str = "cloakroom-actix";
    const CLEANUP: Cleanup = Cleanup::ByUse;

    fn stored(&self) -> Option<usize> {
        Some(self.sessions().len())
    }
}

/// The least that a store in memory can be: no expiry, and keys that are only numbers.
#[derive(Default)]
pub struct Map {
    states: Mutex<HashMap<String, State>>,
    next: AtomicU64,
}

impl Backend for Map {
    const NAME: &'static str = "actix-map";
    const CLEANUP: Cleanup = Cleanup::Never;

    fn stored(&self) -> Option<usize> {
        Some(self.states.lock().expect("nobody panics").len())
    }
}

impl SessionStore for Map {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        Ok(self.states.lock().expect("nobody panics").get(key.as_ref()).cloned())
    }

    async fn save(&self, state: State, _: &time::Duration) -> Result<SessionKey, SaveError> {
        let key = format!("{:022}", self.next.fetch_add(1, Ordering::Relaxed));
        self.states.lock().expect("nobody panics").insert(key.clone(), state);
        Ok(session_key(&key))
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        _: &time::Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.states.lock().expect("nobody panics").insert(key.as_ref().to_owned(), state);
        Ok(key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &time::Duration) -> Result<(), Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), Error> {
        self.states.lock().expect("nobody panics").remove(key.as_ref());
        Ok(())
    }
}

pub struct Actix<S> {
    store: S,
    ttl: time::Duration,
}

/// A request's session: its key, and its state.
pub struct Handle {
    key: String,
    state: State,
}

fn session_key(text: &str) -> SessionKey {
    text.to_owned().try_into().expect("22 characters are a key")
}

fn state(payload: Payload) -> State {
    let next = text::digits(payload.next());
    let texts = [(text::NEXT, next.as_str()), (text::USER, text::FILLING)];
    texts.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn lifetime(ttl: Duration) -> time::Duration {
    ttl.try_into().expect("a lifetime is not that long")
}

impl<S: Backend> Actix<S> {
    fn create_for(&self, payload: Payload, ttl: time::Duration) -> String {
        block_on(self.store.save(state(payload), &ttl)).expect("memory does not fail").into()
    }
}

impl<S: Backend> Peer for Actix<S> {
    /// The key.
    type Id = String;
    type Handle = Handle;

    const NAME: &'static str = S::NAME;
    const LIFETIMES: Lifetimes = match S::CLEANUP {
        Cleanup::Never => Lifetimes::None,
        _ => Lifetimes::OfSession,
    };
    const CLEANUP: Cleanup = S::CLEANUP;

    fn open(settings: &Settings) -> Self {
        Self { store: S::default(), ttl: lifetime(settings.ttl) }
    }

    fn create(&self, payload: Payload) -> String {
        self.create_for(payload, self.ttl)
    }

    fn create_until(&self, payload: Payload, deadline: Instant) -> String {
        self.create_for(payload, lifetime(deadline.saturating_duration_since(Instant::now())))
    }

    fn load(&self, id: &String) -> Option<Handle> {
        let state = block_on(self.store.load(&session_key(id))).expect("memory does not fail")?;
        Some(Handle { key: id.clone(), state })
    }

    fn next(handle: &Handle) -> usize {
        text::parse(handle.state.get(text::NEXT).expect("every session names another"))
    }

    fn save(&self, handle: &mut Handle, payload: Payload) {
        let changed = state(payload);
        handle.state.extend(changed.iter().map(|(key, value)| (key.clone(), value.clone())));
        let saved = self.store.update(session_key(&handle.key), changed, &self.ttl);
        block_on(saved).expect("memory does not fail");
    }

    fn destroy(&self, id: &String) {
        block_on(self.store.delete(&session_key(id))).expect("memory does not fail");
    }

    fn unknown_id() -> String {
        // No number, so unknown to the map, and an id's form.
        let other = cloakroom::SessionStore::<()>::default();
        other.create().id().to_token().to_string()
    }

    fn load_malformed(&self, text: &str) -> Option<bool> {
        Some(self.load(&text.to_owned()).is_some())
    }

    fn stored(&self) -> Option<usize> {
        self.store.stored()
    }
}
