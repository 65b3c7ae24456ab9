//! Whose a framework's session is: the index follows what the framework saves, and so do the limits.

#[path = "axum/harness.rs"]
#[allow(dead_code, reason = "each of the tests needs a part of it")]
mod harness;

use std::collections::HashMap;
use std::time::Duration;

use actix_session::storage::{SessionStore as _, UpdateError};
use async_session::{Session, SessionStore as _};
use axum::http::StatusCode;
use cloakroom::adapters::axum::{OnConflict, Refused, Session as Extractor, SessionLayer};
use cloakroom::adapters::{actix_session as actix, async_session as asynchronous, tower_sessions};
use cloakroom::conformance::block_on;
use cloakroom::{ManualClock, OnLimit, SessionStore, Subject};
use harness::{Visitor, cookie, layered, send};
use tower_sessions_core::SessionStore as _;
use tower_sessions_core::session::{Id, Record};

fn named(user: Option<&str>) -> Option<Subject> {
    user.map(Subject::from)
}

#[test]
fn subject_follows_what_tower_sessions_saves() {
    let by = |state: &tower_sessions::State| {
        named(state.get("user").as_ref().and_then(|user| user.as_str()))
    };
    let builder = SessionStore::builder().index_by(by).max_per_subject(1, OnLimit::Reject);
    let store = tower_sessions::Store::from(builder.build().unwrap());
    let sessions = store.sessions();
    let expiry_date = time::OffsetDateTime::now_utc() + time::Duration::HOUR;
    let mut records = [(); 2].map(|()| Record { id: Id(0), data: HashMap::new(), expiry_date });
    for record in &mut records {
        block_on(store.create(record)).unwrap();
        record.data.insert("user".to_owned(), "ada".into());
    }
    let [first, mut second] = records;
    assert_eq!(sessions.count_of("ada"), 0);
    block_on(store.save(&first)).unwrap();
    block_on(store.save(&first)).unwrap();
    assert_eq!(sessions.count_of("ada"), 1);
    let refused = block_on(store.save(&second)).unwrap_err();
    assert!(refused.to_string().contains("max_per_subject"), "{refused}");
    assert!(block_on(store.load(&second.id)).unwrap().unwrap().data.is_empty(), "nothing changed");
    second.data.insert("user".to_owned(), "grace".into());
    block_on(store.save(&second)).unwrap();
    assert_eq!((sessions.count_of("ada"), sessions.count_of("grace")), (1, 1));
    assert_eq!(sessions.revoke_all("ada"), 1);
    assert!(block_on(store.load(&first.id)).unwrap().is_none());
    block_on(store.save(&first)).unwrap();
    assert_eq!(sessions.count_of("ada"), 0, "what was revoked is not saved");
}

#[test]
fn subject_follows_what_actix_session_updates() {
    let by = |state: &actix::State| named(state.get("user").map(String::as_str));
    let builder = SessionStore::builder().index_by(by).max_per_subject(1, OnLimit::Reject);
    let store = actix::Store::from(builder.build().unwrap());
    let hour = time::Duration::HOUR;
    let ada = || actix::State::from([("user".to_owned(), "ada".to_owned())]);
    let [first, second] =
        [(); 2].map(|()| block_on(store.save(actix::State::default(), &hour)).unwrap());
    let first = block_on(store.update(first, ada(), &hour)).unwrap();
    assert_eq!(store.sessions().count_of("ada"), 1);
    let key = second.as_ref().to_owned();
    let Err(UpdateError::Other(refused)) = block_on(store.update(second, ada(), &hour)) else {
        panic!("a user has two sessions");
    };
    assert!(refused.to_string().contains("max_per_subject"), "{refused}");
    assert_eq!(store.sessions().load(&key).unwrap().get("user"), None, "nothing changed");
    block_on(store.update(first, actix::State::default(), &hour)).unwrap();
    assert_eq!(store.sessions().count_of("ada"), 0);
}

#[test]
fn subject_follows_what_async_session_stores() {
    let by = |state: &asynchronous::State| named(state.get("user"));
    let store = SessionStore::builder().index_by(by).build().unwrap();
    let store = asynchronous::Store::from(store);
    let cookie = block_on(store.store_session(Session::new())).unwrap().unwrap();
    let mut session = block_on(store.load_session(cookie.clone())).unwrap().unwrap();
    session.insert("user", "ada").unwrap();
    block_on(store.store_session(session)).unwrap();
    assert_eq!(store.sessions().count_of("\"ada\""), 1);
    assert_eq!(store.sessions().revoke_all("\"ada\""), 1);
    assert!(block_on(store.load_session(cookie)).unwrap().is_none());
}

