//! When a user last proved who they are, for what asks for a recent proof.

use std::time::{Duration, SystemTime};

use cloakroom::{Builder, ManualClock, Policy, RotateError, SessionStore, Subject};

const MINUTE: Duration = Duration::from_secs(60);

fn at(time: Duration) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + time)
}

fn builder(clock: &ManualClock) -> Builder<u64> {
    SessionStore::<u64>::builder().clock(clock.clone())
}

#[test]
fn presets_are_the_lifetimes_of_the_standard() {
    let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
    for (policy, ttl, idle) in
        [(Policy::aal2(), hours(24), hours(1)), (Policy::aal3(), hours(12), MINUTE * 15)]
    {
        assert_eq!((policy.ttl(), policy.idle_timeout()), (ttl, idle));
        let clock = ManualClock::new();
        let store = builder(&clock).policy(policy).build().unwrap();
        let id = *store.create().id();
        let mut lived = Duration::ZERO;
        while store.touch(&id) {
            assert_eq!(store.expires_in(&id), Some(idle.min(ttl - lived)));
            clock.advance(idle - Duration::from_secs(1));
            lived += idle - Duration::from_secs(1);
        }
        assert!(lived >= ttl && lived < ttl + idle);
    }
}

#[test]
fn reauthentication_gives_a_new_id_and_restarts_both_deadlines() {
    let clock = ManualClock::new();
    let store = builder(&clock).ttl(MINUTE * 60).idle_timeout(MINUTE * 10).build().unwrap();
    let mut session = store.create_with(7);
    for _ in 0..10 {
        clock.advance(MINUTE * 55 / 10);
        assert!(store.touch(session.id()));
    }
    assert_eq!(store.expires_in(session.id()), Some(MINUTE * 5), "the absolute limit is near");
    let old = *session.id();
    store.reauthenticate(&mut session).unwrap();
    assert!(!store.contains(&old) && *store.peek(session.id()).unwrap() == 7);
    assert_eq!(store.expires_in(session.id()), Some(MINUTE * 10));
    for _ in 0..11 {
        clock.advance(MINUTE * 5);
        assert!(store.touch(session.id()));
    }
    clock.advance(MINUTE * 5);
    assert!(!store.touch(session.id()), "an hour from then, and not longer");
}

#[test]
fn lifetime_of_its_own_ends_with_reauthentication() {
    let clock = ManualClock::new();
    let store = builder(&clock).ttl(MINUTE).build().unwrap();
    let mut session = store.create();
    store.set_expiry(session.id(), MINUTE * 100);
    store.reauthenticate(&mut session).unwrap();
    assert_eq!(store.expires_in(session.id()), Some(MINUTE));
}

#[test]
fn time_of_authentication_survives_saves_and_rotations_and_nothing_else_sets_it() {
    let clock = ManualClock::new();
    let store = builder(&clock).build().unwrap();
    clock.advance(MINUTE);
    let mut session = store.create_with(1);
    assert!(store.rotate(&mut session));
    assert_eq!(store.authenticated_at(session.id()), None);
    assert!(!store.authenticated_within(session.id(), Duration::MAX));
    store.reauthenticate(&mut session).unwrap();
    clock.advance(MINUTE);
    *session = 2;
    store.save(&session);
    store.try_save(&mut session).unwrap();
    store.update(session.id(), |data| *data = 3).unwrap();
    store.rotate(&mut session);
    store.touch(session.id());
    assert_eq!(store.authenticated_at(session.id()), at(MINUTE));
    assert!(store.authenticated_within(session.id(), MINUTE));
    assert!(!store.authenticated_within(session.id(), MINUTE - Duration::from_nanos(1)));
    clock.advance(MINUTE);
    store.reauthenticate(&mut session).unwrap();
    assert_eq!(store.authenticated_at(session.id()), at(MINUTE * 3));
}

#[test]
fn ended_session_is_not_authenticated_and_cannot_be() {
    let clock = ManualClock::new();
    let store = builder(&clock).ttl(MINUTE).build().unwrap();
    let mut session = store.create();
    store.reauthenticate(&mut session).unwrap();
    clock.advance(MINUTE);
    assert_eq!(store.reauthenticate(&mut session), Err(RotateError::Gone));
    assert_eq!(store.authenticated_at(session.id()), None);
    assert!(!store.authenticated_within(session.id(), Duration::MAX));
}

#[test]
fn authentication_of_one_subject_is_none_of_another() {
    for bound in [None, Some(100)] {
        let subject = |user: &u64| (*user != 0).then(|| Subject::from(*user));
        let store = builder(&ManualClock::new()).index_by(subject);
        let store = match bound {
            Some(bound) => store.max_sessions(bound).build().unwrap(),
            None => store.build().unwrap(),
        };
        let become_user = |id: &_, user| store.update(id, |data| *data = user).unwrap();
        let fresh = |id: &_| store.authenticated_within(id, MINUTE);
        let mut session = store.create();
        // At sign-in: first the proof, then the name.
        store.reauthenticate(&mut session).unwrap();
        become_user(session.id(), 1);
        assert!(fresh(session.id()));
        become_user(session.id(), 2);
        assert!(!fresh(session.id()));
        store.reauthenticate(&mut session).unwrap();
        assert!(fresh(session.id()));
        become_user(session.id(), 0);
        assert!(!fresh(session.id()));
        become_user(session.id(), 2);
        assert!(!fresh(session.id()));
    }
}

#[test]
fn list_of_a_subject_keeps_place_and_creation_of_who_authenticates_again() {
    let clock = ManualClock::new();
    let store = builder(&clock).index_by(|user| Some(Subject::from(*user))).build().unwrap();
    let mut first = store.create_with(1);
    clock.advance(MINUTE);
    store.create_with(1);
    store.reauthenticate(&mut first).unwrap();
    let sessions = store.sessions_of(1);
    assert_eq!((sessions.len(), sessions[1].id), (2, *first.id()));
    assert!(sessions[1].created < sessions[0].created);
}
