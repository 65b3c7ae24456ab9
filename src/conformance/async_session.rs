//! Owns async-session's interface as a subject, and the contract of its own.

use std::sync::Arc;

use async_session::chrono::{DateTime, Utc};
use async_session::serde_json::{from_value, json};
use async_session::{Result, Session, SessionStore};

use super::{
    Check, Driver, LONG, Lifetime, Report, Subject, Suite, Trial, Verdict, ensure, list, needs,
    wait,
};
use crate::clock::{self, ManualClock};

/// The key that the checks keep their number under.
const VALUE: &str = "value";

struct Async<S> {
    store: S,
    driver: Driver,
}

impl Suite {
    /// Runs the suite on a store for async-session.
    ///
    /// The interface has nothing that removes what has expired: the checks of that are skipped.
    pub fn async_session<S: SessionStore>(&self, make: impl Fn(&ManualClock) -> S) -> Report {
        let make =
            |clock: &ManualClock| Async { store: make(clock), driver: Arc::clone(&self.driver) };
        self.run(make).and(self.report(make, contract()))
    }
}

fn contract<S: SessionStore>() -> Vec<Check<Async<S>>> {
    let mut all = list![false;
        only_a_new_session_gets_a_cookie,
        loaded_session_is_the_stored_one,
        loaded_session_is_not_dirty,
        flags_of_one_request_are_not_those_of_another,
        clone_of_what_was_stored_does_not_change_it,
        regenerated_session_gets_another_cookie,
        cookie_is_not_the_key,
    ];
    all.extend(list![true; session_without_expiry_does_not_end, load_does_not_move_the_end]);
    all
}

fn now() -> DateTime<Utc> {
    clock::wall().into()
}

fn end(session: &mut Session, lifetime: Lifetime) {
    match lifetime {
        Lifetime::For(lifetime) => session.expire_in(lifetime),
        Lifetime::Over => session.set_expiry(now() - std::time::Duration::from_secs(1)),
    }
}

fn session(value: u64, lifetime: Lifetime) -> Session {
    let mut session = Session::new();
    end(&mut session, lifetime);
    session.insert_raw(VALUE, value.to_string());
    session
}

impl<S: SessionStore> Async<S> {
    fn wait<T>(&self, call: impl Future<Output = Result<T>>) -> T {
        wait(&self.driver, call).unwrap_or_else(|error| panic!("the store reports: {error}"))
    }

    fn store_new(&self, session: Session) -> String {
        let cookie = self.wait(self.store.store_session(session));
        cookie.unwrap_or_else(|| panic!("a new session got no cookie"))
    }
}

impl<S: SessionStore> Subject for Async<S> {
    /// The cookie's value.
    type Key = String;
    type Handle = Session;

    fn create(&self, value: u64, lifetime: Lifetime) -> String {
        self.store_new(session(value, lifetime))
    }

    fn load(&self, key: &String) -> Option<Session> {
        self.wait(self.store.load_session(key.clone()))
    }

    fn value(handle: &Session) -> u64 {
        let value = handle.get(VALUE);
        value.unwrap_or_else(|| panic!("the store returns a session without its data"))
    }

    fn set(handle: &mut Session, value: u64) {
        handle.insert_raw(VALUE, value.to_string());
    }

    fn save(&self, mut handle: Session, lifetime: Lifetime) {
        end(&mut handle, lifetime);
        let cookie = self.wait(self.store.store_session(handle));
        assert!(cookie.is_none(), "a session that is not new got another cookie");
    }

    fn destroy(&self, key: &String) {
        let session = forged(key, &self.planted_key());
        self.wait(self.store.destroy_session(session));
    }

    fn rotate(&self, mut handle: Session) -> String {
        let old = handle.clone();
        handle.regenerate();
        self.wait(self.store.destroy_session(old));
        self.store_new(handle)
    }

    fn planted_key(&self) -> String {
        Session::new().into_cookie_value().unwrap_or_default()
    }

    fn forge(&self, key: &String, value: u64) -> Option<Session> {
        let mut session = forged(key, key);
        session.insert_raw(VALUE, value.to_string());
        Some(session)
    }

    fn create_under(&self, key: &String, value: u64) -> Option<String> {
        let mut session = forged(key, key);
        session.insert_raw(VALUE, value.to_string());
        session.set_cookie_value(key.clone());
        Some(self.store_new(session))
    }

    fn finds_text(&self, text: &str) -> Option<bool> {
        Some(self.load(&text.to_owned()).is_some())
    }

