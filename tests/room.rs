//! Room at `max_bytes` among subjects: what there is is added up before anybody ends for it, and what is left over is
//! free at once.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use cloakroom::{
    Builder, Cause, CreateError, End, ManualClock, OnFull, OnLimit, SaveError, SessionId,
    SessionStore, Subject,
};

/// The data is what it weighs; the thousands say whose it is.
fn with_subjects(max_bytes: u64) -> Builder<u64> {
    let subject = |data: &u64| (*data >= 1_000).then(|| Subject::from(data / 1_000));
    let builder = SessionStore::<u64>::builder().shards(2);
    builder.max_bytes(max_bytes, |data| (data % 1_000) as usize).index_by(subject)
}

#[test]
fn refusal_ends_no_guest() {
    let store = with_subjects(1_000).build().unwrap();
    (0..4).for_each(|_| _ = store.create_with(1_100));
    let mut mine = store.create_with(10);
    (0..59).for_each(|_| _ = store.create_with(10));
    let full = CreateError::AtByteLimit { max_bytes: 1_000 };
    for data in [601, 1_601] {
        assert_eq!(store.try_create_with(data).unwrap_err().error, full);
        *mine = data;
        assert_eq!(store.try_save(&mut mine), Err(SaveError::AtByteLimit));
        assert!(!store.save(&mine));
        let update = store.try_update(mine.id(), |held| *held = data);
        assert_eq!(update, Err(SaveError::AtByteLimit));
    }
    assert_eq!((store.len(), store.stats().bytes), (64, 1_000));
    // And nobody is in the way of what can be had.
    *mine = 600;
    store.try_save(&mut mine).unwrap();
    assert_eq!((store.len(), store.stats().bytes), (5, 1_000));
}

#[test]
fn one_session_may_take_the_room_of_thousands() {
    let store = SessionStore::<u64>::builder().max_bytes(5_000, |data| *data as usize);
    let store = store.build().unwrap();
    (0..5_000).for_each(|_| _ = store.create_with(1));
    let mut large = store.try_create_with(4_000).unwrap();
    assert_eq!((store.len(), store.stats().bytes), (1_001, 5_000));
    *large = 4_900;
    store.try_save(&mut large).unwrap();
    assert_eq!((store.len(), store.stats().bytes), (101, 5_000));
}

#[test]
fn session_that_its_limit_ends_gives_its_room_to_the_next_of_its_subject() {
    let build = |max_bytes, max_sessions| {
        let store = with_subjects(max_bytes).max_sessions(max_sessions);
        store.max_per_subject(1, OnLimit::RevokeOldest).build().unwrap()
    };
    for (max_bytes, max_sessions) in [(1_000, 2), (100, 9)] {
        let store = build(max_bytes, max_sessions);
        let (mine, other) = (store.create_with(1_050), store.create_with(2_050));
        let next = store.try_create_with(1_050).unwrap();
        let lives = [&mine, &other, &next].map(|session| store.contains(session.id()));
        assert_eq!((lives, store.stats().bytes), ([false, true, true], 100));
    }

    // What is missing, a guest gives; who is not needed, stays.
    let store = build(100, 9);
    let (mine, guest) = (store.create_with(1_010), store.create_with(20));
    store.create_with(2_070);
    store.try_create_with(1_030).unwrap();
    let gone = [&mine, &guest].map(|session| !store.contains(session.id()));
    assert_eq!((gone, store.stats().bytes), ([true, true], 100));

    let store = build(100, 9);
    let (mine, mut guest) = (store.create_with(1_050), store.create_with(10));
    store.create_with(2_040);
    *guest = 1_020;
    store.try_save(&mut guest).unwrap();
    assert_eq!((store.contains(mine.id()), store.stats().bytes), (false, 60));
}

