//! The races on a session that changes its id: exactly one id is live at any instant.

mod stress;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cloakroom::{Builder, Cause, SessionId, SessionStore};
use stress::{Heard, race, race2, rounds};

/// Two shards, so that half of the rotations stay in one and half go to the other.
fn builder() -> Builder<u64> {
    SessionStore::<u64>::builder().shards(2)
}

fn live_ids(store: &SessionStore<u64>) -> Vec<SessionId> {
    let mut ids = Vec::new();
    store.for_each(|id, _| ids.push(*id));
    ids
}

#[test]
fn new_id_lives_as_soon_as_the_old_one_is_dead() {
    for _ in 0..rounds(3_000) {
        let store = builder().build().unwrap();
        let mut session = store.create_with(7);
        let old = *session.id();
        let (ours, theirs) = (store.clone(), store.clone());
        let (new, seen) = race2(
            move || {
                assert!(ours.rotate(&mut session));
                *session.id()
            },
            move || {
                while theirs.contains(&old) {}
                // The rotation need not have returned yet, but the session must be there.
                live_ids(&theirs)
            },
        );
        assert_eq!(seen, [new]);
        assert_eq!(store.load(&new).map(|session| *session), Some(7));
        assert_eq!(store.len(), 1);
    }
}

#[test]
fn old_id_is_dead_as_soon_as_the_new_one_is_seen() {
    for _ in 0..rounds(3_000) {
        let store = builder().build().unwrap();
        let mut session = store.create_with(7);
        let old = *session.id();
        let (ours, theirs) = (store.clone(), store.clone());
        race2(
            move || assert!(ours.rotate(&mut session)),
            move || {
                loop {
                    // A walk may meet the session under both ids, one before and one after the
                    // rotation, or miss it on its way; so only what is asked after it counts.
                    if live_ids(&theirs).iter().any(|id| *id != old) {
                        break;
                    }
                }
                assert!(theirs.load(&old).is_none(), "both ids are live");
            },
        );
        assert_eq!(live_ids(&store).len(), 1);
    }
}

#[test]
fn of_two_rotations_of_one_session_exactly_one_wins() {
    for _ in 0..rounds(2_000) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let session = store.create_with(7);
        let (old, theirs) = (*session.id(), store.clone());
        let won = race(3, move |_| {
            let mut mine = session.clone();
            let rotated = theirs.rotate(&mut mine);
            assert_eq!(rotated, *mine.id() != old);
            rotated.then(|| *mine.id())
        });
        let won: Vec<_> = won.into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert_eq!(live_ids(&store), won);
        assert_eq!(store.len(), 1);
        assert_eq!(heard.of(&old), [(Cause::Rotated, 7)]);
    }
}

#[test]
fn of_rotate_and_destroy_of_the_old_id_exactly_one_wins() {
    for _ in 0..rounds(3_000) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let mut session = store.create_with(7);
        let old = *session.id();
        let (ours, theirs) = (store.clone(), store.clone());
        let (rotated, destroyed) =
            race2(move || ours.rotate(&mut session), move || theirs.destroy(&old));
        assert_ne!(rotated, destroyed);
        assert!(!store.contains(&old));
        assert_eq!((store.len(), live_ids(&store).len()), (rotated.into(), rotated.into()));
        let cause = if rotated { Cause::Rotated } else { Cause::Destroyed };
        assert_eq!(heard.of(&old), [(cause, 7)]);
    }
}

#[test]
fn save_under_the_old_id_is_carried_over_or_refused() {
    for _ in 0..rounds(3_000) {
        let store = builder().build().unwrap();
        let mut rotating = store.create_with(1);
        let mut saving = rotating.clone();
        *saving = 2;
        let (ours, theirs) = (store.clone(), store.clone());
        let (new, saved) = race2(
            move || {
                assert!(ours.rotate(&mut rotating));
                *rotating.id()
            },
            move || theirs.save(&saving),
        );
        assert_eq!(store.load(&new).map(|session| *session), Some(if saved { 2 } else { 1 }));
        assert_eq!(live_ids(&store), [new]);
    }
}

#[test]
fn updates_of_a_session_that_is_rotated_all_the_time_are_never_lost() {
    let store = builder().build().unwrap();
    let mut session = store.create_with(0);
    let (ours, theirs) = (store.clone(), store.clone());
    let ids = Arc::new(std::sync::Mutex::new(*session.id()));
    let published = Arc::clone(&ids);
    let wanted = rounds(5_000) as u64;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    race2(
        move || {
            while !stopped.load(Ordering::SeqCst) {
                assert!(ours.rotate(&mut session));
                *published.lock().unwrap() = *session.id();
            }
        },
        move || {
            let mut done = 0;
            while done < wanted {
                let id = *ids.lock().unwrap();
                done += u64::from(theirs.update(&id, |value| *value += 1).is_some());
            }
            stop.store(true, Ordering::SeqCst);
        },
    );
    let [id] = live_ids(&store)[..] else { panic!("one session") };
    assert_eq!(*store.load(&id).unwrap(), wanted);
    assert_eq!(store.len(), 1);
}

#[test]
fn session_that_is_there_before_a_clear_does_not_escape_it_by_rotating() {
    for _ in 0..rounds(500) {
        let store = SessionStore::<u64>::builder().shards(16).build().unwrap();
        let mut session = store.create_with(7);
        let (ours, theirs) = (store.clone(), store.clone());
        let cleared = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&cleared);
        race2(
            move || {
                loop {
                    let after = seen.load(Ordering::SeqCst);
                    let rotated = ours.rotate(&mut session);
                    assert!(!(after && rotated), "the session escaped");
                    if !rotated {
                        break;
                    }
                }
            },
            move || {
                theirs.clear();
                cleared.store(true, Ordering::SeqCst);
            },
        );
        assert!(store.is_empty());
    }
}