    fn clear(&self) -> Option<()> {
        self.wait(self.store.clear_store());
        Some(())
    }
}

/// Returns an empty session with the id that belongs to a cookie, as one that was loaded by it; or by
/// another, if it is not well formed.
fn forged(cookie: &str, otherwise: &str) -> Session {
    let id = Session::id_from_cookie_value(cookie)
        .or_else(|_| Session::id_from_cookie_value(otherwise))
        .unwrap_or_default();
    let form = json!({ "id": id, "expiry": null, "data": {} });
    let session = from_value(form);
    session.unwrap_or_else(|error| panic!("no session can be forged: {error}"))
}

fn only_a_new_session_gets_a_cookie<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let store = &trial.store;
    let key = trial.create(7);
    let again = store.wait(store.store.store_session(trial.load(&key)?));
    ensure(again.is_none(), "a session that is not new got another cookie")?;
    store.destroy(&key);
    let dead = forged(&key, &key);
    let cookie = store.wait(store.store.store_session(dead));
    ensure(cookie.is_none(), "a session that has ended got another cookie")
}

fn loaded_session_is_the_stored_one<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let mut stored = session(7, Lifetime::For(LONG));
    (0..100).for_each(|i| stored.insert_raw(&i.to_string(), format!("\"{i}\"")));
    let copy = stored.clone();
    let loaded = trial.load(&trial.store.store_new(stored))?;
    ensure(loaded.id() == copy.id(), "the loaded session has another id")?;
    ensure(loaded.expiry() == copy.expiry(), "the loaded session has another expiry")?;
    // Not the copy's data, which is the stored session's own.
    let same = |key: &str, value: &str| loaded.get_raw(key).is_some_and(|it| it == value);
    let all = (0..100).all(|i| same(&i.to_string(), &format!("\"{i}\""))) && same(VALUE, "7");
    ensure(all && loaded.len() == 101, "the loaded data differs from the stored")
}

fn loaded_session_is_not_dirty<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let key = trial.create(7);
    ensure(!trial.load(&key)?.data_changed(), "a session that was just loaded is dirty")?;
    trial.save(trial.load(&key)?, 8);
    ensure(!trial.load(&key)?.data_changed(), "a session that was just loaded is dirty")?;
    let loaded = trial.load(&key)?;
    ensure(loaded.into_cookie_value().is_none(), "a loaded session pretends to be new")
}

fn flags_of_one_request_are_not_those_of_another<S: SessionStore>(
    trial: &Trial<Async<S>>,
) -> Verdict {
    let key = trial.create(7);
    let (mut one, mut other) = (trial.load(&key)?, trial.load(&key)?);
    one.destroy();
    ensure(!other.is_destroyed(), "one request's destroy flag is another's")?;
    Async::<S>::set(&mut other, 8);
    one.reset_data_changed();
    ensure(other.data_changed(), "one request's dirty flag is another's")
}

fn clone_of_what_was_stored_does_not_change_it<S: SessionStore>(
    trial: &Trial<Async<S>>,
) -> Verdict {
    let stored = session(7, Lifetime::For(LONG));
    let mut clone = stored.clone();
    let key = trial.store.store_new(stored);
    Async::<S>::set(&mut clone, 8);
    ensure(trial.value(&key) == Some(7), "a stored session changes without being stored")
}

fn regenerated_session_gets_another_cookie<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let old = trial.create(7);
    let mut handle = trial.load(&old)?;
    handle.regenerate();
    let new = trial.store.store_new(handle);
    ensure(new != old, "the cookie stayed the same")?;
    ensure(trial.value(&new) == Some(7), "the session was lost")
}

fn cookie_is_not_the_key<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let key = trial.create(7);
    let id = needs(Session::id_from_cookie_value(&key).ok())?;
    trial.is_gone(&id, "the id, which is no secret, is as good as the cookie")
}

fn session_without_expiry_does_not_end<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let mut session = Session::new();
    session.insert_raw(VALUE, "7".to_owned());
    let key = trial.store.store_new(session);
    trial.clock.advance(1000 * LONG);
    ensure(trial.value(&key) == Some(7), "a session without an expiry has ended")
}

fn load_does_not_move_the_end<S: SessionStore>(trial: &Trial<Async<S>>) -> Verdict {
    let key = trial.create(7);
    trial.clock.advance(LONG / 2);
    trial.load(&key)?;
    trial.clock.advance(LONG / 2);
    trial.is_gone(&key, "reading a session moved its end")
}
