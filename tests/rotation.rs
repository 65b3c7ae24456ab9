//! Rotation: a new id for the same session, with its data, its deadline and the handle's drafts.

use std::time::Duration;

use cloakroom::{Expiry, ManualClock, RotateError, SaveError, SessionStore};

const TTL: Duration = Duration::from_secs(100);
const IDLE: Duration = Duration::from_secs(30);

fn store(clock: &ManualClock) -> SessionStore<Vec<u32>> {
    let builder = SessionStore::builder().ttl(TTL).idle_timeout(IDLE).shards(4);
    builder.clock(clock.clone()).build().unwrap()
}

#[test]
fn rotated_session_lives_under_the_new_id_only() {
    let store = store(&ManualClock::new());
    // Often enough to move within a shard and between shards.
    for n in 0..200 {
        let mut s = store.create_with(vec![n]);
        let old = *s.id();
        assert!(store.rotate(&mut s));
        assert_ne!(*s.id(), old);
        assert!(!store.contains(&old) && store.load(&old).is_none() && store.peek(&old).is_none());
        assert!(!store.touch(&old) && !store.destroy(&old) && store.expires_in(&old).is_none());
        assert!(store.update(&old, |_| ()).is_none() && !store.set_expiry(&old, TTL));
        assert_eq!(store.load(s.id()).unwrap().to_vec(), [n]);
        assert_eq!(store.len(), n as usize + 1);
    }
    assert_eq!((store.stats().rotated, store.stats().live), (200, 200));
}

#[test]
fn handles_of_the_old_id_are_of_an_ended_session() {
    let store = store(&ManualClock::new());
    let mut s = store.create();
    let mut stale = s.clone();
    assert!(store.rotate(&mut s));
    stale.push(1);
    assert!(!store.save(&stale));
    assert_eq!(store.try_save(&mut stale), Err(SaveError::Gone));
    let id = *stale.id();
    assert!(!store.rotate(&mut stale));
    assert!(matches!(store.try_rotate(&mut stale), Err(RotateError::Gone)));
    assert_eq!(*stale.id(), id, "a failed rotation leaves the handle as it was");
    assert_eq!(stale.to_vec(), [1]);
    assert!(store.load(s.id()).unwrap().is_empty());
    assert_eq!(store.len(), 1);
}

#[test]
fn rotation_of_an_ended_session_is_false_and_creates_nothing() {
    let clock = ManualClock::new();
    let store = store(&clock);
    let mut destroyed = store.create();
    store.destroy(destroyed.id());
    let mut expired = store.create();
    clock.advance(IDLE);
    assert!(!store.rotate(&mut destroyed) && !store.rotate(&mut expired));
    store.purge_expired();
    assert!(store.is_empty());
    assert_eq!(store.stats().rotated, 0);
}

#[test]
fn rotation_takes_what_others_saved_along() {
    let store = store(&ManualClock::new());
    let mut s = store.create();
    store.update(s.id(), |data| data.push(7));
    assert!(store.rotate(&mut s));
    assert!(s.is_empty(), "the handle keeps its own snapshot");
    assert_eq!(store.load(s.id()).unwrap().to_vec(), [7]);
    assert_eq!(store.try_save(&mut s), Err(SaveError::Conflict));
}

#[test]
fn unsaved_changes_stay_in_the_handle_and_can_be_saved_after() {
    let store = store(&ManualClock::new());
    let mut s = store.create();
    s.push(1);
    assert!(store.rotate(&mut s));
    assert_eq!(s.to_vec(), [1]);
    assert!(store.load(s.id()).unwrap().is_empty());
    assert_eq!(store.try_save(&mut s), Ok(()));
    assert_eq!(store.load(s.id()).unwrap().to_vec(), [1]);
    assert!(store.rotate(&mut s));
    s.push(2);
    assert!(store.save(&s));
    assert_eq!(store.load(s.id()).unwrap().to_vec(), [1, 2]);
}

#[test]
fn save_under_the_new_id_by_another_conflicts_with_the_rotated_handle() {
    let store = store(&ManualClock::new());
    let mut s = store.create();
    s.push(1);
    assert!(store.rotate(&mut s));
    store.update(s.id(), |data| data.push(9));
    assert_eq!(store.try_save(&mut s), Err(SaveError::Conflict));
    assert_eq!(store.load(s.id()).unwrap().to_vec(), [9]);
}

#[test]
fn rotation_counts_as_activity_and_keeps_the_absolute_limit() {
    let clock = ManualClock::new();
    let store = store(&clock);
    let mut s = store.create();
    for at in [20, 40, 60, 80] {
        clock.advance(Duration::from_secs(20));
        assert!(store.rotate(&mut s));
        assert_eq!(store.expires_in(s.id()), Some(IDLE.min(TTL - Duration::from_secs(at))));
    }
    clock.advance(Duration::from_secs(20));
    assert!(!store.rotate(&mut s) && !store.contains(s.id()));
}

#[test]
fn rotation_keeps_a_sessions_own_expiry() {
    let clock = ManualClock::new();
    let store = store(&clock);
    let mut s = store.create();
    store.set_expiry(s.id(), TTL * 10);
    clock.advance(TTL * 9);
    assert!(store.rotate(&mut s));
    assert_eq!(store.expires_in(s.id()), Some(TTL));
    store.set_expiry(s.id(), Expiry::Never);
    assert!(store.rotate(&mut s));
    assert_eq!(store.expires_in(s.id()), Some(Duration::MAX));
}

#[test]
fn session_under_a_callers_id_is_rotated_away_from_it() {
    let store = store(&ManualClock::new());
    let mut s = store.create_with_id(String::from("fixed by an attacker"));
    assert!(store.rotate(&mut s));
    assert!(!store.contains("fixed by an attacker"));
    assert!(store.contains(s.id()));
    let newcomer = store.try_create_with_id("fixed by an attacker", vec![1]).unwrap();
    assert_ne!(newcomer.id(), s.id());
    assert_eq!(store.len(), 2);
}