#[test]
fn room_of_the_expired_and_of_ones_own_is_added_up_before_any_guest_goes() {
    let second = Duration::from_secs(1);
    for (due, own, guests) in [(true, 50, 0), (false, 50, 0), (true, 20, 2), (false, 20, 2)] {
        let clock = ManualClock::new();
        let store = with_subjects(100).max_per_subject(1, OnLimit::RevokeOldest);
        let store = store.ttl(1_000_000 * second).clock(clock.clone()).build().unwrap();
        let expired = store.create_with(9_040);
        store.set_expiry(expired.id(), second / 10);
        let mine = store.create_with(1_000 + own);
        (0..guests).for_each(|_| _ = store.create_with(10));
        store.create_with(2_000 + 60 - own - guests * 10);
        // Until no slice is due.
        (0..3_000).for_each(|_| _ = store.contains(mine.id()));
        clock.advance(if due { 100 * second } else { second / 10 });
        assert_eq!(store.stats().bytes, 100);
        store.try_create_with(1_060).unwrap();
        assert_eq!((store.stats().evicted, store.contains(mine.id())), (0, false), "due: {due}");
    }
}

#[test]
fn refusing_store_adds_up_the_expired_and_ones_own_too() {
    let second = Duration::from_secs(1);
    for saves in [false, true] {
        let clock = ManualClock::new();
        let store = with_subjects(100).max_per_subject(1, OnLimit::RevokeOldest);
        let store = store.on_full(OnFull::Refuse).ttl(1_000_000 * second).clock(clock.clone());
        let store = store.build().unwrap();
        [1_040, 2_030].iter().for_each(|data| _ = store.create_with(*data));
        let (expired, mut guest) = (store.create_with(20), store.create_with(10));
        store.set_expiry(expired.id(), second / 10);
        (0..3_000).for_each(|_| _ = store.contains(guest.id()));
        clock.advance(second / 10);
        if saves {
            *guest = 1_070;
            store.try_save(&mut guest).unwrap();
        } else {
            store.try_create_with(1_060).unwrap();
        }
        assert_eq!((store.stats().bytes, store.count_of(1)), (100, 1), "saves: {saves}");
    }
}

#[test]
fn refusal_names_the_limit_that_is_met_whatever_was_found_before() {
    let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
    let store = with_subjects(100).max_sessions(2).ttl(1_000_000 * second).clock(clock.clone());
    let store = store.build().unwrap();
    let (_, expired) = (store.create_with(1_090), store.create_with(10));
    store.set_expiry(expired.id(), second / 10);
    (0..3_000).for_each(|_| _ = store.contains(expired.id()));
    clock.advance(second / 10);
    for _ in 0..2 {
        let refused = store.try_create_with(2_020).unwrap_err();
        assert_eq!(refused.error, CreateError::AtByteLimit { max_bytes: 100 });
    }
}

#[test]
fn session_that_would_not_make_room_enough_for_the_next_of_its_subject_stays() {
    let store = with_subjects(100).max_per_subject(1, OnLimit::RevokeOldest).build().unwrap();
    let mine = store.create_with(1_010);
    store.create_with(2_085);
    let full = CreateError::AtByteLimit { max_bytes: 100 };
    assert_eq!(store.try_create_with(1_020).unwrap_err().error, full);
    let mut guest = store.create_with(5);
    *guest = 1_020;
    assert_eq!(store.try_save(&mut guest), Err(SaveError::AtByteLimit));
    assert!(store.contains(mine.id()) && store.contains(guest.id()));
}

