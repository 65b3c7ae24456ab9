//! At the bound of a store that knows whose its sessions are: guests give way, subjects do not.

use std::time::Duration;

use cloakroom::{Builder, Cause, CreateError, ManualClock, OnFull, Session, SessionStore, Subject};

mod stress;

use stress::{Heard, race, race2, rounds};

/// The user's number; 0 for a guest.
fn builder(max: usize) -> Builder<u64> {
    let subject = |user: &u64| (*user != 0).then(|| Subject::from(*user));
    SessionStore::<u64>::builder().index_by(subject).max_sessions(max)
}

fn guests(store: &SessionStore<u64>) -> usize {
    let mut guests = 0;
    store.for_each(|_, user| guests += usize::from(*user == 0));
    guests
}

fn alive(store: &SessionStore<u64>, sessions: &[Session<u64>]) -> usize {
    sessions.iter().filter(|session| store.contains(session.id())).count()
}

#[test]
fn guests_use_all_free_room_and_give_it_back_to_whoever_signs_in() {
    let store = builder(100).build().unwrap();
    (0..500).for_each(|_| _ = store.create());
    assert_eq!((store.len(), guests(&store)), (100, 100));
    let users: Vec<_> = (1..=100).map(|user| store.try_create_with(user).unwrap()).collect();
    assert_eq!((alive(&store, &users), guests(&store), store.len()), (100, 0, 100));
    assert_eq!(store.stats().evicted, 500);
}

#[test]
fn flood_of_guests_logs_no_subject_out() {
    let store = builder(1_000).build().unwrap();
    let users: Vec<_> = (1..=990).map(|user| store.create_with(user)).collect();
    for _ in 0..rounds(20_000) {
        let guest = store.create();
        assert!(store.contains(guest.id()));
    }
    assert_eq!((alive(&store, &users), guests(&store)), (990, 10));
}

#[test]
fn where_subjects_hold_all_room_a_guest_is_not_stored_and_a_sign_in_is_told() {
    let clock = ManualClock::new();
    let store = builder(100).clock(clock.clone()).ttl(Duration::from_secs(60)).build().unwrap();
    let users: Vec<_> = (1..=100).map(|user| store.create_with(user)).collect();
    let full = CreateError::AtCapacity { max_sessions: 100 };
    for _ in 0..100 {
        assert!(!store.contains(store.create().id()));
        assert_eq!(store.try_create().unwrap_err(), full);
        assert_eq!(store.try_create_with(7).unwrap_err().error, full);
    }
    assert_eq!((alive(&store, &users), store.stats().creates_refused), (100, 300));
    // What has expired holds no room for long.
    clock.advance(Duration::from_secs(60));
    assert!(store.try_create().is_ok());
}

#[test]
fn one_guest_among_many_subjects_is_found_at_once() {
    let store = builder(20_000).build().unwrap();
    let users: Vec<_> = (1..20_000).map(|user| store.create_with(user)).collect();
    let mut last = store.create();
    for _ in 0..1_000 {
        let next = store.try_create().unwrap();
        assert!(store.contains(next.id()) && !store.contains(last.id()));
        last = next;
    }
    store.try_create_with(1).unwrap();
    assert!(!store.contains(last.id()) && store.try_create_with(1).is_err());
    assert_eq!(alive(&store, &users), users.len());
}

#[test]
fn guest_soonest_to_expire_makes_room() {
    let clock = ManualClock::new();
    let heard = Heard::default();
    let store = builder(16).clock(clock.clone()).idle_timeout(Duration::from_secs(600));
    let store = store.on_end(heard.listener()).build().unwrap();
    let mut kept: Vec<_> = (0..16).map(|_| store.create()).collect();
    for touched in [3, 9, 14] {
        clock.advance(Duration::from_secs(1));
        // All but one are used.
        let idle = kept.remove(touched);
        kept.iter().for_each(|session| assert!(store.touch(session.id())));
        kept.push(store.create());
        assert_eq!(heard.of(idle.id()), [(Cause::Evicted, 0)]);
    }
    clock.advance(Duration::from_secs(600));
    store.create();
    assert_eq!(heard.ids().len(), store.stats().expired as usize + 3, "the expired go as expired");
}

