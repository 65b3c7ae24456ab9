//! Owns tower-sessions' interface as a subject, and the contract of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::session_store::ExpiredDeletion;
use tower_sessions_core::{Expiry, Session, SessionStore};

use super::{
    Check, Driver, LONG, Lifetime, Report, Subject, Suite, Trial, Verdict, ensure, list, needs,
    wait,
};
use crate::clock::{self, ManualClock};

/// The key that the checks keep their number under.
const VALUE: &str = "value";

/// A store, and how it removes what has expired, if it can.
struct Tower<S> {
    store: Arc<S>,
    driver: Driver,
    sweep: Option<fn(&Tower<S>)>,
}

impl Suite {
    /// Runs the suite on a store for tower-sessions.
    pub fn tower_sessions<S: SessionStore>(&self, make: impl Fn(&ManualClock) -> S) -> Report {
        self.tower(make, None)
    }

    /// Runs the suite on a store for tower-sessions that can remove what has expired.
    pub fn tower_sessions_with_deletion<S: SessionStore + ExpiredDeletion>(
        &self,
        make: impl Fn(&ManualClock) -> S,
    ) -> Report {
        self.tower(make, Some(|tower| tower.wait(tower.store.delete_expired())))
    }

    fn tower<S: SessionStore>(
        &self,
        make: impl Fn(&ManualClock) -> S,
        sweep: Option<fn(&Tower<S>)>,
    ) -> Report {
        let make = |clock: &ManualClock| Tower {
            store: Arc::new(make(clock)),
            driver: Arc::clone(&self.driver),
            sweep,
        };
        self.run(make).and(self.report(make, contract()))
    }
}

fn contract<S: SessionStore>() -> Vec<Check<Tower<S>>> {
    let mut all = list![false;
        loaded_record_is_the_created_one,
        created_record_is_told_its_id,
        id_that_has_ended_is_not_handed_out_again,
        cycled_session_keeps_its_data_under_a_new_id,
        clear_and_save_adopt_no_id_of_a_client,
        flush_and_insert_get_a_new_id,
        flush_of_an_unknown_session_and_insert_adopt_no_id_of_a_client,
        request_after_a_flush_of_another_saves_nothing,
    ];
    all.extend(list![true; load_does_not_move_the_end]);
    all
}

fn now() -> OffsetDateTime {
    clock::wall().into()
}

fn date(lifetime: Lifetime) -> OffsetDateTime {
    match lifetime {
        Lifetime::For(lifetime) => now() + lifetime,
        Lifetime::Over => now() - Duration::from_secs(1),
    }
}

fn record(id: Id, value: u64, lifetime: Lifetime) -> Record {
    let data = HashMap::from([(VALUE.to_owned(), value.into())]);
    Record { id, data, expiry_date: date(lifetime) }
}

impl<S: SessionStore> Tower<S> {
    fn wait<T, E: std::fmt::Display>(&self, call: impl Future<Output = Result<T, E>>) -> T {
        wait(&self.driver, call).unwrap_or_else(|error| panic!("the store reports: {error}"))
    }

    fn store_new(&self, mut record: Record) -> Id {
        self.wait(self.store.create(&mut record));
        record.id
    }

    /// Returns a request's session, as the middleware makes it of a cookie.
    fn session(&self, id: Option<Id>) -> Session {
        Session::new(id, Arc::clone(&self.store), Some(Expiry::AtDateTime(now() + LONG)))
    }
}

impl<S: SessionStore> Subject for Tower<S> {
    type Key = Id;
    type Handle = Record;

    fn create(&self, value: u64, lifetime: Lifetime) -> Id {
        self.store_new(record(Id::default(), value, lifetime))
    }

    fn load(&self, key: &Id) -> Option<Record> {
        self.wait(self.store.load(key))
    }

    fn value(handle: &Record) -> u64 {
        let Some(value) = handle.data.get(VALUE) else {
            panic!("the store returns a record without its data");
        };
        value.as_u64().unwrap_or_else(|| panic!("the store returns a record with other data"))
    }

    fn set(handle: &mut Record, value: u64) {
        handle.data.insert(VALUE.to_owned(), value.into());
    }

    fn save(&self, mut handle: Record, lifetime: Lifetime) {
        handle.expiry_date = date(lifetime);
        self.wait(self.store.save(&handle));
    }

    fn destroy(&self, key: &Id) {
        self.wait(self.store.delete(key));
    }

    fn rotate(&self, handle: Record) -> Id {
        self.wait(self.store.delete(&handle.id));
        self.store_new(Record { id: Id::default(), ..handle })
    }

    fn planted_key(&self) -> Id {
        Id::default()
    }

