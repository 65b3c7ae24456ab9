//! Owns actix-session's interface as a subject, and the contract of its own.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use actix_session::storage::{SessionKey, SessionStore};
use time::Duration;

use super::{
    Check, Driver, LONG, Lifetime, Report, Subject, Suite, Trial, Verdict, ensure, list, wait,
};
use crate::adapters::actix_session::State;
use crate::clock::ManualClock;
use crate::store;

/// The key that the checks keep their number under.
const VALUE: &str = "value";

struct Actix<S> {
    store: S,
    driver: Driver,
}

/// A request's session: its key, and its state.
struct Handle {
    key: String,
    state: State,
}

impl Suite {
    /// Runs the suite on a store for actix-session.
    ///
    /// The interface has nothing that removes what has expired: the checks of that are skipped.
    pub fn actix_session<S: SessionStore + Send + Sync>(
        &self,
        make: impl Fn(&ManualClock) -> S,
    ) -> Report {
        let make =
            |clock: &ManualClock| Actix { store: make(clock), driver: Arc::clone(&self.driver) };
        self.run(make).and(self.report(make, contract()))
    }
}

fn contract<S: SessionStore + Send + Sync>() -> Vec<Check<Actix<S>>> {
    let mut all = list![false;
        loaded_state_is_the_saved_one,
        key_fits_into_a_cookie,
        update_of_a_live_session_returns_its_key,
        update_of_an_ended_session_creates_none,
        lifetime_below_zero_is_over,
    ];
    all.extend(list![true; load_does_not_move_the_end]);
    all
}

fn key(text: &str) -> SessionKey {
    let key = text.to_owned().try_into();
    key.unwrap_or_else(|error| panic!("the store made a key that is none: {error}"))
}

fn ttl(lifetime: Lifetime) -> Duration {
    match lifetime {
        Lifetime::For(lifetime) => lifetime.try_into().unwrap_or(Duration::MAX),
        Lifetime::Over => Duration::ZERO,
    }
}

fn state(value: u64) -> State {
    State::from([(VALUE.to_owned(), value.to_string())])
}

impl<S: SessionStore> Actix<S> {
    fn wait<T, E: Display>(&self, call: impl Future<Output = Result<T, E>>) -> T {
        wait(&self.driver, call).unwrap_or_else(|error| panic!("the store reports: {error}"))
    }

    fn save_new(&self, state: State, lifetime: Lifetime) -> String {
        self.wait(self.store.save(state, &ttl(lifetime))).into()
    }
}

impl<S: SessionStore + Send + Sync> Subject for Actix<S> {
    type Key = String;
    type Handle = Handle;

    fn create(&self, value: u64, lifetime: Lifetime) -> String {
        self.save_new(state(value), lifetime)
    }

    fn load(&self, text: &String) -> Option<Handle> {
        let state = self.wait(self.store.load(&key(text)))?;
        Some(Handle { key: text.clone(), state })
    }

    fn value(handle: &Handle) -> u64 {
        let value = handle.state.get(VALUE).and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("the store returns a state without its data"))
    }

    fn set(handle: &mut Handle, value: u64) {
        handle.state.insert(VALUE.to_owned(), value.to_string());
    }

    fn save(&self, handle: Handle, lifetime: Lifetime) {
        self.wait(self.store.update(key(&handle.key), handle.state, &ttl(lifetime)));
    }

    fn destroy(&self, text: &String) {
        self.wait(self.store.delete(&key(text)));
    }

    fn rotate(&self, handle: Handle) -> String {
        self.destroy(&handle.key);
        self.save_new(handle.state, Lifetime::For(LONG))
    }

    fn planted_key(&self) -> String {
        // A key of the store's own making, made by another store.
        let other = store::SessionStore::<()>::default();
        other.create().id().to_token().to_string()
    }

    fn forge(&self, key: &String, value: u64) -> Option<Handle> {
        Some(Handle { key: key.clone(), state: state(value) })
    }

    fn touch(&self, text: &String, lifetime: std::time::Duration) -> Option<()> {
        self.wait(self.store.update_ttl(&key(text), &ttl(Lifetime::For(lifetime))));
        Some(())
    }

    fn finds_text(&self, text: &str) -> Option<bool> {
        Some(self.load(&text.to_owned()).is_some())
    }
}

fn loaded_state_is_the_saved_one<S: SessionStore + Send + Sync>(
    trial: &Trial<Actix<S>>,
) -> Verdict {
    let saved: State = (0..100).map(|i| (format!("key {i}"), format!("\"{i}\""))).collect();
    let key = trial.store.save_new(saved.clone(), Lifetime::For(LONG));
    let empty = trial.store.save_new(State::new(), Lifetime::For(LONG));
    ensure(trial.load(&key)?.state == saved, "the loaded state differs from the saved one")?;
    ensure(trial.load(&empty)?.state.is_empty(), "an empty state came back as another")
}

fn key_fits_into_a_cookie<S: SessionStore + Send + Sync>(trial: &Trial<Actix<S>>) -> Verdict {
    let key = trial.create(7);
    // What RFC 6265bis lets a cookie's value be.
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    ensure(!key.is_empty() && key.len() <= 4064 && key.bytes().all(fits), "the key is no cookie")
}

fn update_of_a_live_session_returns_its_key<S: SessionStore + Send + Sync>(
    trial: &Trial<Actix<S>>,
) -> Verdict {
    let text = trial.create(7);
    let store = &trial.store;
    let updated = store.wait(store.store.update(key(&text), state(8), &ttl(Lifetime::For(LONG))));
    ensure(updated == key(&text), "an update changed the key")?;
    ensure(trial.value(&text) == Some(8), "what was saved is not what is loaded")
}

fn update_of_an_ended_session_creates_none<S: SessionStore + Send + Sync>(
    trial: &Trial<Actix<S>>,
) -> Verdict {
    let text = trial.create(7);
    trial.store.destroy(&text);
    let store = &trial.store;
    let ttl = ttl(Lifetime::For(LONG));
    let updated: String = store.wait(store.store.update(key(&text), state(8), &ttl)).into();
    trial.is_gone(&updated, "an update after a logout signed the visitor in again")?;
    ensure(updated == text, "an update that stored nothing hands out another key")
}

fn lifetime_below_zero_is_over<S: SessionStore + Send + Sync>(trial: &Trial<Actix<S>>) -> Verdict {
    let store = &trial.store;
    let text = store.wait(store.store.save(state(7), &Duration::MIN));
    trial.is_gone(&text.into(), "a session was found after its end")
}

fn load_does_not_move_the_end<S: SessionStore + Send + Sync>(trial: &Trial<Actix<S>>) -> Verdict {
    let key = trial.create(7);
    trial.clock.advance(LONG / 2);
    trial.load(&key)?;
    trial.clock.advance(LONG / 2);
    trial.is_gone(&key, "reading a session moved its end")
}
