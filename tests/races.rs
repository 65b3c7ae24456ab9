//! The races on one session, with real threads: who wins, and that nothing comes back.

mod stress;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::{Builder, Cause, ManualClock, SessionStore};
use stress::{Heard, race, race2, rounds};

const MINUTE: Duration = Duration::from_secs(60);
const INSTANT: Duration = Duration::from_nanos(1);

/// Two shards, so that threads meet.
fn builder() -> Builder<u64> {
    SessionStore::<u64>::builder().shards(2)
}

fn counted(store: &SessionStore<u64>) -> usize {
    let mut count = 0;
    store.for_each(|_, _| count += 1);
    count
}

#[test]
fn one_foreign_id_is_handed_out_to_exactly_one_of_many() {
    for _ in 0..rounds(1_000) {
        let store = builder().build().unwrap();
        let theirs = store.clone();
        let won = race(4, move |me| theirs.try_create_with_id("the one", me as u64).is_ok());
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let winner = won.iter().position(|won| *won).unwrap() as u64;
        assert_eq!(*store.load("the one").unwrap(), winner);
        assert_eq!((store.len(), counted(&store)), (1, 1));
    }
}

#[test]
fn save_that_races_a_destroy_never_brings_the_session_back() {
    for _ in 0..rounds(3_000) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let mut session = store.create_with(1);
        let id = *session.id();
        *session = 2;
        let (ours, theirs) = (store.clone(), store.clone());
        let (saved, destroyed) = race2(move || ours.save(&session), move || theirs.destroy(&id));
        assert!(destroyed);
        assert!(!store.contains(&id) && store.is_empty());
        // A save that was stored came before the destroy, so its data is what ended.
        assert_eq!(heard.of(&id), [(Cause::Destroyed, if saved { 2 } else { 1 })]);
    }
}

#[test]
fn update_that_races_a_destroy_never_brings_the_session_back() {
    for _ in 0..rounds(2_000) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let id = *store.create_with(1).id();
        let (ours, theirs) = (store.clone(), store.clone());
        let (updated, destroyed) = race2(
            move || ours.update(&id, |value| *value += 1).is_some(),
            move || theirs.destroy(&id),
        );
        assert!(destroyed);
        assert!(!store.contains(&id) && store.is_empty());
        assert_eq!(heard.of(&id), [(Cause::Destroyed, if updated { 2 } else { 1 })]);
    }
}

#[test]
fn save_that_races_expiry_does_not_revive() {
    for _ in 0..rounds(2_000) {
        let clock = ManualClock::new();
        let store = builder().ttl(MINUTE).clock(clock.clone()).build().unwrap();
        let session = store.create_with(1);
        let id = *session.id();
        clock.advance(MINUTE - INSTANT);
        let (ours, theirs) = (store.clone(), store.clone());
        let (session, seen) = race2(
            move || {
                ours.save(&session);
                session
            },
            move || {
                clock.advance(INSTANT);
                theirs.contains(&id)
            },
        );
        assert!(!seen);
        assert!(!store.save(&session));
        assert!(store.load(&id).is_none());
        store.purge_expired();
        assert!(store.is_empty());
    }
}