    fn forge(&self, key: &Id, value: u64) -> Option<Record> {
        Some(record(*key, value, Lifetime::For(LONG)))
    }

    fn create_under(&self, key: &Id, value: u64) -> Option<Id> {
        Some(self.store_new(record(*key, value, Lifetime::For(LONG))))
    }

    fn sweep(&self) -> Option<()> {
        self.sweep.map(|sweep| sweep(self))
    }
}

fn loaded_record_is_the_created_one<S: SessionStore>(trial: &Trial<Tower<S>>) -> Verdict {
    let mut created = record(Id::default(), 7, Lifetime::For(LONG));
    created.data.insert("nested".to_owned(), vec![Some("a"), None].into());
    trial.store.wait(trial.store.store.create(&mut created));
    let loaded = trial.store.load(&created.id);
    ensure(loaded.as_ref() == Some(&created), "the loaded record differs from the created one")
}

fn created_record_is_told_its_id<S: SessionStore>(trial: &Trial<Tower<S>>) -> Verdict {
    let taken = trial.create(7);
    let id = trial.store.store_new(record(taken, 8, Lifetime::For(LONG)));
    let id_of_loaded = trial.store.load(&id).map(|record| record.id);
    ensure(id != taken && id_of_loaded == Some(id), "the record does not tell its new id")
}

fn id_that_has_ended_is_not_handed_out_again<S: SessionStore>(trial: &Trial<Tower<S>>) -> Verdict {
    let dead = trial.create(7);
    trial.store.destroy(&dead);
    let id = trial.store.store_new(record(dead, 8, Lifetime::For(LONG)));
    ensure(id != dead, "the id of an ended session was handed out again")
}

fn cycled_session_keeps_its_data_under_a_new_id<S: SessionStore>(
    trial: &Trial<Tower<S>>,
) -> Verdict {
    let tower = &trial.store;
    let session = tower.session(None);
    tower.wait(session.insert(VALUE, 7));
    tower.wait(session.save());
    let old = session.id();
    tower.wait(session.cycle_id());
    tower.wait(session.save());
    let new = needs(session.id())?;
    ensure(old.is_some_and(|old| old != new), "the id stayed the same")?;
    ensure(trial.value(&new) == Some(7), "the session was lost")?;
    ensure(old.is_none_or(|old| tower.load(&old).is_none()), "the old id is still good")
}

fn clear_and_save_adopt_no_id_of_a_client<S: SessionStore>(trial: &Trial<Tower<S>>) -> Verdict {
    let (tower, planted) = (&trial.store, Id::default());
    let session = tower.session(Some(planted));
    wait(&tower.driver, session.clear());
    tower.wait(session.insert(VALUE, 7));
    tower.wait(session.save());
    trial.is_gone(&planted, "an id that came from a client was adopted")
}

fn flush_and_insert_get_a_new_id<S: SessionStore>(trial: &Trial<Tower<S>>) -> Verdict {
    let old = trial.create(7);
    flush_and_insert(trial, old, "the id of a flushed session was handed out again")
}

fn flush_of_an_unknown_session_and_insert_adopt_no_id_of_a_client<S: SessionStore>(
    trial: &Trial<Tower<S>>,
) -> Verdict {
    flush_and_insert(trial, Id::default(), "an id that came from a client was adopted")
}

fn flush_and_insert<S: SessionStore>(trial: &Trial<Tower<S>>, old: Id, otherwise: &str) -> Verdict {
    let tower = &trial.store;
    let session = tower.session(Some(old));
    tower.wait(session.flush());
    tower.wait(session.insert(VALUE, 8));
    tower.wait(session.save());
    trial.is_gone(&old, otherwise)?;
    let new = needs(session.id())?;
    ensure(trial.value(&new) == Some(8), "what was inserted after a flush was lost")
}

fn request_after_a_flush_of_another_saves_nothing<S: SessionStore>(
    trial: &Trial<Tower<S>>,
) -> Verdict {
    let (tower, key) = (&trial.store, trial.create(7));
    let (slow, logout) = (tower.session(Some(key)), tower.session(Some(key)));
    tower.wait(slow.insert(VALUE, 8));
    tower.wait(logout.flush());
    tower.wait(slow.save());
    trial.is_gone(&key, "a slow request's save undid a logout")
}

fn load_does_not_move_the_end<S: SessionStore>(trial: &Trial<Tower<S>>) -> Verdict {
    let key = trial.create(7);
    trial.clock.advance(LONG / 2);
    trial.load(&key)?;
    trial.clock.advance(LONG / 2);
    trial.is_gone(&key, "reading a session moved its end")
}