#[test]
fn async_session_is_told_why_a_session_was_not_stored() {
    let by = |state: &asynchronous::State| named(state.get("user"));
    let builder = SessionStore::builder().index_by(by).max_per_subject(1, OnLimit::Reject);
    let store = asynchronous::Store::from(builder.build().unwrap());
    let mut first = Session::new();
    first.insert("user", "ada").unwrap();
    let cookie = block_on(store.store_session(Session::new())).unwrap().unwrap();
    let mut second = block_on(store.load_session(cookie.clone())).unwrap().unwrap();
    block_on(store.store_session(first)).unwrap();
    second.insert("user", "ada").unwrap();
    let refused = block_on(store.store_session(second)).unwrap_err();
    assert!(refused.to_string().contains("max_per_subject"), "{refused}");
    let second = block_on(store.load_session(cookie)).unwrap().unwrap();
    assert_eq!(second.len(), 0, "nothing changed");
}

/// A store of which a user may have one session, of at most ten items.
fn limited() -> SessionStore<Visitor> {
    let builder = SessionStore::<Visitor>::builder().index_by(|visitor| named(visitor.user));
    let builder = builder.max_per_subject(1, OnLimit::Reject);
    builder.max_bytes(10, |visitor| visitor.cart.len()).build().unwrap()
}

async fn sign_in(mut session: Extractor<Visitor>) -> &'static str {
    session.user = Some("ada");
    "welcome"
}

async fn sign_in_at_once(mut session: Extractor<Visitor>) -> Result<&'static str, Refused> {
    session.update(|visitor| visitor.user = Some("ada"))?;
    Ok("welcome")
}

async fn fill_the_cart(mut session: Extractor<Visitor>) -> &'static str {
    session.cart = vec![7; 11];
    "filled"
}

fn every_way<T>() -> [OnConflict<T>; 3] {
    [OnConflict::LastWins, OnConflict::Refuse, OnConflict::Merge(|_, _, _| {})]
}

#[test]
fn axum_answers_409_to_a_sign_in_that_the_limit_refuses() {
    for on_conflict in every_way() {
        let store = limited();
        let layer = SessionLayer::new(store.clone()).on_conflict(on_conflict);
        let (late, at_once) = (layered(layer.clone(), sign_in), layered(layer, sign_in_at_once));
        let [first, second] = [(); 2].map(|()| *store.create().id());
        assert_eq!(send(&late, &cookie(&first)).status, StatusCode::OK);
        for app in [&late, &at_once] {
            let reply = send(app, &cookie(&second));
            assert_eq!(reply.status, StatusCode::CONFLICT, "{on_conflict:?}");
            assert_ne!(reply.body, "welcome");
            assert_eq!(send(app, "").status, StatusCode::CONFLICT, "{on_conflict:?}, a new one");
        }
        let told = send(&at_once, &cookie(&second)).body;
        assert_eq!(told, Refused::SubjectLimit.to_string(), "{on_conflict:?}");
        assert_eq!((store.count_of("ada"), store.peek(&second).unwrap().user), (1, None));
        assert_eq!(store.revoke_all("ada"), 1);
        assert_eq!(send(&at_once, &cookie(&second)).status, StatusCode::OK);
    }
}

#[test]
fn axum_answers_413_to_more_data_than_the_store_may_hold() {
    for on_conflict in every_way() {
        let store = limited();
        let app = layered(SessionLayer::new(store.clone()).on_conflict(on_conflict), fill_the_cart);
        let id = *store.create().id();
        for sent in [cookie(&id), String::new()] {
            assert_eq!(send(&app, &sent).status, StatusCode::PAYLOAD_TOO_LARGE, "{on_conflict:?}");
        }
        assert_eq!((store.len(), store.peek(&id).unwrap().cart.len()), (1, 0));
    }
}

#[test]
fn axum_notes_when_a_user_authenticates_and_gives_a_new_id() {
    let clock = ManualClock::new();
    let by = |visitor: &Visitor| named(visitor.user);
    let store = SessionStore::<Visitor>::builder().clock(clock.clone()).index_by(by);
    let store = store.ttl(Duration::from_secs(60)).build().unwrap();
    let sign_in = async |mut session: Extractor<Visitor>| {
        session.cart.push(7);
        session.reauthenticate()?;
        session.user = Some("ada");
        Ok::<_, Refused>(())
    };
    let app = layered(SessionLayer::new(store.clone()), sign_in);
    let visitor = *store.create().id();
    for (sent, items) in [(cookie(&visitor), 1), (String::new(), 1), (cookie(&visitor), 1)] {
        clock.advance(Duration::from_secs(40));
        let reply = send(&app, &sent);
        assert_eq!(reply.status, StatusCode::OK);
        let id = reply.given();
        assert!(id != visitor && !store.contains(&visitor));
        assert!(store.authenticated_within(&id, Duration::from_secs(1)));
        let stored = store.peek(&id).unwrap();
        assert_eq!((stored.user, stored.cart.len()), (Some("ada"), items));
        assert_eq!(store.expires_in(&id), Some(Duration::from_secs(60)));
    }
    assert_eq!((store.stats().created, store.stats().rotated), (3, 3));
}