/// A sign-in finds the 30 bytes that it grows by, and then needs 10 of them: a listener has let its session grow.
#[test]
fn room_that_a_commit_does_not_need_is_free_before_its_sweep_tells_anybody() {
    let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
    let (grows, told) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(vec![])));
    let store = Arc::new_cyclic(|me: &Weak<SessionStore<u64>>| {
        let (me, time) = (me.clone(), clock.clone());
        let (grows, told) = (Arc::clone(&grows), Arc::clone(&told));
        let listener = move |end: End<'_, u64>| {
            let store = me.upgrade().unwrap();
            match end.cause {
                Cause::Displaced => {
                    let id: &SessionId = grows.get().unwrap();
                    assert_eq!(store.update(id, |data| *data = 30), Some(()));
                    // Now a slice of the sweep is due.
                    time.advance(100 * second);
                }
                _ => told.lock().unwrap().push(store.try_create_with(9_020).map(|it| *it)),
            }
        };
        let builder = with_subjects(100).max_per_subject(1, OnLimit::RevokeOldest);
        let builder = builder.ttl(1_000_000 * second).clock(clock.clone());
        builder.on_end(listener).build().unwrap()
    });
    let (_mine, expired) = (store.create_with(1_050), store.create_with(3_001));
    store.set_expiry(expired.id(), 100 * second);
    let mut guest = store.create_with(10);
    grows.set(*guest.id()).unwrap();
    store.create_with(2_039);
    *guest = 1_040;
    assert!(store.save(&guest));
    assert!(matches!(told.lock().unwrap()[..], [Ok(9_020)]), "{told:?}");
    assert_eq!(store.stats().bytes, 99);
}

/// Half of the guests have been idle for 31 minutes, half for one. Of 16 at random all are of the latter once in 65,000.
#[test]
fn guests_in_use_stay_whatever_one_session_needs_and_however_often() {
    type Grow = fn(&SessionStore<u64>, &SessionId);
    let needs: [(&str, Grow); 2] = [
        ("at once", |store, id| store.try_update(id, |data| *data += 100).unwrap()),
        ("byte by byte", |store, id| {
            (0..100).for_each(|_| store.try_update(id, |data| *data += 1).unwrap());
        }),
    ];
    for (how, grow) in needs {
        let (clock, minute) = (ManualClock::new(), Duration::from_secs(60));
        let store = with_subjects(6_401).idle_timeout(60 * minute).clock(clock.clone());
        let store = store.build().unwrap();
        let user = store.create_with(1_001);
        let ids: Vec<_> = (0..6_400).map(|_| *store.create_with(1).id()).collect();
        clock.advance(30 * minute);
        let in_use: Vec<_> = ids.iter().step_by(2).filter(|id| store.touch(*id)).collect();
        clock.advance(minute);
        grow(&store, user.id());
        let stay = in_use.iter().filter(|id| store.contains(**id)).count();
        assert_eq!((store.stats().evicted, stay), (100, 3_200), "{how}");
    }
}

/// The expired session under the very id is found without a sweep, and nobody else ends in its stead.
#[test]
fn session_under_an_id_that_has_expired_takes_its_room() {
    type Settings = fn(Builder<u64>) -> Builder<u64>;
    let plain = || SessionStore::<u64>::builder().shards(2);
    let cases: [(&str, usize, Builder<u64>, Settings); 4] = [
        ("plain", 1_000, plain(), |it| it.max_sessions(1_000)),
        ("refuses", 20_000, plain(), |it| it.max_sessions(20_000).on_full(OnFull::Refuse)),
        ("subjects", 10, with_subjects(1_000), |it| it.max_sessions(10)),
        ("bytes", 10, with_subjects(100), |it| it),
    ];
    for (name, full, builder, settings) in cases {
        let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
        let builder = settings(builder).ttl(1_000_000 * second).clock(clock.clone());
        let store = builder.build().unwrap();
        let first = store.try_create_with_id("an id", 7_010).unwrap();
        store.set_expiry(first.id(), second);
        (1..full).for_each(|_| _ = store.try_create_with(10).unwrap());
        (0..3_000).for_each(|_| _ = store.contains(first.id()));
        clock.advance(second);
        store.try_create_with_id("an id", 7_010).unwrap();
        let stats = store.stats();
        assert_eq!((store.len(), stats.evicted, stats.swept), (full, 0, 1), "{name}");
    }
}