#[test]
fn of_conditional_saves_from_one_version_exactly_one_wins() {
    for _ in 0..rounds(1_000) {
        let store = builder().build().unwrap();
        let id = *store.create_with(0).id();
        let theirs = store.clone();
        let loaded = store.load(&id).unwrap();
        let won = race(4, move |me| {
            let mut mine = loaded.clone();
            *mine = me as u64 + 1;
            theirs.try_save(&mut mine).is_ok()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let winner = won.iter().position(|won| *won).unwrap() as u64;
        assert_eq!(*store.load(&id).unwrap(), winner + 1);
        assert_eq!(store.stats().conflicts, 3);
    }
}

/// A caller's text is the same id in every store; and two saves under the locks of two stores are at nothing but the
/// data at once.
#[test]
fn change_that_two_handles_save_in_two_stores_at_once_is_two_records() {
    let stores = [(); 2].map(|()| builder().build().unwrap());
    for round in 0..rounds(2_000) {
        let text = round.to_string();
        let [mut one, _] = stores.each_ref().map(|store| store.create_with_id(text.clone()));
        *one = 7;
        let [(a, mine), (b, theirs)] = [(stores[0].clone(), one.clone()), (stores[1].clone(), one)];
        let id = *mine.id();
        let saved = race2(move || a.save(&mine), move || b.save(&theirs));
        assert_eq!(saved, (true, true));
        let [a, b] = stores.each_ref().map(|store| store.peek(&id).unwrap());
        assert!(!std::ptr::eq(&*a, &*b), "round {round}");
    }
}

#[test]
fn updates_from_many_threads_all_count() {
    let (threads, each) = (4, rounds(5_000) as u64);
    let store = builder().build().unwrap();
    let id = *store.create_with(0).id();
    let theirs = store.clone();
    race(threads, move |_| {
        for _ in 0..each {
            theirs.update(&id, |value| *value += 1).unwrap();
        }
    });
    assert_eq!(*store.load(&id).unwrap(), threads as u64 * each);
}

#[test]
fn conditional_saves_and_updates_together_lose_nothing() {
    let (threads, each) = (4, rounds(2_000) as u64);
    let store = builder().build().unwrap();
    let id = *store.create_with(0).id();
    let theirs = store.clone();
    race(threads, move |me| {
        for _ in 0..each {
            if me % 2 == 0 {
                theirs.update(&id, |value| *value += 1).unwrap();
                continue;
            }
            loop {
                let mut session = theirs.load(&id).unwrap();
                *session += 1;
                if theirs.try_save(&mut session).is_ok() {
                    break;
                }
            }
        }
    });
    assert_eq!(*store.load(&id).unwrap(), threads as u64 * each);
}

#[test]
fn touched_session_is_not_swept_and_a_swept_one_is_not_touched() {
    for _ in 0..rounds(3_000) {
        let clock = ManualClock::new();
        let heard = Heard::default();
        let store = builder().idle_timeout(MINUTE).clock(clock.clone());
        let store = store.on_end(heard.listener()).build().unwrap();
        let id = *store.create_with(1).id();
        clock.advance(MINUTE - INSTANT);
        let (ours, theirs) = (store.clone(), store.clone());
        let (touched, _) = race2(
            move || ours.touch(&id),
            move || {
                clock.advance(INSTANT);
                theirs.purge_expired()
            },
        );
        assert_eq!(store.contains(&id), touched);
        store.purge_expired();
        assert_eq!(store.len(), usize::from(touched));
        let ends = if touched { vec![] } else { vec![(Cause::Expired, 1)] };
        assert_eq!(heard.of(&id), ends);
    }
}

#[test]
fn destroy_is_final_against_touches_and_loads() {
    for _ in 0..rounds(2_000) {
        let clock = ManualClock::new();
        let store = builder().idle_timeout(MINUTE).clock(clock.clone()).build().unwrap();
        let id = *store.create_with(1).id();
        // Each touch moves the deadline, so each writes the word that the destroy writes.
        let (ours, theirs) = (store.clone(), store.clone());
        race2(
            move || {
                let mut dead = false;
                for _ in 0..64 {
                    clock.advance(INSTANT);
                    let touched = ours.touch(&id);
                    assert!(!(dead && touched), "a touch revived a destroyed session");
                    dead |= !touched;
                }
            },
            move || {
                assert!(theirs.destroy(&id));
                assert!(!theirs.touch(&id) && theirs.load(&id).is_none());
            },
        );
        assert!(!store.touch(&id) && store.is_empty());
    }
}

#[test]
fn session_once_seen_expired_is_seen_by_nobody_again() {
    for _ in 0..rounds(1_000) {
        let clock = ManualClock::new();
        let store = builder().idle_timeout(MINUTE).clock(clock.clone()).build().unwrap();
        let id = *store.create_with(1).id();
        let dead = Arc::new(AtomicBool::new(false));
        race(4, move |me| {
            loop {
                let dead_before = dead.load(Ordering::SeqCst);
                if me == 0 {
                    clock.advance(MINUTE);
                }
                let lives = match me {
                    0 => store.contains(&id),
                    1 => store.load(&id).is_some(),
                    2 => store.update(&id, |value| *value += 1).is_some(),
                    _ => store.touch(&id),
                };
                assert!(!(dead_before && lives), "operation {me} saw a dead session");
                if dead_before {
                    break;
                }
                if !lives {
                    dead.store(true, Ordering::SeqCst);
                }
            }
        });
    }
}

#[test]
fn of_many_destroys_exactly_one_is_true() {
    for _ in 0..rounds(2_000) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let id = *store.create_with(7).id();
        let theirs = store.clone();
        let won = race(4, move |_| theirs.destroy(&id));
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        assert_eq!(heard.of(&id), [(Cause::Destroyed, 7)]);
        assert_eq!((store.len(), counted(&store)), (0, 0));
    }
}

#[test]
fn of_destroy_retain_and_clear_exactly_one_ends_the_session() {
    for _ in 0..rounds(1_000) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let id = *store.create_with(7).id();
        let theirs = store.clone();
        race(3, move |me| match me {
            0 => assert!(theirs.destroy(&id) || !theirs.contains(&id)),
            1 => assert!(theirs.retain(|_, _| false) <= 1),
            _ => theirs.clear(),
        });
        assert_eq!((heard.each_once(), heard.of(&id).len()), (1, 1));
        assert_eq!((store.len(), counted(&store)), (0, 0));
    }
}

#[test]
fn lifetime_that_is_asked_during_a_destroy_is_whole_or_none() {
    for _ in 0..rounds(3_000) {
        let clock = ManualClock::new();
        let ttl = Duration::from_secs(60);
        let store = SessionStore::<u64>::builder().ttl(ttl).clock(clock).build().unwrap();
        let id = *store.create().id();
        let (ours, theirs) = (store.clone(), store);
        let (_, seen) = race2(
            move || ours.destroy(&id),
            move || (0..8).map(|_| theirs.expires_in(&id)).collect::<Vec<_>>(),
        );
        assert!(seen.iter().all(|left| left.is_none_or(|left| left == ttl)), "{seen:?}");
    }
}