#[test]
fn guest_that_signs_in_is_no_guest_any_more_and_one_that_signs_out_is() {
    let store = builder(3).build().unwrap();
    let sessions: Vec<_> = (0..3).map(|_| store.create()).collect();
    for session in &sessions {
        store.update(session.id(), |user| *user = 1).unwrap();
    }
    assert!(store.try_create().is_err());
    store.update(sessions[1].id(), |user| *user = 0).unwrap();
    assert!(store.try_create().is_ok());
    assert_eq!(store.count_of(1), 2);
    assert!(!store.contains(sessions[1].id()));
}

#[test]
fn rotated_guest_still_gives_way() {
    let store = builder(2).build().unwrap();
    store.create_with(1);
    let mut guest = store.create();
    store.rotate(&mut guest);
    assert!(store.try_create_with(2).is_ok());
    assert!(!store.contains(guest.id()));
}

#[test]
fn store_that_refuses_evicts_no_live_guest() {
    let clock = ManualClock::new();
    let store = builder(2).on_full(OnFull::Refuse).clock(clock.clone()).build().unwrap();
    let guest = store.create();
    store.create_with(1);
    assert!(store.try_create_with(2).is_err() && store.contains(guest.id()));
    store.set_expiry(guest.id(), Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    assert!(store.try_create_with(2).is_ok());
}

#[test]
fn store_that_refuses_finds_the_one_guest_that_has_expired_among_many_subjects() {
    let clock = ManualClock::new();
    // Slices that hardly ever find it.
    let store = builder(1001).on_full(OnFull::Refuse).clock(clock.clone()).sweep_budget(1);
    let store = store.build().unwrap();
    let guest = store.create();
    (1..=1000).for_each(|user| _ = store.create_with(user));
    store.set_expiry(guest.id(), Duration::from_secs(1));
    clock.advance(Duration::from_secs(1));
    assert!(store.try_create_with(1).is_ok());
    assert!(!store.contains(guest.id()));
}

#[test]
fn taken_id_evicts_no_guest() {
    let store = builder(2).build().unwrap();
    let guest = store.create();
    store.try_create_with_id("mine", 1).unwrap();
    let refused = store.try_create_with_id("mine", 2).unwrap_err();
    assert_eq!(refused.error, CreateError::Taken);
    assert!(store.contains(guest.id()));
}

#[test]
fn guest_that_signs_in_while_another_needs_room_is_evicted_before_or_not_at_all() {
    for _ in 0..rounds(2_000) {
        let store = builder(1).shards(2).build().unwrap();
        let guest = *store.create().id();
        let (ours, theirs) = (store.clone(), store.clone());
        let signs_in = move || ours.update(&guest, |user| *user = 1).is_some();
        let (signed_in, created) = race2(signs_in, move || theirs.try_create().is_ok());
        assert_eq!((store.contains(&guest), created), (signed_in, !signed_in));
        assert_eq!((store.count_of(1), store.len()), (usize::from(signed_in), 1));
    }
}

#[test]
fn bound_holds_and_every_sign_in_finds_room_in_a_flood_of_guests() {
    for _ in 0..rounds(100) {
        let store = builder(64).build().unwrap();
        let theirs = store.clone();
        let users = race(4, move |me| {
            let mut users = Vec::new();
            for round in 0..60 {
                if me == 0 && round % 2 == 0 {
                    users.push(theirs.try_create_with(round + 1).unwrap());
                } else {
                    theirs.create();
                }
                assert!(theirs.len() <= 64);
            }
            users
        });
        let users: Vec<_> = users.into_iter().flatten().collect();
        assert_eq!((alive(&store, &users), users.len()), (30, 30));
    }
}
