//! What the adapters' calls count in the store inside, and as what their sessions end: each once.

use std::collections::HashMap;
use std::time::Duration;

use ::actix_session::storage::{SessionKey, SessionStore as _};
use ::async_session::{Session, SessionStore as _};
use ::tower_sessions::SessionStore as _;
use ::tower_sessions::session::{Id, Record};
use cloakroom::adapters::{actix_session, async_session, tower_sessions};
use cloakroom::conformance::block_on;
use cloakroom::{ManualClock, SessionStore};
use time::OffsetDateTime;

const HOUR: time::Duration = time::Duration::HOUR;

/// What has been counted: created, loaded, missed, saved, destroyed, cleared.
type Counted = [u64; 6];

#[track_caller]
fn assert_counted<T>(sessions: &SessionStore<T>, counted: Counted) {
    let stats = sessions.stats();
    let found = [stats.created, stats.loaded, stats.missed, stats.saved];
    let ended = [stats.destroyed, stats.cleared];
    assert_eq!([&found[..], &ended[..]].concat(), counted);
    assert_eq!((stats.expired, stats.evicted, stats.saves_refused), (0, 0, 0));
}

#[test]
fn calls_of_tower_sessions_count_once() {
    let store = tower_sessions::Store::default();
    let expiry_date = OffsetDateTime::now_utc() + HOUR;
    let mut record = Record { id: Id(0), data: HashMap::new(), expiry_date };
    block_on(store.create(&mut record)).unwrap();
    assert_counted(store.sessions(), [1, 0, 0, 0, 0, 0]);
    assert!(block_on(store.load(&record.id)).unwrap().is_some());
    assert_counted(store.sessions(), [1, 1, 0, 0, 0, 0]);
    block_on(store.save(&record)).unwrap();
    assert_counted(store.sessions(), [1, 1, 0, 1, 0, 0]);
    block_on(store.delete(&record.id)).unwrap();
    assert!(block_on(store.load(&record.id)).unwrap().is_none());
    assert_counted(store.sessions(), [1, 1, 1, 1, 1, 0]);
}

#[test]
fn calls_of_actix_session_count_once() {
    let store = actix_session::Store::default();
    let key = block_on(store.save(HashMap::new(), &HOUR)).unwrap();
    assert_counted(store.sessions(), [1, 0, 0, 0, 0, 0]);
    assert!(block_on(store.load(&key)).unwrap().is_some());
    assert_counted(store.sessions(), [1, 1, 0, 0, 0, 0]);
    let key = block_on(store.update(key, HashMap::new(), &HOUR)).unwrap();
    block_on(store.update_ttl(&key, &HOUR)).unwrap();
    assert_counted(store.sessions(), [1, 1, 0, 1, 0, 0]);
    block_on(store.delete(&key)).unwrap();
    assert!(block_on(store.load(&key)).unwrap().is_none());
    let malformed = SessionKey::try_from("malformed".to_owned()).unwrap();
    assert!(block_on(store.load(&malformed)).unwrap().is_none());
    assert_counted(store.sessions(), [1, 1, 2, 1, 1, 0]);
}

#[test]
fn calls_of_async_session_count_once() {
    let store = async_session::Store::default();
    let [kept, cookie] =
        [(); 2].map(|()| block_on(store.store_session(Session::new())).unwrap().unwrap());
    assert_counted(store.sessions(), [2, 0, 0, 0, 0, 0]);
    let load = |cookie: &String| block_on(store.load_session(cookie.clone())).unwrap();
    let mut session = load(&cookie).unwrap();
    assert_counted(store.sessions(), [2, 1, 0, 0, 0, 0]);
    session.insert("user", "ada").unwrap();
    block_on(store.store_session(session.clone())).unwrap();
    assert_counted(store.sessions(), [2, 1, 0, 1, 0, 0]);
    // Whatever is yet to be stored of it.
    session.insert("user", "grace").unwrap();
    block_on(store.destroy_session(session)).unwrap();
    assert!(load(&cookie).is_none());
    assert_counted(store.sessions(), [2, 1, 1, 1, 1, 0]);
    block_on(store.clear_store()).unwrap();
    assert!(load(&kept).is_none());
    assert_counted(store.sessions(), [2, 1, 2, 1, 1, 1]);
}

#[test]
fn fractions_of_a_second_are_part_of_a_lifetime() {
    let clock = ManualClock::new();
    let sessions = SessionStore::builder().clock(clock.clone()).build().unwrap();
    let store = actix_session::Store::from(sessions);
    let key = block_on(store.save(HashMap::new(), &time::Duration::milliseconds(1500))).unwrap();
    clock.advance(Duration::from_millis(1499));
    assert!(block_on(store.load(&key)).unwrap().is_some());
    clock.advance(Duration::from_millis(1));
    assert!(block_on(store.load(&key)).unwrap().is_none());
}

#[test]
fn fractions_of_a_second_are_part_of_a_date() {
    use ::async_session::chrono::{Timelike, Utc};
    let sessions = SessionStore::builder().clock(ManualClock::new()).build().unwrap();
    let store = async_session::Store::from(sessions);
    let mut session = Session::new();
    session.expire_in(Duration::from_secs(100));
    let date = session.expiry().unwrap().with_nanosecond(999_000_000).unwrap();
    session.set_expiry(date);
    let id = async_session::session_id(session.id());
    block_on(store.store_session(session)).unwrap();
    // The clock of the store stands, and the other one goes on.
    let left = store.sessions().expires_in(&id).unwrap();
    assert!(left >= (date - Utc::now()).to_std().unwrap(), "{left:?}");
    assert_eq!(store.sessions().peek(&id).unwrap().expiry(), Some(date));
}
